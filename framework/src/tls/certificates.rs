//! A certificate with its key, from PEM.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use webpki::EndEntityCert;

use super::problem::{Fault, fault};
use super::validity::{Validity, validity};

/// How PEM says that a key needs a passphrase: PKCS#8, and what openssl made before it.
const ENCRYPTED: [&[u8]; 2] = [
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
    b"Proc-Type: 4,ENCRYPTED",
];
/// The first byte of what is DER.
const SEQUENCE: u8 = 0x30;

/// A certificate that a server or a client shows.
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// Its DNS names, in lower case; `*.` begins those that stand for more than one.
    pub(super) names: Vec<String>,
    pub(super) validity: Validity,
}

/// What is wrong with a pair, and in which file.
#[derive(Debug)]
pub(super) enum PairFault {
    Certificate(Fault),
    Key(Fault),
}

/// The certificate of one file, with the key of the other.
pub(super) fn pair(
    certificate: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<Certificate, PairFault> {
    let chain = chain(certificate).map_err(PairFault::Certificate)?;
    let first = EndEntityCert::try_from(&chain[0]).map_err(|error| unusable(1, &error));
    let names = first.map_err(PairFault::Certificate)?;
    let names = names
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect();
    let Some(validity) = validity(&chain[0]) else {
        return Err(PairFault::Certificate(damaged(1)));
    };
    let key = private_key(key).map_err(PairFault::Key)?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_error| PairFault::Key(of_no_known_kind()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Certificate {
            key: Arc::new(certified),
            names,
            validity,
        }),
        Err(_) => Err(mismatch(certified)),
    }
}

/// The certificates of those who vouch for others.
pub(super) fn authorities(bytes: &[u8]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(chain(bytes)?) {
        roots.add(certificate).map_err(|_error| damaged(number))?;
    }
    Ok(roots)
}

/// The same of a bundle that the machine has of others: one in it that cannot be read vouches for
/// nobody, and is no reason to trust none.
pub(super) fn authorities_of_system(bytes: &[u8]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(chain(bytes)?);
    if added == 0 {
        let remedy = "have the system make it anew (`update-ca-certificates`)";
        return fault("none of its certificates can be read", remedy);
    }
    Ok(roots)
}

/// All certificates of a file, one at least.
fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let Ok(certificates) = certificates else {
        return fault("its PEM is damaged", "get it once more from who issued it");
    };
    if !certificates.is_empty() {
        return Ok(certificates);
    }
    if bytes.first() == Some(&SEQUENCE) {
        let remedy = "run `openssl x509 -inform DER -in FILE -out FILE.pem`, and name that here";
        return fault("it is DER, and not PEM", remedy);
    }
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(_) => fault(
            "it has a key, and no certificate",
            "name the certificate's file here",
        ),
        Err(_) => fault(
            "it has no certificate in PEM",
            "name the certificate's file here",
        ),
    }
}

/// The first private key of a file. What is wrong with it is told without a byte of it.
fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    if let Ok(key) = PrivateKeyDer::from_pem_slice(bytes) {
        return Ok(key);
    }
    let has = |text: &[u8]| memchr::memmem::find(bytes, text).is_some();
    if ENCRYPTED.iter().any(|text| has(text)) {
        let remedy = "run `openssl pkey -in FILE -out FILE.plain`, and name that here";
        return fault(
            "it needs a passphrase, for which no server that starts by itself can ask",
            remedy,
        );
    }
    if bytes.first() == Some(&SEQUENCE) {
        let remedy = "run `openssl pkey -inform DER -in FILE -out FILE.pem`, and name that here";
        return fault("it is DER, and not PEM", remedy);
    }
    if CertificateDer::from_pem_slice(bytes).is_ok() {
        return fault(
            "it has a certificate, and no key",
            "name the key's file here",
        );
    }
    fault("it has no private key in PEM", "name the key's file here")
}

fn unusable(number: usize, error: &webpki::Error) -> Fault {
    match error {
        webpki::Error::UnsupportedCertVersion => (
            format!("certificate {number} in it is no X.509 of version 3"),
            "have one issued with the names of the server (subjectAltName)".to_owned(),
        ),
        _ => damaged(number),
    }
}

fn damaged(number: usize) -> Fault {
    (
        format!("certificate {number} in it is damaged"),
        "get it once more from who issued it".to_owned(),
    )
}

fn of_no_known_kind() -> Fault {
    (
        "its key is damaged, or of a kind that is not known here".to_owned(),
        "make one of RSA with 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519".to_owned(),
    )
}

