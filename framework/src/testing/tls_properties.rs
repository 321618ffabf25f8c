//! What holds of a server with TLS, whatever its peers' bytes are and however they come in. Told of
//! bytes, so that property tests, the kept corpus and the fuzzer ask the same question: the first byte
//! picks what reads them, the second the pieces in which they come.

use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::close_reason::CloseReason;
use crate::shard::conns::EndOfInput;
use crate::shard::conns::tls::hello;
use crate::shard::futures::sleep::sleep;
use crate::shard::handle::Shard;
use crate::testing::tls_peer::{Certified, Party, TlsPeer, listener};
use crate::testing::{Peer, block_on, serve};
use crate::tls::ticket_file;

/// Bytes that a peer sends within a session at most.
const SENT_MAX: usize = 40_000;
/// Bytes of a flood, more than any handshake has.
const FLOOD: usize = 200_000;
/// Changes of keys among them: more may be taken for a flood.
const NEW_KEYS_MAX: u32 = 8;
/// What buffers on the heap hold at most for a peer that is read from: a message of the handshake that
/// is held, its next record, and both once more while they are put together.
const HEAP_MAX: u64 = 160 * 1024;
/// What a session holds of messages at most.
const HELD_MAX: usize = 36 * 1024;

/// # Panics
///
/// When it does not hold.
pub(crate) fn hold_for(bytes: &[u8], certified: &Certified) {
    let [reader, pieces, rest @ ..] = bytes else {
        return;
    };
    let pieces = Pieces::new(*pieces);
    match reader % 8 {
        0 => hello::properties::hold_for(rest),
        1 => ticket_file::properties::hold_for(rest),
        2 => strangers(rest, pieces, certified),
        3 => in_handshake(&TLS12, rest, pieces, certified),
        4 => in_handshake(&TLS13, rest, pieces, certified),
        5 => in_session(&TLS12, rest, pieces, certified),
        6 => flood(rest, pieces, certified),
        _ => in_session(&TLS13, rest, pieces, certified),
    }
}

/// How long the pieces are in which something is sent.
#[derive(Clone, Copy)]
struct Pieces {
    choice: u32,
    /// 0: it comes at once.
    longest: u32,
}

impl Pieces {
    fn new(choice: u8) -> Self {
        let choice = u32::from(choice);
        Self {
            choice,
            longest: choice * choice / 8,
        }
    }

    fn next(&mut self, most: usize) -> usize {
        if self.longest == 0 {
            return most;
        }
        self.choice = self
            .choice
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let length = 1 + (self.choice >> 8) % self.longest;
        most.min(length as usize)
    }

    async fn send(&mut self, peer: &mut Peer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(self.next(bytes.len()));
            peer.send(piece);
            sleep(Duration::from_micros(1)).await;
            assert_bounded();
            bytes = rest;
        }
    }
}

/// While somebody reads what comes.
fn assert_bounded() {
    Shard::with(|shard| {
        let heap = shard.buffers.heap_bytes();
        assert!(heap <= HEAP_MAX, "{heap} bytes on the heap");
        let conns = &mut shard.core().conns;
        for key in conns.table.occupants() {
            let conn = conns.get(key);
            let held = conn.and_then(|conn| Some(conn.session()?.held_bytes()));
            let held = held.unwrap_or_default();
            assert!(held <= HELD_MAX, "{held} bytes are held");
        }
    });
}

/// When nobody is there any more.
fn assert_nothing_left() {
    Shard::with(|shard| {
        assert_eq!(shard.buffers.referenced(), 0);
        let shared = &shard.core().conns.shared;
        assert_eq!((shared.unread, shared.unsent), (0, 0));
        assert_eq!(shared.tls.waiting(), 0);
    });
}

/// Whoever sends `bytes` and nothing else fails, or is waited for; and it is the same in pieces.
fn strangers(bytes: &[u8], pieces: Pieces, certified: &Certified) {
    let (whole, split) = block_on(async || {
        Party::with(&TLS13, certified).begin();
        let whole = stranger(bytes, Pieces::new(0)).await;
        (whole, stranger(bytes, pieces).await)
    });
    assert_eq!(whole, split);
}

