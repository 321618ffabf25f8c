//! The names of sections and keys, and which of them a misspelt one is nearest to.

use super::Settings;
use super::raw::{Keys, NAMED, SECTIONS, known_keys};

/// Every section and its keys; `None` where any key is taken. [`NAMED`] is among them, with the
/// keys of each section in it.
pub(super) struct Known(Vec<(&'static str, Option<Keys>)>);

impl Known {
    /// The framework's sections, and `[app]` with the keys of `S`.
    pub(super) fn of<S: Settings>() -> Self {
        let ours = SECTIONS
            .iter()
            .chain([&NAMED])
            .map(|(name, keys)| (*name, keys()));
        Self(ours.chain([("app", known_keys::<S>())]).collect())
    }

    /// `None`: no such section. `Some(None)`: a section that takes any key.
    pub(super) fn keys_of(&self, section: &str) -> Option<Option<Keys>> {
        self.0
            .iter()
            .find(|(name, _)| *name == section)
            .map(|(_, keys)| *keys)
    }

    /// What to say to someone who wrote a section that does not exist, or a key outside of any
    /// section.
    pub(super) fn nearest_section(&self, written: &str) -> Option<String> {
        let sections = self.0.iter().map(|(name, _)| *name);
        if let Some(near) = nearest(written, sections.clone()) {
            return Some(format!("did you mean [{}]?", placed(near)));
        }
        let elsewhere = self
            .owner_of(written)
            .map(|owner| format!("did you mean {}.{written}?", placed(owner)));
        elsewhere.or_else(|| Some(format!("the sections are {}", list(sections.map(placed)))))
    }

    /// What to say to someone who wrote a key that `section` does not have; a section in [`NAMED`]
    /// goes by both names.
    pub(super) fn nearest_key(&self, section: &str, written: &str) -> String {
        let kind = section.split('.').next().unwrap_or_default();
        let keys = self
            .keys_of(kind)
            .flatten()
            .unwrap_or_default()
            .iter()
            .copied();
        if let Some(owner) = self.owner_of(written) {
            return format!("did you mean {}.{written}?", placed(owner));
        }
        if let Some(near) = nearest(written, keys.clone()) {
            return format!("did you mean {section}.{near}?");
        }
        match keys.len() {
            0 => format!("[{section}] has no keys"),
            _ => format!("the keys of [{section}] are {}", list(keys)),
        }
    }

    fn owner_of(&self, key: &str) -> Option<&'static str> {
        let owner = self
            .0
            .iter()
            .find(|(_, keys)| keys.is_some_and(|keys| keys.contains(&key)))?;
        Some(owner.0)
    }
}

/// A section as an operator would write it.
pub(super) fn placed(section: &str) -> &str {
    if section == NAMED.0 {
        "upstream.NAME"
    } else {
        section
    }
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The known name nearest to the written one, if it is near enough to have been meant.
pub(super) fn nearest(
    written: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let near = known.map(|name| (distance(written, name), name)).min()?;
    (near.0 <= near.1.len().div_ceil(3)).then_some(near.1)
}

/// Edit distance (Levenshtein): the insertions, deletions and replacements that make one name the
/// other.
fn distance(written: &str, known: &str) -> usize {
    if written.len().abs_diff(known.len()) > known.len() {
        return usize::MAX; // too far in any case, and an operator's key may be as long as the file
    }
    let known: Vec<char> = known.chars().collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (i, have) in written.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, want) in known.iter().enumerate() {
            let replaced = diagonal + usize::from(have != *want);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[known.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("idle", "idle"), 0);
        assert_eq!(distance("idel", "idle"), 2);
        assert_eq!(distance("", "idle"), 4);
        assert_eq!(distance("shard", "shards"), 1);
        assert_eq!(distance("listne", "listen"), 2);
        assert_eq!(distance(&"x".repeat(1 << 20), "idle"), usize::MAX);
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = ["listen", "shards", "cpus"];
        assert_eq!(nearest("listne", known.into_iter()), Some("listen"));
        assert_eq!(nearest("cpu", known.into_iter()), Some("cpus"));
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(nearest("x", [].into_iter()), None);
    }
}
