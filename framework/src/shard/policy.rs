//! Policies: numbers in, verdict out. None of them knows a shard, and each is tested without one.
//!
//! [`bounds`] are the settings in the shard's units. Who comes in: [`admission`], with
//! [`per_address`] and [`token_bucket`]; [`backoff`] after accepts that fail. Who is ended:
//! [`request_timer`] and [`min_rate`] by time, unless [`grace`] says that the shard itself was
//! late; [`overload`] for memory. How the shard works: [`recv_mode`], [`wait_policy`],
//! [`paced_queue`], [`tick_grid`], [`log_limit`]. Of TLS: [`handshakes`], [`silent_records`].

pub(crate) mod admission;
pub(crate) mod backoff;
pub(crate) mod bounds;
pub(crate) mod grace;
#[cfg(feature = "tls")]
pub(crate) mod handshakes;
pub(crate) mod log_limit;
pub(crate) mod min_rate;
pub(crate) mod overload;
pub(crate) mod paced_queue;
pub(crate) mod per_address;
pub(crate) mod recv_mode;
pub(crate) mod request_timer;
#[cfg(feature = "tls")]
pub(crate) mod silent_records;
pub(crate) mod tick_grid;
pub(crate) mod token_bucket;
pub(crate) mod wait_policy;
