//! What rustls has to say of a session, in words for people who run a server: its own are the names
//! of its variants.

use std::fmt::Debug;

use rustls::{
    AlertDescription as Alert, CertificateError, Error, ExtendedKeyPurpose, InvalidMessage,
    PeerIncompatible,
};

use crate::escape::EscapedText;

use super::validity::day;

/// What has gone wrong, and what to do where that is clear. The peer is a client or a server.
pub(crate) fn plain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::PeerIncompatible(why) => of_incompatible(why),
        Error::NoCertificatesPresented => {
            "the peer shows no certificate, and must: give it one that client_ca vouches for"
                .to_owned()
        }
        Error::NoApplicationProtocol => {
            "the peer knows none of the protocols that are spoken here (alpn)".to_owned()
        }
        Error::PeerMisbehaved(why) => format!("the peer breaks the rules of TLS: {}", words(why)),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what came is no TLS".to_owned()
        }
        Error::InvalidMessage(why) => format!("what came is no message of TLS: {}", words(why)),
        Error::InappropriateMessage { got_type, .. } => {
            format!("a record came out of turn: {}", words(got_type))
        }
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            format!(
                "a message of the handshake came out of turn: {}",
                words(got_type)
            )
        }
        Error::DecryptError => {
            "what came cannot be decrypted: it was changed on its way, or is of another session"
                .to_owned()
        }
        Error::PeerSentOversizedRecord => "a record is longer than any may be".to_owned(),
        other => other.to_string(),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    let day = |time: u64| day(time.try_into().unwrap_or(i64::MAX));
    let why = match error {
        CertificateError::Expired => "has expired: have it renewed".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}: have it renewed", day(not_after.as_secs()))
        }
        CertificateError::NotValidYet => "is not valid yet: is the clock right?".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}: is the clock right?", day(not_before.as_secs()))
        }
        CertificateError::UnknownIssuer => {
            "is vouched for by nobody who is trusted here: trust who issued it, and have the peer send those \
             between it and its root"
                .to_owned()
        }
        CertificateError::BadSignature => "is not signed by whom it names as its issuer".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().filter_map(|name| host(name)).collect();
            let names = match names.is_empty() {
                true => "no DNS name and no IP address (subjectAltName)".to_owned(),
                // Whoever vouches for bytes need not have read them.
                false => EscapedText(names.join(" ")).to_string(),
            };
            format!("is for {names}, and not for {}", expected.to_str())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            let whom = match error {
                CertificateError::InvalidPurposeContext { required: ExtendedKeyPurpose::ClientAuth, .. } => {
                    "clients"
                }
                CertificateError::InvalidPurposeContext { required: ExtendedKeyPurpose::ServerAuth, .. } => {
                    "servers"
                }
                _ => "this",
            };
            format!("is not for {whom} (its extended key usage): have one issued that is")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed in a way that is not known here: have one issued by RSA with 2048 to 8192 bits, ECDSA on \
             P-256 or P-384, or Ed25519"
                .to_owned()
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "is an authority's (basicConstraints CA:TRUE): have one issued with CA:FALSE".to_owned()
            }
            Some(webpki::Error::EndEntityUsedAsCa) => {
                "was issued by one that is no authority's (basicConstraints CA:FALSE)".to_owned()
            }
            Some(webpki::Error::UnsupportedCertVersion) => {
                "is no X.509 of version 3: have one issued with its names (subjectAltName)".to_owned()
            }
            Some(other) => format!("cannot be used: {}", words(other)),
            None => format!("cannot be used: {}", other.0),
        },
        other => format!("cannot be used: {}", words(other)),
    };
    format!("the peer's certificate {why}")
}

/// What the peer has said (RFC 8446, 6.2), with its name for it.
fn of_alert(alert: Alert) -> String {
    let told = match alert {
        Alert::UnknownCA => {
            "does not trust who issued our certificate, or misses those between it and its root"
        }
        Alert::CertificateExpired => "says that our certificate has expired",
        Alert::CertificateRevoked => "says that our certificate was revoked",
        Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate => {
            "refuses our certificate: is it for the name that the peer asks for, and for this end?"
        }
        Alert::CertificateRequired | Alert::NoCertificate => {
            "wants a certificate of us, and got none"
        }
        Alert::AccessDenied => "lets the bearer of our certificate do nothing",
        Alert::ProtocolVersion => "speaks none of the versions of TLS that are spoken here",
        Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            "finds no versions, cipher suites or kinds of certificates that both ends know"
        }
        Alert::NoApplicationProtocol => "knows none of the protocols that are spoken here (ALPN)",
        Alert::UnrecognisedName => "is nobody of the name that it was asked for",
        Alert::UserCanceled | Alert::CloseNotify => "has given up",
        _ => "has ended the session",
    };
    let name = words(&alert).replace(' ', "_");
    format!("the peer {told} (alert {name})")
}

