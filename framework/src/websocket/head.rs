//! The head of a frame (RFC 6455, 5.2): bytes in, verdict out.

use crate::step::Step;
use crate::websocket::code::Violation;

/// The longest: two bytes, eight of the length, four of the key.
pub(super) const HEAD_MAX: usize = 14;
/// Bytes that a control frame may carry (RFC 6455, 5.5).
pub(super) const CONTROL_MAX: usize = 125;

const LAST: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is (RFC 6455, 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn of(number: u8) -> Option<Self> {
        let all = [
            Self::Continuation,
            Self::Text,
            Self::Binary,
            Self::Close,
            Self::Ping,
            Self::Pong,
        ];
        all.into_iter().find(|opcode| *opcode as u8 == number)
    }

    pub(super) fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// What the head of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: Opcode,
    /// It ends its message.
    pub(super) is_last: bool,
    /// Its message is compressed (RFC 7692, 6).
    pub(super) is_compressed: bool,
    pub(super) key: Option<[u8; 4]>,
    /// Bytes that it carries.
    pub(super) length: u64,
    /// Bytes of the head itself.
    pub(super) size: usize,
}

/// What a frame must keep to, beside what holds of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// It comes from a client, and so is masked; else it is not.
    pub(super) is_masked: bool,
    /// Messages may be compressed.
    pub(super) deflates: bool,
    /// A message has begun and not ended.
    pub(super) in_message: bool,
}

/// Finds a head, and behind it as much as there is of what a data frame carries, or all that a
/// control frame does. A rule that is broken is told by the first byte that breaks it.
pub(super) fn parse(bytes: &[u8], rules: Rules) -> Step<Result<Head, Violation>> {
    match find(bytes, rules) {
        Ok(None) => Step::NeedMore,
        Ok(Some(head)) => {
            let there = (bytes.len() - head.size) as u64;
            let carried = head.length.min(there);
            if head.opcode.is_control() && carried < head.length {
                return Step::NeedMore;
            }
            Step::Frame {
                value: Ok(head),
                length: head.size + carried as usize,
            }
        }
        // Nothing behind it is read.
        Err(violation) => Step::Frame {
            value: Err(violation),
            length: bytes.len(),
        },
    }
}

fn find(bytes: &[u8], rules: Rules) -> Result<Option<Head>, Violation> {
    let [first, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (opcode, is_last) = (kind(*first, rules)?, first & LAST != 0);
    let [second, rest @ ..] = rest else {
        return Ok(None);
    };
    if (second & MASKED != 0) != rules.is_masked {
        return Err(Violation::protocol(match rules.is_masked {
            true => "a client's frame is not masked",
            false => "a server's frame is masked",
        }));
    }
    let short = second & !MASKED;
    if opcode.is_control() && usize::from(short) > CONTROL_MAX {
        return Err(Violation::protocol(
            "a control frame of more than 125 bytes",
        ));
    }
    let Some((length, rest)) = length(short, rest)? else {
        return Ok(None);
    };
    let (key, rest) = match (rules.is_masked, rest) {
        (false, _) => (None, rest),
        (true, [a, b, c, d, rest @ ..]) => (Some([*a, *b, *c, *d]), rest),
        (true, _) => return Ok(None),
    };
    Ok(Some(Head {
        opcode,
        is_last,
        is_compressed: first & COMPRESSED != 0,
        key,
        length,
        size: bytes.len() - rest.len(),
    }))
}

/// What the first byte says.
fn kind(first: u8, rules: Rules) -> Result<Opcode, Violation> {
    let fail = |why| Err(Violation::protocol(why));
    let Some(opcode) = Opcode::of(first & 0x0f) else {
        return fail("a reserved opcode");
    };
    if first & RESERVED != 0 {
        return fail("a reserved bit is set");
    }
    let may_compress = rules.deflates && matches!(opcode, Opcode::Text | Opcode::Binary);
    if first & COMPRESSED != 0 && !may_compress {
        return fail("the bit for compressed messages is set where none may be");
    }
    match opcode {
        _ if opcode.is_control() && first & LAST == 0 => fail("a control frame in fragments"),
        Opcode::Continuation if !rules.in_message => fail("a continuation of no message"),
        Opcode::Text | Opcode::Binary if rules.in_message => {
            fail("a message begins within another one")
        }
        _ => Ok(opcode),
    }
}

/// The length, in as few bytes as it takes, and what follows it.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, rest, least) = match short {
        126 => match rest {
            [a, b, rest @ ..] => (u64::from(u16::from_be_bytes([*a, *b])), rest, 126),
            _ => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest, 1 << 16),
            None if rest.first().is_some_and(|first| first & 0x80 != 0) => (u64::MAX, rest, 0),
            None => return Ok(None),
        },
        short => (u64::from(short), rest, 0),
    };
    if length >= 1 << 63 {
        return Err(Violation::protocol("a length of 2^63 or more"));
    }
    if length < least {
        return Err(Violation::protocol("a length in more bytes than it takes"));
    }
    Ok(Some((length, rest)))
}

