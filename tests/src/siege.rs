//! Far too many peers, most of them bad, and a thousand who behave well.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::load::Crowd;
use crate::{Launch, Server};

/// Connections that ask and wait for their answers.
pub const WELL_BEHAVED: u32 = 1000;
const LORISES: u32 = 5000;
const NEVER_READING: u32 = 1000;
const CONNECTS_PER_SECOND: u32 = 5000;
/// Each of the well-behaved asks twice a second.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// The crowds come in over three seconds. By then the first of them meet their deadlines, are ended
/// and come again.
pub const RAMP: Duration = Duration::from_millis(3500);
/// For how long the well-behaved ask once the crowds are there.
pub const LOADED: Duration = Duration::from_secs(2);
/// The part of a crowd that is there at any time at the least, and of the connects that are made: a
/// small or busy machine makes fewer than it is told to. With less than this it is no overload.
const HELD_MIN: f64 = 0.6;
const STORM_MIN: f64 = 0.5;

/// A server with what whoever expects such peers would set: bounds on what one may hold, and for
/// how long.
#[must_use]
pub fn besieged() -> Launch {
    Launch::ping()
        .after("ulimit -Sn $(ulimit -Hn)")
        .set("server.listen=\"0.0.0.0:0\"")
        .set("socket.send_buffer=16384")
        .set("socket.receive_buffer=16384")
        .set("limits.write_queue_max=65536")
        .set("limits.connections_max=10000")
        .set("limits.unread_per_shard_max=67108864")
        .set("limits.unsent_per_shard_max=67108864")
        .set("timeouts.first_byte=\"2s\"")
        .set("timeouts.read=\"3s\"")
        .set("timeouts.write=\"3s\"")
}

/// Many, for the ports that a storm leaves behind.
#[must_use]
pub fn addresses_of(server: &Server) -> Vec<SocketAddr> {
    (1..=16)
        .map(|last| server.addr_at(Ipv4Addr::new(127, 0, 0, last)))
        .collect()
}

/// Lorises, peers that never read, and a storm of connects.
pub struct Crowds {
    lorises: Crowd,
    never_reading: Crowd,
    storm: Crowd,
}

impl Crowds {
    /// They begin to come, and leave when this is dropped.
    #[must_use]
    pub fn come(addresses: &[SocketAddr]) -> Self {
        let second = Duration::from_secs(1);
        Self {
            lorises: Crowd::loris(addresses, None, LORISES, second),
            never_reading: Crowd::never_reading(addresses, None, NEVER_READING, second / 10),
            storm: Crowd::storm(addresses, None, CONNECTS_PER_SECOND),
        }
    }

    /// Whether all have come who are to stay.
    #[must_use]
    pub fn have_come(&self) -> bool {
        self.lorises.is_whole() && self.never_reading.is_whole()
    }

    /// Ends them after they were there for `elapsed`.
    ///
    /// # Panics
    /// If they were not as bad as they were to be.
    pub fn end_as_bad_as_they_were_to_be(self, elapsed: Duration) {
        let (lorises, never_reading) = (self.lorises.end(), self.never_reading.end());
        let storm = self.storm.end();
        println!("lorises: {lorises:?}\nnever reading: {never_reading:?}\nstorm:   {storm:?}");
        for (crowd, size) in [(lorises, LORISES), (never_reading, NEVER_READING)] {
            let fewest = crowd.fewest.unwrap_or_default();
            assert!(
                fewest as f64 >= HELD_MIN * f64::from(size),
                "only {fewest} of {size} were there"
            );
        }
        let least = STORM_MIN * elapsed.as_secs_f64() * f64::from(CONNECTS_PER_SECOND);
        assert!(
            storm.connects as f64 > least,
            "only {} connects",
            storm.connects
        );
    }
}
