//! Crowds of peers that misbehave, each kind on a thread of its own. Whom the server ends comes
//! again.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::iter;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::ends::Watch;
use super::turns::Turns;
use super::{begin_connect, stay_on_core, yield_to_others};
use crate::reset;

/// How long a crowd without a turn sleeps at most, so that its end is not waited for.
const SLEEP_MAX: Duration = Duration::from_millis(20);
/// Turns that are taken before ends are looked for again.
const TURNS_MAX: usize = 64;
/// A request that is begun again and again and never ends: well formed, and within the length that
/// it announces.
const ENDLESS_REQUEST: &[u8] = b"*2\r\n$4\r\nECHO\r\n$100000\r\n";
/// What those that never read ask for, again and again.
const REQUEST_BYTES: usize = 1024;
/// Kernel buffers of those that never read: small, because it is the server's memory that they are
/// after.
const BUFFER_BYTES: usize = 8 * 1024;
/// Over how long a crowd that is held comes in, so that neither its coming nor the deadlines that
/// end it come all at once.
const RAMP: Duration = Duration::from_secs(3);
/// How long a connection of a storm stays.
const STAY: Duration = Duration::from_millis(50);

/// What a crowd has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections made.
    pub connects: u64,
    /// Connections that the server ended.
    pub ended: u64,
    /// Of a crowd that is held: how many stood when they were fewest, since all have come.
    pub fewest: Option<u64>,
    /// Bytes sent.
    pub sent: u64,
    /// Connects, or writes, that failed at this end.
    pub failed: u64,
}

/// Peers of one kind at work, until [`Crowd::end`].
#[derive(Debug)]
pub struct Crowd {
    state: Arc<State>,
    thread: Option<JoinHandle<Tally>>,
}

#[derive(Debug, Default)]
struct State {
    /// It is to end.
    over: AtomicBool,
    /// All have come, some of which may have been ended meanwhile.
    is_whole: AtomicBool,
}

impl Crowd {
    /// `count` peers that each send a byte of a request per `interval`, and never its last.
    #[must_use]
    pub fn loris(
        addresses: &[SocketAddr],
        core: Option<usize>,
        count: u32,
        interval: Duration,
    ) -> Self {
        Self::held(addresses, core, count, interval, 0, |peer| {
            let byte = ENDLESS_REQUEST.get(peer.turns as usize).unwrap_or(&b'x');
            peer.stream.write(&[*byte])
        })
    }

    /// `count` peers that send requests as long as the server takes any, look again once per
    /// `interval`, and read nothing.
    #[must_use]
    pub fn never_reading(
        addresses: &[SocketAddr],
        core: Option<usize>,
        count: u32,
        interval: Duration,
    ) -> Self {
        let text = "n".repeat(REQUEST_BYTES);
        let requests = format!("*2\r\n$4\r\nECHO\r\n${REQUEST_BYTES}\r\n{text}\r\n")
            .repeat(64)
            .into_bytes();
        Self::held(
            addresses,
            core,
            count,
            interval,
            BUFFER_BYTES,
            move |peer| {
                // What a write has left over is where the next begins: the stream stays a sequence
                // of whole requests.
                let from = peer.sent as usize % requests.len();
                peer.stream.write(&requests[from..])
            },
        )
    }

    /// `per_second` connects: of each four one is reset at once, one says nothing, and two ask;
    /// those go a moment later, by FIN or reset.
    #[must_use]
    pub fn storm(addresses: &[SocketAddr], core: Option<usize>, per_second: u32) -> Self {
        let addresses = addresses.to_vec();
        Self::start(core, move |state| {
            state.is_whole.store(true, Ordering::Relaxed);
            storm(&addresses, per_second, &state.over)
        })
    }

    fn held<S>(
        addresses: &[SocketAddr],
        core: Option<usize>,
        count: u32,
        interval: Duration,
        buffer: usize,
        speak: S,
    ) -> Self
    where
        S: Fn(&mut Peer) -> io::Result<usize> + Send + 'static,
    {
        let addresses = addresses.to_vec();
        Self::start(core, move |state| {
            hold(&addresses, count, interval, buffer, speak, state)
        })
    }

    fn start(core: Option<usize>, work: impl FnOnce(&State) -> Tally + Send + 'static) -> Self {
        let state = Arc::<State>::default();
        let told = Arc::clone(&state);
        let thread = thread::spawn(move || {
            yield_to_others();
            if let Some(core) = core {
                stay_on_core(core).unwrap();
            }
            work(&told)
        });
        Self {
            state,
            thread: Some(thread),
        }
    }

