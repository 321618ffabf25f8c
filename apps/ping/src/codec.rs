//! The Redis serialization protocol as a codec: requests are read, replies sent.

use std::cell::Cell;
use std::io::Write;

use corelane::codec::Codec;
use corelane::{Error, Step};

use super::reply::{Reply, bulk_header};
use super::resp::{Limits, Request, Scan};

/// Of one connection; the limits are those of its shard, as they are at the time.
#[derive(Debug)]
pub(crate) struct Resp<'a> {
    limits: &'a Cell<Limits>,
    scan: Scan,
    unexpected: u8,
}

impl<'a> Resp<'a> {
    pub(crate) fn new(limits: &'a Cell<Limits>) -> Self {
        Self {
            limits,
            scan: Scan::default(),
            unexpected: 0,
        }
    }

    /// The byte that stood where the last [`EXPECTED_BULK`](super::resp::EXPECTED_BULK) says one was
    /// expected.
    pub(crate) fn unexpected(&self) -> u8 {
        self.unexpected
    }
}

impl Codec for Resp<'_> {
    type In = Request;
    type Out<'a> = Reply<'a>;

    fn frame_max(&self) -> usize {
        self.limits.get().frame_max()
    }

    fn decode(&mut self, unread: &[u8]) -> Step<Request> {
        let step = self.scan.step(unread, &self.limits.get());
        if step != Step::NeedMore {
            self.unexpected = self.scan.unexpected();
            self.scan = Scan::default();
        }
        step
    }

    /// What is no answer on the wire is none here: see [`Reply`].
    fn encode(&mut self, out: &Reply<'_>, to: &mut impl Write) -> Result<(), Error> {
        match out {
            Reply::Nothing | Reply::HangUp => {}
            Reply::Pong => to.write_all(b"+PONG\r\n")?,
            Reply::Bulk(text) => {
                let (header, length) = bulk_header(text.len());
                to.write_all(&header[..length])?;
                to.write_all(text)?;
                to.write_all(b"\r\n")?;
            }
            Reply::Whole(reply) => to.write_all(reply)?,
            Reply::Goodbye => to.write_all(b"+OK\r\n")?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Cell<Limits> {
        Cell::new(Limits {
            inline_max: 64,
            bulk_max: 100,
            arguments_max: 4,
        })
    }

    #[test]
    fn each_request_is_read_from_its_own_start() {
        let limits = limits();
        let mut resp = Resp::new(&limits);
        assert_eq!(resp.decode(b"*1\r\n$4\r\nPI"), Step::NeedMore);
        let ping = b"*1\r\n$4\r\nPING\r\nPING\r\n";
        let Step::Frame { value, length } = resp.decode(ping) else {
            panic!("it is whole");
        };
        assert_eq!((value, length), (Request::Array { count: 1 }, 14));
        let inline = Request::Inline { count: 1 };
        let (value, length) = (inline, 6);
        assert_eq!(resp.decode(&ping[14..]), Step::Frame { value, length });
    }

    #[test]
    fn what_was_unexpected_is_told_after_the_request() {
        let limits = limits();
        let mut resp = Resp::new(&limits);
        assert!(matches!(resp.decode(b"*1\r\n!4\r\n"), Step::Invalid(_)));
        assert_eq!(resp.unexpected(), b'!');
    }

    /// A reload may come in the middle of a request.
    #[test]
    fn a_bound_that_was_lowered_is_met_by_what_follows() {
        let limits = limits();
        let mut resp = Resp::new(&limits);
        let begun = [&b"*2\r\n$90\r\n"[..], &[b'x'; 90], b"\r\n"].concat();
        assert_eq!(resp.decode(&begun), Step::NeedMore);
        let bulk_max = 64;
        limits.set(Limits {
            bulk_max,
            ..limits.get()
        });
        let more = [&begun[..], b"$1\r\n"].concat();
        assert!(matches!(resp.decode(&more), Step::Invalid(_)));
    }

    #[test]
    fn replies_are_those_of_redis() {
        let limits = limits();
        let mut sent = Vec::new();
        let replies = [
            Reply::Pong,
            Reply::Nothing,
            Reply::Bulk(b"hello"[..].into()),
            Reply::Bulk(b""[..].into()),
            Reply::Whole(b"-ERR\r\n".to_vec()),
            Reply::Goodbye,
            Reply::HangUp,
        ];
        for reply in &replies {
            let outcome = Resp::new(&limits).encode(reply, &mut sent);
            outcome.expect("a vector takes it");
        }
        let expected = b"+PONG\r\n$5\r\nhello\r\n$0\r\n\r\n-ERR\r\n+OK\r\n";
        assert_eq!(
            sent.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }
}
