//! What comes to a connection with a session: opened where it lies, and queued as what it says.

use rustls::Error;

use crate::error::CloseReason;
use crate::id::Key;
use crate::ring::buffers::{BufRef, BufferPool};
use crate::shard::conns::conn_mut::{ConnMut, Shared};
use crate::shard::conns::interest::{Interest, RunState};
use crate::shard::conns::slot::Phase;
use crate::shard::conns::tls::record;
use crate::shard::conns::tls::sessions::Tls;
use crate::shard::policy::log_limit::LogKind;
use crate::time::Tick;
use crate::tls::plain;

/// What a session holds of a message of the handshake that is not whole. The largest that comes
/// behind the handshake is a ticket.
const HELD_BYTES_MAX: usize = 36 * 1024;

/// A record of which one in so many parts has come gets room for all of it, so that it is not moved
/// each time that more comes. A peer that sends less is not given more than it has sent.
const ROOM_PART: u32 = 8;

/// What was found in some input, beside its plaintext.
struct Found {
    is_over: bool,
    failure: Option<Broken>,
}

/// Why a session cannot go on.
enum Broken {
    Tls(Error),
    TooMany,
}

impl ConnMut<'_> {
    /// Opens `buffer`, and queues what it says.
    pub(crate) fn open_input(&mut self, mut buffer: BufRef) {
        // A record counts as it comes: the peer of a large one is not slow until it is whole.
        let (slot, bytes) = (self.key.slot, buffer.len());
        self.shared.requests.goes_on(slot, bytes);
        // A record that has begun is completed first, and what is behind it is opened where it lies.
        let missing = self.shared.tls.missing(self.key.slot);
        if missing > 0 && missing < buffer.len() {
            let head = self.shared.buffers.split(&mut buffer, missing);
            self.open_whole(head);
        }
        if self.slot.phase == Phase::Serving && self.slot.failed.is_none() {
            self.open_whole(buffer);
        } else {
            self.shared.buffers.release(buffer);
        }
    }

    fn open_whole(&mut self, buffer: BufRef) {
        let had_partial = self.shared.tls.has_partial(self.key.slot);
        let Some(found) = self.open_records(buffer) else {
            return;
        };
        let plain = std::mem::take(&mut self.shared.tls.plain);
        if self.slot.waits.run() == RunState::Pooled {
            self.end_pooled(plain, &found);
        } else {
            self.take_plain(plain);
            if found.is_over {
                self.fire(Interest::Input);
            }
        }
        if !self.shared.tls.own.is_empty() {
            self.send_own();
        }
        if let Some(why) = found.failure {
            return self.break_session(&why);
        }
        if had_partial || self.shared.tls.has_partial(self.key.slot) {
            self.set_deadline();
        }
    }

    /// The plaintext goes to `shared.tls.plain`, and what is to be sent for it to `shared.tls.own`.
    /// None: nothing is to be found, for the peer has ended its side.
    fn open_records(&mut self, buffer: BufRef) -> Option<Found> {
        let (key, now) = (self.key, self.shared.now);
        let own_timeouts = &self.shared.own_timeouts;
        let within = own_timeouts.of(key.slot, |own| own.read, self.shared.bounds.read);
        let is_outbound = self.slot.is_outbound();
        let Shared {
            buffers,
            tls,
            unread,
            ..
        } = &mut *self.shared;
        let (mut pieces, mut own) = (std::mem::take(&mut tls.plain), std::mem::take(&mut tls.own));
        let tls = tls.get_mut(key.slot).filter(|tls| !tls.is_over);
        let Some(tls) = tls else {
            buffers.release(buffer);
            return None;
        };
        let mut input = tls.take_partial(unread, buffer, |partial, more| {
            buffers.concatenate(partial, more)
        });
        if buffers.bytes_mut(&mut input).is_none() {
            let copy = buffers.copy(input.bytes(), Some(key));
            buffers.release(std::mem::replace(&mut input, copy));
        }
        own.clear();
        // What is opened is no longer than what it was opened from, and what a session holds.
        let room = input.len() + tls.session.held_bytes() as u32;
        let mut plain = BufRef::NONE;
        let opened = {
            let bytes = buffers.bytes_mut(&mut input).unwrap_or_default();
            tls.session.open(bytes, &mut own, |data| {
                if plain.is_none() && !data.is_empty() {
                    plain = buffers.allocate_record(room, Some(key));
                }
                if !data.is_empty() {
                    let taken = buffers.append(&mut plain, data);
                    debug_assert_eq!(taken, data.len(), "there is room for all");
                }
            })
        };
        cut(buffers, key, plain, room, &mut pieces);
        tls.is_over = opened.is_over;
        let is_too_much = tls.session.held_bytes() > HELD_BYTES_MAX
            || !tls.silent_records.take(opened.without_data, now);
        let failure = opened.failure.map(Broken::Tls);
        let failure = failure.or(is_too_much.then_some(Broken::TooMany));
        if opened.consumed == input.len() as usize || failure.is_some() {
            buffers.release(input);
            tls.partial_deadline = Tick::NEVER;
        } else {
            input.advance(opened.consumed as u32);
            tls.partial = keep(buffers, key, input);
            *unread += u64::from(tls.partial.len());
            if tls.partial_deadline == Tick::NEVER || opened.consumed > 0 {
                let deadline = now.after(within);
                tls.partial_deadline = if is_outbound { Tick::NEVER } else { deadline };
            }
        }
        let is_over = opened.is_over;
        (self.shared.tls.plain, self.shared.tls.own) = (pieces, own);
        Some(Found { is_over, failure })
    }

    fn take_plain(&mut self, mut plain: Vec<BufRef>) {
        for buffer in plain.drain(..) {
            self.accept_input(buffer, 0);
        }
        self.shared.tls.plain = plain;
    }

    /// Nobody uses the connection: a ticket is in order, data is not.
    fn end_pooled(&mut self, mut plain: Vec<BufRef>, found: &Found) {
        let has_data = !plain.is_empty();
        for buffer in plain.drain(..) {
            self.shared.buffers.release(buffer);
        }
        self.shared.tls.plain = plain;
        if has_data {
            self.fail(CloseReason::ProtocolError);
        } else if found.is_over {
            self.fail(CloseReason::PeerClosed);
        }
    }

    fn break_session(&mut self, why: &Broken) {
        let is_outbound = self.slot.is_outbound();
        let kind = match is_outbound {
            true => LogKind::OutboundTlsBroken,
            false => LogKind::TlsBroken,
        };
        if self.shared.may_log(kind) {
            let why = match why {
                Broken::Tls(error) => plain(error),
                Broken::TooMany => "too many records without data".to_owned(),
            };
            let (conn, peer, shard) = (self.id(), self.peer(), self.shared.id.0);
            if is_outbound {
                tracing::warn!(%conn, %peer, shard, why, "the TLS session of an outbound connection has failed");
            } else {
                tracing::debug!(%conn, %peer, shard, why, "a TLS session has failed");
            }
        }
        self.fail(CloseReason::TlsInvalid);
    }
}

