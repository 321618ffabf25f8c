//! Heads of answers (RFC 9112, 4 and 6; RFC 9110, 6.4 and 8.6), and their content as far as it lies
//! with them.

use crate::conn::output::Output;
use crate::http::date;
use crate::http::exchange::{Exchange, Parts, Place, Reply};
use crate::http::field::{self, InvalidField};
use crate::http::refusal::Refusal;
use crate::http::response::{Content, Response};
use crate::http::send::LAST_CHUNK;
use crate::http::session::Session;
use crate::http::status::Status;
use crate::shard::conns::ConnMut;
use crate::time::Tick;

/// A longer slice is copied to the connection's queue alone, and not behind its head first.
const COPIED_MAX: usize = 2048;

impl Session {
    /// Makes an answer that is whole with its content, and writes what there is room for.
    pub(super) fn answer(&mut self, response: Response<'_>) {
        if let Some(why) = response.fault {
            return self.invalid(why);
        }
        let handle = self.handle;
        handle.with(|conn| {
            conn.count_message();
            let (now, is_last) = (conn.now(), conn.is_last_answer());
            let rest = self.make(response, now, is_last);
            self.write_at_once(conn, rest);
        });
    }

    /// Makes its head. Gives what of its content is too long to be copied behind that.
    fn make<'b>(&mut self, response: Response<'b>, now: Tick, is_last: bool) -> &'b [u8] {
        let keeps_alive = self.keeps_alive(is_last, response.closes);
        let exchange = self.exchange_mut();
        exchange.begin_head(response.status, now, &response.fields);
        let length = response.content.len() as u64;
        if let Some(length) = response.status.length_of(Some(length)) {
            exchange.write_length(length);
        }
        exchange.end_head(keeps_alive);
        exchange.reply = Reply::Sending;
        exchange.then = Reply::Whole;
        let content = match exchange.sends_content(response.status) {
            true => response.content,
            false => Content::Slice(&[]),
        };
        let rest = exchange.add(content);
        Response::recycle_fields(response.fields);
        rest
    }

    /// Writes what the exchange still has and then `rest` as far as there is room, so that hardly
    /// any answer is waited for. What is left of `rest` is the exchange's.
    fn write_at_once(&mut self, conn: &mut ConnMut<'_>, mut rest: &[u8]) {
        let exchange = self.exchange_mut();
        if conn.output_refusal().is_none() && conn.has_room() {
            exchange.written += conn.collect_output(&exchange.out[exchange.written..]);
            if exchange.written == exchange.out.len() {
                rest = &rest[conn.collect_output(rest)..];
            }
        }
        exchange.out.extend_from_slice(rest);
        if exchange.is_written() {
            exchange.end_write();
        }
    }

    /// Makes a part of an answer, as it is framed, and writes what there is room for.
    pub(super) fn answer_part(&mut self, part: Content<'_>) {
        if !self.takes_part() {
            return;
        }
        let (handle, rest) = (self.handle, self.exchange_mut().add_part(part));
        if self.reply() == Reply::Sending {
            handle.with(|conn| self.write_at_once(conn, rest));
        }
    }

    /// Makes the end of an answer whose content has come in parts.
    pub(super) fn answer_end(&mut self) {
        if self.takes_part() {
            self.exchange_mut().add_end();
        }
    }

    /// Whether the part before is written. If it was dropped half-way nobody knows how much of it is
    /// out, and nothing may come behind it.
    fn takes_part(&mut self) -> bool {
        match self.reply() {
            Reply::Streamed => return true,
            Reply::Invalid(_) => {}
            _ => self.invalid("a part was not brought to its end"),
        }
        false
    }

    /// Makes the head of an answer whose content comes in parts.
    pub(super) fn answer_in_parts(&mut self, response: Response<'_>) {
        let (now, is_last) = self.moment();
        if let Some(why) = response.fault {
            return self.invalid(why);
        }
        let exchange = self.exchange_mut();
        let parts = match response.length {
            _ if !exchange.sends_content(response.status) => Parts::Unsent,
            Some(length) => Parts::Length(length),
            None if exchange.said.is_1_0 => Parts::UntilClose,
            None => Parts::Chunked,
        };
        let keeps_alive = self.keeps_alive(is_last, response.closes || parts == Parts::UntilClose);
        let exchange = self.exchange_mut();
        exchange.begin_head(response.status, now, &response.fields);
        match response.status.length_of(response.length) {
            Some(length) => exchange.write_length(length),
            None if exchange.said.is_1_0 || response.status.has_no_content() => {}
            None => exchange
                .out
                .extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        exchange.end_head(keeps_alive);
        exchange.parts = parts;
        exchange.reply = Reply::Sending;
        exchange.then = Reply::Streamed;
        Response::recycle_fields(response.fields);
    }

    /// Makes the head of an answer whose chunks are written on the connection itself.
    pub(super) fn answer_and_hand_over(&mut self, response: Response<'_>) {
        let has_body = self.exchange_mut().body.place != Place::End;
        self.answer_in_parts(response.close());
        let exchange = self.exchange_mut();
        if exchange.reply != Reply::Sending {
            return;
        }
        if exchange.parts != Parts::Chunked || has_body {
            exchange.out.clear();
            return self.invalid("content in chunks is for HTTP/1.1, behind the request's body");
        }
        exchange.then = Reply::Upgraded;
        self.give_back();
    }

    /// Makes the answer with which the connection goes over to `protocol` (RFC 9110, 7.8).
    pub(super) fn answer_upgrade(
        &mut self,
        protocol: &str,
        fields: &[(&str, &str)],
        is_wanted: bool,
    ) {
        let (now, _) = self.moment();
        let exchange = self.exchange_mut();
        if !is_wanted || exchange.body.place != Place::End {
            return self
                .invalid("another protocol is gone over to if it is asked for, behind the body");
        }
        exchange
            .out
            .extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        date::write(now, &mut exchange.out);
        exchange.out.extend_from_slice(b"Connection: Upgrade\r\n");
        let mut written = field::write_any("Upgrade", protocol.as_bytes(), &mut exchange.out);
        for (name, value) in fields {
            written =
                written.and_then(|()| field::write(name, value.as_bytes(), &mut exchange.out));
        }
        if let Err(InvalidField(why)) = written {
            exchange.out.clear();
            return self.invalid(why);
        }
        exchange.out.extend_from_slice(b"\r\n");
        exchange.reply = Reply::Sending;
        exchange.then = Reply::Upgraded;
        self.give_back();
        self.end();
    }

    /// Makes the answer that says why the request is refused, as plain text. No cache keeps it: it is
    /// about these bytes, and not about what they ask for.
    pub(super) fn write_refusal(&mut self, refusal: Refusal) {
        let (now, _) = self.moment();
        let exchange = self.exchange_mut();
        let fields = b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n";
        exchange.begin_head(refusal.status, now, fields);
        exchange.write_length(refusal.why.len() as u64 + 1);
        exchange.end_head(KeepsAlive::No);
        if !exchange.said.is_head {
            exchange.out.extend_from_slice(refusal.why.as_bytes());
            exchange.out.push(b'\n');
        }
    }

    /// Nothing of the answer is sent, or nothing more.
    fn invalid(&mut self, why: &'static str) {
        self.end();
        self.exchange_mut().reply = Reply::Invalid(why);
    }

    /// The tick of this turn, and whether the server drains and nothing more has come to be answered.
    fn moment(&self) -> (Tick, bool) {
        let moment = self.handle.with(|conn| {
            conn.count_message();
            (conn.now(), conn.is_last_answer())
        });
        moment.unwrap_or((Tick::NEVER, true))
    }

    /// Whether the connection goes on behind the answer; if not, no further request is read.
    fn keeps_alive(&mut self, is_last: bool, closes: bool) -> KeepsAlive {
        let unread_max = u64::from(self.limits.unread_body_max);
        let has_more = self.requests_left > 0;
        let exchange = self.exchange_mut();
        let is_skipped = match exchange.body.place {
            Place::End => true,
            // Whether it comes at all nobody knows (RFC 9110, 10.1.1).
            _ if exchange.body.continue_left > 0 => false,
            Place::Length(left) => left <= unread_max,
            _ => unread_max > 0,
        };
        let is_last = is_last && exchange.rest().is_empty();
        let goes_on = exchange.said.keeps_alive && has_more && is_skipped && !is_last && !closes;
        let is_1_0 = exchange.said.is_1_0;
        match (goes_on, is_1_0) {
            (true, false) => KeepsAlive::Yes,
            (true, true) => KeepsAlive::Told,
            (false, _) => {
                self.end();
                KeepsAlive::No
            }
        }
    }
}

