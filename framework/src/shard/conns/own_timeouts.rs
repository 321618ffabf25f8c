//! Connections that have timeouts of their own, beside the table: one that has none costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::SlotIndex;
use crate::time::Ticks;

/// Timeouts for one connection, instead of those of `[timeouts]`:
/// [`Conn::set_timeouts`](crate::Conn::set_timeouts). Each is a duration, or `None` for "off"; what
/// is not named stays as the settings say. They pass by up to three ticks (375 ms) late.
///
/// ```
/// use std::time::Duration;
///
/// use corelane::{Conn, ConnTimeouts, Error};
///
/// /// Whoever has logged in may be silent for a day.
/// async fn logged_in(conn: &mut Conn) -> Result<(), Error> {
///     let day = Duration::from_secs(86_400);
///     conn.set_timeouts(ConnTimeouts::new().idle(Some(day)).lifetime(None));
///     conn.write("welcome\n").await
/// }
/// # let _ = logged_in;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "they apply once they are given to a connection"]
pub struct ConnTimeouts {
    pub(super) read: Option<Ticks>,
    pub(super) write: Option<Ticks>,
    pub(super) idle: Option<Ticks>,
    pub(super) lifetime: Option<Ticks>,
}

impl ConnTimeouts {
    /// All as the settings say.
    pub fn new() -> Self {
        Self::default()
    }

    /// From a frame's first byte to its last, as `timeouts.read`. Not for a connection that the
    /// shard opened, which has [`Conn::set_read_deadline`](crate::Conn::set_read_deadline).
    pub fn read(self, within: Option<Duration>) -> Self {
        let read = Some(Ticks::of(within));
        Self { read, ..self }
    }

    /// While the peer takes nothing of what it is sent, as `timeouts.write`; from the next send on.
    pub fn write(self, within: Option<Duration>) -> Self {
        let write = Some(Ticks::of(within));
        Self { write, ..self }
    }

    /// While nothing comes between frames, as `timeouts.idle`. A peer that has not sent a byte yet
    /// has `timeouts.first_byte` for it all the same.
    pub fn idle(self, within: Option<Duration>) -> Self {
        let idle = Some(Ticks::of(within));
        Self { idle, ..self }
    }

    /// From its accept, as `timeouts.lifetime`. Not for a connection that the shard opened.
    pub fn lifetime(self, within: Option<Duration>) -> Self {
        let lifetime = Some(Ticks::of(within));
        Self { lifetime, ..self }
    }
}

/// Those of a shard that were set.
#[derive(Debug, Default)]
pub(crate) struct OwnTimeouts(BTreeMap<SlotIndex, ConnTimeouts>);

impl OwnTimeouts {
    /// What the connection in `slot` has instead of `general`.
    pub(super) fn of(
        &self,
        slot: SlotIndex,
        which: impl Fn(&ConnTimeouts) -> Option<Ticks>,
        general: Ticks,
    ) -> Ticks {
        if self.0.is_empty() {
            return general;
        }
        self.0.get(&slot).and_then(which).unwrap_or(general)
    }

    pub(super) fn set(&mut self, slot: SlotIndex, timeouts: ConnTimeouts) {
        self.0.insert(slot, timeouts);
    }

    /// The connection ends, or goes to somebody else.
    pub(super) fn reset(&mut self, slot: SlotIndex) {
        if !self.0.is_empty() {
            self.0.remove(&slot);
        }
    }
}
