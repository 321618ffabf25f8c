//! What the load tester asks of the machine it runs on: descriptors and a core.

use std::{fs, io};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::error::Error;

/// Descriptors beyond those open at start: epoll, its waker, and what the libraries may open.
const DESCRIPTORS_SPARE: u64 = 16;

/// Raise the soft descriptor limit to the hard one and see that so many connections fit.
pub(crate) fn descriptors_reserve(connections: u32) -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(io::Error::from).map_err(Error::failed("cannot raise the descriptor limit"))?;
    let open = fs::read_dir("/proc/self/fd").map_or(3, |entries| entries.count() as u64);
    descriptors_check(connections.into(), open, limit.maximum.unwrap_or(u64::MAX))
}

fn descriptors_check(connections: u64, open: u64, limit: u64) -> Result<(), Error> {
    let needed = connections + open + DESCRIPTORS_SPARE;
    if needed <= limit {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{connections} connections need {needed} descriptors and the hard limit is {limit}: run \
         `ulimit -Hn {needed}` as root first, use --connections {}, or share them out among several \
         loadtest processes",
        limit.saturating_sub(open + DESCRIPTORS_SPARE)
    )))
}

/// Confine the calling thread, and the threads it starts, to one core.
pub(crate) fn pin(core: usize) -> Result<(), Error> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Ok(());
    }
    Err(core_missing(core))
}

/// Refuse a core that this process may not run on.
pub(crate) fn core_check(core: usize) -> Result<(), Error> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.iter().any(|id| id.id == core) { Ok(()) } else { Err(core_missing(core)) }
}

fn core_missing(core: usize) -> Error {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let cores: Vec<_> = cores.iter().map(|core| core.id.to_string()).collect();
    Error::Refused(format!("core {core} is not one this process may use: {}", cores.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_do_not_fit_the_descriptor_limit_are_refused_with_the_number_that_does() {
        descriptors_check(19_981, 3, 20_000).expect("just fits");
        let error = descriptors_check(19_982, 3, 20_000).expect_err("one too many");
        assert!(error.to_string().contains("need 20001 descriptors"), "{error}");
        assert!(error.to_string().contains("--connections 19981"), "{error}");
    }
}
