//! The command line, judged before the first connect: every problem at once, each with the right
//! words to type.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::args::{DAY, INTERVAL_DEFAULT, Mode, RunArguments, word};
use super::run::PAYLOAD_DEFAULT;
use crate::error::Error;
use crate::machine::{self, Sample};
use crate::rooms::{LINE_MAX, LINE_MIN};
use crate::workload::Protocol;

/// Requests per second of an open loop, far beyond what a machine can send.
const REQUESTS_PER_S_MAX: f64 = 1e7;
/// Pairs of connections of which one hears the other: 4 bytes are kept of each.
const HEARD_MAX: u64 = 1 << 28;
/// Bytes sent in one go.
const BATCH_BYTES_MAX: u64 = 1 << 30;

/// Refuses arguments that cannot be carried out, or would mean nothing.
pub(crate) fn arguments(run: &RunArguments) -> Result<(), Error> {
    let mut problems = meaningless(run);
    problems.extend(absurd(run));
    problems.extend(crowded(run));
    problems.extend(run.source.iter().filter_map(|source| not_ours(*source)));
    problems.extend(run.server_pid.and_then(not_there));
    problems.extend(run.html.as_deref().and_then(unwritable));
    refuse_any(problems)
}

/// A refusal with all of the problems, if there are any.
///
/// # Errors
/// If there are any.
pub fn refuse_any(problems: Vec<String>) -> Result<(), Error> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Refused(problems.join("\n"))),
    }
}

/// Options that mean nothing together, or leave nothing to do for another.
fn meaningless(run: &RunArguments) -> Vec<String> {
    let (mode, protocol) = (word(&run.mode), word(&run.protocol));
    let in_flight = run.connects_in_flight;
    let is_storm = run.mode == Mode::Storm;
    let has_batches = matches!(run.mode, Mode::Open | Mode::Closed);
    told([
        (
            run.interval.is_some() && !run.mode.has_turns(),
            format!(
                "--interval is for --mode open, slow, chat and push: --mode {mode} has no turns"
            ),
        ),
        (
            run.pipeline != 1 && !has_batches,
            format!(
                "--pipeline is for --mode open and closed: --mode {mode} sends one request, or a \
                 byte"
            ),
        ),
        (
            run.rest.is_some() && is_storm,
            "--rest holds connections in silence: --mode storm keeps none".to_owned(),
        ),
        (
            run.cycles.is_some() && !is_storm,
            "--cycles counts the connections of --mode storm".to_owned(),
        ),
        (
            run.rooms.is_some() && run.mode != Mode::Chat,
            "--rooms is for --mode chat: no other has any".to_owned(),
        ),
        (
            run.protocol != Protocol::Echo && run.mode.has_rooms(),
            format!("--protocol {protocol} is for requests: --mode {mode} speaks by lines"),
        ),
        (
            run.payload.is_some() && run.protocol == Protocol::Ping,
            "--payload is for what comes back: a ping has none".to_owned(),
        ),
        (
            run.path.is_some() && !run.protocol.is_framed(),
            format!("--path is for --protocol http and websocket: {protocol} has none"),
        ),
        (
            run.expect.is_some() && run.protocol != Protocol::Http,
            format!("--expect is for --protocol http: --protocol {protocol} has no GET"),
        ),
        (
            run.payload.is_some() && run.expect.is_some(),
            "--payload is the body of a POST: with --expect there are GETs, without any".to_owned(),
        ),
        (
            (run.tls_name.is_some() || run.tls_full) && !run.has_tls(),
            "--tls-name and --tls-full are about TLS: add --tls, or --tls-ca FILE".to_owned(),
        ),
        (
            has_repeats(&run.cpus),
            "--cpus names a core twice".to_owned(),
        ),
        (
            run.shards.is_some_and(|shards| in_flight < shards),
            format!(
                "--connects-in-flight {in_flight} leaves some of the --shards without any: raise \
                 it, or start fewer"
            ),
        ),
    ])
}

