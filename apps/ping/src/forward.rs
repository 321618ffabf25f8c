//! `PING` passed on to the upstream `next`, and how long its answer took.

use std::time::{Duration, Instant};

use corelane::{Conn, Error, Escaped, Pool, Step};

use crate::reply;

/// The name of the upstream in the settings.
pub(crate) const UPSTREAM: &str = "next";

/// An array, for proxies that take no inline commands.
const REQUEST: &[u8] = b"*1\r\n$4\r\nPING\r\n";
/// What an answer begins with; another ping server that passes its own on says more behind it.
const PONG: &[u8] = b"+PONG";
/// Longest answer, in bytes: an error line of Redis is one of those.
const ANSWER_MAX: usize = 4096;

/// Answers with the time that the upstream took. If it fails, that is the answer, and the
/// connection goes on.
///
/// Boxed by the caller: its future is many times that of a connection that does not forward.
pub(crate) async fn forward(conn: &mut Conn, next: &Pool) -> Result<(), Error> {
    match ask(next).await {
        Ok(took) => {
            conn.write(&format!("+PONG {} us\r\n", took.as_micros()))
                .await
        }
        Err(error) => {
            let reply = reply::error(format!("ERR {error}").into_bytes());
            conn.write(&reply).await
        }
    }
}

/// The time from the request's sending to its answer, without the wait for a connection.
async fn ask(next: &Pool) -> Result<Duration, Error> {
    let mut upstream = next.get().await?;
    let begun = Instant::now();
    let answer = upstream.exchange(REQUEST, ANSWER_MAX, line).await?;
    let took = begun.elapsed();
    upstream.done();
    if answer.bytes.starts_with(PONG) {
        return Ok(took);
    }
    let said = Escaped(answer.bytes.trim_ascii_end());
    Err(Error::handler(format!(
        "upstream {UPSTREAM}: answered {said}"
    )))
}

fn line(bytes: &[u8]) -> Step<()> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => Step::Frame {
            value: (),
            length: end + 1,
        },
        None => Step::NeedMore,
    }
}
