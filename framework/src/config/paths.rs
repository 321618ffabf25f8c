//! Paths of files, one or several, and words in their place.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::kind::{Expect, Kind, Mistake};
use super::value::Value;

/// Bytes of a path at most: PATH_MAX of Linux has one more, for the end.
const PATH_MAX: usize = 4095;
const OFF: &str = "off";

/// A path of a file, or a list of them. It has no default.
pub(super) struct Files {
    pub(super) count_max: usize,
}

impl fmt::Display for Files {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.count_max;
        write!(out, "the path of a file, or a list of 1 to {most} of them")
    }
}

impl Expect for Files {
    const REQUIRED: bool = true;

    fn mistakes(&self, wrong: &Spanned<Value>) -> Vec<Mistake> {
        match wrong.get_ref() {
            Value::List(items) if (1..=self.count_max).contains(&items.len()) => {
                let wrong = items.iter().filter(|item| path(item.get_ref()).is_none());
                let mistake = |item| Mistake::found(item, "the path of a file", None);
                wrong.map(mistake).collect()
            }
            _ => vec![Mistake::found(wrong, self, None)],
        }
    }
}

impl Kind<Vec<PathBuf>> for Files {
    fn read(&self, value: &Value) -> Option<Vec<PathBuf>> {
        let Value::List(items) = value else {
            return Some(vec![path(value)?]);
        };
        let paths: Option<Vec<PathBuf>> = items.iter().map(|item| path(item.get_ref())).collect();
        paths.filter(|paths| (1..=self.count_max).contains(&paths.len()))
    }

    fn write(&self, setting: &Vec<PathBuf>) -> Value {
        match &setting[..] {
            [one] => written(one),
            several => Value::list(several.iter().map(|path| written(path))),
        }
    }
}

/// A path of a file, or the word for none.
pub(super) struct FileOrOff;

impl fmt::Display for FileOrOff {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the path of a file, or \"{OFF}\"")
    }
}

impl Expect for FileOrOff {
    fn help(&self, wrong: &Value) -> Option<String> {
        match wrong {
            Value::Boolean(false) => Some(format!("write \"{OFF}\"")),
            _ => None,
        }
    }
}

impl Kind<Option<PathBuf>> for FileOrOff {
    fn read(&self, value: &Value) -> Option<Option<PathBuf>> {
        match value {
            Value::Text(text) if text == OFF => Some(None),
            value => path(value).map(Some),
        }
    }

    fn write(&self, setting: &Option<PathBuf>) -> Value {
        let off = || Value::Text(OFF.to_owned());
        setting.as_deref().map_or_else(off, written)
    }
}

/// Who vouches for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those whom browsers trust.
    Web,
    /// Those whom this machine trusts.
    System,
    /// Those of a file in PEM.
    File(PathBuf),
}

/// A path of a file of certificates, or a word for those of others.
pub(super) struct FileOrRoots;

const WEB: &str = "web";
const SYSTEM: &str = "system";

impl fmt::Display for FileOrRoots {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the path of a file, \"{WEB}\" or \"{SYSTEM}\"")
    }
}

impl Expect for FileOrRoots {}

impl Kind<Roots> for FileOrRoots {
    fn read(&self, value: &Value) -> Option<Roots> {
        match value {
            Value::Text(text) if text == WEB => Some(Roots::Web),
            Value::Text(text) if text == SYSTEM => Some(Roots::System),
            value => path(value).map(Roots::File),
        }
    }

    fn write(&self, setting: &Roots) -> Value {
        match setting {
            Roots::Web => Value::Text(WEB.to_owned()),
            Roots::System => Value::Text(SYSTEM.to_owned()),
            Roots::File(path) => written(path),
        }
    }
}

fn path(value: &Value) -> Option<PathBuf> {
    let Value::Text(text) = value else {
        return None;
    };
    let fits = (1..=PATH_MAX).contains(&text.len()) && !text.contains('\0');
    fits.then(|| text.into())
}

fn written(path: &Path) -> Value {
    let bytes = path.as_os_str().as_bytes();
    Value::Text(String::from_utf8_lossy(bytes).into_owned()) // it was text when it was read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn one_path_and_a_list_of_them_are_read_and_written_back() {
        let files = Files { count_max: 2 };
        let list = |paths: &[&str]| Value::list(paths.iter().map(|path| text(path)));
        for value in [text("/a.pem"), text("a.pem"), list(&["/a", "/b"])] {
            let read = files.read(&value).expect("it fits");
            assert_eq!(files.write(&read), value);
        }
        assert_eq!(files.read(&list(&["/a"])), Some(vec!["/a".into()]));
        let long = "x".repeat(PATH_MAX + 1);
        for value in [
            text(""),
            text("a\0b"),
            text(&long),
            list(&[]),
            list(&["a", "b", "c"]),
            Value::Integer(1),
        ] {
            assert_eq!(files.read(&value), None, "{value:?}");
        }
    }

    #[test]
    fn a_word_stands_for_the_certificates_of_others() {
        for (word, roots) in [
            ("web", Roots::Web),
            ("system", Roots::System),
            ("./web", Roots::File("./web".into())),
        ] {
            assert_eq!(FileOrRoots.read(&text(word)), Some(roots.clone()));
            assert_eq!(FileOrRoots.write(&roots), text(word));
        }
        assert_eq!(FileOrRoots.read(&text("")), None);
        assert_eq!(FileOrRoots.read(&Value::Boolean(true)), None);
    }

    #[test]
    fn off_is_no_path() {
        for value in [text("off"), text("/off")] {
            let read = FileOrOff.read(&value).expect("it fits");
            assert_eq!(FileOrOff.write(&read), value);
        }
        assert_eq!(FileOrOff.read(&text("off")), Some(None));
        assert_eq!(FileOrOff.read(&Value::Boolean(false)), None);
    }
}
