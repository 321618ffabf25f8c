//! What clients check of a server's certificate beside its time and who vouches for it: one that they
//! refuse can be read and used all the same.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::validity::Validity;
use super::words::host;

/// A name that no certificate is for (RFC 2606, 2), to be told which it is for.
const NOBODY: &str = "nobody.invalid";

/// Why they refuse it, each with what to do.
pub(super) fn refusals(certificate: &CertificateDer<'_>, validity: Validity) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return Vec::new(); // it was found to be one before
    };
    let found = [of_names(&certificate), of_purpose(&certificate, validity)];
    found.into_iter().flatten().map(str::to_owned).collect()
}

/// Clients look for the name in subjectAltName alone (RFC 9525, 6.3).
fn of_names(certificate: &EndEntityCert<'_>) -> Option<&'static str> {
    let nobody = ServerName::DnsName(DnsName::try_from_str(NOBODY).ok()?);
    let Err(Error::CertNotValidForName(found)) =
        certificate.verify_is_valid_for_subject_name(&nobody)
    else {
        return None;
    };
    let has_any = found.presented.iter().any(|name| host(name).is_some());
    (!has_any).then_some(
        "has no DNS name and no IP address (subjectAltName): clients refuse it; have one issued with the names of the server",
    )
}

/// As of somebody who trusts nobody: what is wrong with it itself comes first (RFC 5280, 4.2.1).
fn of_purpose(certificate: &EndEntityCert<'_>, validity: Validity) -> Option<&'static str> {
    let time = Duration::from_secs(validity.not_before.try_into().ok()?);
    let time = UnixTime::since_unix_epoch(time);
    let usage = KeyUsage::server_auth();
    let judged = certificate.verify_for_usage(&[], &[], &[], time, usage, None, None);
    match judged.err()? {
        Error::CaUsedAsEndEntity => Some(
            "is an authority's (basicConstraints CA:TRUE): some clients refuse it; have one issued with CA:FALSE",
        ),
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Some(
            "is not for servers (its extended key usage): clients refuse it; have one issued for serverAuth",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::scratch::Issued;
    use crate::tls::validity::validity;

    fn told(issued: &Issued) -> Vec<String> {
        let certificate = issued.certificate.der();
        refusals(certificate, validity(certificate).expect("it has its time"))
    }

    #[test]
    fn what_clients_refuse_is_told_and_nothing_of_the_others() {
        for names in [&["a.test"][..], &["127.0.0.1"], &["a.test", "::1"]] {
            assert!(told(&Issued::of(names)).is_empty(), "{names:?}");
        }
        let past = Issued::between(&["a.test"], (2000, 1, 1), (2001, 1, 1));
        assert!(told(&past).is_empty(), "its time is another matter");
        for (issued, expected) in [
            (
                Issued::of(&[]),
                "has no DNS name and no IP address (subjectAltName): ",
            ),
            (
                Issued::of_authority(&["a.test"]),
                "is an authority's (basicConstraints CA:TRUE): ",
            ),
            (
                Issued::for_clients(&["a.test"]),
                "is not for servers (its extended key usage): ",
            ),
        ] {
            let told = told(&issued);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(expected), "{told:?}");
        }
    }
}
