//! Failures on demand, for tests: what the kernel does only to a machine that is out of something,
//! and a shard that dies.
//!
//! Behind the feature `failpoints`, which no shipped binary has. The environment variable
//! `CORELANE_FAILPOINTS` says what fails, entries with semicolons between them:
//!
//! ```text
//! POINT=FAILURE[*TIMES][+AFTER][@SHARD]
//!
//! accept=ENFILE*20+5;shard=panic@1+1000
//! ```
//!
//! Each shard counts for itself: the first AFTER times all goes well (default 0), then it fails
//! TIMES times (default: for ever), in SHARD only (default: in all of them). Entries of one point
//! take turns in the order in which they stand.
//!
//! | point | passes with each | FAILURE |
//! |---|---|---|
//! | `accept` | accept that is submitted; it fails when a client comes, who stays in the kernel's queue | an errno |
//! | `receive` | receive that is submitted; it fails when there is something to receive, which stays there | an errno |
//! | `socket` | socket that the shard makes to connect | an errno |
//! | `install` | such a socket on its way into the ring's table | an errno |
//! | `rest` | time that the event loop finds nothing to do, before completions signal the wake descriptor | a time, `500ms`: the thread sleeps |
//! | `park` | time that the event loop parks, after its last look | a time |
//! | `shard` | turn of the event loop | `panic`, or an errno: the ring has failed |
//!
//! Accepts are submitted in advance: a test that counts them sets `limits.accepts_in_flight_max=1`.
//! Before a thread sleeps the line `failpoint` is logged.

use std::cell::RefCell;
use std::env;
use std::io;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

const VARIABLE: &str = "CORELANE_FAILPOINTS";

/// Where something can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    Accept,
    Receive,
    Socket,
    Install,
    Rest,
    Park,
    Shard,
}

const POINTS: [(&str, Point); 7] = [
    ("accept", Point::Accept),
    ("receive", Point::Receive),
    ("socket", Point::Socket),
    ("install", Point::Install),
    ("rest", Point::Rest),
    ("park", Point::Park),
    ("shard", Point::Shard),
];

const ERRNOS: [(&str, i32); 17] = [
    ("EADDRNOTAVAIL", libc::EADDRNOTAVAIL),
    ("EAGAIN", libc::EAGAIN),
    ("ECONNABORTED", libc::ECONNABORTED),
    ("ECONNRESET", libc::ECONNRESET),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("EINTR", libc::EINTR),
    ("EIO", libc::EIO),
    ("EMFILE", libc::EMFILE),
    ("ENETDOWN", libc::ENETDOWN),
    ("ENETUNREACH", libc::ENETUNREACH),
    ("ENFILE", libc::ENFILE),
    ("ENOBUFS", libc::ENOBUFS),
    ("ENOMEM", libc::ENOMEM),
    ("EPERM", libc::EPERM),
    ("EPROTO", libc::EPROTO),
    ("ESTALE", libc::ESTALE),
    ("ETIMEDOUT", libc::ETIMEDOUT),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Errno(i32),
    Panic,
    Sleep(Duration),
}

/// One entry of the variable, with what is left of its counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failpoint {
    point: Point,
    failure: Failure,
    /// None: for ever.
    times: Option<u32>,
    after: u32,
    /// None: every shard.
    shard: Option<u32>,
}

static PLANNED: OnceLock<Vec<Failpoint>> = OnceLock::new();

thread_local! {
    /// This shard's entries.
    static HERE: RefCell<Vec<Failpoint>> = const { RefCell::new(Vec::new()) };
}

/// Reads the variable, before any shard starts.
///
/// # Errors
/// The entry that cannot be read, why, and how one looks.
pub(crate) fn read() -> Result<(), String> {
    let text = match env::var(VARIABLE) {
        Ok(text) => text,
        Err(env::VarError::NotPresent) => String::new(),
        Err(env::VarError::NotUnicode(_)) => return Err(format!("{VARIABLE} is not text")),
    };
    let planned = parse(&text)?;
    if PLANNED.set(planned).is_err() {
        return Err(format!("{VARIABLE} was read before"));
    }
    Ok(())
}

/// The calling thread is `shard` from now on.
pub(crate) fn enter(shard: u32) {
    let here = PLANNED
        .get()
        .into_iter()
        .flatten()
        .filter(|entry| entry.shard.is_none_or(|only| only == shard));
    HERE.set(here.cloned().collect());
}

/// The errno with which `point` is to fail this time.
pub(crate) fn errno(point: Point) -> Option<i32> {
    match HERE.with_borrow_mut(|here| pass(here, point))? {
        Failure::Errno(errno) => Some(errno),
        Failure::Panic => panic!("failpoint"),
        Failure::Sleep(time) => {
            tracing::info!(?point, "failpoint");
            sleep(time);
            None
        }
    }
}

/// As [`errno`], where an error is returned.
pub(crate) fn check(point: Point) -> io::Result<()> {
    errno(point).map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
}

/// Where nothing fails and the thread only sleeps.
pub(crate) fn pause(point: Point) {
    let _none = errno(point);
}

