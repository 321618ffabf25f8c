//! What holds of lines, exact lengths and frames, however a peer's bytes come in. Told of bytes, so
//! that property tests, the kept corpus and the fuzzer ask the same question: the first byte picks
//! how they are read, and in its upper half by codecs; the second the bound, the third the pieces.

use std::cell::RefCell;
use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use crate::codec::{Codec, Fixed, Lines, Payload};
use crate::config::{Buffers, Config, Limits};
use crate::conn::connection::Conn;
use crate::conn::framed::Framed;
use crate::error::Error;
use crate::id::{Key, ListenerIndex, SlotIndex};
use crate::ring::{Completion, Operation, Token};
use crate::shard::conns::ConnMut;
use crate::shard::conns::interest::RunState;
use crate::shard::handle::Shard;
use crate::shard::policy::bounds::MemoryShare;
use crate::shard::sim::stand_in::stand_in_shard;
use crate::shard::task::wake::waker_of;
use crate::step::Step;

const BUFFER: u32 = 256;
const READS_PER_TURN_MAX: u32 = 16;
const INVALID: &str = "no such frame";
/// First bytes from here on read by a codec.
const BY_CODEC: u8 = 128;

/// How the stream is read.
#[derive(Clone, Copy, Debug)]
enum Way {
    Lines,
    /// Of this length each.
    Exact(usize),
    /// One byte that says how long the rest is; 255 is none.
    Frames,
}

/// What the handler saw: frames without their ends or headers, and how it went on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    frames: Vec<Vec<u8>>,
    end: Option<&'static str>,
}

/// Reads `bytes` in pieces as a handler does, and compares with what the whole means.
pub(crate) fn hold_for(bytes: &[u8]) {
    let [way, bound, pieces, stream @ ..] = bytes else {
        return;
    };
    let bound = 1 + usize::from(*bound) * 4;
    let by_codec = *way >= BY_CODEC;
    let way = match way % 3 {
        0 => Way::Lines,
        1 => Way::Exact(bound),
        _ => Way::Frames,
    };
    let shard = Shard::current().unwrap_or_else(new_shard);
    let (seen, mut reader) = (RefCell::default(), Reader::new(&shard));
    let mut conn = Conn::new(reader.key);
    if by_codec {
        let reads = read_by_codec(way, bound, &mut conn, &seen);
        reader.read(reads, &seen, bound, stream, u32::from(*pieces));
    } else {
        let reads = read_all(way, bound, &mut conn, &seen);
        reader.read(reads, &seen, bound, stream, u32::from(*pieces));
    }
    reader.close();
    drop(conn);
    let seen = seen.into_inner();
    assert_eq!(
        seen,
        meaning(way, bound, stream),
        "{way:?} of {bound} bytes at most"
    );
    assert_eq!(shard.buffers.referenced(), 0, "nobody holds a buffer");
}

fn new_shard() -> Rc<Shard> {
    let limits = Limits {
        recv_queue_max: 1024,
        reads_per_turn_max: READS_PER_TURN_MAX,
        ..Limits::default()
    };
    let config = Config {
        buffers: Buffers {
            size: BUFFER,
            count: 64,
        },
        limits,
        ..Config::default()
    };
    stand_in_shard(
        config,
        MemoryShare {
            unread_max: u32::MAX,
            unsent_max: u32::MAX,
        },
    )
}

/// The same, of the whole stream at once and in the plainest way.
fn meaning(way: Way, bound: usize, stream: &[u8]) -> Seen {
    let (mut seen, mut rest) = (Seen::default(), stream);
    while seen.end.is_none() {
        let frame = match way {
            _ if rest.is_empty() => Err("end"),
            Way::Lines => match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) if end < bound => Ok((
                    rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]),
                    end + 1,
                )),
                None if rest.len() < bound => Err("truncated"),
                _ => Err("too long"),
            },
            Way::Exact(length) => rest
                .get(..length)
                .map(|frame| (frame, length))
                .ok_or("truncated"),
            Way::Frames => match usize::from(rest[0]) {
                255 => Err(INVALID),
                length if length >= bound => Err("too long"),
                length => rest
                    .get(1..=length)
                    .map(|frame| (frame, length + 1))
                    .ok_or("truncated"),
            },
        };
        match frame {
            Ok((frame, length)) => {
                seen.frames.push(frame.to_vec());
                rest = &rest[length..];
            }
            Err(end) => seen.end = Some(end),
        }
    }
    seen
}

