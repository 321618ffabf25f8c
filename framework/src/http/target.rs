//! Request targets and hosts (RFC 9112, 3.2; RFC 3986, 3.2).

use crate::http::class::class;
use crate::http::refusal::Refusal;

/// Refuses a target of none of the forms, or of one that does not go with its method.
pub(super) fn check(method: &str, target: &str) -> Result<(), Refusal> {
    if !target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return Err(Refusal::bad(
            "the target has a character that no target has",
        ));
    }
    match target {
        _ if target.starts_with('/') => Ok(()),
        "*" if method == "OPTIONS" => Ok(()), // 3.2.4
        _ => match authority(target) {
            Some(authority) if !authority.is_empty() && is_authority(authority.as_bytes()) => {
                Ok(())
            }
            _ => Err(Refusal::bad("the target is none that is served")),
        },
    }
}

/// The authority of a target in absolute form (3.2.2); what is before it is looked at, too.
pub(super) fn authority(target: &str) -> Option<&str> {
    let rest = after_scheme(target)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some(&rest[..end])
}

fn after_scheme(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return None;
    }
    let (scheme, rest) = target.split_once("://")?;
    let is_known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    is_known.then_some(rest)
}

/// Path and query of a target: `/` where one in absolute form has no path, and `*` as it is.
pub(super) fn path_and_query(target: &str) -> (&str, Option<&str>) {
    let rest = match after_scheme(target) {
        Some(rest) => &rest[authority(target).map_or(0, str::len)..],
        None => target,
    };
    let (path, query) = match memchr::memchr(b'?', rest.as_bytes()) {
        Some(end) => (&rest[..end], Some(&rest[end + 1..])),
        None => (rest, None),
    };
    (if path.is_empty() { "/" } else { path }, query)
}

/// A host, and a port perhaps (RFC 9110, 7.2). Nothing stands in it that another reader would take
/// for two hosts, a path, or a user.
pub(super) fn is_authority(value: &[u8]) -> bool {
    let (host_is_valid, rest) = match value {
        [b'[', inner @ ..] => {
            let end = inner.iter().position(|byte| *byte == b']');
            let (address, rest) = inner.split_at(end.unwrap_or(0));
            let is_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
            let is_valid = !address.is_empty() && address.iter().all(is_address);
            (is_valid, rest.strip_prefix(b"]").unwrap_or_default())
        }
        _ => {
            let end = value.iter().position(|byte| !is_of_name(*byte));
            (true, &value[end.unwrap_or(value.len())..])
        }
    };
    let port_is_valid = match rest {
        [] => true,
        [b':', port @ ..] => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_is_valid && port_is_valid
}

/// Of a registered name (RFC 3986, 3.2.2); not the comma, with which two fields become one.
fn is_of_name(byte: u8) -> bool {
    const OF_NAME: [bool; 256] = class(b"-._~%!$&'()*+;=");
    OF_NAME[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_gives_its_path_and_query() {
        for (target, path, query) in [
            ("/", "/", None),
            ("/a/b?c=d?e", "/a/b", Some("c=d?e")),
            ("/?", "/", Some("")),
            ("*", "*", None),
            ("http://a", "/", None),
            ("http://a?b", "/", Some("b")),
            ("HTTP://a:80/b?c", "/b", Some("c")),
            ("/http://a/b", "/http://a/b", None),
            ("//a/b", "//a/b", None),
        ] {
            assert_eq!(path_and_query(target), (path, query), "{target}");
            assert_eq!(check("OPTIONS", target), Ok(()), "{target}");
        }
        for target in [
            "*",
            "a",
            "http://",
            "http:///a",
            "http://u@a/",
            "ftp://a/",
            "a:80",
            "/a#b",
            "/\u{e9}",
        ] {
            assert!(check("GET", target).is_err(), "{target}");
        }
    }

    #[test]
    fn a_host_is_one_host() {
        for host in [
            "",
            "a",
            "a.example:80",
            "127.0.0.1:",
            "[::1]",
            "[::1]:80",
            "a%20b",
            "*",
        ] {
            assert!(is_authority(host.as_bytes()), "{host}");
        }
        for host in [
            "a,b", "a b", "a/b", "u@a", "a?b", "a#b", "a:b", "a:80:80", "[::1", "[]", "[::1]a",
            "[a b]", "a:123456", "a\\b", "\u{e9}",
        ] {
            assert!(!is_authority(host.as_bytes()), "{host}");
        }
    }
}
