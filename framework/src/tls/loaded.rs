//! A listener's TLS as its files have it: read, judged, and made the configuration of rustls.

use std::fmt;
use std::sync::Arc;

use ::ring::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::{ListenerSettings, Tls};

use super::acceptance::Acceptance;
use super::certificates::{self, Certificate};
use super::client_checks::refusals;
use super::names::ByName;
use super::problem::FileProblem;
use super::reading::{Leaf, Reading, version, whole};
use super::ticketer::{Binding, Ticketer};
use super::words::plain;

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
        let mut reading = Reading::of(listener.tls_section(), "clients");
        let pairs = settings.certificate.iter().zip(&settings.key);
        let pairs: Vec<_> = pairs
            .filter_map(|(certificate, key)| reading.pair(certificate, key))
            .collect();
        for (pair, leaf) in &pairs {
            let refusals = refusals(&leaf.certificate, pair.validity).into_iter();
            let warnings = refusals.map(|why| format!("{} {why}", leaf.told));
            reading.warnings.extend(warnings);
        }
        let authorities = settings.client_ca.as_deref();
        let authorities = authorities
            .and_then(|path| reading.authorities(path, "client_ca", certificates::authorities));
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
            files: reading.files(),
            warnings: reading.warnings,
            config,
            binding,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tls::scratch::{Issued, Scratch, listener};

    /// The TLS of a listener with these keys, over one certificate for `a.test`.
    fn read(scratch: &Scratch, keys: &str) -> Result<Loaded, Vec<FileProblem>> {
        let listener = listener(scratch, keys).listeners().remove(0);
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
