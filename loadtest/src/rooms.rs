//! Rooms of connections, and the lines that are said in them.
//!
//! Connection `n` is in room `n` modulo the number of rooms, and has a place there. Every byte of a
//! line follows from who says it, which of its lines it is and when it was due: a line that is
//! changed, or said in another room, shows. That each comes once and in order is checked by the
//! numbers in it.

use std::io::Write as _;
use std::time::Duration;

use crate::workload::StreamKey;

/// Bytes of a line that have room for its numbers.
pub(crate) const LINE_MIN: u32 = 48;
/// The longest line that is said.
pub(crate) const LINE_MAX: u32 = 16 << 10;
/// The longest that a server may send: one that was said, or a notice.
pub(crate) const RECEIVED_MAX: usize = 2 * LINE_MAX as usize;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speakers {
    /// All, in rooms that they join by `/join ROOM`, and what they say comes as `NAME: text`.
    All,
    /// The first connection of the one room, in which everybody is once connected.
    First,
}

/// The rooms of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rooms {
    pub(crate) speakers: Speakers,
    pub(crate) connections: u32,
    pub(crate) rooms: u32,
    /// Bytes of a line as it is said, its end included.
    pub(crate) line: u32,
    pub(crate) seed: u64,
    /// Part of the names of rooms: what was said in another run is not heard again.
    pub(crate) run: u32,
}

/// One line: whose, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The connection that says it.
    pub(crate) number: u32,
    pub(crate) round: u32,
    pub(crate) due: Duration,
}

/// What a received line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// A notice of the server: `* ...`.
    Notice,
    /// Line `round` of the connection with this place in the room, if it is right.
    Said {
        place: u32,
        round: u32,
    },
    Unknown,
}

impl Rooms {
    pub(crate) fn room(&self, number: u32) -> u32 {
        number % self.rooms
    }

    /// The connection with a place in a room.
    pub(crate) fn number(&self, room: u32, place: u32) -> u32 {
        place * self.rooms + room
    }

    /// How many are in a room, each of whom hears what is said there.
    pub(crate) fn members(&self, room: u32) -> u32 {
        (self.connections.saturating_sub(room)).div_ceil(self.rooms)
    }

    /// How many speak in a room: those with the first places.
    pub(crate) fn speakers(&self, room: u32) -> u32 {
        match self.speakers {
            Speakers::All => self.members(room),
            Speakers::First => 1,
        }
    }

    pub(crate) fn is_push(&self) -> bool {
        self.speakers == Speakers::First
    }

    pub(crate) fn speaks(&self, number: u32) -> bool {
        self.speakers == Speakers::All || number == 0
    }

    /// What a connection sends first.
    pub(crate) fn greeting(&self, number: u32) -> String {
        let (room, run) = (self.room(number), self.run);
        match self.speakers {
            Speakers::All => format!("/name m{number}\n/join r{room}-{run:08x}\n"),
            Speakers::First => String::new(),
        }
    }

    /// Whether a notice says that the connection is in its room.
    pub(crate) fn is_welcome(&self, number: u32, notice: &[u8]) -> bool {
        match self.speakers {
            Speakers::All => notice == format!("* m{number} joined").as_bytes(),
            Speakers::First => notice == b"* subscribed",
        }
    }

    /// Appends a line as it is said.
    pub(crate) fn say(&self, line: Line, out: &mut Vec<u8>) {
        let Line { number, round, due } = line;
        let begin = out.len();
        let (room, ns) = (self.room(number), due.as_nanos());
        write!(out, "{room} {round} {ns} ").expect("a vector takes everything");
        let filled = out.len();
        let whole = (begin + self.line as usize - 1).max(filled);
        out.resize(whole, 0);
        let offset = u64::from(round) * u64::from(self.line);
        StreamKey::new(self.seed, number.into()).fill(offset, &mut out[filled..]);
        out[filled..]
            .iter_mut()
            .for_each(|byte| *byte = b'a' + *byte % 26);
        out.push(b'\n');
    }

    /// Appends a line as it is heard, without its end.
    pub(crate) fn heard(&self, line: Line, out: &mut Vec<u8>) {
        if self.speakers == Speakers::All {
            write!(out, "m{}: ", line.number).expect("a vector takes everything");
        }
        self.say(line, out);
        out.pop();
    }

    /// What has come to one who is in `room`.
    pub(crate) fn parse(&self, room: u32, line: &[u8]) -> Received {
        if line.starts_with(b"* ") {
            return Received::Notice;
        }
        self.said(room, line).unwrap_or(Received::Unknown)
    }

    fn said(&self, room: u32, line: &[u8]) -> Option<Received> {
        let line = str::from_utf8(line).ok()?;
        let (number, text) = match self.speakers {
            Speakers::All => {
                let (name, text) = line.split_once(": ")?;
                (name.strip_prefix('m')?.parse().ok()?, text)
            }
            Speakers::First => (0, line),
        };
        let round: u32 = text.split(' ').nth(1)?.parse().ok()?;
        let is_member = number < self.connections && self.room(number) == room;
        let place = number / self.rooms;
        is_member.then_some(Received::Said { place, round })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(speakers: Speakers) -> Rooms {
        Rooms {
            speakers,
            connections: 10,
            rooms: if speakers == Speakers::All { 3 } else { 1 },
            line: 64,
            seed: 1,
            run: 7,
        }
    }

    const LINE: Line = Line {
        number: 7,
        round: 12,
        due: Duration::from_millis(5),
    };

    #[test]
    fn everybody_has_one_place_in_one_room() {
        let rooms = rooms(Speakers::All);
        let mut all: Vec<u32> = (0..3)
            .flat_map(|room| (0..rooms.members(room)).map(move |place| (room, place)))
            .map(|(room, place)| rooms.number(room, place))
            .collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert!(all.iter().all(|number| {
            let place = number / 3;
            rooms.number(rooms.room(*number), place) == *number
        }));
    }

    #[test]
    fn a_line_has_its_length_and_says_whose_it_is() {
        let rooms = rooms(Speakers::All);
        let (mut said, mut heard) = (Vec::new(), Vec::new());
        rooms.say(LINE, &mut said);
        rooms.heard(LINE, &mut heard);
        assert_eq!(said.len(), 64);
        assert_eq!([b"m7: ", &said[..63]].concat(), heard);
        let of_room = |room| rooms.parse(room, &heard);
        assert_eq!(
            of_room(1),
            Received::Said {
                place: 2,
                round: 12
            }
        );
        assert_eq!(of_room(2), Received::Unknown, "it was said in another room");
    }

    #[test]
    fn lines_differ_by_speaker_and_round() {
        let rooms = rooms(Speakers::First);
        let line = |number, round| {
            let mut said = Vec::new();
            rooms.say(
                Line {
                    number,
                    round,
                    ..LINE
                },
                &mut said,
            );
            said[40..].to_vec()
        };
        assert_ne!(line(0, 1), line(0, 2));
        assert_ne!(line(0, 1), line(1, 1));
    }

    #[test]
    fn what_is_no_line_of_the_run_is_unknown() {
        let rooms = rooms(Speakers::All);
        assert_eq!(rooms.parse(0, b"* m9 joined"), Received::Notice);
        for other in [
            &b"m10: 1 1 1 "[..],
            b"m1: 1 x 1 ",
            b"m1 1 1 1",
            b"bob: hello",
            b"m1: \xff",
            b"",
            b"m99999999999: 1 1 1",
        ] {
            assert_eq!(
                rooms.parse(1, other),
                Received::Unknown,
                "{}",
                other.escape_ascii()
            );
        }
    }
}
