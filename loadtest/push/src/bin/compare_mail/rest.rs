//! One message there and one back: how long that takes, beside two threads that wake each other by
//! an eventfd.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use corelane::{Conn, Handler, Notify, Peer, ShardContext, sleep, spawn};
use loadtest::Stop;
use loadtest::error::Error;
use push::comparison::{Side, by_turns};
use push::eventfd;
use push::times::{Bound, Figure, Times, header, quantile, times};

use crate::Arguments;
use crate::shards::Shards;

/// How many times the round trip of the two threads that of a message may take, in the middle.
const BOUND: Bound = Bound::AtMost(1.3);
/// Before each trip, long enough for both sides to rest.
const PAUSE: Duration = Duration::from_micros(200);
/// Trips without a pause, to one with it.
const TRIPS_AT_ONCE: u64 = 10;

pub(crate) fn compare(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    header("a message there and back, us", "shards", "eventfd");
    let shards = Shards::start(arguments.cores(), Pinging::new)?;
    let paused = (format!("after {PAUSE:?} of rest"), arguments.trips, PAUSE);
    let trips = TRIPS_AT_ONCE * arguments.trips;
    let at_once = ("one after the other".to_owned(), trips, Duration::ZERO);
    let mut holds = true;
    for (what, trips, pause) in [paused, at_once] {
        let rounds = by_turns(arguments.rounds, stop, |side| match side {
            Side::Ours => {
                shards.send(0, Ping::Begin { trips, pause })?;
                shards.hear(stop)
            }
            Side::Other => eventfd::round_trips(trips, pause, arguments.cores())
                .map_err(Error::failed("eventfd")),
        })?;
        holds &= show(&what, &rounds);
    }
    shards.end()?;
    Ok(holds)
}

/// The tail is the machine's as much as ours, so no bound is set to it.
fn show(what: &str, rounds: &[[Times; 2]]) -> bool {
    let figure = |name, part, bound| {
        let pair = |[ours, other]: &[Times; 2]| (quantile(ours, part), quantile(other, part));
        Figure {
            what: format!("{what}: {name}"),
            pairs: rounds.iter().map(pair).collect(),
            bound,
        }
        .show()
    };
    let holds = figure("p50", 0.5, BOUND);
    figure("p99", 0.99, Bound::None) && holds
}

enum Ping {
    /// To the first shard: so many trips, with that pause before each.
    Begin { trips: u64, pause: Duration },
    /// Sent then.
    There(Instant),
    /// The answer to one that was sent then.
    Back(Instant),
}

struct Pinging {
    tell: Sender<Times>,
    trip: Rc<Trip>,
}

/// The trip under way.
struct Trip {
    other: Peer<Ping>,
    took: Cell<Duration>,
    is_back: Notify,
}

impl Pinging {
    fn new(shard: &ShardContext<Ping>, tell: Sender<Times>) -> Self {
        let trip = Trip {
            other: shard.peers().at(1 - shard.id.0 as usize),
            took: Cell::default(),
            is_back: Notify::new(),
        };
        Self {
            tell,
            trip: Rc::new(trip),
        }
    }

    fn begin(&self, trips: u64, pause: Duration) {
        let (trip, tell) = (Rc::clone(&self.trip), self.tell.clone());
        let task = async move {
            let mut taken = times();
            for _ in 0..trips {
                let took = trip.take(pause).await;
                taken.saturating_record(took.as_nanos() as u64);
            }
            let _ = tell.send(taken); // nobody listens any more: an end was asked for
        };
        spawn(task).expect("it is the only task");
    }
}

impl Trip {
    async fn take(&self, pause: Duration) -> Duration {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        self.send(Ping::There(Instant::now()));
        self.is_back.notified().await;
        self.took.get()
    }

    fn send(&self, ping: Ping) {
        let sent = self.other.try_send(ping);
        sent.expect("one message is under way at a time");
    }
}

impl Handler<Ping> for Pinging {
    async fn serve(&self, _conn: &mut Conn) -> Result<(), corelane::Error> {
        Ok(())
    }

    fn on_message(&self, ping: Ping) {
        match ping {
            Ping::Begin { trips, pause } => self.begin(trips, pause),
            Ping::There(begun) => self.trip.send(Ping::Back(begun)),
            Ping::Back(begun) => {
                self.trip.took.set(begun.elapsed());
                self.trip.is_back.notify();
            }
        }
    }
}
