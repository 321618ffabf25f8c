//! Whom a client trusts: the authorities of the web, those of a file, or the system's.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;

use crate::config::Roots;

use super::certificates::{authorities, authorities_of_system};
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

/// All of those who vouch.
pub(super) fn load(roots: &Roots) -> Result<RootCertStore, (Option<PathBuf>, Fault)> {
    let Some(path) = file(roots).map_err(|fault| (None, fault))? else {
        return Ok(web());
    };
    let read = files::read(&path).and_then(|contents| in_file(roots, &contents.bytes));
    read.map_err(|fault| (Some(path), fault))
}

/// Those of the web.
pub(super) fn web() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

/// The file that has them; none: they are those of the web, which the program has itself.
pub(super) fn file(roots: &Roots) -> Result<Option<PathBuf>, Fault> {
    match roots {
        Roots::Web => Ok(None),
        Roots::File(path) => Ok(Some(path.clone())),
        Roots::System => of_system().map(Some),
    }
}

/// Those in the bytes of that file.
pub(super) fn in_file(roots: &Roots, bytes: &[u8]) -> Result<RootCertStore, Fault> {
    match roots {
        Roots::System => authorities_of_system(bytes),
        Roots::Web | Roots::File(_) => authorities(bytes),
    }
}

fn of_system() -> Result<PathBuf, Fault> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    match BUNDLES
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
    {
        Some(path) => Ok(path.to_owned()),
        None => {
            let remedy = format!("install the package ca-certificates, or set {VARIABLE}");
            fault("the system has no bundle of certificates", remedy)
        }
    }
}