fn of_incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the peer speaks none of the versions of TLS that are spoken here (versions)".to_owned()
        }
        PeerIncompatible::NoCipherSuitesInCommon => "both ends know no cipher suite in common".to_owned(),
        PeerIncompatible::NoKxGroupsInCommon => "both ends know no group of the key exchange in common".to_owned(),
        PeerIncompatible::NoSignatureSchemesInCommon => {
            "the peer knows no signature that the key of our certificate makes: add a certificate of another kind of \
             key"
                .to_owned()
        }
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "the peer wants a certificate with another kind of key than ours".to_owned()
        }
        other => format!("both ends cannot do with each other: {}", words(other)),
    }
}

/// The name of a variant as words: `NoKxGroupsInCommon` is "no kx groups in common".
fn words(variant: &impl Debug) -> String {
    let name = format!("{variant:?}");
    let (mut words, mut before) = (String::new(), ' ');
    for character in name.chars() {
        if character.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(' ');
        }
        words.push(character.to_ascii_lowercase());
        before = character;
    }
    words
}

/// Of a name as webpki shows it, `DnsName("a.test")` or `IpAddress(10.0.0.1)`, the name itself; none
/// if it is of another kind, by which nobody goes.
pub(super) fn host(shown: &str) -> Option<&str> {
    let name = shown.strip_prefix("DnsName(\"");
    let name = name.and_then(|name| name.strip_suffix("\")"));
    name.or_else(|| shown.strip_prefix("IpAddress(")?.strip_suffix(')'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::OtherError;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    #[test]
    fn what_peers_are_refused_for_is_told_in_words() {
        let at = |days: u64| UnixTime::since_unix_epoch(Duration::from_secs(days * 86_400));
        let other = |error: webpki::Error| CertificateError::Other(OtherError(Arc::new(error)));
        let certificate = Error::InvalidCertificate;
        for (error, told) in [
            (
                certificate(other(webpki::Error::CaUsedAsEndEntity)),
                "the peer's certificate is an authority's (basicConstraints CA:TRUE): have one issued with CA:FALSE",
            ),
            (
                certificate(other(webpki::Error::PathLenConstraintViolated)),
                "the peer's certificate cannot be used: path len constraint violated",
            ),
            (
                certificate(CertificateError::ExpiredContext {
                    time: at(30),
                    not_after: at(20),
                }),
                "the peer's certificate expired on 1970-01-21: have it renewed",
            ),
            (
                certificate(CertificateError::NotValidForNameContext {
                    expected: ServerName::try_from("b.test").expect("a name"),
                    presented: vec![
                        "DnsName(\"a.test\")".to_owned(),
                        "IpAddress(127.0.0.1)".to_owned(),
                    ],
                }),
                "the peer's certificate is for a.test 127.0.0.1, and not for b.test",
            ),
            (
                certificate(CertificateError::UnhandledCriticalExtension),
                "the peer's certificate cannot be used: unhandled critical extension",
            ),
            (
                Error::AlertReceived(Alert::UnknownCA),
                "the peer does not trust who issued our certificate, or misses those between it and its root (alert unknown_ca)",
            ),
            (
                Error::AlertReceived(Alert::RecordOverflow),
                "the peer has ended the session (alert record_overflow)",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                "both ends know no cipher suite in common",
            ),
            (
                Error::InvalidMessage(InvalidMessage::MissingData("x")),
                "what came is no message of TLS: missing data(\"x\")",
            ),
        ] {
            assert_eq!(plain(&error), told);
        }
    }

    #[test]
    fn names_of_a_certificate_break_no_line_and_have_a_bound() {
        let told = |presented: &[&str]| {
            plain(&Error::InvalidCertificate(
                CertificateError::NotValidForNameContext {
                    expected: ServerName::try_from("b.test").expect("a name"),
                    presented: presented.iter().map(|name| (*name).to_owned()).collect(),
                },
            ))
        };
        let others = [
            "DirectoryName",
            "UniformResourceIdentifier(\"a.test\")",
            "Unsupported(0x81)",
        ];
        let nothing = "the peer's certificate is for no DNS name and no IP address (subjectAltName), and not for b.test";
        assert_eq!(told(&others), nothing);
        let forged = told(&["DnsName(\"a\n2026 ERROR\")"]);
        assert!(
            forged.contains(r"is for a\x0a2026 ERROR, and not"),
            "{forged}"
        );
        let name = format!("DnsName(\"{}.test\")", "x".repeat(50));
        let many = told(&[&*name; 1000]);
        assert!(
            many.contains("... (55999 bytes), and not for b.test"),
            "{many}"
        );
        assert!(many.len() < 500, "{many}");
    }

    #[test]
    fn no_name_of_a_variant_reaches_anybody() {
        let has_camel_case = |text: &str| {
            let mut pairs = text.as_bytes().windows(2);
            pairs.any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
        };
        let alerts = (0..=255).map(|number| Error::AlertReceived(Alert::from(number)));
        let others = [
            Error::NoCertificatesPresented,
            Error::DecryptError,
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Error::PeerIncompatible(PeerIncompatible::KeyShareExtensionRequired),
        ];
        for error in alerts.chain(others) {
            let told = plain(&error)
                .replace("subjectAltName", "")
                .replace("basicConstraints", "");
            assert!(!has_camel_case(&told), "{told}");
        }
    }
}
