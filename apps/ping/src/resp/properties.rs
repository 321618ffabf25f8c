//! What holds of the parser whatever a peer sends. Told of bytes, so that property tests, the kept
//! corpus and the fuzzer ask the same question: the first byte picks the bounds, the second how the
//! rest comes in.

use corelane::Step;

use super::super::client::{Client, Ids, NAME_MAX};
use super::super::reply::{Reply, answer};
use super::{Argument, Limits, Request, Scan, unquote};

const LIMITS: [Limits; 3] = [
    Limits {
        inline_max: 64,
        bulk_max: 100,
        arguments_max: 4,
    },
    Limits {
        inline_max: 64,
        bulk_max: 64,
        arguments_max: 1,
    },
    Limits {
        inline_max: 65_536,
        bulk_max: 1 << 20,
        arguments_max: 1024,
    },
];
/// Requests of one stream at most.
const REQUESTS_MAX: usize = 64;

/// What became of a stream: the words of each request, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Understood {
    pub(crate) requests: Vec<Vec<Vec<u8>>>,
    /// None: more was wanted.
    pub(crate) refused: Option<&'static str>,
}

/// Reads `bytes` in one piece and in pieces.
pub(crate) fn hold_for(bytes: &[u8]) -> Understood {
    let [limits, pieces, stream @ ..] = bytes else {
        return Understood {
            requests: Vec::new(),
            refused: None,
        };
    };
    let limits = &LIMITS[usize::from(*limits) % LIMITS.len()];
    let whole = understand(stream, limits, |_| usize::MAX);
    let mut state = u32::from(*pieces) + 1;
    let in_pieces = understand(stream, limits, |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 24) as usize % (1 + usize::from(*pieces) / 4)
    });
    assert_eq!(whole, in_pieces, "in one piece, and in pieces");
    assert_eq!(
        whole,
        understand(stream, limits, |_| 1),
        "in one piece, and byte by byte"
    );
    whole
}

/// Reads requests one behind the other, while `next` says how many bytes come at a time.
fn understand(stream: &[u8], limits: &Limits, mut next: impl FnMut(usize) -> usize) -> Understood {
    let (mut start, mut have) = (0, 0);
    let mut understood = Understood {
        requests: Vec::new(),
        refused: None,
    };
    let mut client = Client::default();
    while understood.requests.len() < REQUESTS_MAX {
        let mut scan = Scan::default();
        let step = loop {
            let before = scan.position.max(scan.searched);
            let step = scan.step(&stream[start..have], limits);
            assert!(
                scan.position.max(scan.searched) >= before || step != Step::NeedMore,
                "it looks at no byte twice"
            );
            if step != Step::NeedMore || have == stream.len() {
                break step;
            }
            assert!(
                have - start < limits.frame_max(),
                "it wants no more than a frame may have"
            );
            have = have.saturating_add(next(have)).min(stream.len());
        };
        match step {
            Step::NeedMore => return understood,
            Step::Invalid(why) => {
                return Understood {
                    refused: Some(why),
                    ..understood
                };
            }
            Step::Frame { value, length } => {
                assert!(
                    (1..=limits.frame_max()).contains(&length) && start + length <= have,
                    "a frame is among what has come"
                );
                understood.requests.push(words(
                    value,
                    &stream[start..start + length],
                    limits,
                    &mut client,
                ));
                start += length;
            }
        }
    }
    understood
}

/// The words of a request, which its bounds hold for, and which has an answer.
fn words(request: Request, frame: &[u8], limits: &Limits, client: &mut Client) -> Vec<Vec<u8>> {
    let words: Vec<Vec<u8>> = request.arguments(frame).map(word).collect();
    assert_eq!(words.len(), request.count() as usize, "as many as it says");
    if let Request::Array { count } = request {
        let bytes: usize = words.iter().map(Vec::len).sum();
        assert!(
            count <= limits.arguments_max && bytes <= limits.bulk_max as usize,
            "within its bounds"
        );
    }
    let reply = answer(request, frame, client, &Ids::of_shard(0, 1));
    assert_eq!(
        reply == Reply::Nothing,
        words.is_empty(),
        "who says something is answered"
    );
    if let Reply::Whole(reply) = reply {
        assert_eq!(
            reply_length(&reply),
            Some(reply.len()),
            "with one whole reply: {}",
            reply.escape_ascii()
        );
    }
    assert!(client.name().len() <= NAME_MAX, "a name has a bound");
    words
}

/// Length of the first reply in `bytes`, if all of it is there.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let line = bytes[1..header - 2]
        .utf8_chunks()
        .map(|chunk| chunk.valid())
        .collect::<String>();
    let number = || line.parse::<usize>().ok();
    let values = match bytes[0] {
        b'-' | b'+' | b':' | b'_' => 0,
        b'$' if line == "-1" => 0,
        b'$' | b'=' => {
            return Some(header + number()? + 2)
                .filter(|end| bytes.get(end - 2..*end) == Some(b"\r\n"));
        }
        b'*' => number()?,
        b'%' => 2 * number()?,
        _ => return None,
    };
    (0..values).try_fold(header, |end, _| Some(end + reply_length(&bytes[end..])?))
}

fn word(argument: Argument<'_>) -> Vec<u8> {
    match argument {
        Argument::Plain(bytes) => bytes.to_vec(),
        Argument::Quoted(bytes) => {
            let text = unquote(bytes);
            assert!(
                text.capacity() <= bytes.len(),
                "quotes and escapes only take away"
            );
            text
        }
    }
}
