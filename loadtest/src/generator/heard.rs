//! Which lines the connections of a shard have heard: each is to come once, and those of one
//! speaker in their order.

use std::collections::BTreeSet;

/// Lines that were skipped and may still come, at most: of more it is not told whether they come
/// late or twice.
const MISSING_MAX: usize = 1 << 16;

/// How a line came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    InOrder,
    /// Behind one that was said later.
    Late,
    Doubled,
}

/// What all connections of a shard have heard of all speakers of their rooms.
#[derive(Debug)]
pub(super) struct Heard {
    /// Speakers of a room, at most.
    speakers: usize,
    /// The next line of each, by connection and speaker.
    next: Vec<u32>,
    /// Lines before those that have not come: of a connection, from a speaker.
    missing: BTreeSet<(u32, u32, u32)>,
    /// Further such lines, of which only the number is known.
    untold: u64,
    /// Connections that are in their room.
    is_in: Vec<bool>,
}

impl Heard {
    pub(super) fn new(connections: u32, speakers: u32) -> Self {
        let (connections, speakers) = (connections as usize, speakers as usize);
        Self {
            speakers,
            next: vec![0; connections * speakers],
            missing: BTreeSet::new(),
            untold: 0,
            is_in: vec![false; connections],
        }
    }

    pub(super) fn entered(&mut self, connection: u32) {
        self.is_in[connection as usize] = true;
    }

    pub(super) fn left(&mut self, connection: u32) {
        self.is_in[connection as usize] = false;
    }

    pub(super) fn is_in(&self, connection: u32) -> bool {
        self.is_in[connection as usize]
    }

    /// Line `round` of a speaker has come to a connection.
    pub(super) fn take(&mut self, connection: u32, speaker: u32, round: u32) -> Arrival {
        let at = connection as usize * self.speakers + speaker as usize;
        let next = self.next[at];
        if round < next {
            let was_missing = self.missing.remove(&(connection, speaker, round));
            return if was_missing {
                Arrival::Late
            } else {
                Arrival::Doubled
            };
        }
        let room = MISSING_MAX.saturating_sub(self.missing.len()) as u32;
        let told = next + room.min(round - next);
        self.missing
            .extend((next..told).map(|round| (connection, speaker, round)));
        self.untold += u64::from(round - told);
        self.next[at] = round + 1;
        Arrival::InOrder
    }

    /// From which line on nothing has come from a speaker.
    pub(super) fn next(&self, connection: u32, speaker: u32) -> u32 {
        self.next[connection as usize * self.speakers + speaker as usize]
    }

    /// Connection, speaker and number of each line before that.
    pub(super) fn missing(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        self.missing.iter().copied()
    }

    /// How many more there are.
    pub(super) fn untold(&self) -> u64 {
        self.untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_comes_behind_a_later_one_is_late_and_a_second_time_doubled() {
        let mut heard = Heard::new(2, 3);
        let mut take = |round| heard.take(1, 2, round);
        assert_eq!([0, 1, 3].map(&mut take), [Arrival::InOrder; 3]);
        assert_eq!(take(1), Arrival::Doubled);
        assert_eq!(take(2), Arrival::Late);
        assert_eq!(take(2), Arrival::Doubled);
        assert_eq!(heard.missing().count(), 0);
        assert_eq!(
            (heard.next(1, 2), heard.next(1, 1), heard.next(0, 2)),
            (4, 0, 0)
        );
    }

    #[test]
    fn what_never_comes_stays_missing() {
        let mut heard = Heard::new(1, 1);
        assert_eq!(heard.take(0, 0, 2), Arrival::InOrder);
        assert_eq!(heard.missing().collect::<Vec<_>>(), [(0, 0, 0), (0, 0, 1)]);
    }

    #[test]
    fn of_too_many_the_number_is_known() {
        let (mut heard, far) = (Heard::new(1, 1), u32::MAX - 1);
        heard.take(0, 0, far);
        let told = heard.missing().count() as u64;
        assert_eq!(told, MISSING_MAX as u64);
        assert_eq!(told + heard.untold(), u64::from(far));
    }

    #[test]
    fn connections_enter_and_leave() {
        let mut heard = Heard::new(2, 1);
        heard.entered(1);
        assert!(heard.is_in(1) && !heard.is_in(0));
        heard.left(1);
        assert!(!heard.is_in(1));
    }
}
