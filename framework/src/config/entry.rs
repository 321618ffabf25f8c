//! What is known of a key beside its value: for the documents, and for whoever misspells it.

use super::checker::Checker;
use super::kind::Kind;
use super::value::Value;

/// One key.
pub(super) struct Entry {
    pub(super) key: &'static str,
    /// What it does, in paragraphs.
    pub(super) about: Vec<String>,
    /// What its value is to be: type, unit, range.
    pub(super) expected: String,
    /// Its value where nothing is written; in the documents an example where that cannot be.
    pub(super) default: String,
    pub(super) required: bool,
    /// Whether it stands in the shipped files: most people who run a server consider it.
    pub(super) shipped: bool,
    /// Whether a reload can change it while the server runs.
    pub(super) live: bool,
}

impl Entry {
    /// A key with the lines of its comment; one that needs a restart.
    pub(super) fn of<T, K: Kind<T>>(
        key: &'static str,
        comment: &[&str],
        shipped: bool,
        kind: &K,
        default: &T,
    ) -> Self {
        Self {
            key,
            about: paragraphs(comment),
            expected: kind.range(),
            default: kind.write(default).to_toml(),
            required: K::REQUIRED,
            shipped,
            live: false,
        }
    }
}

/// One section with its keys.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) about: Vec<String>,
    pub(super) entries: Vec<Entry>,
}

impl Section {
    pub(super) fn of<G: Group>(name: &'static str) -> Self {
        Self {
            name,
            about: paragraphs(G::COMMENT),
            entries: G::entries(),
        }
    }
}

/// The name of a section, and every key of it with its value.
pub(super) type Written = (String, Vec<(&'static str, Value)>);

/// Settings that stand together, in a section of their own or within one.
pub(super) trait Group: Sized {
    /// The lines of the comment on all of them.
    const COMMENT: &'static [&'static str];

    fn keys() -> Vec<&'static str>;

    fn entries() -> Vec<Entry>;

    fn read(section: &str, checker: &mut Checker<'_>) -> Self;

    /// The same where what is not written is as in `base`.
    fn read_over(base: &Self, section: &str, checker: &mut Checker<'_>) -> Self;

    /// Every key with its value, as an operator would write it.
    fn write(&self) -> Vec<(&'static str, Value)>;
}

/// The paragraphs that lines make, an empty line between two of them.
fn paragraphs(lines: &[&str]) -> Vec<String> {
    let paragraphs = lines.split(|line| line.trim().is_empty());
    let joined = paragraphs.map(|lines| {
        let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    });
    joined.filter(|paragraph| !paragraph.is_empty()).collect()
}
