//! `--tune`: sysctls changed for as long as a run lasts, and put back on every path out.
//!
//! [`Tuning`] restores in `Drop`, so also after an error or a panic. What no destructor survives,
//! SIGKILL or a process that exits by exit(3), leaves [`STATE_FILE`] behind: it is written before
//! the first change and removed after the last value is back, and the guard restores from it, or
//! the next start.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::change::{Change, assignment, command};
use super::state::{Owner, Saved, State};
use super::{Problem, sysctl};
use crate::output::note;

/// Where a tuned run writes down what to restore. In /run, for only root can write there (a file in
/// /tmp could be anyone's, and what it says is written to sysctls) and a boot, which resets the
/// sysctls, clears it (hier(7)).
pub const STATE_FILE: &str = "/run/corelane-loadtest.sysctl";

/// Sysctls changed until this is dropped.
#[derive(Debug)]
pub struct Tuning {
    place: Place,
    /// In the order of the changes. Empty once restored.
    saved: Vec<Saved>,
    told: Vec<String>,
}

/// Whose sysctls are changed: this machine's, or those of a directory that a test has made.
#[derive(Debug, Clone)]
struct Place {
    root: PathBuf,
    state: PathBuf,
    is_root: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            state: PathBuf::from(STATE_FILE),
            is_root: rustix::process::geteuid().is_root(),
        }
    }
}

impl Tuning {
    /// Make the changes that are still needed, each over the value as it is now: nothing is
    /// lowered. A change that only a warning asked for and that not even root may make here, as in
    /// a container, is left out and told.
    ///
    /// # Errors
    /// Without root, with the commands to type instead; while another run is tuning; or when the
    /// kernel refuses a value. Nothing stays changed then.
    pub fn apply(changes: &[Change]) -> Result<Self, Problem> {
        Self::apply_at(Place::default(), changes)
    }

    /// Restore what a run that was killed has left changed, and tell what. To be called at every
    /// start, tuned or not: a state file that nobody left, or whose run goes on, is no error and
    /// nothing is told.
    ///
    /// # Errors
    /// If the file makes no sense, or this process may not write the values.
    pub fn recover() -> Result<Vec<String>, Problem> {
        recover_at(&Place::default())
    }

    /// For the guard of process `pid`: whether nothing of what it has changed is left, or could be
    /// restored. Not while it is there.
    pub(super) fn is_restored_after(pid: u32) -> bool {
        let place = Place::default();
        match read_state(&place) {
            Ok(Some(state)) if state.owner.is(pid) => {
                !state.owner.is_alive(&place.root) && recover_at(&place).is_ok()
            }
            _ => true,
        }
    }

    /// What was done, line by line, for the person at the terminal.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// Put everything back. `Drop` does the same, but can only print what fails.
    ///
    /// # Errors
    /// With the commands to type, for what could not be put back. The state file stays, so that the
    /// next start tries again.
    pub fn restore(mut self) -> Result<(), Problem> {
        self.put_back()
    }

    fn apply_at(place: Place, changes: &[Change]) -> Result<Self, Problem> {
        let mut told = recover_at(&place)?;
        let (changes, left_out) = feasible(&place, changes)?;
        told.extend(left_out);
        let needed = needed(&place, &changes)?;
        let saved: Vec<Saved> = needed.iter().map(|(saved, _)| saved.clone()).collect();
        if saved.is_empty() {
            return Ok(Self { place, saved, told });
        }
        write_state(&place, &saved).map_err(|error| state_refused(&place, &error))?;
        told.extend(needed.iter().map(|(saved, value)| {
            format!("{} from {} to {value}", saved.sysctl, shown(&saved.old))
        }));
        // From here on every way out passes through `drop`.
        let tuning = Self { place, saved, told };
        for (saved, value) in &needed {
            set(&tuning.place, saved.sysctl, value)
                .map_err(|error| refused(&tuning.place, &changes, saved.sysctl, &error))?;
        }
        tuning.confirm(&changes)?;
        Ok(tuning)
    }

