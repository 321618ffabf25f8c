//! One direction: a line of pieces, each with its time, and the faults that are done to them on
//! their way. No sockets here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Cut;
use super::faults::Faults;
use crate::Random;

/// Bytes that are on their way at most. Past it the sender is not read from, and feels it.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a piece where the faults say nothing: small enough for a bandwidth to be even.
const PIECE_BYTES_MAX: usize = 4096;
/// The same as a part of a second of the bandwidth, so that a slow line drips and does not gush.
const PIECES_PER_SECOND_MIN: u32 = 10;

/// What is to be done with the receiving end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Nothing before this time; none: nothing until more is received.
    Wait(Option<Instant>),
    /// These bytes are due.
    Send(&'a [u8]),
    /// The sender has ended, and all is sent.
    End,
    /// The direction is cut.
    Cut(Cut),
}

#[derive(Debug)]
pub(super) struct Line {
    faults: Faults,
    random: Random,
    pieces: VecDeque<Piece>,
    /// Bytes in the pieces.
    held: usize,
    /// Bytes received so far, those that a cut keeps back not among them.
    admitted: u64,
    /// No piece is due before the one in front of it.
    last_due: Option<Instant>,
    ended: bool,
}

#[derive(Debug)]
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

impl Line {
    pub(super) fn new(faults: Faults, random: Random) -> Self {
        Self {
            faults,
            random,
            pieces: VecDeque::new(),
            held: 0,
            admitted: 0,
            last_due: None,
            ended: false,
        }
    }

    /// How many bytes may be received now.
    pub(super) fn room(&self) -> usize {
        LINE_BYTES_MAX.saturating_sub(self.held)
    }

    /// `bytes` have been received.
    pub(super) fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let left = self.left_to_cut().unwrap_or(u64::MAX);
        let admitted = &bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.admitted += admitted.len() as u64;
        self.held += admitted.len();
        let mut bytes = admitted.to_vec();
        self.corrupt(&mut bytes);
        while !bytes.is_empty() {
            let rest = bytes.split_off(self.piece_length().min(bytes.len()));
            let due = self.due(now, bytes.len());
            self.pieces.push_back(Piece { due, bytes });
            bytes = rest;
        }
    }

    /// The sender has ended its side.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn step(&self, now: Instant) -> Step<'_> {
        match self.pieces.front() {
            Some(piece) if piece.due <= now => Step::Send(&piece.bytes),
            Some(piece) => Step::Wait(Some(piece.due)),
            None => match self.faults.cut {
                Some((cut, _)) if self.left_to_cut() == Some(0) => Step::Cut(cut),
                _ if self.ended => Step::End,
                _ => Step::Wait(None),
            },
        }
    }

    /// So many bytes of what `step` gave have been sent.
    pub(super) fn sent(&mut self, length: usize) {
        self.held -= length;
        let Some(piece) = self.pieces.front_mut() else {
            return;
        };
        piece.bytes.drain(..length);
        if piece.bytes.is_empty() {
            self.pieces.pop_front();
        }
    }

    fn left_to_cut(&self) -> Option<u64> {
        self.faults
            .cut
            .map(|(_, bytes)| bytes.saturating_sub(self.admitted))
    }

    fn corrupt(&mut self, bytes: &mut [u8]) {
        let Some(one_in) = self.faults.corrupt_one_in else {
            return;
        };
        for byte in bytes {
            if self.random.below(one_in) == 0 {
                *byte ^= 1 + self.random.below(255) as u8;
            }
        }
    }

    fn piece_length(&mut self) -> usize {
        if let Some(max) = self.faults.slice_max {
            return 1 + self.random.below(max);
        }
        let even = self
            .faults
            .bytes_per_second
            .map_or(PIECE_BYTES_MAX, |rate| {
                (rate / PIECES_PER_SECOND_MIN) as usize
            });
        even.clamp(1, PIECE_BYTES_MAX)
    }

    fn due(&mut self, now: Instant, length: usize) -> Instant {
        let jitter = self
            .faults
            .jitter
            .mul_f64(self.random.below(1024) as f64 / 1024.0);
        let travelled = now + self.faults.delay + jitter;
        let takes = self.faults.bytes_per_second.map_or(Duration::ZERO, |rate| {
            Duration::from_secs(length as u64) / rate.max(1)
        });
        // On a line with a bandwidth a piece arrives when its last byte does, behind the piece
        // before it.
        let due = self
            .last_due
            .map_or(travelled, |last| last.max(now) + takes)
            .max(travelled);
        self.last_due = Some(due);
        due
    }
}
