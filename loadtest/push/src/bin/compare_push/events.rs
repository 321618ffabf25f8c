//! A handler that waits for its own input, a channel, a timer and two upstreams at once: every
//! event is to be heard of, and soon.
//!
//! One thread here is the peer and both upstreams; the server has one at the other end of the
//! channel. Each of these sources has one event under way at a time, and the next begins when the
//! handler has heard of it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use loadtest::Stop;
use loadtest::error::Error;
use push::comparison::go_on;
use push::times::{Bound, Figure, Times, header, quantile, times};
use push::{Message, eventfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::server::{Kind, Server};
use crate::{Arguments, failed};

/// How many times the lateness of two threads that wake each other by an eventfd that of the
/// handler may be.
const BOUND: Bound = Bound::AtMost(2.0);
/// Events in a turn.
const TURN: u64 = 20_000;
const SOURCES: [&str; 5] = [
    "its own input",
    "a channel",
    "a timer",
    "an upstream",
    "another upstream",
];
/// Where the peer's own messages stand among these.
const INPUT: usize = 0;
/// Source, number and lateness, eight bytes each.
const RECORD_BYTES: usize = 24;
/// Longest request to an upstream.
const REQUEST_MAX: usize = 64;
/// A source of which nothing was heard for so long has lost an event.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// How often that is looked at when nothing is heard at all.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

pub(crate) fn compare(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    header(
        "one handler, five things to wait for, us late",
        "corelane",
        "eventfd",
    );
    let mut upstreams = [Upstream::listen()?, Upstream::listen()?];
    let addresses = [upstreams[0].addr()?, upstreams[1].addr()?];
    let settings: Vec<String> = ["left", "right"]
        .iter()
        .zip(addresses)
        .flat_map(|(name, addr)| {
            [
                format!("upstream.{name}.addr=\"{addr}\""),
                format!("upstream.{name}.connections_max=1"),
            ]
        })
        .collect();
    let server = Server::start(Kind::Corelane, arguments, &settings)?;
    let (mut heard, mut woken) = (Heard::default(), times());
    let (mut pairs, mut crowded) = (Vec::new(), Vec::new());
    while heard.count() < arguments.events {
        go_on(stop)?;
        let before = heard.all();
        Session::open(server.addr(), arguments.cpu_client, &mut upstreams)?
            .hear(TURN, &mut heard)?;
        let cores = [arguments.cpu_server, arguments.cpu_client];
        let turn = eventfd::ping_pong(TURN, cores).map_err(failed("eventfd"))?;
        let two = eventfd::two_ping_pongs(TURN, cores).map_err(failed("eventfd"))?;
        let mut own = heard.all();
        own.subtract(before)
            .map_err(|_| Error::Failed("a histogram does not fit itself".to_owned()))?;
        pairs.push([0.5, 0.999].map(|part| (quantile(&own, part), quantile(&turn, part))));
        crowded.push((quantile(&own, 0.999), quantile(&two, 0.999)));
        woken += turn;
    }
    for (name, late) in SOURCES.iter().zip(&heard.late) {
        let figures: Vec<String> = [0.5, 0.99, 0.999, 1.0]
            .iter()
            .map(|part| format!("{:.1}", quantile(late, *part)))
            .collect();
        println!(
            "  {name:<18} {:>9} events, none lost; p50, p99, p99.9, max {}",
            late.len(),
            figures.join(", ")
        );
    }
    let all = heard.all();
    let what = format!("{} events, none lost", all.len());
    Figure {
        what: format!("{what}: p50"),
        pairs: vec![(quantile(&all, 0.5), quantile(&woken, 0.5))],
        bound: BOUND,
    }
    .show();
    let whole = (quantile(&all, 0.999), quantile(&woken, 0.999));
    Figure {
        what: format!("{what}: p99.9, median of turns"),
        pairs: pairs.iter().map(|pair| pair[1]).collect(),
        bound: BOUND,
    }
    .show();
    Figure {
        what: "  the same beside two pairs of threads at once".to_owned(),
        pairs: crowded,
        bound: Bound::None,
    }
    .show();
    Ok(Figure {
        what: format!("{what}: p99.9"),
        pairs: vec![whole],
        bound: BOUND,
    }
    .show())
}

/// What the handler has told of, by source.
struct Heard {
    late: [Times; SOURCES.len()],
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            late: SOURCES.map(|_| times()),
        }
    }
}

impl Heard {
    fn count(&self) -> u64 {
        self.late.iter().map(Times::len).sum()
    }

    fn all(&self) -> Times {
        let mut all = times();
        self.late.iter().for_each(|late| all += late);
        all
    }
}

/// A server that answers PING and a number with that number and the time.
struct Upstream {
    listener: TcpListener,
    conn: Option<TcpStream>,
}