async fn stranger(bytes: &[u8], mut pieces: Pieces) -> CloseReason {
    let (heard, handler) = listener();
    let mut peer = serve(handler);
    pieces.send(&mut peer, bytes).await;
    peer.finish();
    let reason = peer.closed().await;
    let allowed = [CloseReason::TlsFailed, CloseReason::PeerClosed];
    assert!(allowed.contains(&reason), "{reason}");
    assert!(heard.borrow().info.is_none(), "nobody has shaken hands");
    assert_nothing_left();
    reason
}

/// Whoever goes on sending the same is ended, whatever it is, before it has cost much memory.
fn flood(bytes: &[u8], mut pieces: Pieces, certified: &Certified) {
    pieces.longest = pieces.longest.max(bytes.len() as u32 / 2);
    let flood: Vec<u8> = bytes.iter().copied().cycle().take(FLOOD).collect();
    block_on(async || {
        Party::with(&TLS13, certified).begin();
        let (heard, handler) = listener();
        let mut peer = serve(handler);
        pieces.send(&mut peer, &flood).await;
        let reason = peer.closed().await;
        let allowed = [CloseReason::TlsFailed, CloseReason::TlsTimeout];
        assert!(allowed.contains(&reason), "{reason}");
        assert!(heard.borrow().info.is_none(), "nobody has shaken hands");
        assert_nothing_left();
    });
}

/// A client that shakes hands, but for some bytes of what it sends: each of the `changes` is a place
/// in that (two bytes) and what it is combined with.
fn in_handshake(
    version: &'static SupportedProtocolVersion,
    changes: &[u8],
    mut pieces: Pieces,
    certified: &Certified,
) {
    block_on(async || {
        let party = Party::with(version, certified);
        party.begin();
        let (heard, handler) = listener();
        let mut peer = party.connect(handler);
        let is_changed = shakes_hands(&mut peer, changes, &mut pieces).await;
        peer.peer.finish();
        let reason = peer.peer.closed().await;
        let allowed = [
            CloseReason::TlsFailed,
            CloseReason::TlsInvalid,
            CloseReason::TlsTimeout, // of a record that was said to be longer
            CloseReason::PeerClosed,
        ];
        assert!(allowed.contains(&reason), "{reason}");
        assert!(heard.borrow().bytes.is_empty());
        assert!(is_changed || heard.borrow().info.is_some());
        assert!(is_changed || reason == CloseReason::PeerClosed);
        assert_nothing_left();
    });
}

/// Whether anything was changed.
async fn shakes_hands(peer: &mut TlsPeer, changes: &[u8], pieces: &mut Pieces) -> bool {
    let (mut sent, mut is_changed) = (0, false);
    loop {
        let mut flight = peer.sealed();
        for change in changes.as_chunks::<3>().0 {
            let [high, low, with] = *change;
            let place = usize::from(u16::from_be_bytes([high, low]));
            let byte = place.checked_sub(sent).and_then(|at| flight.get_mut(at));
            if let Some(byte) = byte {
                *byte ^= with;
                is_changed |= with != 0;
            }
        }
        sent += flight.len();
        pieces.send(&mut peer.peer, &flight).await;
        // A server that was misled, and says what its client cannot read, is left as it is.
        if !peer.tls.is_handshaking() || !peer.try_pull().await {
            return is_changed;
        }
    }
}

/// What was sent within a session.
#[derive(Default)]
struct Sent {
    /// By a client that keeps to TLS.
    plain: Vec<u8>,
    /// What of that may be heard, if some of it was spoilt.
    audible: Option<usize>,
    /// Something was sent that is none of the session's.
    has_strange: bool,
    has_ended: bool,
    bytes: usize,
    new_keys: u32,
}

