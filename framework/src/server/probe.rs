//! Asks a running server, from a process of its own, whether it is ready or alive: for containers,
//! whose images have no program that could ask a Unix socket.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::arguments::Question;
use crate::config::{Config, Endpoint};

/// Bytes of an answer at most: a status line, a few fields and a word are less.
const ANSWER_MAX: usize = 8 * 1024;
const FIELDS_MAX: usize = 32;

/// Where to ask the server of these settings.
///
/// # Errors
///
/// When nobody can be asked there, with the remedy.
pub(crate) fn endpoint(config: &Config) -> Result<&Endpoint, String> {
    let admin = &config.admin;
    match admin.listen.as_ref().or(admin.steer_listen.as_ref()) {
        None => Err(
            "there is nobody to ask, admin.listen is \"off\": set it where the server is started \
             and here, like admin.listen=\"unix:/run/echo/admin.sock\" or \"127.0.0.1:9007\""
                .to_owned(),
        ),
        Some(Endpoint::Tcp(address)) if address.port() == 0 => Err(format!(
            "nobody can tell where to ask, admin.listen is \"{address}\": give it a port, like \
             \"{}:9007\"",
            address.ip()
        )),
        Some(endpoint) => Ok(endpoint),
    }
}

/// Asks at `endpoint`, and has the answer or gives up after `within`.
///
/// # Errors
///
/// The answer is no, or there is none: why, in one line.
pub(crate) fn ask(endpoint: &Endpoint, question: Question, within: Duration) -> Result<(), String> {
    let until = Instant::now() + within;
    let fails = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            format!("no answer from {endpoint} within {within:?}")
        }
        _ => format!("no answer from {endpoint}: {error}"),
    };
    let answer = exchange(endpoint, path(question), until).map_err(fails)?;
    let (status, body) =
        read(&answer).ok_or_else(|| format!("{endpoint} answers, but not as HTTP"))?;
    if status == 200 {
        return Ok(());
    }
    let told: String = body.trim().chars().map(printable).collect();
    match status {
        503 => Err(format!("not {question}: {told}")),
        _ => Err(format!("{endpoint} answers with status {status}: {told}")),
    }
}

fn path(question: Question) -> &'static str {
    match question {
        Question::Ready => "/readyz",
        Question::Live => "/healthz",
    }
}

/// All that comes until the server closes the connection, as it is asked to.
fn exchange(endpoint: &Endpoint, path: &str, until: Instant) -> io::Result<Vec<u8>> {
    let (domain, address) = match endpoint {
        Endpoint::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
        Endpoint::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let mut socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_write_timeout(Some(left(until)?))?;
    match endpoint {
        Endpoint::Tcp(_) => socket.connect_timeout(&address, left(until)?)?,
        // Waits for a place in a full queue for as long as a write may (unix(7), EAGAIN).
        Endpoint::Unix(_) => socket.connect(&address)?,
    }
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut answer = vec![0; ANSWER_MAX];
    let mut length = 0;
    while length < answer.len() {
        socket.set_read_timeout(Some(left(until)?))?;
        match socket.read(&mut answer[length..])? {
            0 => break,
            count => length += count,
        }
    }
    answer.truncate(length);
    Ok(answer)
}

/// A timeout of zero would be none (socket(7), SO_RCVTIMEO).
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left < Duration::from_millis(1) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// Status and body.
fn read(answer: &[u8]) -> Option<(u16, String)> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(answer).ok()? else {
        return None;
    };
    let body = String::from_utf8_lossy(&answer[head..]);
    Some((response.code?, body.into_owned()))
}

/// Another program may listen there, and what it says goes to somebody's terminal.
fn printable(character: char) -> char {
    if character.is_control() {
        char::REPLACEMENT_CHARACTER
    } else {
        character
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What is made of `answer`, sent by whoever listens.
    fn told(answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            let mut request = [0; 1024];
            let length = client.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            client.write_all(answer).unwrap();
        });
        let told = ask(&endpoint, Question::Ready, Duration::from_secs(5));
        server.join().unwrap();
        told
    }

    #[test]
    fn only_a_200_is_a_yes() {
        assert_eq!(told(b"HTTP/1.1 200 OK\r\n\r\nready\n"), Ok(()));
        let unready = told(b"HTTP/1.1 503 No\r\nA: b\r\n\r\ndraining\n");
        assert_eq!(unready, Err("not ready: draining".to_owned()));
        for (answer, why) in [
            (
                &b"HTTP/1.1 404 Where\r\n\r\nn\x1b[2Jo\n"[..],
                "status 404: n\u{fffd}[2Jo",
            ),
            (b"SSH-2.0-x\r\n", "not as HTTP"),
            (b"HTTP/1.1 200 OK\r\n", "not as HTTP"),
            (b"", "not as HTTP"),
        ] {
            let told = told(answer).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn who_does_not_answer_is_given_up_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::Tcp(silent.local_addr().unwrap());
        let (within, began) = (Duration::from_millis(200), Instant::now());
        let told = ask(&endpoint, Question::Live, within).unwrap_err();
        assert!(told.ends_with("within 200ms"), "{told}");
        assert!(began.elapsed() < 10 * within);
        drop(silent);
        let told = ask(&endpoint, Question::Live, within).unwrap_err();
        assert!(told.contains("refused"), "{told}");
    }

    #[test]
    fn a_place_in_the_queue_of_a_unix_socket_is_waited_for() {
        let path = std::env::temp_dir().join(format!("corelane-probe-{}", std::process::id()));
        let address = SockAddr::unix(&path).unwrap();
        let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        busy.bind(&address).unwrap();
        busy.listen(0).unwrap();
        let queued = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        queued.connect(&address).unwrap();
        let endpoint = Endpoint::Unix(path.clone());
        let told = ask(&endpoint, Question::Live, Duration::from_millis(200)).unwrap_err();
        assert!(told.ends_with("within 200ms"), "{told}");
        let asking = thread::spawn(move || ask(&endpoint, Question::Live, Duration::from_secs(30)));
        drop(busy.accept().unwrap());
        let (mut asker, _) = busy.accept().unwrap();
        assert!(asker.read(&mut [0; 1024]).unwrap() > 0);
        asker.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        drop(asker);
        assert_eq!(asking.join().unwrap(), Ok(()));
        std::fs::remove_file(path).unwrap();
    }
}
