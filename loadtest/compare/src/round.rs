//! A round: one load upon every server, in slices by turns.
//!
//! All servers stand, each with its connections, and one at a time is loaded, for a fraction of a
//! second. What else the machine does changes from second to second; within a fraction of it, it
//! meets all of them alike. A server's processor time is taken in its own turns, each of which
//! begins and ends with nothing under way.

use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use loadtest::data::Report;
use loadtest::error::Error;
use loadtest::plan::Plan;
use loadtest::{RunStage, Token};

use super::bench::{Bench, load_plan};
use super::comparison::Load;
use super::server::Server;
use super::shape::Shape;
use super::turns::turns;

/// Long enough that a server's caches are warm for most of it, short enough that the machine is the
/// same in the next one.
const SLICE: Duration = Duration::from_millis(100);
/// How often a wait looks at its condition.
const LOOK_INTERVAL: Duration = Duration::from_micros(500);

type Run = Result<Report, Error>;

/// A server's turns, together.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    lasted: Duration,
    cpu_ns: u64,
}

/// Loads fresh servers. One [`Load`] each, in the order of the bench's servers.
pub(super) fn round(bench: &Bench<'_>, shape: Shape) -> Result<Vec<Load>, Error> {
    let servers = bench
        .servers
        .iter()
        .map(|kind| bench.start(*kind))
        .collect::<Result<Vec<Server>, Error>>()?;
    let (turns, reports) = by_turns(bench, shape, &servers);
    // A run that has failed says why; the conductor says only that one has.
    let (reports, turns) = (reports?, turns?);
    servers
        .iter()
        .zip(&reports)
        .zip(turns)
        .map(|((server, report), turns)| load(server, report, turns))
        .collect()
}

/// A run against each server, and the turns in which it asked.
fn by_turns(
    bench: &Bench<'_>,
    shape: Shape,
    servers: &[Server],
) -> (Result<Vec<Turns>, Error>, Result<Vec<Report>, Error>) {
    let token = Token::new();
    thread::scope(|scope| {
        let run = |(number, server)| {
            let plan = Plan {
                participant: Some(token.participant(number)),
                ..load_plan(
                    bench.arguments,
                    (Server::kind(server), Server::addr(server)),
                    shape,
                )
            };
            scope.spawn(move || bench.client(server.kind(), plan, &mut ()))
        };
        let runs: Vec<_> = (0..).zip(servers).map(run).collect();
        let conductor = Conductor {
            bench,
            servers,
            token: &token,
            runs: &runs,
        };
        let turns = conductor.conduct();
        token.call(RunStage::Finishing);
        (turns, runs.into_iter().map(joined).collect())
    })
}

fn joined(run: ScopedJoinHandle<'_, Run>) -> Run {
    run.join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn load(server: &Server, report: &Report, turns: Turns) -> Result<Load, Error> {
    let (kind, requests) = (server.kind(), report.latency_us.count);
    if requests == 0 {
        return Err(Error::Failed(format!(
            "{kind}: no request was answered within the window"
        )));
    }
    Ok(Load {
        server: kind,
        cpu_us_per_request: turns.cpu_ns as f64 / 1e3 / requests as f64,
        server_busy: turns.cpu_ns as f64 / turns.lasted.as_nanos() as f64,
        p50_us: report.latency_us.p50,
        p99_us: report.latency_us.p99,
        requests_per_second: requests as f64 / turns.lasted.as_secs_f64(),
        requests,
    })
}

/// Grants the token to one run after the other.
struct Conductor<'a, 'scope> {
    bench: &'a Bench<'a>,
    servers: &'a [Server],
    token: &'a Arc<Token>,
    runs: &'a [ScopedJoinHandle<'scope, Run>],
}

impl Conductor<'_, '_> {
    /// The turns of each server in which requests were counted.
    fn conduct(&self) -> Result<Vec<Turns>, Error> {
        let count = self.runs.len();
        self.wait_until(|| self.token.arrivals() == count)?;
        for number in 0..count {
            self.let_speak(number, self.bench.arguments.warmup)?;
        }
        self.token.call(RunStage::Measuring);
        self.wait_until(|| self.token.arrivals() == 2 * count)?;
        let (numbers, mut sums) = (
            (0..count).collect::<Vec<_>>(),
            vec![Turns::default(); count],
        );
        let (slices, length) = slices(self.bench.arguments.duration);
        for (_, number) in turns(&numbers, slices) {
            let (lasted, cpu_ns) = self.let_speak(number, length)?;
            sums[number].lasted += lasted;
            sums[number].cpu_ns += cpu_ns;
        }
        Ok(sums)
    }

    /// Gives the token to run `number` for `time`, and for as long as requests under way then take.
    /// How long that was, and the server's processor time.
    fn let_speak(&self, number: usize, time: Duration) -> Result<(Duration, u64), Error> {
        let before = self.servers[number].sample()?;
        self.token.grant(number as u32);
        thread::sleep(time);
        self.token.revoke();
        self.wait_until(|| !self.token.is_busy())?;
        let after = self.servers[number].sample()?;
        Ok((
            after.at.saturating_duration_since(before.at),
            after.cpu_ns_since(&before),
        ))
    }

    /// Fails when an end was asked for, or a run has ended early: that one says why.
    fn wait_until(&self, has_come: impl Fn() -> bool) -> Result<(), Error> {
        while !has_come() {
            if self.bench.stop.is_set() || self.runs.iter().any(ScopedJoinHandle::is_finished) {
                return Err(Error::Interrupted);
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }
}

/// So many slices, and how long each is, make up `window`.
fn slices(window: Duration) -> (u32, Duration) {
    let count = u32::try_from(window.as_nanos().div_ceil(SLICE.as_nanos()))
        .unwrap_or(u32::MAX)
        .max(1);
    (count, window / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_make_up_the_window_and_none_is_longer_than_it_may_be() {
        let ms = Duration::from_millis;
        for (window, wanted) in [
            (700, (7, 100)),
            (50, (1, 50)),
            (100, (1, 100)),
            (120, (2, 60)),
            (0, (1, 0)),
        ] {
            assert_eq!(slices(ms(window)), (wanted.0, ms(wanted.1)), "{window} ms");
        }
    }

    #[test]
    fn slices_go_forth_and_back() {
        let whose: Vec<_> = turns(&[0, 1, 2], 3)
            .into_iter()
            .map(|(_, number)| number)
            .collect();
        assert_eq!(whose, [0, 1, 2, 2, 1, 0, 0, 1, 2]);
    }
}
