//! The file of ticket keys: a line that says what it is, and one for each key.
//!
//! ```text
//! corelane ticket keys 1
//! 1796115600 5e1c...
//! 1796072400 09af...
//! ```
//!
//! The number is when the key was made, in seconds since 1970; the newest comes first. The file is
//! never changed: a new one takes its place, so whoever reads it finds a whole one.

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, FlockOperation, RenameFlags, access, flock, renameat_with};

use super::files;
use super::problem::{Fault, fault};
use super::ticket_keys::{KEY_BYTES, TicketKey, TicketKeys};

const FIRST_LINE: &str = "corelane ticket keys 1";
/// Whoever can read it can read what is resumed: nobody but its user.
const MODE: u32 = 0o600;

/// The keys of the file; none: there is no file.
pub(super) fn read(path: &Path) -> Result<Option<TicketKeys>, Fault> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let contents = files::read(path)?;
    let Some(keys) = parse(&contents.bytes) else {
        let remedy = "remove it, and the server makes a new one: clients shake hands in full once";
        return fault("it is damaged, or no file of ticket keys", remedy);
    };
    if contents.is_shared() {
        return fault(
            "others than its user may read or write it",
            "run `chmod 600` on it",
        );
    }
    Ok(Some(keys))
}

/// Whether it could be made where there is none.
pub(super) fn may_be_made(path: &Path) -> Result<(), Fault> {
    let directory = directory(path);
    let may = access(directory, Access::WRITE_OK | Access::EXEC_OK);
    may.map_err(|error| unwritable(directory, &error.into()))
}

/// The keys of the file, which is made with `keys` if there is none. Another process may make it at
/// the same time: then its keys are the file's.
pub(super) fn read_or_make(path: &Path, keys: &TicketKeys) -> Result<TicketKeys, Fault> {
    if let Some(found) = read(path)? {
        return Ok(found);
    }
    let failed = |error: io::Error| unwritable(directory(path), &error);
    let written = write_beside(path, keys).map_err(failed)?;
    let moved = renameat_with(CWD, &written, CWD, path, RenameFlags::NOREPLACE);
    if moved.is_err() {
        drop(fs::remove_file(&written)); // whether it is gone or not matters to nobody
    }
    match moved {
        Ok(()) => Ok(keys.clone()),
        Err(rustix::io::Errno::EXIST) => Ok(read(path)?.unwrap_or_else(|| keys.clone())),
        Err(error) => Err(failed(error.into())),
    }
}

/// What became of a new key that was due.
pub(super) enum Renewal {
    /// These are the keys of the file now.
    Keys(TicketKeys),
    /// Another process is at it.
    Busy,
}

/// Replaces the file's keys by what `renew` makes of them. Of several processes one does at a time.
pub(super) fn renew(
    path: &Path,
    renew: impl FnOnce(TicketKeys) -> TicketKeys,
) -> Result<Renewal, Fault> {
    let failed = |error: io::Error| unwritable(directory(path), &error);
    let lock = files::open(path).map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Renewal::Busy),
        Err(error) => return Err(failed(error.into())),
    }
    // The lock may be that of a file that was replaced since: what is read now tells.
    let Some(before) = read(path)? else {
        return Err(failed(io::ErrorKind::NotFound.into()));
    };
    let keys = renew(before.clone());
    if keys != before {
        let written = write_beside(path, &keys).map_err(failed)?;
        fs::rename(&written, path).map_err(failed)?;
    }
    Ok(Renewal::Keys(keys))
}

/// Writes a file that is to take the place of `path`.
fn write_beside(path: &Path, keys: &TicketKeys) -> io::Result<PathBuf> {
    let mut name = OsString::from(path);
    name.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(name);
    drop(fs::remove_file(&beside)); // one of a process that had our number and was killed
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&beside)?;
    let written = file.write_all(print(keys).as_bytes());
    if let Err(error) = written.and_then(|()| file.sync_all()) {
        drop(fs::remove_file(&beside)); // each start that is refused would leave one more
        return Err(error);
    }
    Ok(beside)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn unwritable(directory: &Path, error: &io::Error) -> Fault {
    (
        format!("{} is not to be written to: {error}", directory.display()),
        "name a file in a directory of the server's user (StateDirectory= in the unit), or set it to \"off\""
            .to_owned(),
    )
}

fn print(keys: &TicketKeys) -> String {
    let mut text = format!("{FIRST_LINE}\n");
    for key in [Some(&keys.current), keys.before.as_ref()]
        .into_iter()
        .flatten()
    {
        let _ = write!(text, "{} ", key.made); // a text takes all of it
        key.secret.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02x}");
        });
        text.push('\n');
    }
    text
}

