//! Words of users and of the kernel, of every sort; the bytes of a load, cut anywhere.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::machine::{MemoryMarks, PortList, PortRange};
use crate::plan::args::duration;
use crate::wire::events;
use crate::workload::{Protocol, StreamKey, Workload};

/// The same cases on every run, unless PROPTEST_RNG_SEED says which.
pub(crate) fn cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    let rng_seed = if config.rng_seed == RngSeed::Random {
        RngSeed::Fixed(0x5e77_1265)
    } else {
        config.rng_seed
    };
    ProptestConfig {
        cases: 1000,
        rng_seed,
        ..config
    }
}

/// Text as files of /proc and users have it, and text as they do not.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{0,21}",
        "[-0-9,: x.()smhdkBA-F\t\n]{0,60}",
        "([0-9]{1,6}[ \t,:-]){0,30}",
        "\\PC{0,40}"
    ]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        Just(Protocol::Echo),
        Just(Protocol::Ping),
        Just(Protocol::Http),
        Just(Protocol::Websocket)
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_duration_is_digits_and_a_unit_within_a_year(number: u32, unit in "ms|s|m|h|d", text in text()) {
        let factor = match &*unit { "ms" => 1, "s" => 1000, "m" => 60_000, "h" => 3_600_000, _ => 86_400_000 };
        let milliseconds = u64::from(number) * factor;
        let read = duration(&format!("{number}{unit}"));
        prop_assert_eq!(read.ok(), (milliseconds <= 365 * 86_400_000).then(|| Duration::from_millis(milliseconds)));
        if let Ok(time) = duration(&text) {
            prop_assert!(time <= Duration::from_secs(365 * 86_400));
        }
    }

    #[test]
    fn ports_read_back_as_they_are_written(ranges in proptest::collection::vec(any::<(u16, u16)>(), 0..6), port: u16, text in text()) {
        let parts: Vec<String> = ranges.iter().map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))).collect();
        let list: PortList = parts.join(",").parse().expect("a list of ranges");
        prop_assert_eq!(&list.to_string().parse::<PortList>().expect("a list"), &list);
        prop_assert_eq!(list.contains(port), ranges.iter().any(|(a, b)| (*a.min(b)..=*a.max(b)).contains(&port)));
        for read in [text.parse::<PortList>().ok(), text.parse::<PortRange>().ok().map(|range| format!("{}-{}", range.first, range.last).parse().expect("a range"))] {
            let again = read.as_ref().map(|list| list.to_string().parse::<PortList>().expect("a list"));
            prop_assert_eq!(again, read);
        }
    }

    #[test]
    fn memory_marks_read_back_as_they_are_written(marks: [u64; 3], text in text()) {
        let [low, pressure, high] = marks;
        let written = format!("{low} {pressure} {high}");
        let marks = format!("{low}\t{pressure}\t{high}\n").parse::<MemoryMarks>();
        prop_assert_eq!(marks.map(|marks| marks.to_string()), Ok(written));
        let read = text.parse::<MemoryMarks>();
        prop_assert_eq!(read.is_ok(), text.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).count() == 3 && text.split_whitespace().count() == 3);
    }

    #[test]
    fn replies_are_right_in_any_pieces_and_a_wrong_byte_is_found_where_it_is(
        protocol in protocol(),
        seed: u64,
        begin in 0..1_000_000_u64,
        pieces in proptest::collection::vec(0..70_usize, 1..8),
        (piece, at, flip) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=u8::MAX),
    ) {
        let (workload, key) = (Workload::new(protocol, 64, 1), StreamKey::new(seed, 3));
        let reply = |offset: u64, length: usize| {
            let mut bytes = vec![0; length];
            match protocol {
                Protocol::Echo | Protocol::Http | Protocol::Websocket => key.fill(offset, &mut bytes),
                Protocol::Ping => bytes.iter_mut().zip(b"+PONG\r\n".iter().cycle().skip((offset % 7) as usize)).for_each(|(to, from)| *to = *from),
            }
            bytes
        };
        let wrong = piece.index(pieces.len());
        let mut offset = begin;
        for (index, length) in pieces.iter().enumerate() {
            let mut bytes = reply(offset, *length);
            prop_assert_eq!(workload.verify(key, offset, &bytes), Ok(()));
            if index == wrong && *length > 0 {
                let at = at.index(*length);
                bytes[at] ^= flip;
                let found = workload.verify(key, offset, &bytes).expect_err("a byte is wrong");
                prop_assert_eq!((found.offset, found.got, found.wanted), (offset + at as u64, bytes[at], bytes[at] ^ flip));
            }
            offset += *length as u64;
        }
    }

    #[test]
    fn requests_are_the_same_in_any_pieces_and_carry_the_stream(
        protocol in protocol(),
        payload in prop_oneof![1..200_u32, 65_530..65_540_u32],
        requests in 1..4_u64,
        pieces in proptest::collection::vec(1..300_usize, 1..9),
    ) {
        let workload = Workload::new(protocol, payload, 1).at("a", "/b");
        let (key, length) = (StreamKey::new(1, 3), workload.request_length());
        let mut whole = vec![0; (length * requests) as usize];
        workload.fill(key, 0, &mut whole);
        let mut at = 0;
        for piece in pieces.iter().cycle().take(if payload < 1000 { 2000 } else { 20 }) {
            let mut bytes = vec![0; (*piece).min(whole.len() - at)];
            workload.fill(key, at as u64, &mut bytes);
            prop_assert!(bytes == whole[at..at + bytes.len()], "from {at}");
            at += bytes.len();
        }
        if matches!(protocol, Protocol::Http | Protocol::Websocket) {
            let mut carried = Vec::new();
            for request in whole.chunks(length as usize) {
                let (head, body) = request.split_at(request.len() - payload as usize);
                let key = match protocol {
                    Protocol::Websocket => head[head.len() - 4..].to_vec(),
                    _ => vec![0; 4],
                };
                carried.extend(body.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            }
            prop_assert_eq!(workload.verify(key, 0, &carried), Ok(()));
        }
    }

    #[test]
    fn any_bytes_are_replies_or_none_and_nothing_of_them_is_lost(
        protocol in prop_oneof![Just(Protocol::Http), Just(Protocol::Websocket)],
        begin in prop_oneof![Just(&b""[..]), Just(&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..]), Just(&b"\x82\x7e"[..])],
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(0x82), Just(b'1')], 0..80),
        step in 1..40_usize,
    ) {
        let bytes = [begin, &bytes].concat();
        prop_assert_eq!(events(protocol, [&*bytes]), events(protocol, bytes.chunks(step)));
    }
}