async fn read_all(way: Way, bound: usize, conn: &mut Conn, seen: &RefCell<Seen>) {
    let parse = |bytes: &[u8]| match bytes[0] {
        255 => Step::Invalid(INVALID),
        length if bytes.len() <= usize::from(length) && usize::from(length) < bound => {
            Step::NeedMore
        }
        length => Step::Frame {
            value: (),
            length: usize::from(length) + 1,
        },
    };
    loop {
        let frame = match way {
            Way::Lines => conn
                .read_line(bound)
                .await
                .map(|line| line.map(|line| line.to_vec())),
            Way::Exact(length) => conn
                .read_exact(length)
                .await
                .map(|frame| frame.map(|frame| frame.to_vec())),
            Way::Frames => conn
                .read_frame(bound, parse)
                .await
                .map(|frame| frame.map(|frame| frame.bytes[1..].to_vec())),
        };
        if seen.borrow_mut().is_over(bound, frame) {
            return;
        }
    }
}

async fn read_by_codec(way: Way, bound: usize, conn: &mut Conn, seen: &RefCell<Seen>) {
    match way {
        Way::Lines => read_framed(conn.framed(Lines::new(bound)), bound, seen).await,
        Way::Exact(length) => read_framed(conn.framed(Fixed::new(length)), bound, seen).await,
        Way::Frames => read_framed(conn.framed(Counted(bound)), bound, seen).await,
    }
}

async fn read_framed<C>(mut framed: Framed<'_, C>, bound: usize, seen: &RefCell<Seen>)
where
    C: Codec<In = Payload>,
{
    loop {
        let frame = framed.next().await;
        let frame = frame.map(|frame| frame.map(|frame| frame.to_vec()));
        if seen.borrow_mut().is_over(bound, frame) {
            return;
        }
    }
}

/// As [`Way::Frames`], and announces a length before its bytes are there.
struct Counted(usize);

impl Codec for Counted {
    type In = Payload;
    type Out<'a> = [u8];

    fn frame_max(&self) -> usize {
        self.0
    }

    fn decode(&mut self, unread: &[u8]) -> Step<Payload> {
        match unread[0] {
            255 => Step::Invalid(INVALID),
            length => Step::Frame {
                value: Payload::new(1..usize::from(length) + 1),
                length: usize::from(length) + 1,
            },
        }
    }

    fn encode(&mut self, out: &[u8], to: &mut impl Write) -> Result<(), Error> {
        Ok(to.write_all(out)?)
    }
}

impl Seen {
    /// What a read gave; whether it was the last one.
    fn is_over(&mut self, bound: usize, frame: Result<Option<Vec<u8>>, Error>) -> bool {
        let end = match frame {
            Ok(Some(frame)) => {
                self.frames.push(frame);
                return false;
            }
            Ok(None) => "end",
            Err(Error::FrameTooLong { max }) if max == bound => "too long",
            Err(Error::Truncated) => "truncated",
            Err(Error::Protocol(why)) => why,
            Err(error) => panic!("{error}"),
        };
        self.end = Some(end);
        true
    }
}

/// One connection, whose peer and kernel this is.
struct Reader<'a> {
    shard: &'a Shard,
    key: Key,
    /// The receive or poll that is in flight.
    waits: Option<(Token, bool)>,
}

impl<'a> Reader<'a> {
    fn new(shard: &'a Shard) -> Self {
        let mut core = shard.core();
        core.open(SlotIndex(0), ([127, 0, 0, 1], 1).into(), ListenerIndex(0));
        let key = core.conns.table.occupant(SlotIndex(0));
        let key = key.expect("it was opened");
        drop(core);
        let mut reader = Self {
            shard,
            key,
            waits: None,
        };
        reader.enter();
        reader
    }

