//! Version 2: binary, with further values behind the addresses (section 2.2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::proxied::{Addresses, Proxied, ProxyVersion};
use super::tlv;
use crate::step::Step;

/// What each begins with.
pub(super) const FIRST: u8 = SIGNATURE[0];
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the addresses: the signature, version and command, family and transport, and the
/// length of the rest.
const FIXED: usize = SIGNATURE.len() + 4;
const V4_BYTES: usize = 2 * (4 + 2);
const V6_BYTES: usize = 2 * (16 + 2);
const UNIX_BYTES: usize = 2 * 108;
/// Where the longest addresses end.
pub(super) const ADDRESSES_END_MAX: usize = FIXED + UNIX_BYTES;
/// Bytes of the longest header that its length can say.
pub(super) const LENGTH_MAX: usize = FIXED + u16::MAX as usize;

/// What the block behind the first 16 bytes is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// Nothing that is read: of `LOCAL` it says nothing, and of `UNSPEC` nobody knows where the
    /// addresses would end.
    Skipped,
    V4,
    V6,
    /// Addresses of so many bytes that are none of TCP.
    Other(usize),
}

pub(super) fn parse(bytes: &[u8], header_max: usize) -> Step<Proxied> {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] != SIGNATURE[..common] {
        return Step::Invalid("not the signature of the PROXY protocol");
    }
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        return Step::NeedMore;
    };
    let block = match block(fixed[12], fixed[13]) {
        Ok(block) => block,
        Err(why) => return Step::Invalid(why),
    };
    let length = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > header_max {
        return Step::Invalid("the PROXY header is longer than listener.proxy_header_max");
    }
    let Some(header) = bytes.get(..length) else {
        return Step::NeedMore;
    };
    match read(header, block) {
        Ok(value) => Step::Frame { value, length },
        Err(why) => Step::Invalid(why),
    }
}

fn block(version_and_command: u8, family_and_transport: u8) -> Result<Block, &'static str> {
    match version_and_command {
        0x20 => return Ok(Block::Skipped), // LOCAL: not even its family is looked at
        0x21 => {}
        _ => return Err("neither LOCAL nor PROXY of version 2"),
    }
    match (family_and_transport >> 4, family_and_transport & 0x0F) {
        (0x1, 0x1) => Ok(Block::V4),
        (0x2, 0x1) => Ok(Block::V6),
        (0x1, 0x2) => Ok(Block::Other(V4_BYTES)),
        (0x2, 0x2) => Ok(Block::Other(V6_BYTES)),
        (0x3, 0x1 | 0x2) => Ok(Block::Other(UNIX_BYTES)),
        (0x0..=0x3, 0x0..=0x2) => Ok(Block::Skipped), // one of the two is UNSPEC
        _ => Err("a family or transport that the PROXY protocol does not have"),
    }
}

/// What a whole header says.
fn read(header: &[u8], block: Block) -> Result<Proxied, &'static str> {
    let behind = &header[FIXED..];
    let (addresses, tlvs) = match block {
        Block::Skipped => (None, &[][..]),
        Block::V4 => {
            let (block, tlvs) = behind.split_first_chunk::<V4_BYTES>().ok_or(TOO_SHORT)?;
            (Some(v4(block)), tlvs)
        }
        Block::V6 => {
            let (block, tlvs) = behind.split_first_chunk::<V6_BYTES>().ok_or(TOO_SHORT)?;
            (Some(v6(block)), tlvs)
        }
        Block::Other(bytes) => (None, behind.get(bytes..).ok_or(TOO_SHORT)?),
    };
    if let Some(sent) = tlv::check(tlvs)? {
        let at = header.len() - tlvs.len() + sent.at;
        let behind = at + size_of::<u32>();
        if crc32c([&header[..at], &[0; 4], &header[behind..]]) != sent.value {
            return Err("the checksum of the PROXY header is wrong");
        }
    }
    Ok(Proxied {
        version: ProxyVersion::V2,
        addresses,
        tlvs: tlvs.into(),
    })
}

const TOO_SHORT: &str = "the PROXY header is too short for its addresses";

fn v4(block: &[u8; V4_BYTES]) -> Addresses {
    let [s0, s1, s2, s3, d0, d1, d2, d3, sp0, sp1, dp0, dp1] = *block;
    let address =
        |ip: [u8; 4], port| SocketAddr::new(Ipv4Addr::from(ip).into(), u16::from_be_bytes(port));
    Addresses {
        source: address([s0, s1, s2, s3], [sp0, sp1]),
        destination: address([d0, d1, d2, d3], [dp0, dp1]),
    }
}