/// What an answer says of the connection (RFC 9112, 9.3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeepsAlive {
    Yes,
    /// To a client of HTTP/1.0.
    Told,
    No,
}

impl Exchange {
    fn begin_head(&mut self, status: Status, now: Tick, fields: &[u8]) {
        if self.begins != Some((status, now)) {
            self.begins = Some((status, now));
            self.beginning.clear();
            status.write_line(&mut self.beginning);
            date::write(now, &mut self.beginning);
        }
        self.out.clear();
        self.written = 0;
        self.out.extend_from_slice(&self.beginning);
        self.out.extend_from_slice(fields);
    }

    /// Whether an answer of `status` has content. What its handler gives for it is else not sent.
    fn sends_content(&self, status: Status) -> bool {
        !self.said.is_head && !status.has_no_content()
    }

    fn write_length(&mut self, length: u64) {
        self.out.extend_from_slice(b"Content-Length: ");
        field::write_number::<10>(length, &mut self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    fn end_head(&mut self, keeps_alive: KeepsAlive) {
        self.out.extend_from_slice(match keeps_alive {
            KeepsAlive::Yes => b"\r\n",
            KeepsAlive::Told => b"Connection: keep-alive\r\n\r\n",
            KeepsAlive::No => b"Connection: close\r\n\r\n",
        });
    }

    /// Content behind what is to be written. Gives that which is too long to be copied twice.
    fn add<'b>(&mut self, content: Content<'b>) -> &'b [u8] {
        match content {
            Content::Slice(slice) if slice.len() > COPIED_MAX => return slice,
            Content::Slice(slice) => self.out.extend_from_slice(slice),
            Content::Owned(bytes) => self.out.extend_from_slice(&bytes),
            Content::Chunk(chunk) => self.held = Output::Chunk(chunk),
            Content::Shared(bytes) => self.held = Output::Shared(bytes),
        }
        &[]
    }

