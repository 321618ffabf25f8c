//! Values behind the addresses of version 2: a type, a length, so many bytes.

use super::kind;

const UNIQUE_ID_MAX: usize = 128;
/// Type and length.
const HEAD: usize = 3;
/// Of a value of type SSL: which elements are there, and the outcome of the verification.
const SSL_HEAD: usize = 5;

/// Values, one after the other.
pub(super) struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<(u8, &'a [u8]), &'static str>;

    /// Behind one that is cut short there is nothing.
    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.0);
        if bytes.is_empty() {
            return None;
        }
        let tlv = bytes
            .split_first_chunk::<HEAD>()
            .and_then(|(head, behind)| {
                let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
                let (value, rest) = behind.split_at_checked(length)?;
                self.0 = rest;
                Some((head[0], value))
            });
        Some(tlv.ok_or("a value of the PROXY header is cut short"))
    }
}

/// The checksum that a header carries, and where among the values it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) at: usize,
    pub(super) value: u32,
}

/// Whether all values are well-formed. Gives the checksum, if there is one.
pub(super) fn check(bytes: &[u8]) -> Result<Option<Sent>, &'static str> {
    let (mut at, mut sent) = (0, None);
    for tlv in Tlvs::of(bytes) {
        let (kind, value) = tlv?;
        at += HEAD;
        match kind {
            kind::CRC32C => {
                let bytes =
                    <[u8; 4]>::try_from(value).map_err(|_| "a checksum is not of 4 bytes")?;
                let value = u32::from_be_bytes(bytes);
                if sent.replace(Sent { at, value }).is_some() {
                    return Err("the PROXY header has two checksums");
                }
            }
            kind::UNIQUE_ID if value.len() > UNIQUE_ID_MAX => {
                return Err("the PROXY header's unique ID is longer than 128 bytes");
            }
            kind::SSL => {
                let nested = value
                    .get(SSL_HEAD..)
                    .ok_or("a value of type SSL is too short")?;
                Tlvs::of(nested).try_for_each(|tlv| tlv.map(drop))?;
            }
            _ => {}
        }
        at += value.len();
    }
    Ok(sent)
}

/// What a PROXY header says of the client's TLS (section 2.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxySsl<'a> {
    client: u8,
    verify: u32,
    nested: &'a [u8],
}

impl<'a> ProxySsl<'a> {
    pub(super) fn of(value: &'a [u8]) -> Option<Self> {
        let (head, nested) = value.split_first_chunk::<SSL_HEAD>()?;
        let [client, verify @ ..] = *head;
        Some(Self {
            client,
            verify: u32::from_be_bytes(verify),
            nested,
        })
    }

    /// Whether the client has connected by TLS (`PP2_CLIENT_SSL`).
    pub fn is_tls(&self) -> bool {
        self.client & 0x01 != 0
    }

    /// Whether the client has presented a certificate on this connection
    /// (`PP2_CLIENT_CERT_CONN`).
    pub fn has_certificate(&self) -> bool {
        self.client & 0x02 != 0
    }

    /// Whether it has in the TLS session that this connection belongs to
    /// (`PP2_CLIENT_CERT_SESS`).
    pub fn session_has_certificate(&self) -> bool {
        self.client & 0x04 != 0
    }

    /// Whether it has presented a certificate, on this connection or in its session, that the proxy
    /// has verified.
    pub fn is_verified(&self) -> bool {
        (self.has_certificate() || self.session_has_certificate()) && self.verify == 0
    }

    /// The outcome of the verification, 0 also where there was nothing to verify: see
    /// [`is_verified`](Self::is_verified).
    pub fn verify(&self) -> u32 {
        self.verify
    }