/// Writes the head of a frame that ends its message. Gives the bytes and how many they are.
pub(super) fn write(
    opcode: Opcode,
    is_compressed: bool,
    length: usize,
    key: Option<[u8; 4]>,
) -> ([u8; HEAD_MAX], usize) {
    let mut head = [0; HEAD_MAX];
    let compressed = if is_compressed { COMPRESSED } else { 0 };
    let masked = if key.is_some() { MASKED } else { 0 };
    head[0] = LAST | compressed | opcode as u8;
    let mut size = match length {
        0..=125 => {
            head[1] = masked | length as u8;
            2
        }
        126..=0xffff => {
            head[1] = masked | 126;
            head[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = masked | 127;
            head[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    if let Some(key) = key {
        head[size..size + 4].copy_from_slice(&key);
        size += 4;
    }
    (head, size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proptests::cases;
    use crate::websocket::mask;

    const CLIENT: Rules = Rules {
        is_masked: true,
        deflates: false,
        in_message: false,
    };

    #[test]
    fn a_rule_is_told_by_the_first_byte_that_breaks_it() {
        let in_message = Rules {
            in_message: true,
            ..CLIENT
        };
        let server = Rules {
            is_masked: false,
            ..CLIENT
        };
        let cases: [(&[u8], Rules, &str); 17] = [
            (b"\x83", CLIENT, "a reserved opcode"),
            (b"\x8b", CLIENT, "a reserved opcode"),
            (b"\xc1", CLIENT, "the bit for compressed"),
            (b"\xa1", CLIENT, "a reserved bit"),
            (b"\x91", CLIENT, "a reserved bit"),
            (b"\x09", CLIENT, "a control frame in fragments"),
            (b"\x80", CLIENT, "a continuation of no message"),
            (b"\x81", in_message, "a message begins within"),
            (b"\x02", in_message, "a message begins within"),
            (b"\x81\x01", CLIENT, "a client's frame is not masked"),
            (b"\x81\x81", server, "a server's frame is masked"),
            (b"\x89\xfe", CLIENT, "a control frame of more than"),
            (b"\x88\xff", CLIENT, "a control frame of more than"),
            (b"\x82\xfe\0\x7d", CLIENT, "a length in more bytes"),
            (
                b"\x82\xff\0\0\0\0\0\0\xff\xff",
                CLIENT,
                "a length in more bytes",
            ),
            (b"\x82\xff\x80", CLIENT, "a length of 2^63"),
            (
                b"\xc0",
                Rules {
                    deflates: true,
                    in_message: true,
                    ..CLIENT
                },
                "the bit for",
            ),
        ];
        for (bytes, rules, why) in cases {
            let Step::Frame {
                value: Err(found), ..
            } = parse(bytes, rules)
            else {
                panic!("{}", bytes.escape_ascii());
            };
            assert!(
                found.why.starts_with(why),
                "{}: {}",
                bytes.escape_ascii(),
                found.why
            );
            let before = parse(&bytes[..bytes.len() - 1], rules);
            assert_eq!(before, Step::NeedMore, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_data_frame_is_given_as_far_as_it_is_there_and_a_control_frame_whole() {
        let step = parse(b"\x82\x83abcdx", CLIENT);
        assert!(matches!(step, Step::Frame { length: 7, .. }), "{step:?}");
        let step = parse(b"\x82\x83abcd", CLIENT);
        assert!(matches!(step, Step::Frame { length: 6, .. }), "{step:?}");
        assert_eq!(parse(b"\x89\x83abcdxy", CLIENT), Step::NeedMore);
        let step = parse(b"\x89\x83abcdxyz+", CLIENT);
        assert!(matches!(step, Step::Frame { length: 9, .. }), "{step:?}");
    }

    proptest! {
        #![proptest_config(cases(500))]

        #[test]
        fn what_is_written_is_read_as_such(
            length in prop_oneof![0..300_usize, 65_000..66_000_usize, any::<u32>().prop_map(|n| n as usize)],
            key: Option<[u8; 4]>,
            is_compressed: bool,
            is_text: bool,
        ) {
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            let (head, size) = write(opcode, is_compressed, length, key);
            let rules = Rules { is_masked: key.is_some(), deflates: is_compressed, in_message: false };
            let expected = Head { opcode, is_last: true, is_compressed, key, length: length as u64, size };
            prop_assert_eq!(parse(&head[..size], rules), Step::Frame { value: Ok(expected), length: size });
        }

        #[test]
        fn masking_in_pieces_is_masking_byte_by_byte(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            key: [u8; 4],
            at: usize,
        ) {
            let by_byte = bytes.iter().enumerate().map(|(place, byte)| byte ^ key[place % 4]);
            let by_byte: Vec<u8> = by_byte.collect();
            let mut masked = bytes.clone();
            let at = at % (bytes.len() + 1);
            let (first, second) = masked.split_at_mut(at);
            mask::apply(first, key);
            mask::apply(second, mask::after(key, at));
            prop_assert_eq!(&masked, &by_byte);
            mask::apply(&mut masked, key);
            prop_assert_eq!(masked, bytes);
        }
    }
}
