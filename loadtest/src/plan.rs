//! What a run is to do: the arguments, checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::args::{ModeName, RunArguments};
use crate::error::Error;
use crate::workload::{Protocol, Workload};

const PAYLOAD_DEFAULT: u32 = 64;

/// Connections per destination address. One pair of addresses has about 28 000 ports
/// (net.ipv4.ip_local_port_range), and connect() searches ever longer as they are taken.
const CONNECTIONS_PER_ADDRESS: u32 = 20_000;

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Server to load.
    pub target: SocketAddr,
    /// Connections open at the same time.
    pub connections: u32,
    /// What they do.
    pub mode: Mode,
    /// What they send.
    pub workload: Workload,
    /// Seed of the payloads.
    pub seed: u64,
    /// Connects per second at most.
    pub rate: Option<u32>,
    /// Connections begun and not yet served at most.
    pub in_flight_max: u32,
    /// Load before the window.
    pub warmup: Duration,
    /// The measured window.
    pub duration: Duration,
    /// Bound on a connect, and on the replies to one write.
    pub timeout: Duration,
}

/// What connections do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Send, await the reply, send the next.
    Closed,
    /// One request, then silence.
    Idle,
    /// Connect, one request, close, and again: so often, or for as long as the window.
    Storm {
        /// Connections in all.
        cycles: Option<u64>,
    },
}

impl TryFrom<&RunArguments> for Plan {
    type Error = Error;

    fn try_from(run: &RunArguments) -> Result<Self, Error> {
        Ok(Self {
            target: run.target,
            connections: run.connections,
            mode: mode(run)?,
            workload: workload(run)?,
            seed: run.seed,
            rate: run.rate,
            // In a storm the number of connections is itself the bound.
            in_flight_max: match run.mode {
                ModeName::Storm => run.connections,
                ModeName::Closed | ModeName::Idle => run.connects_in_flight,
            },
            warmup: run.warmup,
            duration: run.duration,
            timeout: run.timeout,
        })
    }
}

fn mode(run: &RunArguments) -> Result<Mode, Error> {
    let refuse = |reason: &str| Err(Error::Refused(reason.to_owned()));
    match run.mode {
        ModeName::Storm => Ok(Mode::Storm { cycles: run.cycles }),
        _ if run.cycles.is_some() => refuse("--cycles counts the connections of --mode storm"),
        ModeName::Idle if run.pipeline != 1 => refuse("--mode idle sends one request: no --pipeline"),
        ModeName::Idle => Ok(Mode::Idle),
        ModeName::Closed => Ok(Mode::Closed),
    }
}

fn workload(run: &RunArguments) -> Result<Workload, Error> {
    if run.protocol == Protocol::Ping && run.payload.is_some() {
        return Err(Error::Refused("--payload is for --protocol echo: a ping has none".to_owned()));
    }
    let payload = run.payload.unwrap_or(PAYLOAD_DEFAULT);
    Ok(Workload { protocol: run.protocol, payload, pipeline: run.pipeline })
}

impl Plan {
    /// Where connection number `slot` goes.
    pub(crate) fn target(&self, slot: u32) -> SocketAddr {
        let addresses = self.connections.div_ceil(CONNECTIONS_PER_ADDRESS);
        match self.target.ip() {
            IpAddr::V4(base) if base == Ipv4Addr::LOCALHOST => {
                let address = Ipv4Addr::from_bits(base.to_bits() + slot % addresses);
                SocketAddr::from((address, self.target.port()))
            }
            _ => self.target,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    fn plan(options: &[&str]) -> Result<Plan, Error> {
        let line = ["loadtest", "run", "--target", "127.0.0.1:7007"].iter().chain(options);
        let Command::Run(run) = Arguments::try_parse_from(line).unwrap().command else {
            panic!("`run` was given");
        };
        Plan::try_from(&run)
    }

    fn targets(plan: &Plan) -> BTreeSet<SocketAddr> {
        (0..plan.connections).map(|slot| plan.target(slot)).collect()
    }

    #[test]
    fn only_many_connections_spread_over_loopback_addresses() {
        assert_eq!(targets(&plan(&["--connections", "20000"]).unwrap()).len(), 1);
        let many = targets(&plan(&["--connections", "50000"]).unwrap());
        let wanted = ["127.0.0.1:7007", "127.0.0.2:7007", "127.0.0.3:7007"];
        assert_eq!(many, wanted.iter().map(|addr| addr.parse().unwrap()).collect());
    }

    #[test]
    fn options_that_mean_nothing_together_are_refused() {
        plan(&["--cycles", "9"]).unwrap_err();
        plan(&["--mode", "idle", "--pipeline", "2"]).unwrap_err();
        plan(&["--protocol", "ping", "--payload", "2"]).unwrap_err();
        plan(&["--mode", "storm", "--cycles", "9", "--protocol", "ping"]).unwrap();
    }
}
