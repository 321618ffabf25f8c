//! Whether this machine can carry out the settings, asked before a port is opened.
//!
//! `facts` asks the machine, in one place; everything else is pure: settings and facts in, a
//! [`Plan`](plan::Plan) or the whole list of [`Problem`](problem::Problem)s out. `kernel` judges Linux and its io_uring, `limits`
//! the descriptors and cores, `memlock` the locked memory, `memory` the memory, `port` the address, `admin` the other
//! one, `inherited` the listeners that are open already, `tls` certificates and keys. `doctor` tells people all of it.

pub(crate) mod admin;
pub(crate) mod doctor;
mod facts;
pub(crate) mod inherited;
pub(crate) mod kernel;
mod limits;
mod memlock;
pub(crate) mod memory;
pub(crate) mod plan;
pub(crate) mod port;
pub(crate) mod problem;
pub(crate) mod tls;