    /// Some values the kernel takes without an error, but not as they were written.
    fn confirm(&self, changes: &[Change]) -> Result<(), Problem> {
        match needed(&self.place, changes)?.first() {
            Some((saved, value)) => Err(Problem::new(
                format!("cannot set {} to {value}", saved.sysctl),
                format!("the kernel made {} of it", shown(&saved.old)),
                "run without --tune",
            )),
            None => Ok(()),
        }
    }

    fn put_back(&mut self) -> Result<(), Problem> {
        let saved = std::mem::take(&mut self.saved);
        if saved.is_empty() {
            Ok(())
        } else {
            restore(&self.place, &saved)
        }
    }
}

impl Drop for Tuning {
    fn drop(&mut self) {
        if let Err(problem) = self.put_back() {
            note(format_args!("loadtest: {problem}"));
        }
    }
}

/// The changes that can be made, and a line for each that is left out. Every file is opened before
/// the first is written, so that a refusal changes nothing.
fn feasible(place: &Place, changes: &[Change]) -> Result<(Vec<Change>, Vec<String>), Problem> {
    let (mut feasible, mut left_out) = (Vec::new(), Vec::new());
    for change in changes {
        match ask(place, change) {
            Ok(()) => feasible.push(change.clone()),
            Err(error) if place.is_root && !change.is_required => {
                left_out.push(format!("{} left as it is: {error}", change.sysctl));
            }
            Err(error) => return Err(refused(place, changes, change.sysctl, &error)),
        }
    }
    Ok((feasible, left_out))
}

/// Whether the change could be made, or is needless.
fn ask(place: &Place, change: &Change) -> io::Result<()> {
    if change.over(&get(place, change.sysctl)?).is_some() {
        OpenOptions::new()
            .write(true)
            .open(sysctl::path(&place.root, change.sysctl))?;
    }
    Ok(())
}

/// The changes that are not the case already, each with the present value and the one to write. A
/// sysctl that two changes name gets both, the second over the first, but is saved as it is now.
fn needed(place: &Place, changes: &[Change]) -> Result<Vec<(Saved, String)>, Problem> {
    let mut needed: Vec<(Saved, String)> = Vec::new();
    for change in changes {
        let earlier = needed
            .iter()
            .position(|(saved, _)| saved.sysctl == change.sysctl);
        let present = match earlier {
            Some(index) => needed[index].1.clone(),
            None => get(place, change.sysctl)
                .map_err(|error| refused(place, changes, change.sysctl, &error))?,
        };
        match (change.over(&present), earlier) {
            (Some(value), Some(index)) => needed[index].1 = value,
            (Some(value), None) => needed.push((
                Saved {
                    sysctl: change.sysctl,
                    old: present,
                },
                value,
            )),
            (None, _) => {}
        }
    }
    Ok(needed)
}

fn refused(place: &Place, changes: &[Change], name: &str, error: &io::Error) -> Problem {
    let typed = format!("run without --tune, after `{}` as root", command(changes));
    let (why, remedy) = match error.kind() {
        ErrorKind::PermissionDenied if place.is_root => (
            "not even root may, as in a container".to_owned(),
            format!("{typed} on the host"),
        ),
        ErrorKind::PermissionDenied => (
            "only root may".to_owned(),
            format!("start as root, or {typed}"),
        ),
        ErrorKind::ReadOnlyFilesystem => (
            "/proc/sys is read-only, as in a container".to_owned(),
            format!("{typed} on the host"),
        ),
        ErrorKind::NotFound => (
            "this kernel has no such sysctl".to_owned(),
            "run without --tune".to_owned(),
        ),
        _ => (format!("the kernel says: {error}"), typed),
    };
    Problem::new(format!("cannot set {name}"), why, remedy)
}

/// Written aside and linked into place: the file appears whole or not at all, and only one run can
/// have it.
fn write_state(place: &Place, saved: &[Saved]) -> io::Result<()> {
    let state = State {
        owner: Owner::current(&place.root),
        saved: saved.to_vec(),
    };
    let aside = place.state.with_extension(std::process::id().to_string());
    let linked =
        fs::write(&aside, state.to_string()).and_then(|()| fs::hard_link(&aside, &place.state));
    let _ = fs::remove_file(&aside); // what matters is whether the link was made
    linked
}

