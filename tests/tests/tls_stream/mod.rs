//! Clients of rustls's own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tests::connect;

use crate::tls_rig::{Files, NAME};

impl Files {
    pub(crate) fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    /// A client that trusts the authority.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate("ca.crt")).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// A connection of the library's client.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn stream(addr: SocketAddr, client: &Arc<ClientConfig>) -> Stream {
    stream_over(connect(addr).unwrap(), client)
}

pub(crate) fn stream_over(socket: TcpStream, client: &Arc<ClientConfig>) -> Stream {
    let name = ServerName::try_from(NAME).unwrap();
    let client = ClientConnection::new(Arc::clone(client), name).unwrap();
    StreamOwned::new(client, socket)
}

/// The next line, without its end.
pub(crate) fn line(stream: &mut Stream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    line.pop();
    String::from_utf8(line).unwrap()
}

/// Has `bytes` echoed.
pub(crate) fn echo(stream: &mut Stream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes, "{} bytes", bytes.len());
}