    fn conn<R>(&self, act: impl FnOnce(&mut ConnMut<'_>) -> R) {
        self.shard.core().conns.get(self.key).as_mut().map(act);
    }

    fn read(
        &mut self,
        reads: impl Future<Output = ()>,
        seen: &RefCell<Seen>,
        bound: usize,
        stream: &[u8],
        pieces: u32,
    ) {
        let heap_max = 4 * (bound as u64 + u64::from(BUFFER)) + 64 * u64::from(BUFFER);
        {
            let mut reads = pin!(reads);
            let waker = waker_of(self.shard.number(), self.key);
            let mut poll = |reader: &mut Self| {
                let mut over = false;
                // With more frames than its share of a turn it is due again at once.
                while !over {
                    reader.conn(|conn| conn.begin_poll());
                    let read_before = seen.borrow().frames.len();
                    over = reads
                        .as_mut()
                        .poll(&mut Context::from_waker(&waker))
                        .is_ready();
                    reader.shard.core().conns.after_poll();
                    let read = seen.borrow().frames.len() - read_before;
                    assert!(
                        read <= READS_PER_TURN_MAX as usize,
                        "{read} frames in one poll"
                    );
                    let slot = reader.shard.core().conns.snapshot(reader.key);
                    if slot.is_none_or(|slot| slot.waits.run() != RunState::Due) {
                        break;
                    }
                }
                reader.enter();
                let held = reader.shard.buffers.heap_bytes();
                assert!(held <= heap_max, "{held} bytes for frames of {bound}");
                over
            };
            let (mut rest, mut choice, mut over) = (stream, pieces, poll(self));
            while !over && !rest.is_empty() {
                choice = choice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let most = if pieces < 64 { BUFFER } else { 1 + pieces % 8 };
                let (piece, after) =
                    rest.split_at((1 + (choice >> 16) % most).min(rest.len() as u32) as usize);
                self.receive(piece);
                rest = after;
                // Sometimes more than one piece has come by the time that the handler looks.
                over = choice >> 30 != 0 && poll(self);
            }
            self.receive(b"");
            assert!(over || poll(self), "a handler sees the end");
        }
    }

    /// The next bytes of the peer, or with none of them its end.
    fn receive(&mut self, piece: &[u8]) {
        if self
            .waits
            .is_some_and(|(token, _)| token.operation == Operation::Poll)
        {
            self.complete(libc::POLLIN.into(), None, false);
        }
        let multishot = self.waits.is_some_and(|(_, multishot)| multishot);
        let buffer = if piece.is_empty() {
            None
        } else {
            self.fill(piece)
        };
        self.complete(piece.len() as i32, buffer, multishot && !piece.is_empty());
    }

    fn fill(&mut self, piece: &[u8]) -> Option<u16> {
        self.shard.core().feed();
        let filled = self
            .shard
            .core()
            .conns
            .shared
            .ring
            .fill_buffer(&self.shard.buffers, piece);
        Some(filled.expect("what is unread is copied out before buffers run out"))
    }

    fn complete(&mut self, result: i32, buffer: Option<u16>, more: bool) {
        let (token, multishot) = self.waits.expect("the connection waits for input");
        self.waits = more.then_some((token, multishot));
        self.shard.core().conns.shared.ring.complete(Completion {
            token,
            result,
            buffer,
            more,
        });
        self.shard.turn(Duration::ZERO);
        self.enter();
    }

    /// Takes what was submitted.
    fn enter(&mut self) {
        let mut core = self.shard.core();
        for submission in core.conns.shared.ring.take_submissions() {
            match submission.token.operation {
                Operation::Receive | Operation::Poll => {
                    self.waits = Some((submission.token, submission.is_multishot()))
                }
                Operation::Close => core.conns.shared.ring.complete(Completion {
                    token: submission.token,
                    result: 0,
                    buffer: None,
                    more: false,
                }),
                Operation::Wake => {}
                operation => panic!("{operation:?} is not for one who only reads"),
            }
        }
        let mut due = Vec::new();
        core.take_due(&mut due);
    }

    /// The end of a connection whose peer has ended.
    fn close(&mut self) {
        self.conn(|conn| conn.finish(None));
        self.enter();
        self.shard.turn(Duration::ZERO);
        assert_eq!(
            self.shard.core().conns.shared.places.open(),
            0,
            "its slot is free again"
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proptests::cases;

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let lines = "([a-z]{0,20}\r{0,2}\n?){0,40}".prop_map(String::into_bytes);
        let frame = proptest::collection::vec(any::<u8>(), 0..60)
            .prop_map(|rest| [&[rest.len() as u8][..], &rest].concat());
        let frames = proptest::collection::vec(frame, 0..12).prop_map(|frames| frames.concat());
        prop_oneof![
            lines,
            frames,
            proptest::collection::vec(any::<u8>(), 0..900)
        ]
    }

    #[test]
    fn a_flood_of_empty_lines_takes_its_share_of_a_turn_and_no_more() {
        let (bound, whole_buffers) = (10, 0);
        for lines in [0, 129] {
            hold_for(&[&[lines, bound, whole_buffers][..], &[b'\n'; 600]].concat());
        }
    }

    proptest! {
        #![proptest_config(cases(1500))]

        #[test]
        fn frames_and_lines_are_the_same_in_any_pieces(way: u8, bound: u8, pieces: u8, stream in stream()) {
            hold_for(&[&[way, bound, pieces][..], &stream].concat());
        }
    }
}
