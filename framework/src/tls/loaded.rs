//! A listener's TLS as its files have it: read, judged, and made the configuration of rustls.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ::ring::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::{ListenerSettings, Tls, TlsVersion};

use super::acceptance::Acceptance;
use super::certificates::{Certificate, PairFault, authorities, pair};
use super::client_checks::refusals;
use super::files::{self, Contents};
use super::names::ByName;
use super::problem::FileProblem;
use super::ticketer::{Binding, Ticketer};
use super::validity::day;
use super::words::plain;

/// A certificate as it was read, without its key.
pub(super) struct Leaf {
    pub(super) certificate: CertificateDer<'static>,
    /// Its file, with the key that names it.
    pub(super) told: String,
    pub(super) names: Vec<String>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// The TLS of one listener, without the keys of its tickets.
pub(super) struct Loaded {
    pub(super) settings: Arc<Tls>,
    /// Of each certificate, in the order of the settings.
    pub(super) leaves: Vec<Leaf>,
    warnings: Vec<String>,
    config: ServerConfig,
    binding: Binding,
    /// A digest of all its files.
    files: [u8; 32],
}

impl Loaded {
    /// Reads every file of a listener that has TLS: these are its settings.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files.
    pub(super) fn read(
        listener: &ListenerSettings,
        settings: &Arc<Tls>,
    ) -> Result<Self, Vec<FileProblem>> {
        let mut reading = Reading {
            listener,
            provider: Arc::new(default_provider()),
            digest: Context::new(&SHA256),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let pairs = settings.certificate.iter().zip(&settings.key);
        let pairs: Vec<_> = pairs
            .filter_map(|(certificate, key)| reading.pair(certificate, key))
            .collect();
        let authorities = settings.client_ca.as_deref();
        let authorities = authorities.and_then(|path| reading.authorities(path));
        if !reading.problems.is_empty() {
            return Err(reading.problems);
        }
        let (certificates, leaves): (Vec<Certificate>, Vec<Leaf>) = pairs.into_iter().unzip();
        let binding = binding(listener.name(), settings, authorities.as_ref());
        let provider = Arc::clone(&reading.provider);
        let config = server_config(settings, &certificates, authorities, provider);
        let config = config.map_err(|why| {
            let problem = FileProblem {
                what: format!("cannot use {}", listener.tls_section()),
                why,
                remedy: "set its versions and files otherwise".to_owned(),
            };
            vec![problem]
        })?;
        Ok(Self {
            settings: Arc::clone(settings),
            leaves,
            warnings: reading.warnings,
            config,
            binding,
            files: whole(reading.digest),
        })
    }

    /// Whether nothing is different from what was read before.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        self.settings == before.settings && self.files == before.files
    }

    /// What should be known of the files although they can be used; `now` is in seconds since 1970.
    pub(super) fn warnings_at(&self, now: i64) -> Vec<String> {
        let of_time = self.leaves.iter().filter_map(|leaf| leaf.warning(now));
        self.warnings.iter().cloned().chain(of_time).collect()
    }

    /// When the first of the certificates expires, in seconds since 1970.
    pub(super) fn expires(&self) -> Option<i64> {
        self.leaves.iter().map(|leaf| leaf.not_after).min()
    }

    /// What connections shake hands by, with these tickets; none: without any.
    pub(super) fn acceptance(&self, tickets: Option<Ticketer>) -> Acceptance {
        let mut config = self.config.clone();
        match tickets {
            Some(tickets) => config.ticketer = Arc::new(tickets),
            None => config.send_tls13_tickets = 0,
        }
        Acceptance {
            config: Arc::new(config),
            handshake_timeout: self.settings.handshake_timeout,
            handshakes_per_turn_max: self.settings.handshakes_per_turn_max,
        }
    }

    pub(super) fn binding(&self) -> Binding {
        self.binding
    }
}

/// Without its keys.
impl fmt::Debug for Loaded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Loaded({:?})", self.settings)
    }
}

impl Leaf {
    /// What should be known of the time in which it is valid; `now` is in seconds since 1970.
    pub(super) fn warning(&self, now: i64) -> Option<String> {
        let Self {
            told,
            not_before,
            not_after,
            ..
        } = self;
        if *not_after < now {
            let day = day(*not_after);
            return Some(format!(
                "{told} expired on {day}: clients refuse it; have it renewed"
            ));
        }
        (*not_before > now).then(|| {
            let day = day(*not_before);
            format!("{told} is not valid before {day}: clients refuse it until then; is the clock right?")
        })
    }
}

