//! Files as they are read: whole, within a bound, and without waiting for anybody.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::problem::{Fault, fault};

/// Bytes of a file at most. No key: the certificates of all public authorities have a quarter of it.
const FILE_MAX: u64 = 1024 * 1024;
/// Whoever is neither the file's user nor of its group may read it.
const OTHERS_READ: u32 = 0o004;

/// What a file held.
pub(super) struct Contents {
    pub(super) bytes: Vec<u8>,
    mode: u32,
}

impl Contents {
    /// Whether any user of the machine may read it.
    pub(super) fn is_public(&self) -> bool {
        self.mode & OTHERS_READ != 0
    }

    /// Whether anybody but its own user may do anything with it.
    pub(super) fn is_shared(&self) -> bool {
        self.mode & 0o077 != 0
    }
}

/// The whole of a file.
pub(super) fn read(path: &Path) -> Result<Contents, Fault> {
    let file = open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return fault("it is no regular file", "name a file here");
    }
    let mut bytes = Vec::new();
    let read = file.take(FILE_MAX + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        let why = format!("it has more than {FILE_MAX} bytes");
        return fault(why, "name the right file here");
    }
    Ok(Contents {
        bytes,
        mode: metadata.mode(),
    })
}

/// Opens it for reading. A pipe is opened too, at once: it may not stop the thread.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let at_once = rustix::fs::OFlags::NONBLOCK.bits();
    File::options()
        .read(true)
        .custom_flags(at_once as i32)
        .open(path)
}

fn unreadable(error: io::Error) -> Fault {
    let (why, remedy) = match error.kind() {
        io::ErrorKind::NotFound => (
            "it does not exist".to_owned(),
            "put it there, or name another file here",
        ),
        io::ErrorKind::PermissionDenied => (
            "this user may not read it".to_owned(),
            "let the server's user read it and enter its directories (chgrp, chmod 640), or name another file here",
        ),
        _ => (
            format!("it cannot be read: {error}"),
            "name another file here",
        ),
    };
    (why, remedy.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::tls::scratch::Scratch;

    fn why(path: &Path) -> String {
        read(path).err().expect("it cannot be used").0
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let scratch = Scratch::new();
        assert_eq!(why(&scratch.path("none")), "it does not exist");
        assert_eq!(why(scratch.directory()), "it is no regular file");
        assert_eq!(why(&scratch.pipe("pipe")), "it is no regular file");
        let long = scratch.write("long", vec![b'x'; FILE_MAX as usize + 1]);
        assert!(why(&long).contains("more than"));
    }

    #[test]
    fn a_file_of_others_says_what_to_do() {
        // By its error: root, who may run the tests, may read any file.
        let (why, remedy) = unreadable(io::ErrorKind::PermissionDenied.into());
        assert_eq!(why, "this user may not read it");
        assert!(remedy.contains("chmod 640"), "{remedy}");
    }

    #[test]
    fn who_may_read_it_is_known() {
        let scratch = Scratch::new();
        let path = scratch.write("key", "x");
        for (mode, is_public, is_shared) in [
            (0o600, false, false),
            (0o640, false, true),
            (0o644, true, true),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            let Ok(contents) = read(&path) else {
                panic!("it can be read");
            };
            assert_eq!(
                (contents.is_public(), contents.is_shared()),
                (is_public, is_shared),
                "{mode:o}"
            );
        }
    }
}
