//! Tests: a directory that goes with the value, and certificates made for the purpose.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ED25519,
    date_time_ymd,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::config::Config;
use crate::settings::Settings;

/// A directory.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("corelane-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a place for files");
        Self(path)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.0
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes `NAME.crt` and `NAME.key`.
    pub(crate) fn issue(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.crt"), issued.certificate.pem());
        let key = self.write(&format!("{name}.key"), issued.key.serialize_pem());
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(key, mode).expect("it is ours");
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).expect("a file can be written");
        path
    }

    /// Makes a pipe that nobody writes to.
    pub(crate) fn pipe(&self, name: &str) -> PathBuf {
        let (path, mode) = (self.path(name), Mode::RUSR | Mode::WUSR);
        mknodat(CWD, &path, FileType::Fifo, mode, 0).expect("a pipe can be made");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Settings in which DIR is the directory.
pub(crate) fn config(scratch: &Scratch, text: &str) -> Config {
    let directory = scratch.directory().display().to_string();
    let text = text.replace("DIR", &directory);
    Settings::from_toml(text).load().expect("fine settings")
}

/// Those of a listener with TLS by `server.crt` and `server.key`, and with further keys of its table.
pub(crate) fn listener(scratch: &Scratch, keys: &str) -> Config {
    let files = "[listener.tls]\ncertificate = 'DIR/server.crt'\nkey = 'DIR/server.key'\n";
    config(scratch, &format!("{files}{keys}"))
}

/// A certificate that its own key has signed.
pub(crate) struct Issued {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Issued {
    /// For these names, of ECDSA on P-256.
    pub(crate) fn of(names: &[&str]) -> Self {
        Self::with(params(names), KeyPair::generate().expect("a key"))
    }

    pub(crate) fn of_ed25519(names: &[&str]) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        Self::with(params(names), key)
    }

    /// Valid from one midnight to the other: year, month, day.
    pub(crate) fn between(names: &[&str], from: (i32, u8, u8), to: (i32, u8, u8)) -> Self {
        let mut params = params(names);
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        Self::with(params, KeyPair::generate().expect("a key"))
    }

    /// One that may vouch for others.
    pub(crate) fn of_authority(names: &[&str]) -> Self {
        let mut params = params(names);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self::with(params, KeyPair::generate().expect("a key"))
    }

    /// One that clients may show, and servers not.
    pub(crate) fn for_clients(names: &[&str]) -> Self {
        let mut params = params(names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Self::with(params, KeyPair::generate().expect("a key"))
    }

    fn with(params: CertificateParams, key: KeyPair) -> Self {
        Self {
            certificate: params.self_signed(&key).expect("a certificate"),
            key,
        }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("they are names")
}
