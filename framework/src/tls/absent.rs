//! A build without the feature `tls`: no settings ask for it, for those that do are refused.

use std::time::Instant;

use crate::config::Config;

use super::acceptance::{Look, TlsInForce, UpstreamClients};
use super::problem::{Examined, FileProblem};

/// It keeps nothing.
#[derive(Debug)]
pub(crate) struct Keeper(usize);

/// Nothing.
#[derive(Debug)]
pub(crate) struct Made;

impl Keeper {
    pub(crate) fn open(config: &Config) -> Result<Self, Vec<FileProblem>> {
        Ok(Self(config.listeners().len()))
    }

    pub(crate) fn in_force(&self) -> TlsInForce {
        TlsInForce {
            acceptances: (0..self.0).map(|_| None).collect(),
            upstreams: UpstreamClients::default(),
        }
    }

    pub(crate) fn expiries(&self) -> Vec<Option<i64>> {
        vec![None; self.0]
    }

    pub(crate) fn upstream_expiries(&self) -> Vec<(String, Option<i64>)> {
        Vec::new()
    }

    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    pub(crate) fn prepare(&self, _: &Config) -> Result<Made, Vec<FileProblem>> {
        Ok(Made)
    }

    pub(crate) fn put_into_force(&mut self, _: Made) -> Look {
        Look::Same
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        None
    }

    pub(crate) fn look(&mut self, _: Instant, _: &Config) -> Look {
        Look::Same
    }
}

pub(crate) fn examine(_: &Config) -> Vec<Examined> {
    Vec::new()
}

pub(crate) fn examine_upstreams(_: &Config) -> Vec<Examined> {
    Vec::new()
}

pub(crate) fn upstream_clients(_: &Config) -> Result<UpstreamClients, Vec<FileProblem>> {
    Ok(UpstreamClients::default())
}