/// Of refusals, each with whether it is due, those that are.
fn told<const N: usize>(refusals: [(bool, String); N]) -> Vec<String> {
    let due = refusals.into_iter().filter(|(is_due, _)| *is_due);
    due.map(|(_, why)| why).collect()
}

/// Whether a value is there twice.
pub fn has_repeats<T: PartialEq>(values: &[T]) -> bool {
    let mut numbered = values.iter().enumerate();
    numbered.any(|(index, value)| values[..index].contains(value))
}

fn absurd(run: &RunArguments) -> Vec<String> {
    let (connections, has_turns) = (f64::from(run.connections), run.mode.has_turns());
    let rate = run.rate.unwrap_or(u32::MAX);
    let batch = u64::from(run.payload.unwrap_or(PAYLOAD_DEFAULT)) * u64::from(run.pipeline);
    let interval = run.interval.unwrap_or(INTERVAL_DEFAULT).as_secs_f64();
    let speakers = match run.mode {
        Mode::Push => 1.0,
        _ => connections,
    };
    let turns_per_s = speakers / interval;
    let asked = turns_per_s * f64::from(run.pipeline);
    let window = run.duration.as_secs_f64();
    told([
        (
            connections / f64::from(rate) > DAY.as_secs_f64(),
            format!(
                "{connections} connections at --rate {rate} take more than a day to open: raise \
                 --rate"
            ),
        ),
        (
            batch > BATCH_BYTES_MAX,
            format!(
                "--payload times --pipeline are {batch} bytes to be sent in one go: want \
                 {BATCH_BYTES_MAX} at most"
            ),
        ),
        (
            has_turns && asked > REQUESTS_PER_S_MAX,
            format!(
                "{asked:.0} requests per second are due: want {REQUESTS_PER_S_MAX:.0} at most, \
                 with a longer --interval"
            ),
        ),
        (
            has_turns && turns_per_s * window < 1.0,
            format!(
                "{speakers} connections with a turn every {interval} s may have none in a \
                 window of {window} s: shorten --interval, or lengthen --duration"
            ),
        ),
    ])
}

/// Rooms that are too many, or too full; lines that have no room for what is checked.
fn crowded(run: &RunArguments) -> Vec<String> {
    if !run.mode.has_rooms() {
        return Vec::new();
    }
    let (connections, rooms) = (run.connections, run.rooms.unwrap_or(1));
    let payload = run.payload.unwrap_or(PAYLOAD_DEFAULT);
    let members = u64::from(connections.div_ceil(rooms));
    let speakers = match run.mode {
        Mode::Push => 1,
        _ => members,
    };
    told([
        (
            rooms > connections,
            format!("--rooms {rooms} leaves some empty: there are {connections} --connections"),
        ),
        (
            !(LINE_MIN..=LINE_MAX).contains(&payload),
            format!(
                "--payload {payload}: a line carries its room, number and time, want {LINE_MIN} \
                 to {LINE_MAX} bytes"
            ),
        ),
        (
            u64::from(connections) * speakers > HEARD_MAX,
            format!(
                "{members} in a room, each of whom counts the lines of each, is too much to \
                 remember for {connections} connections: raise --rooms"
            ),
        ),
    ])
}

/// Why one cannot connect from `source`. No packet is sent for it.
fn not_ours(source: IpAddr) -> Option<String> {
    if source.is_unspecified() {
        return Some(format!(
            "--source {source} is no address to connect from: leave it out for the kernel's choice"
        ));
    }
    let bound = UdpSocket::bind(SocketAddr::new(source, 0));
    let is_of_many = source.is_multicast() || source == IpAddr::from([255; 4]);
    let group = is_of_many.then(|| "it is a group's".to_owned());
    let why = bound.err().map(|error| error.to_string()).or(group)?;
    Some(format!(
        "--source {source} is not an address of this machine ({why}): `ip address` lists them"
    ))
}

