//! Which certificate a client gets: by the name that it says (SNI, RFC 6066, 3).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificates::Certificate;

/// The certificates of a listener by their names.
pub(super) struct ByName {
    /// In the order of the settings, one at least.
    all: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<usize>>,
    /// By what stands behind the `*.`, which stands for one label (RFC 6125, 6.4.3).
    wildcards: HashMap<String, Vec<usize>>,
}

impl ByName {
    pub(super) fn new(certificates: &[Certificate]) -> Self {
        let (mut exact, mut wildcards) = (HashMap::new(), HashMap::new());
        for (place, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(behind) => (&mut wildcards, behind),
                    None => (&mut exact, name.as_str()),
                };
                let places: &mut Vec<usize> = names.entry(name.to_owned()).or_default();
                places.push(place);
            }
        }
        let all = certificates.iter();
        Self {
            all: all
                .map(|certificate| Arc::clone(&certificate.key))
                .collect(),
            exact,
            wildcards,
        }
    }

    /// The places of those for that name, the best first; none: it is nobody's.
    fn places(&self, name: &str) -> Option<&[usize]> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.wildcards.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(wildcard).map(Vec::as_slice)
    }

    /// Of those for that name the first that `fits`. Who names none of them may have any, in their
    /// order: the first, if that fits.
    fn choose(
        &self,
        name: Option<&str>,
        fits: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<Arc<CertifiedKey>> {
        let places = name.and_then(|name| self.places(name));
        let mut named = places
            .into_iter()
            .flatten()
            .filter_map(|place| self.all.get(*place));
        let of_name = match places {
            Some(_) => named.find(|key| fits(key)),
            None => self.all.iter().find(|key| fits(key)),
        };
        of_name.or(self.all.first()).cloned()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.choose(hello.server_name(), |key| {
            self.all.len() == 1 || key.key.choose_scheme(schemes).is_some()
        })
    }
}

/// Without the keys.
impl fmt::Debug for ByName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exact, wildcards) = (self.exact.keys(), self.wildcards.keys());
        write!(out, "ByName({:?}, wildcards of {:?})", exact, wildcards)
    }
}

#[cfg(test)]
mod tests {
    use rustls::SignatureScheme;
    use rustls::crypto::ring::default_provider;

    use super::*;
    use crate::tls::certificates::pair;
    use crate::tls::scratch::Issued;

    fn certificate(issued: &Issued) -> Certificate {
        let (certificate, key) = (issued.certificate.pem(), issued.key.serialize_pem());
        let pair = pair(certificate.as_bytes(), key.as_bytes(), &default_provider());
        pair.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    #[test]
    fn a_name_finds_its_certificate_and_nobodys_the_first() {
        let names: [&[&str]; 4] = [
            &["first.test"],
            &["*.b.test", "b.test"],
            &["x.b.test", "Other.test"],
            &["first.test"],
        ];
        let certificates = names.map(|names| certificate(&Issued::of(names)));
        let by_name = ByName::new(&certificates);
        for (name, place) in [
            (None, 0),
            (Some("first.test"), 0),
            (Some("unknown.test"), 0),
            (Some("b.test"), 1),
            (Some("a.b.test"), 1),
            (Some("A.B.TEST"), 1),
            (Some("a.a.b.test"), 0),
            (Some("x.b.test"), 2),
            (Some("other.test"), 2),
            (Some("test"), 0),
            (Some(""), 0),
        ] {
            let chosen = by_name.choose(name, |_| true).expect("there is always one");
            assert!(Arc::ptr_eq(&chosen, &certificates[place].key), "{name:?}");
        }
    }

    #[test]
    fn of_two_kinds_a_client_gets_the_one_that_it_knows() {
        let kinds = [Issued::of(&["a.test"]), Issued::of_ed25519(&["a.test"])];
        let certificates = kinds.each_ref().map(certificate);
        let by_name = ByName::new(&certificates);
        for (scheme, place) in [
            (SignatureScheme::ECDSA_NISTP256_SHA256, 0),
            (SignatureScheme::ED25519, 1),
            (SignatureScheme::RSA_PSS_SHA256, 0), // the handshake fails by that
        ] {
            for name in [None, Some("a.test"), Some("b.test")] {
                let knows = |key: &CertifiedKey| key.key.choose_scheme(&[scheme]).is_some();
                let chosen = by_name.choose(name, knows).expect("there is always one");
                assert!(
                    Arc::ptr_eq(&chosen, &certificates[place].key),
                    "{scheme:?} {name:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_printed_of_it_has_names_alone() {
        let by_name = ByName::new(&[certificate(&Issued::of(&["a.test"]))]);
        assert_eq!(
            format!("{by_name:?}"),
            r#"ByName(["a.test"], wildcards of [])"#
        );
    }
}