impl Upstream {
    fn listen() -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed("cannot listen"))?;
        Ok(Self {
            listener,
            conn: None,
        })
    }

    fn addr(&self) -> Result<SocketAddr, Error> {
        self.listener
            .local_addr()
            .map_err(failed("cannot tell the address"))
    }

    /// What to wait for: the connection, or one that comes.
    fn poll(&self) -> PollFd<'_> {
        self.conn.as_ref().map_or_else(
            || PollFd::new(&self.listener, PollFlags::IN),
            |conn| PollFd::new(conn, PollFlags::IN),
        )
    }

    /// A request is small enough to come whole, and there is one at a time.
    fn answer(&mut self) -> io::Result<()> {
        let Some(conn) = &mut self.conn else {
            let (conn, _) = self.listener.accept()?;
            conn.set_nodelay(true)?;
            self.conn = Some(conn);
            return Ok(());
        };
        let mut request = [0; REQUEST_MAX];
        let length = conn.read(&mut request).unwrap_or(0);
        let number = str::from_utf8(&request[..length])
            .ok()
            .and_then(|text| text.strip_prefix("PING ")?.trim_end().parse().ok());
        let Some(number) = number else {
            self.conn = None; // the end of one that was left in the middle of a request
            return Ok(());
        };
        let message = Message::now(number);
        if conn
            .write_all(format!("+{} {}\r\n", message.serial, message.sent).as_bytes())
            .is_err()
        {
            self.conn = None;
        }
        Ok(())
    }
}

/// One connection to the handler.
struct Session<'a> {
    stream: TcpStream,
    upstreams: &'a mut [Upstream; 2],
    /// Messages sent.
    sent: u64,
    /// Events told of, by source, and when each was last heard of.
    told: [u64; SOURCES.len()],
    last: [Instant; SOURCES.len()],
    partial: Vec<u8>,
}

impl<'a> Session<'a> {
    fn open(
        server: SocketAddr,
        core: usize,
        upstreams: &'a mut [Upstream; 2],
    ) -> Result<Self, Error> {
        let open = || {
            let mut stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.write_all(format!("select {core}\n").as_bytes())?;
            Ok(stream)
        };
        let stream = open().map_err(failed("cannot connect"))?;
        Ok(Self {
            stream,
            upstreams,
            sent: 0,
            told: [0; SOURCES.len()],
            last: SOURCES.map(|_| Instant::now()),
            partial: Vec::new(),
        })
    }

    /// Until `events` were told of, and then one more of each source: so that none is taken for one
    /// that was lost.
    fn hear(mut self, events: u64, heard: &mut Heard) -> Result<(), Error> {
        while self.told.iter().sum::<u64>() < events {
            self.go_on(heard)?;
        }
        let told = self.told;
        while self.told.iter().zip(&told).any(|(now, then)| now == then) {
            self.go_on(heard)?;
        }
        Ok(())
    }

    fn go_on(&mut self, heard: &mut Heard) -> Result<(), Error> {
        if let Some(source) = self
            .last
            .iter()
            .position(|last| last.elapsed() > LOST_AFTER)
        {
            return Err(self.lost(SOURCES[source]));
        }
        let [left, right] = &*self.upstreams;
        let mut descriptors = [
            PollFd::new(&self.stream, PollFlags::IN),
            left.poll(),
            right.poll(),
        ];
        poll(&mut descriptors, Some(&PATIENCE)).map_err(|error| failed("poll")(error.into()))?;
        let ready = descriptors.map(|descriptor| !descriptor.revents().is_empty());
        for (upstream, _) in self
            .upstreams
            .iter_mut()
            .zip(&ready[1..])
            .filter(|(_, ready)| **ready)
        {
            upstream.answer().map_err(failed("an upstream"))?;
        }
        if ready[0] {
            self.take_records(heard)
        } else {
            Ok(())
        }
    }

    fn take_records(&mut self, heard: &mut Heard) -> Result<(), Error> {
        let mut bytes = [0; 4096];
        let length = self
            .stream
            .read(&mut bytes)
            .map_err(failed("the handler"))?;
        if length == 0 {
            return Err(self.lost("the handler has ended"));
        }
        self.partial.extend_from_slice(&bytes[..length]);
        let whole = self.partial.len() / RECORD_BYTES * RECORD_BYTES;
        let records: Vec<u8> = self.partial.drain(..whole).collect();
        for record in records.chunks_exact(RECORD_BYTES) {
            self.take(record, heard)?;
        }
        // The first message goes when the handler is seen to have begun.
        if self.sent == self.told[INPUT] {
            let message = Message::now(self.sent);
            self.sent += 1;
            self.stream
                .write_all(&message.to_bytes())
                .map_err(failed("the handler"))?;
        }
        Ok(())
    }

    /// Each source numbers its events, so that one that is missing is found.
    fn take(&mut self, record: &[u8], heard: &mut Heard) -> Result<(), Error> {
        let word =
            |index: usize| u64::from_le_bytes(std::array::from_fn(|byte| record[8 * index + byte]));
        let (source, serial, late) = (word(0) as usize, word(1), word(2));
        let Some(told) = self.told.get_mut(source).filter(|told| **told == serial) else {
            return Err(self.lost(&format!(
                "event {serial} of source {source} came out of turn"
            )));
        };
        *told += 1;
        self.last[source] = Instant::now();
        heard.late[source].saturating_record(late);
        Ok(())
    }

    fn lost(&self, what: &str) -> Error {
        Error::Failed(format!(
            "{what}: of {SOURCES:?} {:?} events were told of",
            self.told
        ))
    }
}
