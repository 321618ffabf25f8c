//! What `--check` and `--doctor` say of the files of TLS. Nothing is made.

use std::sync::Arc;

use crate::config::{Config, ListenerSettings, Tls, UpstreamTls, upstream_tls_section};

use super::keeper::wall_seconds;
use super::loaded::Loaded;
use super::problem::{Examined, FileProblem};
use super::ticket_file;
use super::upstreams::LoadedUpstream;
use super::validity::day;

/// The files of each table, listeners first.
pub(crate) fn examine(config: &Config) -> Vec<Examined> {
    let listeners = config.listeners();
    let listeners = listeners
        .iter()
        .filter_map(|listener| Some(of_listener(listener, listener.tls.as_ref()?)));
    let upstreams = examine_upstreams(config);
    listeners.chain(upstreams).collect()
}

/// Those of the upstreams alone.
pub(crate) fn examine_upstreams(config: &Config) -> Vec<Examined> {
    let upstreams = config.upstream_tls.iter();
    upstreams
        .map(|(name, tls)| of_upstream(name, tls))
        .collect()
}

fn of_listener(listener: &ListenerSettings, tls: &Arc<Tls>) -> Examined {
    let mut examined = Examined {
        section: listener.tls_section(),
        keys: "certificate, key",
        expires_on: None,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    match Loaded::read(listener, tls) {
        Ok(loaded) => {
            examined.warnings = loaded.warnings_at(wall_seconds());
            examined.expires_on = loaded.expires().map(day);
        }
        Err(problems) => examined.problems = problems,
    }
    if let Some(file) = tls.ticket_key_file.as_deref().filter(|_| tls.tickets) {
        let found = ticket_file::read(file);
        let judged = found.and_then(|_keys| ticket_file::may_be_made(file));
        let problem = |fault| FileProblem::of(file, &listener.tls_key("ticket_key_file"), fault);
        examined.problems.extend(judged.err().map(problem));
    }
    examined
}

fn of_upstream(name: &str, tls: &Arc<UpstreamTls>) -> Examined {
    let mut examined = Examined {
        section: upstream_tls_section(name),
        keys: match tls.certificate {
            Some(_) => "ca, certificate, key",
            None => "ca",
        },
        expires_on: None,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    match LoadedUpstream::read(name, tls) {
        Ok(loaded) => {
            examined.warnings = loaded.warnings_at(wall_seconds());
            examined.expires_on = loaded.leaf.map(|leaf| day(leaf.not_after));
        }
        Err(problems) => examined.problems = problems,
    }
    examined
}
