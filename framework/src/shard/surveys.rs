//! What the admin server asks about connections, answered a few slots a turn.

use crate::id::SlotIndex;
use crate::shard::commands::survey::Survey;
use crate::shard::conns::Conns;
use crate::shard::core::Core;

/// Slots that a turn looks at for all surveys together: some 20 microseconds. No key: more would
/// hold up a turn, and fewer only whoever asks.
const SLOTS_PER_TURN_MAX: u32 = 1024;
/// Connections that a turn tells to end for all surveys together: an end costs several times what a
/// look does.
const CLOSES_PER_TURN_MAX: u32 = 32;

/// What a turn may still do.
struct Budget {
    slots: u32,
    closes: u32,
}

impl Core {
    /// Goes on with every survey.
    pub(crate) fn survey(&mut self) {
        if self.surveys.is_empty() {
            return;
        }
        let mut budget = Budget {
            slots: SLOTS_PER_TURN_MAX,
            closes: CLOSES_PER_TURN_MAX,
        };
        let mut surveys = std::mem::take(&mut self.surveys);
        surveys.retain_mut(|survey| !self.conns.walk(survey, &mut budget));
        if surveys.len() > 1 {
            surveys.rotate_left(1); // none is always the last
        }
        self.surveys = surveys;
        let walked = SLOTS_PER_TURN_MAX - budget.slots;
        self.conns.shared.metrics.surveyed_slots.add(walked.into());
    }

    /// Whether a survey can go on in the next turn: whoever has asked takes rows away, or has left.
    pub(crate) fn can_survey(&self) -> bool {
        let mut surveys = self.surveys.iter();
        surveys.any(|survey| !survey.rows.is_full() || survey.rows.is_abandoned())
    }
}

impl Conns {
    /// True when the survey is over.
    fn walk(&mut self, survey: &mut Survey, budget: &mut Budget) -> bool {
        while budget.slots > 0 && budget.closes > 0 && !survey.rows.is_full() {
            if survey.rows.is_abandoned() || survey.next as usize >= self.table.len() {
                return true;
            }
            budget.slots -= 1;
            let slot = SlotIndex(survey.next);
            survey.next += 1;
            let Some(mut conn) = self.at(slot) else {
                continue;
            };
            let mut row = conn.row();
            if survey.filter.fits(&row) {
                if let Some(how) = survey.close {
                    row.is_told_to_end = conn.close_by_operator(how);
                    budget.closes -= 1;
                }
                let _full = survey.rows.push(row);
            }
            if survey.filter.conn.is_some() {
                return true; // it has no other place
            }
        }
        survey.rows.is_abandoned()
    }
}
