//! What the admin server takes beside the shards, and whether it can listen.

use std::io;

use crate::config::{Buffers, Config, Endpoint};
use crate::net::endpoint::{self, Opened};
use crate::preflight::problem::Problem;
use crate::ring::buffers::BufferPool;
use crate::shard::policy::bounds::MemoryShare;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// Its receive buffers: requests are small.
pub(crate) const BUFFERS: Buffers = Buffers {
    size: 4 * KIB,
    count: 64,
};
/// What its connections may hold. No keys: `admin.connections_max` and `admin.header_max` bound what
/// comes, and what goes out are a few pages.
pub(crate) const SHARE: MemoryShare = MemoryShare {
    unread_max: MIB,
    unsent_max: 4 * MIB,
};
/// A page that is being made.
const PAGE_BYTES: u64 = MIB as u64;

/// Where it is to listen, each with its key: to be looked at, and to be steered.
pub(crate) fn endpoints(config: &Config) -> [(&'static str, Option<&Endpoint>); 2] {
    let admin = &config.admin;
    [
        ("admin.listen", admin.listen.as_ref()),
        ("admin.steer_listen", admin.steer_listen.as_ref()),
    ]
}

/// Bytes that all of it takes.
pub(super) fn bytes(config: &Config, shard_bytes: u64) -> u64 {
    let queues = u64::from(SHARE.unread_max) + u64::from(SHARE.unsent_max);
    let each = BufferPool::bytes_max(BUFFERS.size, BUFFERS.count) + queues + PAGE_BYTES;
    count(config) * (shard_bytes + each)
}

/// Servers of it: one for each endpoint.
pub(super) fn count(config: &Config) -> u64 {
    let endpoints = endpoints(config).into_iter();
    endpoints.filter(|(_, endpoint)| endpoint.is_some()).count() as u64
}

/// Listens where the settings ask for it, if nothing `inherited` does, and lets go of it again: where
/// it cannot, and why.
pub(super) fn probe(
    config: &Config,
    inherited: &[Option<Opened>; 2],
) -> Vec<(&'static str, Endpoint, io::Error)> {
    let missing = endpoints(config).into_iter().zip(inherited);
    let missing = missing.filter(|(_, opened)| opened.is_none());
    let failure = |((key, endpoint), _): ((_, Option<&Endpoint>), _)| {
        let endpoint = endpoint?;
        let error = endpoint::open(endpoint).err()?;
        Some((key, endpoint.clone(), error))
    };
    missing.filter_map(failure).collect()
}

/// Why it cannot listen there.
pub(crate) fn problem(key: &str, endpoint: &Endpoint, error: &io::Error) -> Problem {
    let (why, remedy) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "another program or another copy of this one does".to_owned(),
            "stop it, or choose another address here",
        ),
        io::ErrorKind::AlreadyExists => {
            (error.to_string(), "remove it, or choose another path here")
        }
        io::ErrorKind::NotFound => (
            "its directory does not exist".to_owned(),
            "make the directory (RuntimeDirectory= in the unit), or choose another path here",
        ),
        io::ErrorKind::PermissionDenied => (
            "this user may not".to_owned(),
            "choose a directory of the server's user, or a port from 1024 up, here",
        ),
        _ => (
            format!("the kernel says: {error}"),
            "choose another address here",
        ),
    };
    Problem::new(format!("cannot listen on {endpoint} ({key})"), why, remedy)
}
