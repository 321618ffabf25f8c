//! Bytes both ways at once, every one of them checked.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::{BOUND, Random};

/// The stream that a client sends.
pub const FROM_CLIENT: u64 = 0x636c_6965_6e74;
/// The stream that a server sends.
pub const FROM_SERVER: u64 = 0x7365_7276_6572;
/// Bytes that are written at a time.
pub const PIECE: u64 = 64 * 1024;
/// A stream repeats itself after so many bytes. A prime, so that what is lost, repeated or swapped
/// by whole buffers shows.
const PERIOD: usize = 1_048_573;

/// A position in a stream that follows from its seed, for whoever sends it or checks what came.
#[derive(Clone, Debug)]
pub struct Pattern {
    period: Arc<[u8]>,
    at: u64,
}

impl Pattern {
    /// The beginning of the stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            period: Random::seeded(seed).bytes(PERIOD).into(),
            at: 0,
        }
    }

    /// How many bytes lie behind.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next bytes: at least one, at most `most`.
    #[must_use]
    pub fn next(&mut self, most: u64) -> &[u8] {
        let start = (self.at % PERIOD as u64) as usize;
        let length = (PERIOD - start).min(most as usize);
        self.at += length as u64;
        &self.period[start..start + length]
    }

    /// Goes on past `bytes`, which must be the next ones.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let at = self.at;
            let expected = self.next(bytes.len() as u64);
            let (head, rest) = bytes.split_at(expected.len());
            if head != expected {
                let same = head
                    .iter()
                    .zip(expected)
                    .take_while(|(one, other)| one == other)
                    .count();
                return Err(format!("byte {} of the stream is wrong", at + same as u64));
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The stream has ended and must have had so many bytes.
    ///
    /// # Errors
    /// When it had others.
    pub fn check_length(&self, bytes: u64) -> Result<(), String> {
        if self.at == bytes {
            Ok(())
        } else {
            Err(format!(
                "the stream ended after {} bytes of {bytes}",
                self.at
            ))
        }
    }
}

/// Sends the first `bytes` of the stream of `seed`, then a FIN.
///
/// # Errors
/// When the connection fails.
pub fn send(mut stream: &TcpStream, seed: u64, bytes: u64) -> io::Result<()> {
    let mut pattern = Pattern::new(seed);
    while pattern.at() < bytes {
        let left = bytes - pattern.at();
        stream.write_all(pattern.next(left.min(PIECE)))?;
    }
    stream.shutdown(Shutdown::Write)
}

/// Receives until the end, which must be clean and come after the first `bytes` of the stream of
/// `seed`.
///
/// # Errors
/// When the connection fails, or the bytes are others.
pub fn receive(mut stream: impl Read, seed: u64, bytes: u64) -> io::Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; PIECE as usize];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return pattern.check_length(bytes).map_err(io::Error::other);
        }
        pattern.check(&buffer[..length]).map_err(io::Error::other)?;
    }
}

/// Sends the first `bytes` of the stream of `sent` while it receives as many of that of `received`.
///
/// # Errors
/// When either fails.
///
/// # Panics
/// When the sending thread has.
pub fn both_ways(stream: &TcpStream, sent: u64, received: u64, bytes: u64) -> io::Result<()> {
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(stream, sent, bytes));
        let outcome = receive(stream, received, bytes);
        if outcome.is_err() {
            let _ = stream.shutdown(Shutdown::Both); // or the sender would wait for its bound
        }
        outcome.and(sender.join().expect("the sender does not panic"))
    })
}

/// A server in this process that does `serve` with each connection, on a thread of its own; what
/// that returns is nobody's.
///
/// # Panics
/// When it cannot listen.
#[must_use]
pub fn upstream<T>(serve: impl Fn(TcpStream) -> T + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, serve) = (listener.local_addr().unwrap(), Arc::new(serve));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(BOUND)).unwrap();
            stream.set_write_timeout(Some(BOUND)).unwrap();
            let serve = Arc::clone(&serve);
            thread::spawn(move || drop(serve(stream)));
        }
    });
    addr
}

/// How fast so many bytes have gone since `start`, for people.
#[must_use]
pub fn rate(bytes: u64, start: Instant) -> String {
    let took = start.elapsed().max(Duration::from_micros(1));
    format!(
        "{} MB in {:.2} s, {:.0} MB/s",
        bytes / 1_000_000,
        took.as_secs_f64(),
        bytes as f64 / took.as_secs_f64() / 1e6
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_is_wrong_lost_or_repeated_shows() {
        let bytes: Vec<u8> = {
            let mut pattern = Pattern::new(1);
            (0..3).flat_map(|_| pattern.next(PIECE).to_vec()).collect()
        };
        assert_eq!(Pattern::new(1).check(&bytes), Ok(()));
        let mut wrong = bytes.clone();
        wrong[100_000] ^= 1;
        assert_eq!(
            Pattern::new(1).check(&wrong),
            Err("byte 100000 of the stream is wrong".to_owned())
        );
        let lost = [&bytes[..4096], &bytes[8192..]].concat();
        let repeated = [&bytes[..8192], &bytes[4096..]].concat();
        for other in [lost, repeated] {
            assert!(Pattern::new(1).check(&other).is_err());
        }
        assert!(Pattern::new(2).check(&bytes).is_err());
        let mut pattern = Pattern::new(1);
        pattern.check(&bytes).unwrap();
        pattern.check_length(bytes.len() as u64).unwrap();
        pattern.check_length(bytes.len() as u64 + 1).unwrap_err();
    }

    #[test]
    fn a_stream_goes_on_past_its_period() {
        let mut pattern = Pattern::new(3);
        let first = pattern.next(PERIOD as u64 * 2).to_vec();
        assert_eq!((first.len(), pattern.at()), (PERIOD, PERIOD as u64));
        assert_eq!(
            Pattern::new(3).check(&[&first[..], &first[..10]].concat()),
            Ok(())
        );
    }
}