/// The files of a listener while they are read.
struct Reading<'a> {
    listener: &'a ListenerSettings,
    provider: Arc<CryptoProvider>,
    digest: Context,
    problems: Vec<FileProblem>,
    warnings: Vec<String>,
}

impl Reading<'_> {
    fn pair(&mut self, certificate: &Path, key: &Path) -> Option<(Certificate, Leaf)> {
        let contents = [(certificate, "certificate"), (key, "key")]
            .map(|(path, key)| self.contents(path, key));
        let [Some(of_certificate), Some(of_key)] = contents else {
            return None;
        };
        let (told, key_told) = (self.told(certificate, "certificate"), self.told(key, "key"));
        if of_key.is_public() {
            let warning = format!(
                "{key_told} is for any user of this machine to read: run `chmod 640` on it, with the server's group"
            );
            self.warnings.push(warning);
        }
        match pair(&of_certificate.bytes, &of_key.bytes, &self.provider) {
            Ok(pair) => {
                let refusals = refusals(&pair.key.cert[0], pair.validity).into_iter();
                self.warnings
                    .extend(refusals.map(|why| format!("{told} {why}")));
                let leaf = Leaf {
                    certificate: pair.key.cert[0].clone(),
                    told,
                    names: pair.names.clone(),
                    not_before: pair.validity.not_before,
                    not_after: pair.validity.not_after,
                };
                Some((pair, leaf))
            }
            Err(PairFault::Certificate(fault)) => {
                self.problem(certificate, "certificate", fault);
                None
            }
            Err(PairFault::Key(fault)) => {
                self.problem(key, "key", fault);
                None
            }
        }
    }

    fn authorities(&mut self, path: &Path) -> Option<RootCertStore> {
        let contents = self.contents(path, "client_ca")?;
        let authorities = authorities(&contents.bytes);
        authorities
            .map_err(|fault| self.problem(path, "client_ca", fault))
            .ok()
    }

    fn contents(&mut self, path: &Path, key: &str) -> Option<Contents> {
        match files::read(path) {
            Ok(contents) => {
                self.digest.update(&contents.bytes.len().to_ne_bytes());
                self.digest.update(&contents.bytes);
                Some(contents)
            }
            Err(fault) => {
                self.problem(path, key, fault);
                None
            }
        }
    }

    fn problem(&mut self, path: &Path, key: &str, fault: (String, String)) {
        let problem = FileProblem::of(path, &self.listener.tls_key(key), fault);
        self.problems.push(problem);
    }

    fn told(&self, path: &Path, key: &str) -> String {
        format!("{} ({})", path.display(), self.listener.tls_key(key))
    }
}

fn server_config(
    tls: &Tls,
    certificates: &[Certificate],
    authorities: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, String> {
    let versions: Vec<&SupportedProtocolVersion> = tls.versions.iter().map(version).collect();
    let told = |error: rustls::Error| plain(&error);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&versions).map_err(told)?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match tls.requires_certificate() {
                true => verifier,
                false => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(certificates)));
    let protocols = tls.alpn.iter();
    config.alpn_protocols = protocols.map(|name| name.clone().into_bytes()).collect();
    // It would be behind a lock that all shards share: sessions are resumed by tickets alone.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn version(version: &TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::V1_2 => &TLS12,
        TlsVersion::V1_3 => &TLS13,
    }
}

/// What says whose tickets are good at a listener: its name, and which clients it lets in.
fn binding(name: &str, tls: &Tls, authorities: Option<&RootCertStore>) -> Binding {
    let mut digest = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    add(b"corelane tickets");
    add(name.as_bytes());
    if let Some(authorities) = authorities {
        add(&[u8::from(tls.requires_certificate())]);
        for root in &authorities.roots {
            add(root.subject.as_ref());
            add(root.subject_public_key_info.as_ref());
        }
    }
    whole(digest)
}

