//! Whether this Linux, and its io_uring as far as we are let at it, can run a shard.

use std::io;

use crate::handler::AppBytes;
use crate::preflight::facts::Facts;
use crate::preflight::problem::Problem;
use crate::ring::{self, ProbeError};

/// The first Linux with DEFER_TASKRUN, on which the ring is built.
pub(super) const KERNEL_MIN: (u32, u32) = (6, 1);

/// Of the kernel's problems the first, for the others would follow from it.
pub(super) fn problem(facts: &Facts) -> Option<Problem> {
    version_problem(&facts.release)
        .or_else(|| ring_problem(facts))
        .or_else(|| rate_problem(facts))
}

fn version_problem(release: &str) -> Option<Problem> {
    // A release we cannot read is left to the probe.
    if version(release)? >= KERNEL_MIN {
        return None;
    }
    let (major, minor) = KERNEL_MIN;
    Some(Problem::new(
        format!("the kernel is Linux {release}"),
        format!("its io_uring lacks what a shard needs before Linux {major}.{minor}"),
        format!("boot Linux {major}.{minor} or later"),
    ))
}

/// Major and minor version of a release like "6.1.0-25-amd64".
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn ring_problem(facts: &Facts) -> Option<Problem> {
    let problem = match facts.ring.as_ref().err()? {
        ProbeError::SetupRefused(error) => setup_problem(error, facts.io_uring_disabled),
        ProbeError::MissingFeature { name, since } => {
            missing("feature", name, since, &facts.release)
        }
        ProbeError::MissingOperation { name, since } => {
            missing("operation", name, since, &facts.release)
        }
        ProbeError::BufferRingRefused(error) => refused("a ring of receive buffers", error),
        ProbeError::FileTableRefused(error) => refused("a table of direct descriptors", error),
    };
    Some(problem)
}

/// What `limits.send_rate_min` needs beyond the rest.
fn rate_problem(facts: &Facts) -> Option<Problem> {
    (facts.tells_unacknowledged == Some(false)).then(|| {
        Problem::new(
            "limits.send_rate_min cannot be measured",
            format!("io_uring tells what peers have taken (SOCKET_URING_OP_SIOCOUTQ) since Linux 6.7, and this is Linux {}", facts.release),
            "set it to 0, or boot Linux 6.7 or later",
        )
    })
}

/// The same of the running kernel, for a server that comes to need it.
pub(crate) fn rate_problem_now() -> Option<Problem> {
    let app_bytes = AppBytes { task: 0, parcel: 0 }; // what it takes does not matter here
    rate_problem(&Facts {
        tells_unacknowledged: ring::tells_unacknowledged().ok(),
        ..Facts::without_probes(app_bytes)
    })
}

fn setup_problem(error: &io::Error, disabled: Option<u32>) -> Problem {
    match (error.raw_os_error(), disabled) {
        (Some(libc::ENOSYS), _) => Problem::new(
            "io_uring is missing (ENOSYS)",
            "the kernel was built without it, or a seccomp filter hides it",
            format!("boot a kernel with CONFIG_IO_URING=y, or {ALLOW_CALLS}"),
        ),
        (Some(libc::EPERM), Some(2)) => Problem::new(
            "io_uring is switched off for every process",
            "sysctl kernel.io_uring_disabled is 2",
            "run `sysctl -w kernel.io_uring_disabled=0` as root, on the host if this is a container",
        ),
        (Some(libc::EPERM), Some(1)) => Problem::new(
            "io_uring is switched off for this user",
            "sysctl kernel.io_uring_disabled is 1",
            "run `sysctl -w kernel.io_uring_disabled=0` as root, or add the user to the group that \
             `sysctl kernel.io_uring_group` names",
        ),
        (Some(libc::EPERM | libc::EACCES), _) => Problem::new(
            format!("io_uring is forbidden ({error})"),
            "a seccomp filter or security module, such as a container's, does not let this process at it",
            ALLOW_CALLS,
        ),
        (Some(libc::ENOMEM), _) => Problem::new(
            "there is no memory for an io_uring (ENOMEM)",
            "the limit of locked memory or the memory of the machine or control group is used up",
            "run `ulimit -l unlimited`, set LimitMEMLOCK=infinity in the unit, or free memory",
        ),
        _ => refused("an io_uring", error),
    }
}

const ALLOW_CALLS: &str = "allow io_uring_setup, io_uring_enter and io_uring_register: Docker \
     `--security-opt seccomp=PROFILE.json` (or seccomp=unconfined), systemd SystemCallFilter=@aio";

fn missing(kind: &str, name: &str, since: &str, release: &str) -> Problem {
    Problem::new(
        format!("io_uring {kind} {name} is missing"),
        format!("Linux {since} brought it and this says it is Linux {release}"),
        format!("boot Linux {since} or later, built with it"),
    )
}

fn refused(what: &str, error: &io::Error) -> Problem {
    let remedy = match error.raw_os_error() {
        Some(libc::EMFILE) => "raise `ulimit -n`, or LimitNOFILE= in the unit",
        Some(libc::ENFILE) => "raise sysctl fs.file-max",
        Some(libc::ENOMEM) => {
            "run `ulimit -l unlimited`, set LimitMEMLOCK=infinity in the unit, or free memory"
        }
        _ => "see what io_uring_setup(2) and io_uring_register(2) say of this error",
    };
    Problem::new(
        format!("{what} was refused"),
        format!("the kernel says: {error}"),
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_releases() {
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version("5.15.0-1.el9"), Some((5, 15)));
        assert_eq!(version(""), None);
        assert_eq!(version("next"), None);
        assert_eq!(version("99999999999.1"), None);
    }

    #[test]
    fn the_oldest_kernel_that_will_do_is_accepted() {
        assert_eq!(version_problem("6.1.0"), None);
        assert_eq!(version_problem("7.0"), None);
        assert_eq!(version_problem("unreadable"), None);
        assert!(version_problem("6.0.19").is_some());
    }
}