fn parse(contents: &[u8]) -> Option<TicketKeys> {
    let keys = str::from_utf8(contents)
        .ok()?
        .strip_prefix(FIRST_LINE)?
        .strip_prefix('\n')?
        .strip_suffix('\n')?;
    let mut lines = keys.split('\n');
    let keys = TicketKeys {
        current: parse_key(lines.next()?)?,
        before: match lines.next() {
            Some(line) => Some(parse_key(line)?),
            None => None,
        },
    };
    lines.next().is_none().then_some(keys)
}

fn parse_key(line: &str) -> Option<TicketKey> {
    let (made, digits) = line.split_once(' ')?;
    let is_plain = made.bytes().all(|byte| byte.is_ascii_digit());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !is_plain || pairs.len() != KEY_BYTES || !rest.is_empty() {
        return None;
    }
    let mut secret = [0; KEY_BYTES];
    for (byte, [high, low]) in secret.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(TicketKey {
        made: made.parse().ok()?,
        secret,
    })
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;
    use crate::tls::scratch::Scratch;

    fn two_keys() -> TicketKeys {
        TicketKeys::new(1000).at(1100, 100)
    }

    fn renewed(path: &Path, now: u64) -> TicketKeys {
        match renew(path, |keys| keys.at(now, 100)) {
            Ok(Renewal::Keys(keys)) => keys,
            _ => panic!("nobody else is at it"),
        }
    }

    #[test]
    fn the_file_is_made_once_and_for_its_user_alone() {
        let scratch = Scratch::new();
        let path = scratch.path("keys");
        let keys = two_keys();
        assert_eq!(read(&path), Ok(None));
        assert_eq!(read_or_make(&path, &keys), Ok(keys.clone()));
        assert_eq!(
            read_or_make(&path, &two_keys()),
            Ok(keys.clone()),
            "the file's"
        );
        assert_eq!(read(&path), Ok(Some(keys)));
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let left = fs::read_dir(scratch.directory())
            .expect("it is ours")
            .count();
        assert_eq!(left, 1, "nothing else is left");
    }

    #[test]
    fn a_new_key_replaces_the_file_and_a_key_that_is_not_due_leaves_it() {
        let scratch = Scratch::new();
        let path = scratch.path("keys");
        let first = read_or_make(&path, &TicketKeys::new(1000)).expect("it is made");
        assert_eq!(renewed(&path, 1099), first);
        let second = renewed(&path, 1100);
        assert_eq!(second.before, Some(first.current));
        assert_eq!(renewed(&path, 1150), second, "another process has done it");
        assert_eq!(read(&path), Ok(Some(second)));
    }

    #[test]
    fn while_another_is_at_it_there_is_nothing_to_do() {
        let scratch = Scratch::new();
        let path = scratch.path("keys");
        read_or_make(&path, &TicketKeys::new(1000)).expect("it is made");
        let held = File::open(&path).expect("it is there");
        flock(&held, FlockOperation::LockExclusive).expect("nobody has it");
        let outcome = renew(&path, |_| panic!("it is another's"));
        assert!(matches!(outcome, Ok(Renewal::Busy)));
        drop(held);
        renewed(&path, 1100);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let scratch = Scratch::new();
        let why = |path: &Path| read(path).expect_err("it cannot be used").0;
        let text = print(&two_keys());
        for (name, damaged) in [
            ("empty", ""),
            ("cut", &text[..text.len() - 1]),
            ("longer", &format!("{text}\n")),
            ("third", &format!("{text}1 00\n")),
            ("other", "-----BEGIN CERTIFICATE-----\n"),
            ("upper", &text.replace(['a', 'b', 'c', 'd'], "A")),
            ("signed", &text.replace("\n1", "\n+1")),
        ] {
            let path = scratch.write(name, damaged);
            assert_eq!(
                why(&path),
                "it is damaged, or no file of ticket keys",
                "{name}"
            );
        }
        let shared = scratch.write("shared", &text);
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o640)).expect("it is ours");
        assert!(why(&shared).starts_with("others"));
        let pipe = scratch.pipe("pipe");
        assert_eq!(why(&pipe), "it is no regular file");
        let renewal = renew(&pipe, |_| panic!("there are no keys"));
        assert!(renewal.is_err(), "and nobody waits for a writer");
        let nowhere = scratch.path("none/keys");
        assert!(read_or_make(&nowhere, &two_keys()).is_err());
        assert!(may_be_made(&nowhere).is_err());
        assert_eq!(may_be_made(&shared), Ok(()));
    }

    proptest! {
        #[test]
        fn any_text_is_keys_that_print_as_it_or_none(text in "(corelane ticket keys 1\n)?[0-9a-f \n]{0,150}") {
            properties::hold_for(text.as_bytes());
        }

        #[test]
        fn keys_are_read_as_they_were_written(now in 0_u64..1 << 40, later in 0_u64..300) {
            let keys = TicketKeys::new(now).at(now + later, 100);
            prop_assert_eq!(parse(print(&keys).as_bytes()), Some(keys));
        }
    }
}