/// The key is not that of the first certificate. That of another is a common slip.
fn mismatch(certified: CertifiedKey) -> PairFault {
    let CertifiedKey { cert, key, .. } = certified;
    let belongs = |one: &CertificateDer<'static>| {
        CertifiedKey::new(vec![one.clone()], Arc::clone(&key))
            .keys_match()
            .is_ok()
    };
    match cert.iter().position(belongs) {
        Some(place) => PairFault::Certificate((
            format!("the server's own certificate is number {} in it", place + 1),
            "put that first, and behind it those between it and its root".to_owned(),
        )),
        None => PairFault::Key((
            "it is not the key of the certificate".to_owned(),
            "name the key that the certificate was issued for (in lists, at the same place)"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::default_provider;

    use super::*;
    use crate::tls::scratch::Issued;

    fn load(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Certificate, String> {
        let pair = pair(certificate.as_ref(), key.as_ref(), &default_provider());
        pair.map_err(|fault| match fault {
            PairFault::Certificate((why, _)) => format!("certificate: {why}"),
            PairFault::Key((why, _)) => format!("key: {why}"),
        })
    }

    #[test]
    fn a_pair_has_names_and_a_time() {
        let issued = Issued::of(&["A.test", "*.b.test"]);
        let pair = load(issued.certificate.pem(), issued.key.serialize_pem());
        let pair = pair.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(pair.names, ["a.test", "*.b.test"]);
        assert!(pair.validity.not_before < pair.validity.not_after);
    }

    #[test]
    fn each_slip_is_told_apart() {
        let (one, other) = (Issued::of(&["a.test"]), Issued::of(&["b.test"]));
        let (certificate, key) = (one.certificate.pem(), one.key.serialize_pem());
        let other_key = other.key.serialize_pem();
        let both = format!("{}{certificate}", other.certificate.pem());
        let cut = &certificate[..certificate.len() / 2];
        let wrong = certificate.replacen("MII", "MIJ", 1);
        let der: &[u8] = one.certificate.der();
        let sealed =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (certificate, key, expected) in [
            (
                certificate.as_bytes(),
                other_key.as_bytes(),
                "key: it is not the key of the certificate",
            ),
            (
                both.as_bytes(),
                key.as_bytes(),
                "certificate: the server's own certificate is number 2 in it",
            ),
            (
                key.as_bytes(),
                certificate.as_bytes(),
                "certificate: it has a key, and no certificate",
            ),
            (
                b"",
                key.as_bytes(),
                "certificate: it has no certificate in PEM",
            ),
            (der, key.as_bytes(), "certificate: it is DER, and not PEM"),
            (
                cut.as_bytes(),
                key.as_bytes(),
                "certificate: its PEM is damaged",
            ),
            (
                wrong.as_bytes(),
                key.as_bytes(),
                "certificate: certificate 1 in it is damaged",
            ),
            (
                certificate.as_bytes(),
                b"",
                "key: it has no private key in PEM",
            ),
            (
                certificate.as_bytes(),
                certificate.as_bytes(),
                "key: it has a certificate, and no key",
            ),
            (
                certificate.as_bytes(),
                &one.key.serialize_der(),
                "key: it is DER, and not PEM",
            ),
            (
                certificate.as_bytes(),
                sealed.as_bytes(),
                "key: it needs a passphrase, for which no server that starts by itself can ask",
            ),
            (
                certificate.as_bytes(),
                odd.as_bytes(),
                "key: its key is damaged, or of a kind that is not known here",
            ),
        ] {
            assert_eq!(load(certificate, key).err().as_deref(), Some(expected));
        }
    }

    #[test]
    fn those_who_vouch_are_all_of_a_file() {
        let texts = [Issued::of(&["a.test"]), Issued::of(&["b.test"])];
        let text = texts.map(|issued| issued.certificate.pem()).concat();
        assert_eq!(authorities(text.as_bytes()).map(|roots| roots.len()), Ok(2));
        assert!(authorities(b"").is_err());
    }

    #[test]
    fn one_damaged_of_a_systems_bundle_is_left_out() {
        let right = Issued::of(&["a.test"]).certificate.pem();
        let wrong = right.replacen("MII", "MIJ", 1);
        let bundle = format!("{right}{wrong}{right}");
        let read = authorities_of_system(bundle.as_bytes());
        assert_eq!(read.map(|roots| roots.len()), Ok(2));
        let (why, _) = authorities(bundle.as_bytes()).expect_err("an operator's own file is whole");
        assert_eq!(why, "certificate 2 in it is damaged");
        let (why, _) = authorities_of_system(wrong.as_bytes()).expect_err("there is no other");
        assert_eq!(why, "none of its certificates can be read");
    }
}