/// Counts one passing of `point`.
fn pass(here: &mut [Failpoint], point: Point) -> Option<Failure> {
    let entry = here
        .iter_mut()
        .find(|entry| entry.point == point && entry.times != Some(0))?;
    if entry.after > 0 {
        entry.after -= 1;
        return None;
    }
    entry.times = entry.times.map(|times| times - 1);
    Some(entry.failure)
}

fn parse(text: &str) -> Result<Vec<Failpoint>, String> {
    let entries = text
        .split(';')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    entries
        .map(|entry| parse_entry(entry).map_err(|what| wrong(entry, &what)))
        .collect()
}

fn wrong(entry: &str, what: &str) -> String {
    format!(
        "{VARIABLE}: `{entry}`: {what}; an entry is POINT=FAILURE[*TIMES][+AFTER][@SHARD], like accept=ENFILE*20+5@1"
    )
}

fn parse_entry(entry: &str) -> Result<Failpoint, String> {
    let (name, rest) = entry.split_once('=').ok_or("there is no `=`")?;
    let point = named(&POINTS, "point", name)?;
    let end = rest.find(['*', '+', '@']).unwrap_or(rest.len());
    let (failure, mut counts) = rest.split_at(end);
    let failure = match (point, failure) {
        (Point::Shard, "panic") => Failure::Panic,
        (Point::Rest | Point::Park, time) => Failure::Sleep(
            milliseconds(time).ok_or_else(|| format!("`{time}` is no time like 500ms"))?,
        ),
        (_, errno) => Failure::Errno(named(&ERRNOS, "errno", errno)?),
    };
    let mut found = Failpoint {
        point,
        failure,
        times: None,
        after: 0,
        shard: None,
    };
    let mut seen = Vec::new();
    while let Some(sign) = counts.chars().next() {
        let end = counts[1..]
            .find(['*', '+', '@'])
            .map_or(counts.len(), |end| end + 1);
        let digits = &counts[1..end];
        let number = digits
            .parse()
            .map_err(|_| format!("`{digits}` after `{sign}` is no whole number"))?;
        if seen.contains(&sign) {
            return Err(format!("`{sign}` stands there twice"));
        }
        seen.push(sign);
        match sign {
            '*' => found.times = Some(number),
            '+' => found.after = number,
            _ => found.shard = Some(number),
        }
        counts = &counts[end..];
    }
    Ok(found)
}

fn milliseconds(text: &str) -> Option<Duration> {
    text.strip_suffix("ms")?
        .parse()
        .ok()
        .map(Duration::from_millis)
}

fn named<T: Copy>(table: &[(&str, T)], kind: &str, name: &str) -> Result<T, String> {
    let found = table
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value);
    found.ok_or_else(|| {
        let known: Vec<&str> = table.iter().map(|(known, _)| *known).collect();
        format!("there is no {kind} `{name}`, only {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_take_turns_and_then_all_is_well() {
        let mut here =
            parse("accept=ENFILE*2+1; accept=EPROTO*1;shard=panic").expect("well-formed");
        let passed: Vec<_> = (0..6).map(|_| pass(&mut here, Point::Accept)).collect();
        let (enfile, eproto) = (
            Some(Failure::Errno(libc::ENFILE)),
            Some(Failure::Errno(libc::EPROTO)),
        );
        assert_eq!(passed, [None, enfile, enfile, eproto, None, None]);
        assert_eq!(pass(&mut here, Point::Shard), Some(Failure::Panic));
        assert_eq!(pass(&mut here, Point::Receive), None);
        let mut here = parse("park=500ms+1").expect("well-formed");
        let passed = [pass(&mut here, Point::Park), pass(&mut here, Point::Park)];
        assert_eq!(
            passed,
            [None, Some(Failure::Sleep(Duration::from_millis(500)))]
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, what) in [
            ("accept", "no `=`"),
            ("acept=ENFILE", "no point `acept`"),
            ("accept=ENOFILE", "no errno `ENOFILE`"),
            ("accept=panic", "no errno `panic`"),
            ("accept=ENFILE*", "`` after `*`"),
            ("accept=ENFILE*-1", "`-1` after `*`"),
            ("accept=ENFILE*2*3", "`*` stands there twice"),
            ("shard=panic@x", "`x` after `@`"),
            ("park=ENFILE", "`ENFILE` is no time"),
            ("rest=5s", "`5s` is no time"),
        ] {
            let said = parse(text).expect_err(text);
            assert!(said.contains(what) && said.contains(text), "{said}");
        }
    }

    proptest::proptest! {
        #![proptest_config(crate::proptests::cases(1000))]

        #[test]
        fn any_text_is_read_or_what_is_wrong_is_said(text in "(accept|receive|socket|install|rest|park|shard|x|)(=|)(ENFILE|EPROTO|panic|9ms|\\PC{0,3})([*+@;][0-9a\u{e4}]{0,11}){0,4}") {
            match parse(&text) {
                Ok(entries) => proptest::prop_assert!(entries.len() <= text.matches(';').count() + 1),
                Err(said) => proptest::prop_assert!(said.contains(VARIABLE)),
            }
        }
    }
}
