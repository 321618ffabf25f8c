//! What comes to a connection with a session: opened where it lies, and queued as what it says.

use rustls::Error;

use crate::error::CloseReason;
use crate::ring::buffers::BufRef;
use crate::shard::conns::conn_mut::{ConnMut, Shared};
use crate::shard::conns::interest::{Interest, RunState};
use crate::shard::conns::tls::sessions::Tls;
use crate::shard::policy::log_limit::LogKind;
use crate::time::Tick;

/// What a session holds of a message of the handshake that is not whole. The largest that comes
/// behind the handshake is a ticket.
const HELD_BYTES_MAX: usize = 36 * 1024;

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
    pub(crate) fn open_input(&mut self, buffer: BufRef) {
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
        let (mut plain, mut own) = (std::mem::take(&mut tls.plain), std::mem::take(&mut tls.own));
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
        let room = input.len().min(buffers.size());
        let opened = {
            let bytes = buffers.bytes_mut(&mut input).unwrap_or_default();
            tls.session.open(bytes, &mut own, |mut rest| {
                while !rest.is_empty() {
                    if let Some(last) = plain.last_mut() {
                        rest = &rest[buffers.append(last, rest)..];
                    }
                    if !rest.is_empty() {
                        plain.push(buffers.allocate(room, Some(key)));
                    }
                }
            })
        };
        if let Some(last) = plain.last_mut()
            && last.len() < room / 2
        {
            let exact = buffers.copy(last.bytes(), Some(key));
            buffers.release(std::mem::replace(last, exact));
        }
        tls.is_over = opened.is_over;
        let is_too_much = tls.session.held_bytes() > HELD_BYTES_MAX
            || !tls.silent_records.take(opened.without_data, now);
        let failure = opened.failure.map(Broken::Tls);
        let failure = failure.or(is_too_much.then_some(Broken::TooMany));
        if opened.consumed == input.len() as usize || failure.is_some() {
            buffers.release(input);
            tls.partial_deadline = Tick::NEVER;
        } else {
            tls.partial = match opened.consumed {
                0 => buffers.copy_to_heap(input),
                consumed => {
                    let rest = buffers.copy(&input.bytes()[consumed..], Some(key));
                    buffers.release(input);
                    rest
                }
            };
            *unread += u64::from(tls.partial.len());
            if tls.partial_deadline == Tick::NEVER || opened.consumed > 0 {
                let deadline = now.after(within);
                tls.partial_deadline = if is_outbound { Tick::NEVER } else { deadline };
            }
        }
        let is_over = opened.is_over;
        (self.shared.tls.plain, self.shared.tls.own) = (plain, own);
        Some(Found { is_over, failure })
    }

    fn take_plain(&mut self, mut plain: Vec<BufRef>) {
        for buffer in plain.drain(..) {
            self.accept_input(buffer);
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
        if self.shared.may_log(LogKind::TlsBroken) {
            let why = match why {
                Broken::Tls(error) => error.to_string(),
                Broken::TooMany => "too many records without data".to_owned(),
            };
            let (conn, peer, shard) = (self.id(), self.peer(), self.shared.id.0);
            tracing::debug!(%conn, %peer, shard, why, "a TLS session has failed");
        }
        self.fail(CloseReason::TlsInvalid);
    }
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