fn not_there(pid: u32) -> Option<String> {
    let error = Sample::take(pid).err()?;
    Some(format!(
        "--server-pid {pid}: there is no such process to observe ({error}), see `pgrep -a`"
    ))
}

/// That the process `pid`, which is to be observed, is not among those that listen at `target`.
pub(crate) fn stranger(pid: u32, target: SocketAddr) -> Option<String> {
    let listeners = machine::listeners(target);
    let others = listeners.first().filter(|_| !listeners.contains(&pid))?;
    let name = |pid| machine::name(pid).unwrap_or_default();
    let (given, found) = (name(pid), name(*others));
    Some(format!(
        "--server-pid {pid} ({given}) does not listen at {target}, {found} ({others}) does: the \
         server's processor time and memory are {given}'s all the same; leave --server-pid out if \
         that is not meant"
    ))
}

/// Why one of the addresses `from` does not lead to `target`, as from the loopback to elsewhere. No
/// packet is sent for it.
pub(crate) fn route(from: &[IpAddr], target: SocketAddr) -> Result<(), Error> {
    let leads_nowhere = |source: &IpAddr| {
        let bound = UdpSocket::bind(SocketAddr::new(*source, 0));
        let error = bound.and_then(|socket| socket.connect(target)).err()?;
        Some(format!(
            "--source {source} does not lead to {target} ({error}): `ip route get {} from {source}` says how",
            target.ip()
        ))
    };
    refuse_any(from.iter().filter_map(leads_nowhere).collect())
}