/// Cuts what was opened, in a buffer with so much room, into pieces as long as a reader expects
/// them. They stay neighbours: who writes them on together sends them as one.
fn cut(buffers: &BufferPool, key: Key, mut plain: BufRef, room: u32, pieces: &mut Vec<BufRef>) {
    if plain.is_none() {
        return;
    }
    if plain.len() < room / 2 {
        let exact = buffers.copy(plain.bytes(), Some(key));
        buffers.release(std::mem::replace(&mut plain, exact));
    }
    while plain.len() > buffers.size() {
        pieces.push(buffers.split(&mut plain, buffers.size()));
    }
    if plain.len() > 0 {
        pieces.push(plain);
    } else {
        buffers.release(plain);
    }
}

/// Keeps the beginning of a record. Once a part of it has come that is worth it, there is room for
/// the whole.
fn keep(buffers: &BufferPool, key: Key, rest: BufRef) -> BufRef {
    if buffers.is_on_heap(&rest) {
        return rest;
    }
    let length = rest.len();
    let whole = record::length(rest.bytes()).map_or(length, |whole| whole as u32);
    let room = if length >= whole / ROOM_PART {
        whole
    } else {
        length
    };
    let mut kept = buffers.allocate_record(room.max(length), Some(key));
    buffers.append(&mut kept, rest.bytes());
    buffers.release(rest);
    kept
}

impl Tls {
    /// What is kept of a record, with `more` behind it.
    fn take_partial(
        &mut self,
        unread: &mut u64,
        more: BufRef,
        concatenate: impl FnOnce(BufRef, BufRef) -> BufRef,
    ) -> BufRef {
        let partial = std::mem::replace(&mut self.partial, BufRef::NONE);
        *unread -= u64::from(partial.len());
        if partial.is_none() {
            more
        } else {
            concatenate(partial, more)
        }
    }
}
