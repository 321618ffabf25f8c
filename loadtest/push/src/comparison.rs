//! The frame of a comparison: its cores, its rounds, what it exits with.

use std::process::ExitCode;

use loadtest::Stop;
use loadtest::error::Error;

/// The work was done and something was not as it should be.
const EXIT_FAILED: u8 = 1;
/// The arguments, or the machine, do not allow it. Also what clap exits with.
const EXIT_REFUSED: u8 = 2;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is compared.
    Ours,
    /// What it is set beside.
    Other,
}

/// What `program` exits with, once it has told of an error. The outcome says whether every ratio is
/// within its bound, which is asked for only if it `asserts`.
#[must_use]
pub fn exit_code(program: &str, outcome: Result<bool, Error>, asserts: bool) -> ExitCode {
    match outcome {
        Ok(holds) if holds || !asserts => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::from(if matches!(error, Error::Refused(_)) {
                EXIT_REFUSED
            } else {
                EXIT_FAILED
            })
        }
    }
}

/// Warns of a debug build.
///
/// # Errors
///
/// Where this process may not use all of these cores.
pub fn check(cores: [usize; 2]) -> Result<(), Error> {
    let allowed: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect();
    if let Some(core) = cores.iter().find(|core| !allowed.contains(core)) {
        return Err(Error::Refused(format!(
            "core {core} is not one this process may use: {allowed:?}"
        )));
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build");
    }
    Ok(())
}

/// What `measure` gives of ours and of the other in each round; every other round goes backwards.
///
/// # Errors
///
/// As `measure`, and once an end was asked for.
pub fn by_turns<T>(
    rounds: u32,
    stop: &Stop,
    mut measure: impl FnMut(Side) -> Result<T, Error>,
) -> Result<Vec<[T; 2]>, Error> {
    let mut round = |number: u32| {
        go_on(stop)?;
        if number.is_multiple_of(2) {
            return Ok([measure(Side::Ours)?, measure(Side::Other)?]);
        }
        let other = measure(Side::Other)?;
        Ok([measure(Side::Ours)?, other])
    };
    (0..rounds).map(&mut round).collect()
}

/// Fails once an end was asked for.
///
/// # Errors
///
/// [`Error::Interrupted`].
pub fn go_on(stop: &Stop) -> Result<(), Error> {
    if stop.is_set() {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sides_take_turns_and_the_first_one_changes() {
        let mut order = Vec::new();
        let rounds = by_turns(3, &Stop::default(), |side| {
            order.push(side);
            Ok(order.len())
        });
        assert_eq!(rounds.unwrap(), [[1, 2], [4, 3], [5, 6]]);
        let (ours, other) = (Side::Ours, Side::Other);
        assert_eq!(order, [ours, other, other, ours, ours, other]);
    }

    #[test]
    fn an_end_that_was_asked_for_ends_it() {
        let stop = Stop::default();
        stop.set();
        let rounds = by_turns(1, &stop, |_| Ok(()));
        assert!(matches!(rounds, Err(Error::Interrupted)), "{rounds:?}");
    }

    #[test]
    fn a_missed_bound_fails_only_where_that_was_asked_for() {
        let code = |outcome, asserts| format!("{:?}", exit_code("test", outcome, asserts));
        let [success, failed, refused] =
            [0, 1, 2].map(|code| format!("{:?}", ExitCode::from(code)));
        assert_eq!(code(Ok(false), false), success);
        assert_eq!(code(Ok(true), true), success);
        assert_eq!(code(Ok(false), true), failed);
        assert_eq!(code(Err(Error::Interrupted), false), failed);
        assert_eq!(code(Err(Error::Refused(String::new())), false), refused);
    }
}