fn state_refused(place: &Place, error: &io::Error) -> Problem {
    let path = place.state.display();
    match error.kind() {
        ErrorKind::AlreadyExists => {
            let owner = read_state(place)
                .ok()
                .flatten()
                .map_or_else(|| "another run".to_owned(), |state| state.owner.to_string());
            Problem::new(
                "cannot tune",
                format!("{owner} has tuned this machine and not ended"),
                format!("wait for it (it holds {path})"),
            )
        }
        _ => Problem::new(
            "cannot tune",
            format!(
                "{path}, from which a later run restores should this one be killed, cannot be written: {error}"
            ),
            "start as root where /run can be written, or run without --tune",
        ),
    }
}

/// `Ok(None)` if there is none.
fn read_state(place: &Place) -> Result<Option<State>, Problem> {
    let path = place.state.display();
    let unusable = |why: String| {
        let remedy = format!("look at `cat {path}`, set those sysctls by hand, and remove it");
        Problem::new(
            format!("{path} of an earlier run cannot be used"),
            why,
            remedy,
        )
    };
    match fs::read_to_string(&place.state) {
        Ok(text) => State::parse(&text)
            .map(Some)
            .ok_or_else(|| unusable("it is not as a run writes it".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(error.to_string())),
    }
}

fn recover_at(place: &Place) -> Result<Vec<String>, Problem> {
    let Some(state) = read_state(place)?.filter(|state| !state.owner.is_alive(&place.root)) else {
        return Ok(Vec::new());
    };
    restore(place, &state.saved)?;
    let told = |saved: &Saved| {
        format!(
            "{} back to {}, which a killed run had changed",
            saved.sysctl,
            shown(&saved.old)
        )
    };
    Ok(state.saved.iter().map(told).collect())
}

/// Put the old values back, the last change first, and then forget them. One that cannot be put
/// back does not stop the rest.
fn restore(place: &Place, saved: &[Saved]) -> Result<(), Problem> {
    let mut left: Vec<(&Saved, io::Error)> = Vec::new();
    for saved in saved.iter().rev() {
        if let Err(error) = restore_one(place, saved) {
            left.push((saved, error));
        }
    }
    match left.first() {
        Some((_, error)) => Err(unrestored(&left, error)),
        None => forget(place),
    }
}

fn restore_one(place: &Place, saved: &Saved) -> io::Result<()> {
    if get(place, saved.sysctl)? == saved.old {
        return Ok(()); // the run was killed before it came to this one
    }
    set(place, saved.sysctl, &saved.old)
}

fn unrestored(left: &[(&Saved, io::Error)], error: &io::Error) -> Problem {
    let names: Vec<&str> = left.iter().map(|(saved, _)| saved.sysctl).collect();
    let commands: Vec<String> = left
        .iter()
        .map(|(saved, _)| assignment(saved.sysctl, &saved.old))
        .collect();
    Problem::new(
        format!("cannot restore {}", names.join(", ")),
        format!("the kernel says: {error}"),
        format!(
            "run `sysctl -w {}` as root, or any loadtest as root",
            commands.join(" ")
        ),
    )
}

fn forget(place: &Place) -> Result<(), Problem> {
    match fs::remove_file(&place.state) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            let path = place.state.display();
            Err(Problem::new(
                format!("cannot remove {path}"),
                error.to_string(),
                format!("run `rm {path}` as root: all is restored"),
            ))
        }
        _ => Ok(()),
    }
}

fn get(place: &Place, name: &str) -> io::Result<String> {
    fs::read_to_string(sysctl::path(&place.root, name))
        .map(|text| text.trim_end_matches('\n').to_owned())
}

/// The end of line is part of it: without it an empty value would be no write at all, and a list
/// not be emptied.
fn set(place: &Place, name: &str, value: &str) -> io::Result<()> {
    fs::write(sysctl::path(&place.root, name), format!("{value}\n"))
}

/// The kernel puts tabs between numbers.
fn shown(value: &str) -> String {
    if value.is_empty() {
        "nothing".to_owned()
    } else {
        value.replace('\t', " ")
    }
}

#[cfg(test)]
mod tests;
