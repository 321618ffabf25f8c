//! What connections that a shard opens shake hands by.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::config::Roots;

use super::certificates::{Certificate, PairFault, pair};
use super::client_roots;
use super::files;
use super::problem::{Fault, fault};
use super::words::plain;

/// A name of a protocol has a byte for its length (RFC 7301, 3.1).
const PROTOCOL_BYTES_MAX: usize = 255;
/// Tickets that a shard keeps of one upstream: rustls keeps 8 of a server, and a server that has moved
/// is another.
const TICKETS_MAX: usize = 16;

/// Whom a client trusts, and what it shows of itself: for connections that a program opens. A clone
/// is the same, and has the same sessions to resume.
///
/// A server that cannot prove who it is is refused: there is no way to turn that off. For one with a
/// certificate of its own making, that certificate is the [file](ClientTlsBuilder::roots_of_file) of
/// those who are trusted.
///
/// ```
/// use corelane::ClientTls;
///
/// # fn main() -> Result<(), corelane::ClientTlsError> {
/// let tls = ClientTls::builder().alpn(["http/1.1"]).server_name("example.org").build()?;
/// # drop(tls);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    resumes: bool,
}

impl ClientTls {
    /// One that trusts the authorities that browsers trust (Mozilla's, as they were when the program
    /// was built), shows no certificate, and negotiates no protocol.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder {
            roots: Roots::Web,
            certificate: None,
            alpn: Vec::new(),
            server_name: None,
            resumes: true,
        }
    }

    /// The same with other sessions to resume: behind a lock that nobody else has.
    pub(crate) fn with_own_sessions(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        if self.resumes {
            config.resumption = Resumption::in_memory_sessions(TICKETS_MAX);
        }
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// Whether it is the same one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }

    pub(crate) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Whom its server is to be: the name that was set, or the address that is connected to.
    pub(crate) fn server_name(&self, address: IpAddr) -> ServerName<'static> {
        let set = self.server_name.clone();
        set.unwrap_or(ServerName::IpAddress(address.into()))
    }
}

/// Without a key.
impl fmt::Debug for ClientTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alpn = self.config.alpn_protocols.iter();
        let alpn: Vec<_> = alpn.map(|name| String::from_utf8_lossy(name)).collect();
        let name = self.server_name.as_ref().map(ServerName::to_str);
        out.debug_struct("ClientTls")
            .field("server_name", &name)
            .field("alpn", &alpn)
            .finish_non_exhaustive()
    }
}

/// Makes a [`ClientTls`]. Files are read by [`build`](Self::build), which is to be called before the
/// program serves: it waits for them.
#[derive(Clone, Debug)]
#[must_use = "it is made by build"]
pub struct ClientTlsBuilder {
    roots: Roots,
    certificate: Option<(PathBuf, PathBuf)>,
    alpn: Vec<Vec<u8>>,
    server_name: Option<String>,
    resumes: bool,
}

impl ClientTlsBuilder {
    /// Trusts the certificates of this file in PEM, and nobody else.
    pub fn roots_of_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots = Roots::File(path.into());
        self
    }

    /// Trusts whom this system trusts: the bundle that `SSL_CERT_FILE` names, or that the
    /// distribution has. A certificate in it that cannot be read is left out.
    pub fn roots_of_system(mut self) -> Self {
        self.roots = Roots::System;
        self
    }

    /// Shows this certificate to a server that asks for one: a file in PEM with those between it and
    /// its root behind it, and the file of its key (PKCS#8, SEC1 or PKCS#1).
    pub fn certificate(mut self, path: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some((path.into(), key.into()));
        self
    }

    /// Names these protocols (ALPN, RFC 7301), the best first; each has 1 to 255 bytes.
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Whom the server is to be, and what it is told that it was asked for (SNI): a DNS name, or an
    /// IP address. Without it that is the address that is connected to.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Shakes hands anew on each connection: none goes on from the session of one before it.
    pub fn without_resumption(mut self) -> Self {
        self.resumes = false;
        self
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file that cannot be used, or a name that is none; the text says what to do about it.
    pub fn build(self) -> Result<ClientTls, ClientTlsError> {
        let provider = Arc::new(default_provider());
        let told = |path: Option<&Path>, fault: Fault| ClientTlsError::of(path, fault);
        let roots = client_roots::load(&self.roots);
        let roots = roots.map_err(|(path, fault)| told(path.as_deref(), fault))?;
        let read = |path: &Path| files::read(path).map_err(|fault| told(Some(path), fault));
        let own = match &self.certificate {
            None => None,
            Some((path, key)) => {
                let pair = pair(&read(path)?.bytes, &read(key)?.bytes, &provider);
                Some(pair.map_err(|found| match found {
                    PairFault::Certificate(fault) => told(Some(path), fault),
                    PairFault::Key(fault) => told(Some(key), fault),
                })?)
            }
        };
        let is_name = |name: &Vec<u8>| (1..=PROTOCOL_BYTES_MAX).contains(&name.len());
        if !self.alpn.iter().all(is_name) {
            let why = "a name of a protocol (ALPN) is empty or too long";
            return fault(why, "give it 1 to 255 bytes").map_err(|fault| told(None, fault));
        }
        let parts = Parts {
            provider,
            versions: vec![&TLS12, &TLS13],
            roots,
            own,
            alpn: self.alpn,
            server_name: self.server_name,
            resumes: self.resumes,
        };
        parts.whole().map_err(|fault| told(None, fault))
    }
}

