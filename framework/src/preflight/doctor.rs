//! What this machine carries with these settings, for people: each resource with what is needed of
//! it, what there is and which limit binds, and how many connections that comes to.
//!
//! A start asks the same of the machine, and some of it more: [`plan`](crate::preflight::plan) opens
//! the addresses for a moment. Here nothing is opened that anybody else could meet, and nothing is
//! changed but this process's own soft limits, as a start does. [`host`] are the facts that no start
//! depends on. [`resources`] judges each [`resource`], with those of the [`network`]; [`forecast`] is
//! the arithmetic over them, [`text`] what people read, [`notes`] among it.

mod forecast;
mod host;
mod network;
mod notes;
mod resource;
mod resources;
#[cfg(test)]
mod tests;
mod text;

use crate::config::Config;
use crate::handler::AppBytes;
use crate::preflight::facts::{self, Facts};
use crate::preflight::plan::shard_count;
use crate::preflight::{limits, memory};

use self::forecast::{Forecast, Memory};
use self::host::Host;
use self::resource::{Resource, State};

/// What was found out. Its `Display` is the whole text.
#[derive(Debug)]
pub(crate) struct Report {
    release: String,
    shards: u32,
    cores: String,
    /// Connections of the process that the settings ask for, or that a start would derive.
    connections: u32,
    is_asked: bool,
    resources: Vec<Resource>,
    forecast: Forecast,
    /// At those connections, and at the forecast's.
    memory: [Memory; 2],
    notes: Vec<String>,
}

impl Report {
    /// The same, with further notes.
    pub(crate) fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// Whether all that the settings ask for is there, as far as that can be known.
    pub(crate) fn is_carried(&self) -> bool {
        let mut states = self.resources.iter().map(|resource| resource.state);
        states.all(|state| matches!(state, State::Enough | State::Unknown))
    }
}

/// Looks at this machine.
pub(crate) fn examine(config: &Config, app_bytes: AppBytes) -> Report {
    facts::raise_limits();
    let facts = Facts::without_ports(config, app_bytes);
    report(config, &facts, &Host::gather(&config.ports()))
}

/// The judgement alone.
fn report(config: &Config, facts: &Facts, host: &Host) -> Report {
    let cores = limits::cores(config, facts);
    let shards = cores.as_ref().map_or(1, |cores| shard_count(config, cores));
    let connections = connections(config, facts, shards);
    let resources = resources::all(config, facts, host, shards, connections);
    let forecast = forecast::of(&resources);
    let at = |connections| Memory::at(config, facts, shards, connections);
    Report {
        release: facts.release.clone(),
        shards,
        cores: limits::list(cores.as_deref().unwrap_or(&facts.cores)),
        connections,
        is_asked: config.limits.connections_max.is_some(),
        memory: [at(connections), at(forecast.connections)],
        resources,
        forecast,
        notes: notes::of(config, facts, host, shards),
    }
}

/// Those that were asked for, or that a start would derive.
fn connections(config: &Config, facts: &Facts, shards: u32) -> u32 {
    config.limits.connections_max.unwrap_or_else(|| {
        let room = limits::connections(config, facts, shards).unwrap_or(shards);
        memory::settle(config, facts, shards, room).connections_max
    })
}
