//! Which known name a misspelt one is nearest to.

/// The known name nearest to the written one, if it is near enough to have been meant.
pub(super) fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let near = known.map(|name| (distance(written, name), name)).min()?;
    (near.0 <= near.1.len().div_ceil(3)).then_some(near.1)
}

/// Edit distance (Levenshtein): the insertions, deletions and replacements that make one name the
/// other.
fn distance(written: &str, known: &str) -> usize {
    if written.len().abs_diff(known.len()) > known.len() {
        return usize::MAX; // too far in any case, and an operator's key may be as long as the file
    }
    strsim::levenshtein(written, known)
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