/// What a [`ClientTls`] is made of, with its files read.
pub(super) struct Parts {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) roots: RootCertStore,
    /// What it shows of itself.
    pub(super) own: Option<Certificate>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) server_name: Option<String>,
    pub(super) resumes: bool,
}

impl Parts {
    pub(super) fn whole(self) -> Result<ClientTls, Fault> {
        let builder = ClientConfig::builder_with_provider(self.provider);
        let builder = builder.with_protocol_versions(&self.versions);
        let builder = builder.map_err(|error| (plain(&error), String::new()))?;
        let builder = builder.with_root_certificates(self.roots);
        let mut config = match self.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key)))
            }
        };
        config.alpn_protocols = self.alpn;
        if !self.resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(ClientTls {
            config: Arc::new(config),
            server_name: self.server_name.map(server_name).transpose()?,
            resumes: self.resumes,
        })
    }
}

fn server_name(name: String) -> Result<ServerName<'static>, Fault> {
    let told = name.escape_debug().to_string();
    ServerName::try_from(name).map_err(|_error| {
        let why = format!("{told} is neither a DNS name nor an IP address");
        (why, "give the name without a port".to_owned())
    })
}

/// Why there is no [`ClientTls`]. Its `Display` says which file, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTlsError(String);

impl ClientTlsError {
    fn of(path: Option<&Path>, (why, remedy): Fault) -> Self {
        let what = path.map(|path| format!("cannot use {}, ", path.display()));
        Self(format!("{}{why}: {remedy}", what.unwrap_or_default()))
    }
}

impl fmt::Display for ClientTlsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for ClientTlsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::scratch::{Issued, Scratch};

    fn told(builder: ClientTlsBuilder) -> String {
        builder.build().expect_err("it cannot be built").to_string()
    }

    #[test]
    fn what_is_set_is_what_is_shown() {
        let scratch = Scratch::new();
        scratch.issue("own", &Issued::of(&["me.test"]));
        let own = [scratch.path("own.crt"), scratch.path("own.key")];
        let tls = ClientTls::builder()
            .roots_of_file(&own[0])
            .certificate(&own[0], &own[1])
            .alpn(["h2", "x"])
            .server_name("a.test")
            .build()
            .expect("fine");
        assert_eq!(tls.config().alpn_protocols, [b"h2".to_vec(), b"x".to_vec()]);
        assert!(tls.config().client_auth_cert_resolver.has_certs());
        let address = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(tls.server_name(address).to_str(), "a.test");
        let shown = format!("{tls:?}");
        assert_eq!(
            shown,
            r#"ClientTls { server_name: Some("a.test"), alpn: ["h2", "x"], .. }"#
        );
        let plain = ClientTls::builder()
            .build()
            .expect("the web's authorities are built in");
        assert_eq!(plain.server_name(address).to_str(), "127.0.0.1");
        assert!(!plain.config().client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let scratch = Scratch::new();
        scratch.issue("own", &Issued::of(&["me.test"]));
        let (certificate, key) = (scratch.path("own.crt"), scratch.path("own.key"));
        let none = scratch.path("none.pem");
        let builder = ClientTls::builder;
        for (builder, expected) in [
            (
                builder().roots_of_file(&none),
                "none.pem, it does not exist: ",
            ),
            (
                builder().roots_of_file(&key),
                "own.key, it has a key, and no certificate: ",
            ),
            (
                builder().certificate(&certificate, &none),
                "none.pem, it does not exist: ",
            ),
            (
                builder().certificate(&key, &certificate),
                "own.key, it has a key, and no certificate: ",
            ),
            (
                builder().alpn([""]),
                "a name of a protocol (ALPN) is empty or too long: ",
            ),
            (
                builder().server_name("a b"),
                "a b is neither a DNS name nor an IP address: ",
            ),
        ] {
            let told = told(builder);
            assert!(told.contains(expected), "{told}");
        }
    }
}
