//! The codecs against any bytes, and against what they have encoded themselves.

use proptest::prelude::*;

use super::properties::{End, WAYS, hold_for, understand};
use super::{Codec, Counts, Delimited, Fixed, LengthPrefixed, Lines, Netstrings, Payload};
use crate::proptests::{cases, corpus};

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

/// Something that looks like frames, at least in places.
fn framelike() -> impl Strategy<Value = Vec<u8>> {
    let line = "[a-z]{0,20}\r{0,2}\n".prop_map(String::into_bytes);
    let delimited = "[ab]{0,20}\0?".prop_map(String::into_bytes);
    let netstring = bytes(40).prop_map(|text| netstring(&text));
    let nearly = "[0-9]{1,22}[:;]?[a-z,]{0,9}".prop_map(String::into_bytes);
    let prefixed = bytes(40).prop_map(|text| [&[text.len() as u8][..], &text].concat());
    let whole = bytes(40).prop_map(|text| {
        let length = (text.len() + 4) as u16;
        [b"!!", &length.to_be_bytes()[..], &text].concat()
    });
    let piece = prop_oneof![
        line,
        delimited,
        netstring,
        nearly,
        prefixed,
        whole,
        bytes(20)
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn netstring(text: &[u8]) -> Vec<u8> {
    [text.len().to_string().as_bytes(), b":", text, b","].concat()
}

/// All of `payloads`, encoded and read again in pieces of `piece` bytes.
fn assert_round_trip<C>(codec: &mut C, payloads: &[Vec<u8>], piece: usize)
where
    C: Codec<In = Payload> + for<'a> Codec<Out<'a> = [u8]>,
{
    let mut stream = Vec::new();
    for payload in payloads {
        let outcome = codec.encode(payload, &mut stream);
        outcome.expect("it can be sent");
    }
    let read = understand(codec, &stream, || piece);
    assert_eq!((&read.payloads[..], read.end), (payloads, End::Clean));
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn frames_are_the_same_in_any_pieces_and_can_be_sent_again(
        way in 0..WAYS, bound: u8, pieces: u8, stream in framelike()
    ) {
        hold_for(&[&[way, bound, pieces][..], &stream].concat());
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn what_is_sent_is_read(
        payloads in proptest::collection::vec(bytes(200), 0..8), piece in 1..300_usize
    ) {
        assert_round_trip(&mut Netstrings::new(200), &payloads, piece);
        for counts in [Counts::Payload, Counts::LengthAndPayload, Counts::Frame] {
            let codec = LengthPrefixed::new(200).counts(counts);
            for width in 1..=8 {
                assert_round_trip(&mut codec.clone().width(width), &payloads, piece);
                let mut little = codec.clone().width(width).little_endian();
                assert_round_trip(&mut little, &payloads, piece);
            }
        }
        let plain = |byte: &u8| !matches!(byte, b'\r' | b'\n' | 0);
        let texts: Vec<Vec<u8>> = payloads
            .iter()
            .map(|payload| payload.iter().copied().filter(plain).collect())
            .collect();
        assert_round_trip(&mut Lines::new(202), &texts, piece);
        assert_round_trip(&mut Lines::new(202).crlf(), &texts, piece);
        assert_round_trip(&mut Delimited::new(b"\0", 202), &texts, piece);
        assert_round_trip(&mut Delimited::new(b"\r\n\r\n", 204), &texts, piece);
        let records: Vec<Vec<u8>> = payloads.into_iter().filter(|bytes| bytes.len() == 7).collect();
        assert_round_trip(&mut Fixed::new(7), &records, piece);
    }

    /// No text that the codec takes is cut in two by its own delimiter.
    #[test]
    fn a_delimiter_is_found_behind_its_payload_and_nowhere_else(text in "[ab]{0,12}", which in 0..4_usize) {
        let delimiter: [&'static [u8]; 4] = [b"a", b"ab", b"aba", b"abab"];
        let mut codec = Delimited::new(delimiter[which], 100);
        let mut sent = Vec::new();
        let found = [text.as_bytes(), delimiter[which]].concat();
        let first = memchr::memmem::find(&found, delimiter[which]).expect("it is there");
        let is_taken = codec.encode(text.as_bytes(), &mut sent).is_ok();
        prop_assert_eq!(is_taken, first == text.len());
    }
}

#[test]
fn the_kept_corpus_breaks_no_promise() {
    let kept = corpus("codec");
    assert!(!kept.is_empty());
    kept.iter().for_each(|bytes| hold_for(bytes));
}
