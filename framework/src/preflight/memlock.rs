//! Locked memory (RLIMIT_MEMLOCK): what the executors and rings of shards and admin server take of it.
//!
//! The kernel adds up what all processes of a user have locked, and asks none of those with
//! CAP_IPC_LOCK in the first user namespace (`io_account_mem` in io_uring/rsrc.c).

use crate::config::Config;
use crate::preflight::facts::{Before, Facts};
use crate::preflight::problem::Problem;
use crate::preflight::{admin, kernel};
use crate::{ring, runtime};

/// Without so much, in bytes, an executor is not made. It looks at the soft limit alone: root and
/// CAP_IPC_LOCK make no difference.
const EXECUTOR_MIN: u64 = 512 * KIB;
/// The first Linux that counts rings; before it a ring is made however little is left.
const RINGS_COUNT_SINCE: (u32, u32) = (6, 14);
/// The rings that preflight and the executor have tried, 20 KiB: the kernel counts them for some
/// milliseconds more.
const TRIED_BYTES: u64 = 32 * KIB;

const KIB: u64 = 1024;

/// What a start takes of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    shards: u64,
    shard_bytes: u64,
    admins: u64,
    admin_bytes: u64,
    /// The kernel counts nothing of it: this process may lock what it likes, or Linux is older.
    is_free: bool,
}

impl Need {
    pub(super) fn of(config: &Config, facts: &Facts, shards: u32) -> Self {
        let executor = runtime::locked_bytes();
        Self {
            shards: shards.into(),
            shard_bytes: executor + ring::socket_ring_bytes(config.buffers.count),
            admins: admin::count(config),
            admin_bytes: executor + ring::socket_ring_bytes(admin::BUFFERS.count),
            is_free: facts.memlock_is_free
                || kernel::version(&facts.release)
                    .is_some_and(|version| version < RINGS_COUNT_SINCE),
        }
    }

    /// Bytes that the limit must have.
    pub(super) fn bytes(self) -> u64 {
        if self.is_free {
            return EXECUTOR_MIN;
        }
        let admins = self.admins * self.admin_bytes;
        (self.shards * self.shard_bytes + admins + TRIED_BYTES).max(EXECUTOR_MIN)
    }

    pub(super) fn is_free(self) -> bool {
        self.is_free
    }

    /// Bytes that the process before has of the limit, if it is like this one.
    fn held(self, facts: &Facts) -> u64 {
        match facts.before {
            Some(Before { shards, admins }) if !self.is_free => {
                let shards = shards.unwrap_or(self.shards);
                shards * self.shard_bytes + admins * self.admin_bytes + TRIED_BYTES
            }
            _ => 0,
        }
    }

    /// "2 shards of 480 KiB and an admin server of 256 KiB".
    pub(super) fn sum(self) -> String {
        if self.is_free {
            return "a shard's executor".to_owned();
        }
        let shards = if self.shards == 1 { "shard" } else { "shards" };
        let admin = match self.admins {
            0 => String::new(),
            1 => format!(" and an admin server of {} KiB", self.admin_bytes / KIB),
            more => format!(
                " and {more} admin servers of {} KiB",
                self.admin_bytes / KIB
            ),
        };
        format!(
            "{} {shards} of {} KiB{admin}",
            self.shards,
            self.shard_bytes / KIB
        )
    }
}

pub(super) fn problem(config: &Config, facts: &Facts, shards: u32) -> Option<Problem> {
    let need = Need::of(config, facts, shards);
    let held = need.held(facts);
    let bytes = need.bytes() + held;
    if facts.memlock >= bytes {
        return None;
    }
    let (kib, sum) = (bytes.div_ceil(KIB), need.sum());
    let what = format!("memlock limit is {} KiB", facts.memlock / KIB);
    if need.is_free {
        return Some(Problem::new(
            what,
            format!("{sum} needs {kib} KiB"),
            raise(kib),
        ));
    }
    let before = match held {
        0 => String::new(),
        held => format!(", beside {} KiB of the process before,", held / KIB),
    };
    let verb = match need.shards + need.admins {
        1 => "needs",
        _ => "need",
    };
    Some(Problem::new(
        what,
        format!(
            "{sum}{before} {verb} {kib} KiB without CAP_IPC_LOCK, and all processes of a user share it"
        ),
        format!("{}, or start fewer shards (server.shards)", raise(kib)),
    ))
}

pub(super) fn raise(kib: u64) -> String {
    format!("run `ulimit -l {kib}` as root, or set LimitMEMLOCK={kib}K in the unit")
}