    /// A part of the content, as it is framed.
    fn add_part<'b>(&mut self, part: Content<'b>) -> &'b [u8] {
        let length = part.len() as u64;
        match &mut self.parts {
            Parts::Unsent => return &[],
            _ if length == 0 => return &[], // a chunk of none would be the last one
            Parts::UntilClose => {}
            Parts::Length(left) => match left.checked_sub(length) {
                Some(rest) => *left = rest,
                None => {
                    self.reply = Reply::Invalid("more content than the answer has announced");
                    return &[];
                }
            },
            Parts::Chunked => {
                field::write_number::<16>(length, &mut self.out);
                self.out.extend_from_slice(b"\r\n");
                self.end = b"\r\n";
            }
        }
        let rest = self.add(part);
        if rest.is_empty() && self.held.is_empty() {
            self.out.extend_from_slice(self.end); // all of it in one piece
            self.end = &[];
        }
        self.reply = Reply::Sending;
        self.then = Reply::Streamed;
        rest
    }

    /// The end of the content.
    fn add_end(&mut self) {
        match self.parts {
            Parts::Length(1..) => {
                self.reply = Reply::Invalid("less content than the answer has announced");
                return;
            }
            Parts::Chunked => self.out.extend_from_slice(LAST_CHUNK),
            Parts::Length(0) | Parts::UntilClose | Parts::Unsent => {}
        }
        self.reply = Reply::Sending;
        self.then = Reply::Whole;
    }
}
