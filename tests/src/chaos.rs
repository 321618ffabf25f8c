//! A TCP proxy that does to a connection what bad networks and bad peers do: it delays, slices,
//! corrupts, throttles and cuts, in each direction as told. What it does follows from its seed, the
//! numbers of the connections and the bytes.

mod faults;
mod line;
mod link;
#[cfg(test)]
mod tests;

pub use faults::{Cut, Faults};

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{Random, connect};
use link::Link;

/// How long anything of the proxy waits at most before it looks whether the proxy is to end.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// Connections through a proxy at a time. Each has a thread.
const LINKS_MAX: usize = 1024;

/// A proxy before a server, for as long as it lives.
#[derive(Debug)]
pub struct Chaos {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    open: AtomicUsize,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

impl Chaos {
    /// Listens on a free port and does `to_server` to what clients send, `to_client` to what the
    /// server sends back.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn before(server: SocketAddr, seed: u64, to_server: Faults, to_client: Faults) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let told = Arc::clone(&shared);
        let acceptor =
            thread::spawn(move || accept(&listener, server, seed, [to_server, to_client], &told));
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections that go through it now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Bytes that it has passed on: to the server, and to clients.
    #[must_use]
    pub fn passed(&self) -> (u64, u64) {
        (
            self.shared.to_server.load(Ordering::SeqCst),
            self.shared.to_client.load(Ordering::SeqCst),
        )
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // A panic in it has been told already, and the test sees what came of it.
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Takes connections until the proxy ends, and then waits for those that there are.
fn accept(
    listener: &TcpListener,
    server: SocketAddr,
    seed: u64,
    faults: [Faults; 2],
    shared: &Shared,
) {
    thread::scope(|scope| {
        for number in 0_u64.. {
            let Some(client) = next(listener, shared) else {
                break;
            };
            // A connection that the server does not take ends at the client, too.
            let Ok(upstream) = connect(server) else {
                continue;
            };
            let random = Random::seeded(mixed(seed.wrapping_add(number)));
            let faults = faults.clone();
            shared.open.fetch_add(1, Ordering::SeqCst);
            scope.spawn(move || {
                Link::new(client, upstream, faults, random).run(shared);
                shared.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
}

/// The next client, or none if the proxy is to end.
fn next(listener: &TcpListener, shared: &Shared) -> Option<TcpStream> {
    while !shared.is_over() {
        let mut readable = [PollFd::new(listener, PollFlags::IN)];
        let has_place = shared.open.load(Ordering::SeqCst) < LINKS_MAX;
        let ready = if has_place {
            poll(&mut readable, Some(&LOOK))
        } else {
            poll(&mut [], Some(&LOOK))
        };
        if ready.is_ok_and(|count| count > 0)
            && let Ok((client, _)) = listener.accept()
        {
            return Some(client);
        }
    }
    None
}

/// Neighbouring seeds make unlike sequences (the finaliser of splitmix64).
fn mixed(seed: u64) -> u64 {
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}
