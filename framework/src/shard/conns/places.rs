//! How many connections there are of each origin, and how many more there may be.

use crate::shard::conns::slot::Origin;

/// The places of a shard's table.
#[derive(Debug)]
pub(crate) struct Places {
    accepted_max: u32,
    spare_max: u32,
    outbound_max: u32,
    /// Slots in use, and those of them whose connections are [`Origin::Overflow`] and
    /// [`Origin::Outbound`].
    open: u32,
    overflow: u32,
    outbound: u32,
    /// Outbound ones that are on their way out: their places are free soon.
    leaving: u32,
}

impl Places {
    /// So many accepted connections, so many that are accepted and not served, and so many that the
    /// shard opens.
    pub(crate) fn new(accepted_max: u32, spare_max: u32, outbound_max: u32) -> Self {
        Self {
            accepted_max,
            spare_max,
            outbound_max,
            open: 0,
            overflow: 0,
            outbound: 0,
            leaving: 0,
        }
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.accepted_max + self.spare_max + self.outbound_max
    }

    /// Slots in use.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// Accepted connections that are served.
    pub(crate) fn accepted(&self) -> u32 {
        self.open - self.outbound - self.overflow
    }

    /// How many more may be served.
    pub(crate) fn accepted_free(&self) -> u32 {
        self.accepted_max - self.accepted()
    }

    /// Whether those who were turned away take so many places that the next is closed without
    /// waiting for its FIN.
    pub(crate) fn is_overflow_crowded(&self) -> bool {
        self.overflow > self.spare_max / 2
    }

    /// How many more may be accepted, served or not.
    pub(crate) fn free(&self) -> u32 {
        (self.accepted_max + self.spare_max).saturating_sub(self.accepted() + self.overflow)
    }

    /// Connections that the shard opened.
    pub(crate) fn outbound(&self) -> u32 {
        self.outbound
    }

    pub(crate) fn outbound_max(&self) -> u32 {
        self.outbound_max
    }

    /// How many more the shard may open.
    pub(crate) fn outbound_free(&self) -> u32 {
        self.outbound_max - self.outbound
    }

    /// How many outbound connections will be gone soon without anybody's doing.
    pub(crate) fn outbound_leaving(&self) -> u32 {
        self.leaving
    }

    pub(crate) fn occupied(&mut self, origin: Origin) {
        self.open += 1;
        match origin {
            Origin::Accepted => {}
            Origin::Overflow => self.overflow += 1,
            Origin::Outbound => self.outbound += 1,
        }
    }

    /// One moves from its spare place among the served.
    pub(crate) fn seated(&mut self) {
        self.overflow -= 1;
    }

    /// An outbound one is about to end; it vacates its place later.
    pub(crate) fn leaves(&mut self) {
        self.leaving += 1;
    }

    pub(crate) fn vacated(&mut self, origin: Origin) {
        self.open -= 1;
        match origin {
            Origin::Accepted => {}
            Origin::Overflow => self.overflow -= 1,
            Origin::Outbound => {
                self.outbound -= 1;
                self.leaving -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_both_directions_have_bounds_of_their_own() {
        let mut places = Places::new(2, 0, 1);
        places.occupied(Origin::Accepted);
        places.occupied(Origin::Outbound);
        assert_eq!(
            (
                places.open(),
                places.accepted_free(),
                places.outbound_free()
            ),
            (2, 1, 0)
        );
        places.leaves();
        assert_eq!(places.outbound_leaving(), 1);
        places.vacated(Origin::Outbound);
        assert_eq!((places.open(), places.accepted_free()), (1, 1));
        assert_eq!((places.outbound_free(), places.outbound_leaving()), (1, 0));
    }
}
