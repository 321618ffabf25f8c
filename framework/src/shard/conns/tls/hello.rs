//! By which name a client asks for its server: rustls's unbuffered sessions do not tell it.

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;

/// A ClientHello while its records come: of one in many each byte is looked at once.
#[derive(Default)]
pub(super) struct Hello {
    message: Vec<u8>,
}

impl Hello {
    /// One more record. Gives the name, or that there is none, once that can be said. rustls judges
    /// whether it is a ClientHello.
    pub(super) fn take(&mut self, record: &[u8]) -> Option<Option<Box<str>>> {
        add_handshake_bytes(record, &mut self.message);
        let is_partial = match &self.message[..] {
            [CLIENT_HELLO, high, middle, low, body @ ..] => {
                let length = u32::from_be_bytes([0, *high, *middle, *low]);
                body.len() < length as usize
            }
            [CLIENT_HELLO, ..] | [] => true,
            _ => false,
        };
        (!is_partial).then(|| server_name(&self.message))
    }

    /// The memory of what has come of it.
    pub(super) fn bytes(&self) -> usize {
        self.message.capacity()
    }
}

/// Of a ClientHello, from the first byte (RFC 8446, 4.1.2; RFC 6066, 3); none if it names nobody, or
/// is no whole ClientHello.
fn server_name(message: &[u8]) -> Option<Box<str>> {
    let mut hello = Reader(message);
    let [kind] = hello.array()?;
    let body = hello.vector(3)?;
    if kind != CLIENT_HELLO {
        return None;
    }
    let mut body = Reader(body);
    body.take(2 + 32)?; // version and random
    body.vector(1)?; // session
    body.vector(2)?; // suites
    body.vector(1)?; // compression
    let mut extensions = Reader(body.vector(2)?);
    loop {
        let kind = extensions.array::<2>()?;
        let extension = extensions.vector(2)?;
        if kind == SERVER_NAME {
            return first_host(extension);
        }
    }
}

const CLIENT_HELLO: u8 = 1;
const HANDSHAKE: u8 = 22;
const SERVER_NAME: [u8; 2] = [0, 0];
const HOST_NAME: u8 = 0;
/// Of the Domain Name System (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 255;

fn first_host(extension: &[u8]) -> Option<Box<str>> {
    let mut names = Reader(Reader(extension).vector(2)?);
    let [kind] = names.array()?;
    let name = names.vector(2)?;
    let is_name = kind == HOST_NAME && (1..=NAME_BYTES_MAX).contains(&name.len());
    let name = std::str::from_utf8(name).ok().filter(|_| is_name)?;
    let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| name.to_ascii_lowercase().into())
}

/// What the records of the handshake carry goes to `message`, one behind the other.
fn add_handshake_bytes(records: &[u8], message: &mut Vec<u8>) {
    let mut reader = Reader(records);
    while let Some([HANDSHAKE, _, _]) = reader.array() {
        let Some(body) = reader.vector(2) else { break };
        message.extend_from_slice(body);
    }
}

/// Takes bytes off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Bytes behind their number, which has `width` bytes.
    fn vector(&mut self, width: usize) -> Option<&'a [u8]> {
        let length = self.take(width)?.iter();
        let length = length.fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::crypto::ring::default_provider;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// What is known of these records, when they come at once.
    fn name_in(records: &[u8]) -> Option<Box<str>> {
        Hello::default().take(records).flatten()
    }

    /// What a client of rustls says first when it asks for that server.
    fn hello(server: &'static str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("they are known")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let server = server.try_into().expect("it is a name or an address");
        let mut client = ClientConnection::new(Arc::new(config), server).expect("it is fine");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("there is memory");
        bytes
    }

    #[test]
    fn the_name_is_found_and_only_in_a_whole_hello() {
        let bytes = hello("Www.Example.Org");
        assert_eq!(name_in(&bytes).as_deref(), Some("www.example.org"));
        for end in 0..bytes.len() {
            let found = name_in(&bytes[..end]);
            assert_eq!(found, None, "{end} of {}", bytes.len());
        }
        assert_eq!(
            Hello::default().take(&hello("127.0.0.1")),
            Some(None),
            "an address is no name"
        );
    }

    #[test]
    fn a_hello_may_lie_in_several_records() {
        let whole = hello("a.test");
        let (header, message) = whole.split_at(5);
        for length in [1, 7] {
            let (mut hello, mut found) = (Hello::default(), None);
            for part in message.chunks(length) {
                assert_eq!(found, None, "it is not whole");
                let record = [&header[..3], &[0, part.len() as u8], part].concat();
                found = hello.take(&record);
            }
            assert_eq!(found.flatten().as_deref(), Some("a.test"), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..600_usize, byte in any::<u8>()) {
            properties::hold_for(&bytes);
            let mut changed = hello("a.test");
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            properties::hold_for(&changed);
        }
    }
}