/// A client that has shaken hands and does what `script` says: nothing is heard but what it says, and
/// its end is no end unless it says so.
fn in_session(
    version: &'static SupportedProtocolVersion,
    script: &[u8],
    mut pieces: Pieces,
    certified: &Certified,
) {
    block_on(async || {
        let party = Party::with(version, certified);
        party.begin();
        let (heard, handler) = listener();
        let mut peer = party.connect(handler);
        assert!(peer.shake_hands().await);
        let mut sent = Sent::default();
        let mut rest = script;
        while let [act, count, more @ ..] = rest
            && sent.bytes < SENT_MAX
        {
            let (given, after) = more.split_at(usize::from(*count).min(more.len()));
            let takes_given = matches!(act % 6, 0 | 1);
            rest = if takes_given { after } else { more };
            let bytes = sent.act(&mut peer, act % 6, *count, given);
            sent.bytes += bytes.len() + 1;
            pieces.send(&mut peer.peer, &bytes).await;
        }
        peer.peer.finish();
        let reason = peer.peer.closed().await;
        let heard = heard.borrow();
        sent.compare(&heard.bytes, heard.end, reason);
        assert_nothing_left();
    });
}

impl Sent {
    /// What a client sends next.
    fn act(&mut self, peer: &mut TlsPeer, act: u8, count: u8, given: &[u8]) -> Vec<u8> {
        match act {
            0 => {
                self.has_strange |= !given.is_empty() && !self.has_ended;
                given.to_vec()
            }
            // Whole records of each kind, and of one that is none.
            1 => {
                self.has_strange |= !self.has_ended;
                let header = [19 + count % 6, 3, 3, 0, given.len() as u8];
                [header.as_slice(), given].concat()
            }
            2 | 3 => {
                let audible = self.plain.len();
                let mut sealed = self.seal(peer, usize::from(count) * 64 + 1);
                // The second byte of the version says nothing (RFC 8446, 5.1).
                let at = usize::from(count) % sealed.len().max(1);
                if act == 3 && at != 2 && !self.has_ended {
                    sealed[at] ^= 0x40;
                    self.audible.get_or_insert(audible);
                }
                sealed
            }
            4 => {
                self.new_keys += 1;
                if self.new_keys <= NEW_KEYS_MAX {
                    drop(peer.tls.refresh_traffic_keys()); // there are none in 1.2
                }
                peer.sealed()
            }
            _ => {
                peer.tls.send_close_notify();
                self.has_ended = true;
                peer.sealed()
            }
        }
    }

    fn seal(&mut self, peer: &mut TlsPeer, length: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        if !self.has_ended {
            self.plain.extend_from_slice(&bytes);
        }
        peer.seal(&bytes)
    }

    /// With what was heard.
    fn compare(&self, heard: &[u8], end: Option<EndOfInput>, reason: CloseReason) {
        let audible = self.audible.unwrap_or(self.plain.len());
        assert!(self.plain[..audible].starts_with(heard));
        let may_end = self.has_ended && self.audible.is_none();
        assert!(may_end || end != Some(EndOfInput::Peer));
        if self.has_strange || self.audible.is_some() {
            let allowed = [CloseReason::TlsInvalid, CloseReason::PeerClosed];
            assert!(allowed.contains(&reason), "{reason}");
            return;
        }
        assert_eq!(reason, CloseReason::PeerClosed);
        assert_eq!(heard.len(), self.plain.len());
        let expected = match self.has_ended {
            true => EndOfInput::Peer,
            false => EndOfInput::Truncated,
        };
        assert_eq!(end, Some(expected));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proptests::cases;

    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..most)
    }

    proptest! {
        #![proptest_config(cases(150))]

        #[test]
        fn no_bytes_of_a_peer_do_harm(reader: u8, pieces: u8, rest in bytes(300)) {
            let all = [&[reader, pieces][..], &rest].concat();
            hold_for(&all, Certified::made());
        }

        #[test]
        fn a_changed_handshake_does_no_harm(
            is_1_3: bool,
            pieces: u8,
            place in 0..600_u16,
            with: u8,
        ) {
            let [high, low] = place.to_be_bytes();
            let all = [3 + u8::from(is_1_3), pieces, high, low, with];
            hold_for(&all, Certified::made());
        }
    }
}