fn v6(block: &[u8; V6_BYTES]) -> Addresses {
    let word = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    let address = |ip: usize, port: usize| {
        let segments: [u16; 8] = std::array::from_fn(|index| word(ip + 2 * index));
        SocketAddr::new(Ipv6Addr::from(segments).into(), word(port))
    };
    Addresses {
        source: address(0, 32),
        destination: address(16, 34),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::kind;
    use super::*;

    const MAX: usize = 536;

    /// A header of any bytes.
    pub(in super::super) fn header(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
        let length = u16::try_from(behind.len()).expect("a short block");
        let fixed = [command, family];
        [&SIGNATURE[..], &fixed, &length.to_be_bytes(), behind].concat()
    }

    /// The same for TCP over IPv4 from 192.0.2.1:4660 to 198.51.100.2:443.
    pub(in super::super) fn of_tcp4(tlvs: &[u8]) -> Vec<u8> {
        let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 1, 187];
        header(0x21, 0x11, &[&addresses, tlvs].concat())
    }

    /// Appends the right checksum.
    pub(in super::super) fn sealed(tlvs: &[u8]) -> Vec<u8> {
        let mut sealed = of_tcp4(&[tlvs, &[kind::CRC32C, 0, 4, 0, 0, 0, 0]].concat());
        let sum = crc32c([&sealed, &[], &[]]);
        let at = sealed.len() - 4;
        sealed[at..].copy_from_slice(&sum.to_be_bytes());
        sealed
    }

    fn taken(bytes: &[u8]) -> Proxied {
        let step = parse(bytes, MAX);
        let Step::Frame { value, length } = step else {
            panic!("{step:?}");
        };
        assert_eq!(length, bytes.len());
        value
    }

    fn invalid(bytes: &[u8]) -> &'static str {
        match parse(bytes, MAX) {
            Step::Invalid(why) => why,
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn addresses_of_tcp_are_given() {
        let of_v4 = taken(&of_tcp4(&[]));
        assert_eq!(of_v4.version(), ProxyVersion::V2);
        assert_eq!(of_v4.source(), Some(([192, 0, 2, 1], 0x1234).into()));
        assert_eq!(of_v4.destination(), Some(([198, 51, 100, 2], 443).into()));
        let (source, destination) = ("2001:db8::1".parse::<Ipv6Addr>(), "::2".parse::<Ipv6Addr>());
        let (source, destination) = (source.expect("one"), destination.expect("one"));
        let block = [&source.octets()[..], &destination.octets(), &[0, 7, 0, 9]].concat();
        let of_v6 = taken(&header(0x21, 0x21, &block));
        assert_eq!(of_v6.source(), Some((source, 7).into()));
        assert_eq!(of_v6.destination(), Some((destination, 9).into()));
    }

    #[test]
    fn of_local_and_unspec_the_whole_block_is_skipped() {
        for (command, family) in [
            (0x20, 0x11),
            (0x20, 0xFF),
            (0x21, 0x00),
            (0x21, 0x10),
            (0x21, 0x02),
        ] {
            for behind in [&[][..], &[9; 12], &[0xFF; 300]] {
                let skipped = taken(&header(command, family, behind));
                assert_eq!(skipped.source(), None);
                assert_eq!(skipped.tlvs().count(), 0);
            }
        }
    }

    #[test]
    fn addresses_that_are_none_of_tcp_are_skipped_and_what_follows_is_read() {
        for (family, bytes) in [
            (0x12, V4_BYTES),
            (0x22, V6_BYTES),
            (0x31, UNIX_BYTES),
            (0x32, UNIX_BYTES),
        ] {
            let block = [&vec![1; bytes][..], &[kind::ALPN, 0, 2, b'h', b'2']].concat();
            let other = taken(&header(0x21, family, &block));
            assert_eq!((other.source(), other.alpn()), (None, Some(&b"h2"[..])));
            assert_eq!(
                invalid(&header(0x21, family, &block[..bytes - 1])),
                TOO_SHORT
            );
        }
    }

    #[test]
    fn what_the_protocol_does_not_have_is_invalid() {
        for (command, family) in [
            (0x22, 0x11),
            (0x11, 0x11),
            (0x31, 0x11),
            (0x21, 0x41),
            (0x21, 0x13),
        ] {
            let _why = invalid(&header(command, family, &[0; 12]));
        }
        assert_eq!(invalid(&header(0x21, 0x11, &[0; 11])), TOO_SHORT);
        assert_eq!(invalid(&header(0x21, 0x21, &[0; 35])), TOO_SHORT);
    }

    #[test]
    fn a_length_above_the_bound_is_invalid_before_the_rest_has_come() {
        let mut long = header(0x20, 0x00, &[0; MAX - FIXED + 1]);
        long.truncate(FIXED);
        assert!(invalid(&long).contains("proxy_header_max"));
        let _at_the_bound = taken(&header(0x20, 0x00, &[0; MAX - FIXED]));
    }

    #[test]
    fn a_checksum_is_checked_where_there_is_one() {
        let sealed = sealed(&[kind::AUTHORITY, 0, 1, b'a']);
        assert_eq!(taken(&sealed).authority(), Some(&b"a"[..]));
        for at in [16, 27, sealed.len() - 1] {
            let mut wrong = sealed.clone();
            wrong[at] ^= 1;
            assert_eq!(invalid(&wrong), "the checksum of the PROXY header is wrong");
        }
    }

    #[test]
    fn no_beginning_of_a_header_is_judged_too_early() {
        let whole = sealed(&[]);
        for length in 1..whole.len() {
            assert_eq!(parse(&whole[..length], MAX), Step::NeedMore);
        }
    }
}
