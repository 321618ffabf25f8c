//! One resource: how much is needed of it, how much there is, what binds and what mends it.

use std::fmt::Display;

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;

/// Whether there is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Enough,
    Short,
    /// The kernel makes less of it than the settings ask for, and a start goes on with that.
    Cut,
    /// The machine does not tell.
    Unknown,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) needs: String,
    pub(super) has: String,
    pub(super) left: String,
    /// Where the limit stands.
    pub(super) limit: String,
    pub(super) state: State,
    /// What to do where there is not enough.
    pub(super) remedy: Option<String>,
    /// Connections of the process that it allows; `None` where it does not depend on them, or is not
    /// known.
    pub(super) carries: Option<u64>,
}

impl Resource {
    /// `have` of `unit`s each; `None`: the machine does not tell.
    pub(super) fn counted(
        name: impl Into<String>,
        [need, unit]: [u64; 2],
        have: Option<u64>,
        limit: impl Into<String>,
        remedy: impl FnOnce() -> String,
    ) -> Self {
        let state = match have {
            None => State::Unknown,
            Some(have) if have < need => State::Short,
            Some(_) => State::Enough,
        };
        let left = have.map(|have| have.saturating_sub(need));
        let whole = |have: Option<u64>| match have {
            None => "?".to_owned(),
            Some(u64::MAX) => "no limit".to_owned(),
            Some(have) => amount(have / unit, unit),
        };
        Self {
            name: name.into(),
            needs: amount(need.div_ceil(unit), unit),
            has: whole(have),
            left: match have {
                Some(u64::MAX) => "-".to_owned(),
                _ => whole(left),
            },
            limit: limit.into(),
            state,
            remedy: (state == State::Short).then(remedy),
            carries: None,
        }
    }

    /// What is there or not, without a number.
    pub(super) fn judged(
        name: &str,
        [needs, has, limit]: [String; 3],
        problem: Option<impl Display>,
    ) -> Self {
        let remedy = problem.map(|problem| problem.to_string());
        Self {
            name: name.to_owned(),
            needs,
            has,
            left: "-".to_owned(),
            limit,
            state: match remedy {
                Some(_) => State::Short,
                None => State::Enough,
            },
            remedy,
            carries: None,
        }
    }

    /// Whether fewer connections would not make enough of it.
    pub(super) fn is_missing(&self) -> bool {
        self.state == State::Short && self.carries.is_none_or(|connections| connections == 0)
    }

    pub(super) fn carrying(self, connections: Option<u64>) -> Self {
        Self {
            carries: connections,
            ..self
        }
    }
}

fn amount(number: u64, unit: u64) -> String {
    match unit {
        KIB => format!("{number} KiB"),
        MIB => format!("{number} MiB"),
        _ => number.to_string(),
    }
}