fn whole(digest: Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tls::scratch::{Issued, Scratch, listener};

    /// The TLS of a listener with these keys, over one certificate for `a.test`.
    fn read(scratch: &Scratch, keys: &str) -> Result<Loaded, Vec<FileProblem>> {
        let listener = listener(scratch, keys);
        let tls = listener.tls.clone().expect("it has TLS");
        Loaded::read(&listener, &tls)
    }

    fn loaded(scratch: &Scratch, keys: &str) -> Loaded {
        read(scratch, keys).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[test]
    fn the_settings_are_those_of_the_configuration() {
        let scratch = Scratch::new();
        scratch.issue("server", &Issued::of(&["a.test"]));
        let loaded = loaded(
            &scratch,
            "alpn = ['h2', 'x']\nhandshake_timeout = '3s'\nhandshakes_per_turn_max = 9\n",
        );
        let acceptance = loaded.acceptance(None);
        let config = &acceptance.config;
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"x".to_vec()]);
        assert_eq!(acceptance.handshake_timeout, Duration::from_secs(3));
        assert_eq!(acceptance.handshakes_per_turn_max, 9);
        assert_eq!(
            (config.send_tls13_tickets, config.ticketer.enabled()),
            (0, false)
        );
        assert!(!config.session_storage.can_cache());
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.leaves[0].names, ["a.test"]);
    }

    #[test]
    fn every_bad_file_is_told_with_its_key_at_once() {
        let scratch = Scratch::new();
        scratch.issue("server", &Issued::of(&["a.test"]));
        scratch.write("server.key", "");
        let text = "client_ca = 'DIR/none.pem'\n";
        let problems = read(&scratch, text).expect_err("two are bad");
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let directory = scratch.directory().display();
        assert_eq!(
            told,
            [
                format!(
                    "cannot use {directory}/server.key (listener.tls.key), it has no private key in PEM: name the key's file here"
                ),
                format!(
                    "cannot use {directory}/none.pem (listener.tls.client_ca), it does not exist: put it there, or name another file here"
                ),
            ]
        );
    }

    #[test]
    fn what_is_the_same_is_known_and_what_binds_tickets_is_whom_it_lets_in() {
        let scratch = Scratch::new();
        scratch.issue("server", &Issued::of(&["a.test"]));
        scratch.issue("ca", &Issued::of(&["ca.test"]));
        let first = loaded(&scratch, "");
        assert!(loaded(&scratch, "").is_as(&first));
        let alpn = loaded(&scratch, "alpn = ['x']\n");
        assert!(!alpn.is_as(&first));
        assert_eq!(alpn.binding(), first.binding());
        let (ca, may) = ("client_ca = 'DIR/ca.crt'\n", "client_required = false\n");
        let bindings = [
            first.binding(),
            loaded(&scratch, ca).binding(),
            loaded(&scratch, &format!("{ca}{may}")).binding(),
        ];
        scratch.issue("ca", &Issued::of(&["ca.test"]));
        let of_other = loaded(&scratch, ca).binding();
        scratch.issue("server", &Issued::of(&["a.test"]));
        let renewed = loaded(&scratch, "");
        assert!(!renewed.is_as(&first));
        assert_eq!(
            renewed.binding(),
            first.binding(),
            "a new certificate spoils no ticket"
        );
        let all = [bindings[0], bindings[1], bindings[2], of_other];
        for (place, binding) in all.iter().enumerate() {
            assert!(!all[..place].contains(binding), "{place}");
        }
    }

    #[test]
    fn a_certificate_out_of_its_time_and_a_key_for_all_are_warned_of() {
        let scratch = Scratch::new();
        let issued = Issued::between(&["a.test"], (2030, 1, 2), (2040, 3, 4));
        scratch.issue("server", &issued);
        let path = scratch.path("server.key");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604))
            .expect("it is ours");
        let loaded = loaded(&scratch, "");
        assert!(loaded.warnings[0].contains("for any user of this machine to read"));
        let leaf = &loaded.leaves[0];
        let second = 1;
        assert_eq!(leaf.warning(leaf.not_before), None);
        assert_eq!(leaf.warning(leaf.not_after), None);
        let early = leaf
            .warning(leaf.not_before - second)
            .expect("it is not valid yet");
        assert!(early.contains("is not valid before 2030-01-02"), "{early}");
        let late = leaf
            .warning(leaf.not_after + second)
            .expect("it has expired");
        assert!(
            late.contains("(listener.tls.certificate) expired on 2040-03-04"),
            "{late}"
        );
        assert_eq!(loaded.expires(), Some(leaf.not_after));
        assert!(!format!("{loaded:?}").contains("BEGIN"));
    }

    #[test]
    fn a_certificate_that_clients_refuse_is_warned_of() {
        let scratch = Scratch::new();
        scratch.issue("server", &Issued::of(&[]));
        let path = scratch.path("server.crt");
        let expected = format!(
            "{} (listener.tls.certificate) has no DNS name and no IP address (subjectAltName): clients refuse it; \
             have one issued with the names of the server",
            path.display()
        );
        assert_eq!(loaded(&scratch, "").warnings, [expected]);
    }
}
