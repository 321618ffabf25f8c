//! The server to load: the addresses of its name, and which of them answers.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::error::Error;
use crate::stop::Stop;

const RESOLVE_MAX: Duration = Duration::from_secs(30);
/// How long one of several addresses may take to answer before the next is tried.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How often a wait looks for a signal.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The addresses that `target`, HOST:PORT, stands for, in the resolver's order, each once: those
/// that can be connected to from `sources`.
pub(crate) fn resolve(
    target: &str,
    sources: &[IpAddr],
    stop: &Stop,
) -> Result<Vec<SocketAddr>, Error> {
    let wanted = "want HOST:PORT, such as 127.0.0.1:7007";
    let unusable = |why: String| Error::Refused(format!("--target {target}: {why}, {wanted}"));
    let name = target.to_owned();
    let resolved = on_thread(RESOLVE_MAX, stop, move || {
        name.to_socket_addrs().map(Iterator::collect::<Vec<_>>)
    });
    let late = || unusable("the name takes too long to resolve".to_owned());
    let resolved = resolved?.ok_or_else(late)?;
    let mut addresses = resolved.map_err(|error| unusable(error.to_string()))?;
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    match addresses.first().map(SocketAddr::port) {
        None => return Err(unusable("the name stands for no address".to_owned())),
        Some(0) => return Err(unusable("nobody listens on port 0".to_owned())),
        Some(_) => {}
    }
    let addresses = of_family(addresses, sources)?;
    let mut ips = addresses.iter().map(SocketAddr::ip);
    match ips.find(|ip| is_of_many(*ip)) {
        Some(group) => Err(unusable(format!("{group} is no address of one server"))),
        None => Ok(addresses),
    }
}

/// Those of the family that all of the sources have.
fn of_family(addresses: Vec<SocketAddr>, sources: &[IpAddr]) -> Result<Vec<SocketAddr>, Error> {
    let (mut reached, first) = (addresses.clone(), addresses[0]);
    for source in sources {
        reached.retain(|address| source.is_ipv4() == address.is_ipv4());
    }
    if reached.is_empty() {
        let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
        let (sources, what) = (sources.join(","), "are of different families");
        let why = format!("--source {sources} and the target {first} {what}");
        return Err(Error::Refused(why));
    }
    Ok(reached)
}

fn is_of_many(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

/// The first of several addresses that accepts a connection, which is closed again; the first of
/// all if none does.
pub(crate) fn first_that_answers(
    addresses: &[SocketAddr],
    timeout: Duration,
    stop: &Stop,
) -> Result<SocketAddr, Error> {
    let (asked, patience) = (addresses.to_vec(), timeout.min(ANSWER_MAX));
    let bound = patience * u32::try_from(addresses.len()).unwrap_or(u32::MAX) + ANSWER_MAX;
    let found = on_thread(bound, stop, move || {
        let mut asked = asked.into_iter();
        asked.find(|address| answers(*address, patience))
    })?;
    Ok(found.flatten().unwrap_or(addresses[0]))
}

/// A connection that has met itself is no answer, and leaves the port free for a server that is
/// about to listen there.
fn answers(address: SocketAddr, patience: Duration) -> bool {
    let Ok(stream) = TcpStream::connect_timeout(&address, patience) else {
        return false;
    };
    let is_of_two = stream.local_addr().ok() != stream.peer_addr().ok();
    if !is_of_two {
        let _closed_all_the_same = set_socket_linger(&stream, Some(Duration::ZERO));
    }
    is_of_two
}

/// The result of `work`; none if it takes longer than `patience`. It is left alone then, or when a
/// signal comes.
fn on_thread<T: Send + 'static>(
    patience: Duration,
    stop: &Stop,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, Error> {
    let (done, result) = channel();
    let named = thread::Builder::new().name("resolver".to_owned());
    let spawned = named.spawn(move || drop(done.send(work())));
    spawned.map_err(Error::failed("cannot start a thread"))?;
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        match result.recv_timeout(LOOK_INTERVAL) {
            Ok(value) => return Ok(Some(value)),
            Err(RecvTimeoutError::Timeout) if stop.is_set() => return Err(Error::Interrupted),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;

    use super::*;

    fn resolved(target: &str) -> Result<Vec<SocketAddr>, Error> {
        resolve(target, &[], &Stop::default())
    }

    #[test]
    fn targets_are_names_or_addresses_with_a_port() {
        assert_eq!(resolved("localhost:80").unwrap()[0].port(), 80);
        assert!(resolved("[::1]:7").unwrap()[0].is_ipv6());
        for wrong in [
            "localhost",
            "127.0.0.1",
            "127.0.0.1:99999",
            "",
            "127.0.0.1:0",
            "224.0.0.1:7",
            "255.255.255.255:7",
            "[ff02::1]:7",
        ] {
            assert!(
                resolved(wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("HOST:PORT"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_target_of_another_family_than_the_sources_is_refused() {
        let sources = ["::1".parse().unwrap()];
        assert!(
            resolve("127.0.0.1:7", &sources, &Stop::default())
                .unwrap_err()
                .to_string()
                .contains("families")
        );
        assert_eq!(
            resolve("[::1]:7", &sources, &Stop::default())
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn the_address_that_answers_is_chosen_and_the_first_if_none_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        let chosen = || first_that_answers(&addresses, ANSWER_MAX, &Stop::default()).unwrap();
        assert_eq!(chosen(), addresses[2]);
        drop(listener);
        assert_eq!(chosen(), addresses[0]);
    }

    #[test]
    fn a_signal_ends_the_wait_for_a_name() {
        let (stop, began) = (Stop::default(), Instant::now());
        stop.set();
        let outcome = on_thread(RESOLVE_MAX, &stop, || thread::sleep(ANSWER_MAX));
        assert!(matches!(outcome, Err(Error::Interrupted)) && began.elapsed() < ANSWER_MAX);
    }
}