    /// The version of TLS, as `TLSv1.3`.
    pub fn version(&self) -> Option<&'a [u8]> {
        self.tlv(kind::SSL_VERSION)
    }

    /// The common name of the client's certificate.
    pub fn common_name(&self) -> Option<&'a [u8]> {
        self.tlv(kind::SSL_CN)
    }

    /// The cipher.
    pub fn cipher(&self) -> Option<&'a [u8]> {
        self.tlv(kind::SSL_CIPHER)
    }

    /// The algorithm with which the proxy's certificate is signed.
    pub fn signature_algorithm(&self) -> Option<&'a [u8]> {
        self.tlv(kind::SSL_SIG_ALG)
    }

    /// The algorithm of the proxy's key.
    pub fn key_algorithm(&self) -> Option<&'a [u8]> {
        self.tlv(kind::SSL_KEY_ALG)
    }

    fn tlv(&self, kind: u8) -> Option<&'a [u8]> {
        let tlvs = Tlvs::of(self.nested).map_while(Result::ok);
        let mut values = tlvs.filter(|(found, _)| *found == kind);
        values.next().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::v2::tests::of_tcp4;
    use super::super::{Proxied, Versions, parse};
    use super::*;
    use crate::step::Step;

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).expect("a short value");
        [&[kind][..], &length.to_be_bytes(), value].concat()
    }

    fn read(tlvs: &[u8]) -> Result<Proxied, &'static str> {
        match parse(&of_tcp4(tlvs), Versions::V2, usize::MAX) {
            Step::Frame { value, .. } => Ok(value),
            Step::Invalid(why) => Err(why),
            Step::NeedMore => panic!("it is whole"),
        }
    }

    #[test]
    fn values_are_given_by_their_types() {
        let ssl = [
            &[0x07, 0, 0, 0, 0][..],
            &tlv(kind::SSL_VERSION, b"TLSv1.3"),
            &tlv(kind::SSL_CN, b"client"),
            &tlv(kind::SSL_CIPHER, b"cipher"),
        ];
        let tlvs = [
            tlv(0x04, b"padding"),
            tlv(kind::ALPN, b"h2"),
            tlv(kind::AUTHORITY, b"example.org"),
            tlv(kind::UNIQUE_ID, &[7; UNIQUE_ID_MAX]),
            tlv(kind::NETNS, b"blue"),
            tlv(0xE0, b""),
            tlv(kind::SSL, &ssl.concat()),
        ];
        let proxied = read(&tlvs.concat()).expect("well-formed");
        assert_eq!(proxied.alpn(), Some(&b"h2"[..]));
        assert_eq!(proxied.authority(), Some(&b"example.org"[..]));
        assert_eq!(proxied.unique_id(), Some(&[7; UNIQUE_ID_MAX][..]));
        assert_eq!(proxied.netns(), Some(&b"blue"[..]));
        assert_eq!(
            (proxied.tlv(0xE0), proxied.tlv(0xE1)),
            (Some(&[][..]), None)
        );
        assert_eq!(proxied.tlvs().count(), tlvs.len());
        let ssl = proxied.ssl().expect("there is one");
        assert!(ssl.is_tls() && ssl.has_certificate() && ssl.session_has_certificate());
        assert!(ssl.is_verified());
        assert_eq!(ssl.version(), Some(&b"TLSv1.3"[..]));
        assert_eq!(ssl.common_name(), Some(&b"client"[..]));
        assert_eq!(ssl.cipher(), Some(&b"cipher"[..]));
        assert_eq!(
            (ssl.signature_algorithm(), ssl.key_algorithm()),
            (None, None)
        );
    }

    #[test]
    fn a_client_without_a_certificate_is_not_verified() {
        let ssl = tlv(kind::SSL, &[0x01, 0, 0, 0, 0]);
        let proxied = read(&ssl).expect("well-formed");
        let ssl = proxied.ssl().expect("there is one");
        assert!(ssl.is_tls() && ssl.verify() == 0 && !ssl.is_verified());
    }

    #[test]
    fn values_that_do_not_fill_the_header_exactly_are_invalid() {
        for (tlvs, why) in [
            (vec![1], "cut short"),
            (vec![1, 0], "cut short"),
            (vec![1, 0, 1], "cut short"),
            ([&tlv(1, b"h2")[..], &[0]].concat(), "cut short"),
            (tlv(kind::CRC32C, &[0; 3]), "4 bytes"),
            (tlv(kind::CRC32C, &[0; 4]).repeat(2), "two checksums"),
            (tlv(kind::UNIQUE_ID, &[0; 129]), "128 bytes"),
            (tlv(kind::SSL, &[1, 0, 0, 0]), "too short"),
            (tlv(kind::SSL, &[1, 0, 0, 0, 0, 0x21, 0]), "cut short"),
        ] {
            let error = read(&tlvs).expect_err("invalid");
            assert!(error.contains(why), "{error}");
        }
    }
}
