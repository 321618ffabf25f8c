//! A certificate for servers of tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A certificate that its own key has signed, in two files (PEM) that are gone with the value.
#[derive(Debug)]
pub struct Certificate {
    directory: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// One for that DNS name or IP address.
    ///
    /// # Panics
    /// When its files cannot be written.
    #[must_use]
    pub fn of(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = format!("corelane-certificate-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        fs::create_dir(&directory).unwrap();
        let issued = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let made = Self {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
            directory,
        };
        fs::write(&made.certificate, issued.cert.pem()).unwrap();
        fs::write(&made.key, issued.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&made.key, Permissions::from_mode(0o600)).unwrap();
        made
    }

    /// The certificate's file: whoever trusts that trusts the server.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.certificate
    }

    /// The file of its key.
    #[must_use]
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// What gives it to a server of one listener, each for a `--set`.
    #[must_use]
    pub fn settings(&self) -> [String; 2] {
        let files = [("certificate", &self.certificate), ("key", &self.key)];
        files.map(|(key, file)| format!("listener.tls.{key}='{}'", file.display()))
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}
