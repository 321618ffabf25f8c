//! The names of sections that are not as the others: those that are several, and those within others.

/// The section that holds sections with names of the operator's choice.
pub(super) const NAMED: &str = "upstream";
/// The section that may be several instead: `[[listener]]`.
pub(super) const LISTENER: &str = "listener";
/// The table within a listener's, and within an upstream's.
pub(super) const TLS: &str = "tls";
/// The same of `[listener]`, as a section.
pub(super) const TLS_SECTION: &str = "listener.tls";

/// The same of an upstream, as the documents name it.
pub(super) const UPSTREAM_TLS_SECTION: &str = "upstream.NAME.tls";

/// The section of TLS within a listener's or an upstream's.
pub(super) fn tls_section(section: &str) -> String {
    format!("{section}.{TLS}")
}

/// The section of the TLS of an upstream.
pub(crate) fn upstream_tls_section(name: &str) -> String {
    format!("{NAMED}.{name}.{TLS}")
}

/// Whether it is the section of an upstream.
pub(super) fn is_upstream(section: &str) -> bool {
    let name = section
        .strip_prefix(NAMED)
        .and_then(|name| name.strip_prefix('.'));
    name.is_some_and(|name| !name.is_empty() && !name.contains('.'))
}

/// Whether it is one of TLS, of an upstream.
pub(super) fn is_upstream_tls(section: &str) -> bool {
    let upstream = section
        .strip_suffix(TLS)
        .and_then(|upstream| upstream.strip_suffix('.'));
    upstream.is_some_and(is_upstream)
}

/// Whether it is the section of one `[[listener]]`.
pub(super) fn is_listener(section: &str) -> bool {
    let name = section
        .strip_prefix(LISTENER)
        .and_then(|name| name.strip_prefix('.'));
    name.is_some_and(|name| name != TLS && !name.contains('.'))
}

/// Whether it is one of TLS, of `[listener]` or of one `[[listener]]`.
pub(super) fn is_tls(section: &str) -> bool {
    let listener = section
        .strip_suffix(TLS)
        .and_then(|listener| listener.strip_suffix('.'));
    listener.is_some_and(|listener| listener == LISTENER || is_listener(listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_told_apart_by_their_names() {
        for (section, listener, tls) in [
            ("listener", false, false),
            ("listener.tls", false, true),
            ("listener.public", true, false),
            ("listener.public.tls", false, true),
            ("upstream.tls", false, false),
            ("tls", false, false),
        ] {
            assert_eq!(
                (is_listener(section), is_tls(section)),
                (listener, tls),
                "{section}"
            );
        }
        assert_eq!(tls_section(LISTENER), TLS_SECTION);
        for (section, upstream, tls) in [
            ("upstream", false, false),
            ("upstream.next", true, false),
            ("upstream.tls", true, false),
            ("upstream.next.tls", false, true),
            ("upstream.tls.tls", false, true),
            ("listener.tls", false, false),
        ] {
            let told = (is_upstream(section), is_upstream_tls(section));
            assert_eq!(told, (upstream, tls), "{section}");
        }
        assert!(is_upstream_tls(UPSTREAM_TLS_SECTION));
    }
}
