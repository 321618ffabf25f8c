//! Whom a client trusts: the authorities of the web, those of a file, or the system's.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;

use super::certificates::authorities;
use super::files;
use super::problem::{Fault, fault};

/// Where systems keep their bundle: Debian and Alpine, Fedora, openSUSE, and others. As OpenSSL does
/// it `SSL_CERT_FILE` goes first.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const VARIABLE: &str = "SSL_CERT_FILE";

/// Who vouches for a server.
#[derive(Clone, Debug)]
pub(super) enum Roots {
    Web,
    File(PathBuf),
    System,
}

impl Roots {
    pub(super) fn load(&self) -> Result<RootCertStore, (Option<PathBuf>, Fault)> {
        match self {
            Self::Web => Ok(RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            }),
            Self::File(path) => of_file(path),
            Self::System => of_system(),
        }
    }
}

fn of_file(path: &Path) -> Result<RootCertStore, (Option<PathBuf>, Fault)> {
    let roots = files::read(path).and_then(|contents| authorities(&contents.bytes));
    roots.map_err(|fault| (Some(path.to_owned()), fault))
}

fn of_system() -> Result<RootCertStore, (Option<PathBuf>, Fault)> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return of_file(Path::new(&path));
    }
    match BUNDLES
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
    {
        Some(path) => of_file(path),
        None => {
            let remedy = format!("install the package ca-certificates, or set {VARIABLE}");
            fault("the system has no bundle of certificates", remedy).map_err(|fault| (None, fault))
        }
    }
}
