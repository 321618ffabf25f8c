//! Whose page a request comes from, as browsers tell it in `Origin` (RFC 6454; Fetch, 3.2). Any page
//! can have a browser send requests here: those of strange pages are not served, and those of pages
//! that are named may read the answers (CORS).

/// Whose page asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// No page: a program other than a browser, or a browser that goes to a page.
    None,
    /// This server's own.
    Own,
    /// One that the settings name.
    Named(String),
    Strange,
}

/// Judges the values of `Origin` in a request for `host`, where the pages of `named` are welcome; "*"
/// is any page.
pub(crate) fn judge<'v>(
    mut values: impl Iterator<Item = &'v [u8]>,
    host: &str,
    named: &[String],
) -> Origin {
    let Some(value) = values.next() else {
        return Origin::None;
    };
    let is_plain = value.iter().all(u8::is_ascii_graphic); // it comes to be in an answer's head
    let origin = match (str::from_utf8(value), values.next()) {
        (Ok(origin), None) if is_plain => origin,
        _ => return Origin::Strange,
    };
    let is_named = |one: &String| one == "*" || one.eq_ignore_ascii_case(origin);
    if is_own(origin, host) {
        Origin::Own
    } else if named.iter().any(is_named) {
        Origin::Named(origin.to_owned())
    } else {
        Origin::Strange
    }
}

/// By either scheme: where a proxy ends TLS the server does not know which it was.
fn is_own(origin: &str, host: &str) -> bool {
    let mut schemes = ["https://", "http://"].iter();
    schemes.any(|scheme| {
        let (Some(start), Some(rest)) = (origin.get(..scheme.len()), origin.get(scheme.len()..))
        else {
            return false;
        };
        start.eq_ignore_ascii_case(scheme) && !rest.is_empty() && rest.eq_ignore_ascii_case(host)
    })
}

/// What is wrong with a page's name in the settings.
pub(crate) fn fault(name: &str) -> Option<String> {
    let host = ["https://", "http://"]
        .iter()
        .find_map(|scheme| name.strip_prefix(scheme));
    let is_host = |host: &str| {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\"\\".contains(&byte);
        !host.is_empty() && host.bytes().all(is_plain)
    };
    let is_fine = matches!(name, "*" | "null") || host.is_some_and(is_host);
    (!is_fine).then(|| {
        format!("found {name:?}, expected a page's origin without a path, as \"https://example.org\", or \"*\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(values: &[&str], named: &[&str]) -> Origin {
        let named: Vec<String> = named.iter().map(|one| (*one).to_owned()).collect();
        let values = values.iter().map(|one| one.as_bytes());
        judge(values, "gate.example:7080", &named)
    }

    #[test]
    fn the_own_page_and_those_that_are_named_are_welcome() {
        assert_eq!(judged(&[], &[]), Origin::None);
        assert_eq!(judged(&["http://gate.example:7080"], &[]), Origin::Own);
        assert_eq!(judged(&["HTTPS://Gate.example:7080"], &[]), Origin::Own);
        let page = "https://page.example";
        assert_eq!(
            judged(&[page], &["https://Page.example"]),
            Origin::Named(page.to_owned())
        );
        assert_eq!(judged(&["null"], &["*"]), Origin::Named("null".to_owned()));
        for strange in [
            "http://gate.example",
            "http://gate.example:70801",
            "ftp://gate.example:7080",
            "http://",
            "null",
            "",
            "h\u{e9}\u{e9}p://a",
        ] {
            assert_eq!(judged(&[strange], &[page]), Origin::Strange, "{strange}");
        }
        assert_eq!(judged(&[page, page], &["*"]), Origin::Strange);
        assert_eq!(
            judge([&b"\xff"[..]].into_iter(), "a", &["*".to_owned()]),
            Origin::Strange
        );
    }

    #[test]
    fn no_host_is_nobodys_own() {
        assert_eq!(
            judge([&b"http://"[..]].into_iter(), "", &[]),
            Origin::Strange
        );
    }

    #[test]
    fn a_page_has_a_scheme_and_no_path() {
        for fine in ["*", "null", "https://a.example", "http://[::1]:80"] {
            assert_eq!(fault(fine), None, "{fine}");
        }
        for wrong in [
            "",
            "a.example",
            "https://",
            "https://a/",
            "ftp://a",
            "https://a b",
            "https://a\r\n",
        ] {
            assert!(
                fault(wrong).is_some_and(|why| why.contains("expected")),
                "{wrong}"
            );
        }
    }
}
