//! A build without the feature `tls`: no settings ask for it, for those that do are refused.

use std::time::Instant;

use crate::config::ListenerSettings;

use super::acceptance::{Acceptances, Look};
use super::problem::FileProblem;

/// It keeps nothing.
#[derive(Debug)]
pub(crate) struct Keeper(usize);

/// Nothing.
#[derive(Debug)]
pub(crate) struct Made;

impl Keeper {
    pub(crate) fn open(listeners: &[ListenerSettings]) -> Result<Self, Vec<FileProblem>> {
        Ok(Self(listeners.len()))
    }

    pub(crate) fn acceptances(&self) -> Acceptances {
        (0..self.0).map(|_| None).collect()
    }

    pub(crate) fn expiries(&self) -> Vec<Option<i64>> {
        vec![None; self.0]
    }

    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    pub(crate) fn prepare(&self, _: &[ListenerSettings]) -> Result<Made, Vec<FileProblem>> {
        Ok(Made)
    }

    pub(crate) fn put_into_force(&mut self, _: Made) -> Look {
        Look::Same
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn look(&mut self, _: Instant, _: impl FnOnce() -> Vec<ListenerSettings>) -> Look {
        Look::Same
    }
}

pub(crate) fn judge(_: &[ListenerSettings]) -> (Vec<FileProblem>, Vec<String>) {
    (Vec::new(), Vec::new())
}

pub(crate) fn expires_on(_: &ListenerSettings) -> Option<String> {
    None
}
