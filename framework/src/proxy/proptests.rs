//! The parser against any bytes, and against an implementation by others.

use proptest::prelude::*;

use super::properties::hold_for;
use super::v2::tests::{header, of_tcp4, sealed};
use super::{Versions, parse};
use crate::proptests::cases;
use crate::step::Step;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

fn tlvs() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![0x01..=0x05_u8, 0x20..=0x25_u8, any::<u8>()];
    let tlv = (kind, bytes(20))
        .prop_map(|(kind, value)| [&[kind, 0, value.len() as u8], &value[..]].concat());
    proptest::collection::vec(tlv, 0..5).prop_map(|tlvs| tlvs.concat())
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let family = prop_oneof!["TCP4", "TCP6", "UNKNOWN", "TCP[0-9]"];
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
        any::<[u16; 8]>().prop_map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        "[0-9a-f:.]{0,12}",
    ];
    let port = prop_oneof![
        any::<u16>().prop_map(|port| port.to_string()),
        "[+0-9]{0,6}"
    ];
    let end = prop_oneof!["\r\n", "\r", "\n", " \r\n", ""];
    (family, ip.clone(), ip, port.clone(), port, end).prop_map(
        |(family, source, destination, from, to, end)| {
            format!("PROXY {family} {source} {destination} {from} {to}{end}").into_bytes()
        },
    )
}

/// A header, or something that looks like one.
fn headerlike() -> impl Strategy<Value = Vec<u8>> {
    let command = prop_oneof![Just(0x20_u8), Just(0x21), any::<u8>()];
    let family = prop_oneof![
        Just(0x11_u8),
        Just(0x21),
        Just(0x12),
        Just(0x31),
        0..=0x33_u8
    ];
    let any_block = (command, family, bytes(300))
        .prop_map(|(command, family, block)| header(command, family, &block));
    prop_oneof![
        line(),
        any_block,
        tlvs().prop_map(|tlvs| of_tcp4(&tlvs)),
        tlvs().prop_map(|tlvs| sealed(&tlvs)),
    ]
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_bytes_keep_the_promises(choice: u8, bytes in bytes(300)) {
        hold_for(&[&[choice], &bytes[..]].concat());
    }

    #[test]
    fn what_looks_like_a_header_keeps_them(choice: u8, header in headerlike(), data in bytes(20)) {
        hold_for(&[&[choice], &header[..], &data].concat());
    }

    #[test]
    fn a_changed_byte_keeps_them(choice: u8, header in headerlike(), at: prop::sample::Index, byte: u8) {
        let mut header = header;
        if !header.is_empty() {
            let at = at.index(header.len());
            header[at] = byte;
        }
        hold_for(&[&[choice], &header[..]].concat());
    }

    /// It is laxer than the specification, so what it takes says nothing; what is taken here it must
    /// understand alike.
    #[test]
    fn others_understand_the_same(header in headerlike()) {
        let Step::Frame { value, length } = parse(&header, Versions::Any, usize::MAX) else {
            return Ok(());
        };
        if let Some(source) = value.source() {
            let (other, consumed) = proxy_header::ProxyHeader::parse(&header, Default::default()).expect("valid");
            let address = other.proxied_address().expect("an address");
            prop_assert_eq!((address.source, Some(address.destination)), (source, value.destination()));
            prop_assert_eq!(consumed, length);
            prop_assert_eq!(other.tlvs().count(), value.tlvs().count());
        }
    }
}