/// Why nothing can be written to `path`, found out by opening it. A file that is there stays
/// as it is; one that is not is not left behind. A pipe that nobody reads from is an error, not a
/// wait.
pub fn unwritable(path: &Path) -> Option<String> {
    let is_new = fs::metadata(path).is_err();
    let opened = OpenOptions::new()
        .write(true)
        .create(is_new)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) => return Some(cannot_write(path, &error)),
    };
    if is_new {
        // Where a link leads to, not the link.
        let _left_behind = fs::canonicalize(path).and_then(fs::remove_file);
    }
    if file
        .metadata()
        .is_ok_and(|opened| opened.file_type().is_fifo())
    {
        // For as long as the program runs: its reader would take a close for the end of the page.
        let _open = file.into_raw_fd();
    }
    None
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    let directory = path.parent().unwrap_or(path);
    let is_there = directory.as_os_str().is_empty() || directory.is_dir();
    let (shown, in_words) = (path.display(), directory.display());
    if error.kind() == io::ErrorKind::NotFound && !is_there {
        return format!(
            "--html: cannot write {shown}, there is no directory {in_words}: create it with `mkdir -p {in_words}`"
        );
    }
    format!("--html: cannot write {shown} ({error}): name a file that can be written")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::plan::args::parsed;

    fn judged(options: &str) -> Result<(), Error> {
        let run = parsed(options.split_whitespace())
            .map_err(|error| Error::Refused(error.to_string()))?;
        arguments(&run)
    }

    #[test]
    fn options_that_mean_nothing_together_are_refused() {
        for wrong in [
            "--cycles 9",
            "--mode storm --cycles 9 --duration 3s",
            "--mode idle --pipeline 2",
            "--mode slow --pipeline 2",
            "--mode storm --pipeline 2",
            "--mode closed --interval 1s",
            "--mode storm --rest 1s",
            "--protocol ping --payload 2",
            "--cpus 0,0",
            "--shards 4 --connects-in-flight 3",
            "--rooms 1",
            "--mode push --connections 4 --rooms 2",
            "--mode chat --connections 4 --pipeline 2",
            "--mode chat --connections 4 --protocol ping",
            "--mode chat --connections 4 --protocol http",
            "--mode push --connections 4 --protocol websocket",
            "--path /echo",
            "--tls-full",
            "--tls-name a.test",
            "--protocol ping --path /echo",
            "--protocol http --path echo",
            "--protocol http --path /a#b",
            "--protocol websocket --expect hello",
            "--protocol http --expect hello --payload 5",
        ] {
            judged(wrong).expect_err(wrong);
        }
        for right in [
            "--mode storm --cycles 9 --protocol ping",
            "--tls-ca /x.pem --tls-full --tls-name a.test",
            "--mode slow --protocol websocket --path /echo?x",
            "--mode closed --protocol http --expect hello --pipeline 4",
        ] {
            judged(right).unwrap();
        }
    }

    #[test]
    fn zero_and_absurd_numbers_are_refused() {
        for wrong in [
            "--interval 0s",
            "--duration 0ms",
            "--timeout 0s",
            "--rest 0s",
            "--rate 0",
            "--connections 0",
            "--payload 0",
            "--pipeline 0",
            "--shards 0",
            "--connects-in-flight 0",
            "--mode storm --cycles 0",
            "--mode storm --cycles 18446744073709551615",
            "--timeout 2h",
            "--warmup 2d",
            "--rest 2d",
            "--connections 1000000 --rate 1",
            "--payload 16777216 --pipeline 4096",
            "--connections 10000000 --interval 1ms",
            "--connections 9 --interval 10s --duration 1s",
            "--mode chat --rooms 0",
            "--mode chat --connections 4 --rooms 5",
            "--mode chat --connections 4 --payload 47",
            "--mode push --connections 4 --payload 16385",
            "--mode chat --connections 100000 --rooms 2",
            "--mode push --connections 100000 --interval 31s",
        ] {
            judged(wrong).expect_err(wrong);
        }
        for right in [
            "--warmup 0s",
            "--connections 10 --interval 10s --duration 1s",
            "--connections 1000000 --rate 60000 --interval 30s",
            "--mode chat --connections 10000 --rooms 100 --interval 100s",
            "--mode push --connections 1000000 --interval 29s",
        ] {
            judged(right).unwrap();
        }
    }

    #[test]
    fn addresses_that_are_not_ours_and_processes_that_are_not_there_are_refused() {
        for wrong in [
            "192.0.2.77",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "127.0.0.1,192.0.2.77",
        ] {
            judged(&format!("--source {wrong}")).expect_err(wrong);
        }
        judged("--source 127.0.0.9").unwrap();
        for wrong in ["0", "4294967295"] {
            judged(&format!("--server-pid {wrong}")).expect_err(wrong);
        }
        judged(&format!("--server-pid {}", std::process::id())).unwrap();
    }

    #[test]
    fn a_source_that_does_not_lead_to_the_target_is_refused() {
        let from = ["127.0.0.1".parse().unwrap()];
        route(&from, "127.0.0.9:7".parse().unwrap()).unwrap();
        assert!(
            route(&from, "192.0.2.1:7".parse().unwrap())
                .unwrap_err()
                .to_string()
                .contains("--source")
        );
    }

    #[test]
    fn a_page_that_cannot_be_written_is_refused_and_nothing_is_left_behind() {
        let directory = std::env::temp_dir().join(format!("loadtest-check-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for wrong in [
            directory.clone(),
            directory.join("none/x.html"),
            directory.join("x".repeat(300)),
            "/proc/x.html".into(),
            "".into(),
        ] {
            assert!(
                unwritable(&wrong).is_some_and(|why| why.contains("cannot write")),
                "{}",
                wrong.display()
            );
        }
        let page = directory.join("page.html");
        assert_eq!(unwritable(&page), None);
        assert!(!page.exists());
        fs::write(&page, "as it was").unwrap();
        assert_eq!(unwritable(&page), None);
        assert_eq!(fs::read_to_string(&page).unwrap(), "as it was");
        let (link, target) = (directory.join("latest"), directory.join("today.html"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(unwritable(&link), None);
        assert!(link.is_symlink() && !target.exists());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let told =
            judged("--cpus 0,0 --source 192.0.2.77 --server-pid 0 --html /nonexistent/x.html")
                .unwrap_err()
                .to_string();
        assert_eq!(told.lines().count(), 4, "{told}");
    }
}
