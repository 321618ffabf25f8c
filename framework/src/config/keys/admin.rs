//! `[admin]`.

use std::time::Duration;

use crate::config::declare::section;
use crate::config::endpoint::{Endpoint, EndpointOrOff};
use crate::config::numbers::Whole;

use super::timeouts::TIMEOUT;
use super::units::secs;

section! {
    /// Where people and their tools look at the server, on a thread of its own.
    struct Admin {
        /// Where metrics and health are served, by HTTP: an address of this machine alone, or the
        /// path of a Unix socket, which only the server's own user may open.
        shipped listen: Option<Endpoint> = EndpointOrOff, None;

        /// Where what changes something is served by HTTP, beside all the rest. What `listen` serves
        /// changes nothing unless it is a Unix socket.
        documented steer_listen: Option<Endpoint> = EndpointOrOff, None;

        /// Connections that each of the two serves at a time. When more come, the peer that is silent for
        /// longest makes room.
        documented connections_max: u32 = Whole::of("connections", 1, 4096), 256;

        /// Bytes of a request's header. Past it the answer is 431 and the end of the connection.
        documented header_max: u32 = Whole::of("bytes", 256, 65_536), 8192;

        /// Time in which a request must have come, and how long its answer may wait for a peer that
        /// takes nothing of it.
        documented request_timeout: Duration = TIMEOUT, secs(5);

        /// How long a shard may let an answer wait. Then it is given without that shard, and says
        /// so.
        documented answer_timeout: Duration = TIMEOUT, secs(3);

        /// How long a connection may be silent between requests.
        documented idle_timeout: Duration = TIMEOUT, secs(15);

        /// How long `--probe` waits for the answer. The program that runs the probe should wait
        /// longer, or it does not hear the reason.
        documented probe_timeout: Duration = TIMEOUT, secs(1), live;
    }
}

impl Admin {
    /// Whether anybody can look at the server.
    pub(crate) fn is_on(&self) -> bool {
        self.listen.is_some() || self.steer_listen.is_some()
    }
}
