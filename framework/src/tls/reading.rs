//! The files of one table of TLS, a listener's or an upstream's, while they are read: what is in
//! them, what is wrong with them, and what should be known of them.

use std::path::Path;
use std::sync::Arc;

use ::ring::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};

use crate::config::TlsVersion;

use super::certificates::{Certificate, PairFault, pair};
use super::files::{self, Contents};
use super::problem::{Fault, FileProblem};
use super::validity::day;

/// The files of one table while they are read.
pub(super) struct Reading {
    /// The table's section, with which its keys are told.
    section: String,
    /// Who is shown its certificates.
    peers: &'static str,
    pub(super) provider: Arc<CryptoProvider>,
    digest: Context,
    pub(super) problems: Vec<FileProblem>,
    pub(super) warnings: Vec<String>,
}

impl Reading {
    pub(super) fn of(section: String, peers: &'static str) -> Self {
        Self {
            section,
            peers,
            provider: Arc::new(default_provider()),
            digest: Context::new(&SHA256),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The certificate of one file with the key of the other, which the keys `certificate` and `key`
    /// name.
    pub(super) fn pair(&mut self, certificate: &Path, key: &Path) -> Option<(Certificate, Leaf)> {
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
                let leaf = Leaf {
                    certificate: pair.key.cert[0].clone(),
                    told,
                    names: pair.names.clone(),
                    not_before: pair.validity.not_before,
                    not_after: pair.validity.not_after,
                    peers: self.peers,
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

    /// Those who vouch for others, by the file that `key` names; `parse` finds them in its bytes.
    pub(super) fn authorities(
        &mut self,
        path: &Path,
        key: &str,
        parse: impl FnOnce(&[u8]) -> Result<RootCertStore, Fault>,
    ) -> Option<RootCertStore> {
        let contents = self.contents(path, key)?;
        parse(&contents.bytes)
            .map_err(|fault| self.problem(path, key, fault))
            .ok()
    }

    /// A digest of all that was read.
    pub(super) fn files(&self) -> [u8; 32] {
        whole(self.digest.clone())
    }

    /// A problem that is of no file.
    pub(super) fn refuse(&mut self, key: &str, (why, remedy): Fault) {
        self.problems.push(FileProblem {
            what: format!("cannot use {}", self.key(key)),
            why,
            remedy,
        });
    }

    /// A file with the key that names it.
    pub(super) fn told(&self, path: &Path, key: &str) -> String {
        format!("{} ({})", path.display(), self.key(key))
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.section)
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

    fn problem(&mut self, path: &Path, key: &str, fault: Fault) {
        let problem = FileProblem::of(path, &self.key(key), fault);
        self.problems.push(problem);
    }
}

/// A certificate as it was read, without its key.
pub(super) struct Leaf {
    pub(super) certificate: CertificateDer<'static>,
    /// Its file, with the key that names it.
    pub(super) told: String,
    pub(super) names: Vec<String>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// Who is shown it.
    peers: &'static str,
}

impl Leaf {
    /// A line for the log: whose it is, and until when.
    pub(super) fn news(&self) -> String {
        let (told, day) = (&self.told, day(self.not_after));
        match self.names.is_empty() {
            true => format!("{told} is good until {day}"),
            false => format!("{told} is for {} until {day}", self.names.join(" ")),
        }
    }

    /// What should be known of the time in which it is valid; `now` is in seconds since 1970.
    pub(super) fn warning(&self, now: i64) -> Option<String> {
        let Self {
            told,
            not_before,
            not_after,
            peers,
            ..
        } = self;
        if *not_after < now {
            let day = day(*not_after);
            return Some(format!(
                "{told} expired on {day}: {peers} refuse it; have it renewed"
            ));
        }
        (*not_before > now).then(|| {
            let day = day(*not_before);
            format!("{told} is not valid before {day}: {peers} refuse it until then; is the clock right?")
        })
    }
}

/// As rustls has it.
pub(super) fn version(version: &TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::V1_2 => &TLS12,
        TlsVersion::V1_3 => &TLS13,
    }
}

/// What all of it comes to.
pub(super) fn whole(digest: Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    bytes
}
