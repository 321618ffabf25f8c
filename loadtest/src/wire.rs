//! The protocols around what is sent and expected back, as bytes: requests on their way out, and
//! replies of which an [`Incoming`] gives what they carry. The parsers are pure: bytes in, [`Event`]
//! out, or in words why they are none.

mod event;
pub(crate) mod http;
pub(crate) mod websocket;

pub(crate) use event::Event;

use crate::workload::Protocol;

/// The reply that is being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    parser: Parser,
    /// How much of what it carries has come.
    pub(crate) body: u64,
    /// An answer to a ping that is to be sent, or the rest of one.
    pub(crate) pong: Vec<u8>,
    /// A part of it is sent.
    pub(crate) is_pong_begun: bool,
}

#[derive(Debug)]
enum Parser {
    Http(http::Reply),
    Websocket(websocket::Frames),
}

impl Incoming {
    /// Of a protocol that has more on the wire than what is carried.
    pub(crate) fn new(protocol: Protocol) -> Self {
        let parser = match protocol {
            Protocol::Websocket => Parser::Websocket(websocket::Frames::default()),
            _ => Parser::Http(http::Reply::default()),
        };
        Self {
            parser,
            body: 0,
            pong: Vec::new(),
            is_pong_begun: false,
        }
    }

    /// What `bytes` begin with, which it takes off them.
    pub(crate) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Event<'b>, String> {
        match &mut self.parser {
            Parser::Http(reply) => reply.next(bytes),
            Parser::Websocket(frames) => frames.next(bytes),
        }
    }

    /// Between two replies, with nothing to send: there is nothing to remember.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_between = match &self.parser {
            Parser::Http(reply) => reply.is_between(),
            Parser::Websocket(frames) => frames.is_between(),
        };
        is_between && self.pong.is_empty()
    }
}

/// Events with bodies in one piece, for tests: whatever pieces the bytes come in.
#[cfg(test)]
pub(crate) fn events<'b>(
    protocol: Protocol,
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> (Vec<String>, Option<String>, bool) {
    let (mut incoming, mut found, mut body) = (Incoming::new(protocol), Vec::new(), Vec::new());
    for mut piece in pieces {
        loop {
            match incoming.next(&mut piece) {
                Ok(Event::More) => break,
                Ok(Event::Body(bytes)) => body.extend_from_slice(bytes),
                Ok(Event::End) => {
                    found.push(format!("body {}", std::mem::take(&mut body).escape_ascii()));
                }
                Ok(other) => found.push(format!("{other:?}")),
                Err(why) => return (found, Some(why), false),
            }
        }
    }
    let is_at_rest = incoming.is_at_rest() && body.is_empty();
    (found, None, is_at_rest)
}
