//! Whether this machine can carry the connections asked for, judged before the first of them is
//! opened, and the use that its processes make of it while they are open.
//!
//! [`Facts`] asks the machine, in one place; the judgement is pure: a [`Demand`] and facts in,
//! [`Findings`] out, each with the command that the user types. [`destinations()`] says over which
//! addresses to spread.

mod cores;
mod demand;
mod descriptors;
mod destinations;
mod facts;
mod judge;
mod memory;
mod ports;
mod process;
mod queues;
mod values;

pub use cores::{about, cores, cores_for, descriptors_raise, shards_for};
pub use demand::Demand;
pub use destinations::destinations;
pub use facts::Facts;
pub use judge::{Findings, check, judge};
pub use process::{Sample, listeners, name, resident_bytes, shards_cpu_ns};
pub use values::{MemoryMarks, PortList, PortRange};
