//! A peer that speaks TLS, by the library's own buffered client.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
#[cfg(test)]
use std::sync::OnceLock;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

use crate::conn::connection::Conn;
use crate::conn::tls_info::TlsInfo;
use crate::error::Error;
use crate::handler::{Handler, from_fn};
use crate::shard::conns::EndOfInput;
use crate::shard::futures::sleep::sleep;
use crate::shard::handle::Shard;
use crate::testing::{Peer, serve};
use crate::tls::{Acceptance, Acceptances};

pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
/// Between two pieces of what is sent: a turn at least.
const PAUSE: Duration = Duration::from_millis(1);

/// A server and the clients that trust it.
#[derive(Clone)]
pub(super) struct Party {
    server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    pub(super) per_turn_max: u32,
}

/// A certificate for `server.test`, and its key.
pub(crate) struct Certified {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certified {
    /// In DER; the key as PKCS #8 has it.
    pub(crate) fn of(certificate: &[u8], key: &[u8]) -> Self {
        Self {
            certificate: certificate.to_vec().into(),
            key: PrivatePkcs8KeyDer::from(key.to_vec()).into(),
        }
    }

    /// That of the tests.
    #[cfg(test)]
    pub(crate) fn made() -> &'static Self {
        static MADE: OnceLock<Certified> = OnceLock::new();
        MADE.get_or_init(|| {
            let names = vec!["server.test".to_owned()];
            let made = rcgen::generate_simple_self_signed(names).expect("it is made");
            Self::of(made.cert.der(), &made.signing_key.serialize_der())
        })
    }
}

impl Party {
    #[cfg(test)]
    pub(super) fn of(version: &'static SupportedProtocolVersion) -> Self {
        Self::with(version, Certified::made())
    }

    pub(super) fn with(version: &'static SupportedProtocolVersion, certified: &Certified) -> Self {
        let (certificate, key) = (certified.certificate.clone(), certified.key.clone_key());
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&VERSIONS)
            .expect("they are known");
        let mut server = builder
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("key and certificate are a pair");
        server.ticketer = ring::Ticketer::new().expect("there are random bytes");
        server.alpn_protocols = vec![b"echo".to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("it is one");
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("it is known")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"echo".to_vec()];
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
            per_turn_max: 100,
        }
    }

    /// From now on connections to the shard shake hands by these.
    pub(super) fn begin(&self) {
        let acceptance = Acceptance {
            config: Arc::clone(&self.server),
            handshake_timeout: Duration::from_secs(10),
            handshakes_per_turn_max: self.per_turn_max,
        };
        let acceptances: Acceptances = Arc::new([Some(Arc::new(acceptance))]);
        Shard::with(|shard| shard.core().conns.shared.tls.renew(&acceptances));
    }

    /// A connection that `handler` serves, before its handshake.
    pub(super) fn connect(&self, handler: impl Handler) -> TlsPeer {
        let name = "Server.Test".try_into().expect("it is a name");
        let tls = ClientConnection::new(Arc::clone(&self.client), name).expect("it is fine");
        TlsPeer {
            peer: serve(handler),
            tls,
            received: Vec::new(),
        }
    }
}

/// What a handler has read, and how that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) end: Option<EndOfInput>,
    pub(super) info: Option<TlsInfo>,
}

/// A handler that listens.
pub(super) fn listener() -> (Rc<RefCell<Heard>>, impl Handler) {
    let heard = Rc::new(RefCell::new(Heard::default()));
    let told = Rc::clone(&heard);
    let handler = from_fn(async move |conn: &mut Conn| {
        told.borrow_mut().info = conn.tls();
        while let Some(bytes) = conn.read().await? {
            told.borrow_mut().bytes.extend_from_slice(&bytes);
        }
        told.borrow_mut().end = conn.end_of_input();
        Ok::<_, Error>(())
    });
    (heard, handler)
}

/// The other end of a connection.
pub(super) struct TlsPeer {
    pub(super) peer: Peer,
    pub(super) tls: ClientConnection,
    received: Vec<u8>,
}

impl TlsPeer {
    /// What its session wants to send.
    pub(super) fn sealed(&mut self) -> Vec<u8> {
        let mut sealed = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut sealed).expect("there is memory");
        }
        sealed
    }

    /// Sends what its session wants to send.
    pub(super) fn push(&mut self) {
        let sealed = self.sealed();
        self.peer.send(sealed);
    }

    /// Shakes hands. False: the server has ended the connection.
    pub(super) async fn shake_hands(&mut self) -> bool {
        while self.tls.is_handshaking() {
            self.push();
            if self.tls.is_handshaking() && !self.pull().await {
                return false;
            }
        }
        self.push();
        true
    }

    /// Waits for bytes, and opens them. False: the connection has ended.
    pub(super) async fn pull(&mut self) -> bool {
        let bytes = self.peer.receive_some().await;
        if bytes.is_empty() {
            return false;
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).expect("it is memory");
            self.tls
                .process_new_packets()
                .expect("the server keeps to TLS");
            self.take_plain();
        }
        true
    }

    /// The same of a server that may not keep to TLS. False, too: it does not.
    pub(super) async fn try_pull(&mut self) -> bool {
        let bytes = self.peer.receive_some().await;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).expect("it is memory");
            if self.tls.process_new_packets().is_err() {
                return false;
            }
            self.take_plain();
        }
        !bytes.is_empty()
    }

    /// Seals `bytes`, one record for 16 KiB.
    pub(super) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.tls.set_buffer_limit(None);
        self.tls
            .writer()
            .write_all(bytes)
            .expect("there is no limit");
        self.sealed()
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        let sealed = self.seal(bytes);
        self.peer.send(sealed);
    }

    /// Sends what was sealed, in pieces of so many bytes in turn.
    pub(super) async fn send_pieces(&mut self, mut sealed: &[u8], pieces: &[usize]) {
        let mut pieces = pieces.iter().cycle();
        while !sealed.is_empty() {
            let count = pieces.next().copied().unwrap_or(1).clamp(1, sealed.len());
            let (piece, rest) = sealed.split_at(count);
            self.peer.send(piece);
            sleep(PAUSE).await;
            sealed = rest;
        }
    }

    /// Waits for so many bytes.
    pub(super) async fn receive(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            let lives = self.pull().await;
            assert!(
                lives,
                "the connection has ended behind {}",
                self.received.len()
            );
        }
        assert_eq!(self.received.len(), length, "no more than that");
        std::mem::take(&mut self.received)
    }

    fn take_plain(&mut self) {
        let mut room = [0; 4096];
        while let Ok(count) = self.tls.reader().read(&mut room)
            && count > 0
        {
            self.received.extend_from_slice(&room[..count]);
        }
    }

    /// Says that nothing more comes, and its FIN.
    pub(super) fn finish(&mut self) {
        self.tls.send_close_notify();
        self.push();
        self.peer.finish();
    }

    /// Waits for the end. What came by then, and whether the server has said that it is the end.
    pub(super) async fn receive_to_end(&mut self) -> (Vec<u8>, bool) {
        while self.pull().await {}
        let is_whole = matches!(self.tls.reader().read(&mut [0]), Ok(0));
        (std::mem::take(&mut self.received), is_whole)
    }
}