    /// Whether all have come. On a busy machine that takes longer than it is to.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state.is_whole.load(Ordering::Relaxed)
    }

    /// Ends it, all its connections with it, and tells what it has done.
    ///
    /// # Panics
    /// When the crowd has.
    #[must_use]
    pub fn end(mut self) -> Tally {
        self.state.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ends once").join().unwrap()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        // A test that fails leaves no crowd behind; what the crowd itself failed of shows where it
        // is ended.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[derive(Debug)]
struct Peer {
    stream: TcpStream,
    turns: u64,
    sent: u64,
}

/// Keeps `count` connections up; each speaks in its turn. Whom the server ends is replaced at once,
/// and the next one speaks first thing.
fn hold<S>(
    addresses: &[SocketAddr],
    count: u32,
    interval: Duration,
    buffer: usize,
    speak: S,
    state: &State,
) -> Tally
where
    S: Fn(&mut Peer) -> io::Result<usize>,
{
    let watch = Watch::new();
    let mut tally = Tally::default();
    let mut peers: Vec<Option<Peer>> = (0..count).map(|_| None).collect();
    let mut turns = Turns::new(count, interval);
    let mut arrivals = Turns::new(count, RAMP);
    let mut come = 0;
    while !state.over.load(Ordering::Relaxed) {
        let next = if come < count as usize {
            turns.due().min(arrivals.due())
        } else {
            turns.due()
        };
        let ended = watch.wait(time_until(next));
        ended.iter().for_each(|index| peers[*index] = None);
        tally.ended += ended.len() as u64;
        if come == count as usize {
            state.is_whole.store(true, Ordering::Relaxed);
            let here = u64::from(count) - ended.len() as u64;
            tally.fewest = Some(tally.fewest.map_or(here, |fewest| fewest.min(here)));
        }
        let arriving = iter::from_fn(|| {
            (come < count as usize)
                .then(|| arrivals.take(Instant::now()))
                .flatten()
                .inspect(|_| come += 1)
        });
        let mut whose: Vec<usize> = ended.into_iter().chain(arriving).collect();
        whose.extend(
            iter::from_fn(|| turns.take(Instant::now()))
                .take(TURNS_MAX)
                .filter(|index| *index < come),
        );
        for index in whose {
            let place = &mut peers[index];
            if place.is_none() {
                *place = Peer::come(addresses[index % addresses.len()], buffer, &watch, index).ok();
                *(if place.is_some() {
                    &mut tally.connects
                } else {
                    &mut tally.failed
                }) += 1;
            }
            let Some(peer) = place else { continue };
            // Whoever cannot speak because he was ended is told so by the next wait.
            if let Ok(length) = speak(peer) {
                (peer.sent, peer.turns) = (peer.sent + length as u64, peer.turns + 1);
                tally.sent += length as u64;
            }
        }
    }
    tally
}

impl Peer {
    /// Comes, and is number `index` to who waits for its end.
    fn come(address: SocketAddr, buffer: usize, watch: &Watch, index: usize) -> io::Result<Self> {
        let stream = begin_connect(address, buffer)?;
        watch.add(&stream, index)?;
        Ok(Self {
            stream,
            turns: 0,
            sent: 0,
        })
    }
}

fn storm(addresses: &[SocketAddr], per_second: u32, over: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut turns = Turns::new(per_second, Duration::from_secs(1));
    let mut staying: VecDeque<(Instant, Guest)> = VecDeque::new();
    while !over.load(Ordering::Relaxed) {
        let now = Instant::now();
        while staying.front().is_some_and(|(until, _)| *until <= now) {
            staying
                .pop_front()
                .into_iter()
                .for_each(|(_, guest)| guest.leave());
        }
        let Some(number) = turns.take(now) else {
            sleep_until(turns.due());
            continue;
        };
        match Guest::come(addresses[number % addresses.len()], number) {
            Ok((guest, sent)) => {
                (tally.connects, tally.sent) = (tally.connects + 1, tally.sent + sent as u64);
                let stays = if matches!(guest.manner, Manner::ResetAtOnce) {
                    Duration::ZERO
                } else {
                    STAY
                };
                staying.push_back((now + stays, guest));
            }
            Err(_) => tally.failed += 1,
        }
    }
    tally
}

/// A connection of a storm.
#[derive(Debug)]
struct Guest {
    stream: TcpStream,
    manner: Manner,
}

#[derive(Debug, Clone, Copy)]
enum Manner {
    ResetAtOnce,
    Silent,
    AskAndReset,
    AskAndLeave,
}

impl Guest {
    /// Comes, and says what it has to say, so many bytes.
    fn come(address: SocketAddr, number: usize) -> io::Result<(Self, usize)> {
        let manner = [
            Manner::ResetAtOnce,
            Manner::Silent,
            Manner::AskAndReset,
            Manner::AskAndLeave,
        ][number % 4];
        let mut stream = begin_connect(address, 0)?;
        let sent = match manner {
            Manner::ResetAtOnce | Manner::Silent => 0,
            Manner::AskAndReset | Manner::AskAndLeave => stream.write(b"PING\r\n")?,
        };
        Ok((Self { stream, manner }, sent))
    }

    fn leave(mut self) {
        match self.manner {
            Manner::ResetAtOnce | Manner::AskAndReset => {
                let _ = reset(self.stream);
            }
            // Read first: to close with something unread is a reset too.
            Manner::Silent | Manner::AskAndLeave => {
                let _ = self.stream.read(&mut [0; 64]);
            }
        }
    }
}

fn sleep_until(due: Instant) {
    thread::sleep(time_until(due));
}

fn time_until(due: Instant) -> Duration {
    due.saturating_duration_since(Instant::now()).min(SLEEP_MAX)
}
