//! A server that asks another one, for the tests of the pool: each line is sent as ECHO to the
//! Redis server of `[upstream.next]`, and what that echoes is the answer. A failure is a line that
//! begins with `!`. A line `hurry MICROSECONDS ...` is given up after that time, wherever it stands
//! then, most likely in the queue; a line `abandon ...` when it was sent.

use std::process::ExitCode;
use std::time::Duration;

use corelane::{AppSettings, Chunk, Conn, Error, Handler, Pool, sleep};
use futures_lite::future::or;
use tests::resp::bulk;

/// Longest line, and longest answer.
const LINE_MAX: usize = 64 * 1024;

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RelaySettings {}

impl AppSettings for RelaySettings {
    const NAME: &'static str = "relay";
    const ABOUT: &'static str = "Asks a Redis server";
    const LISTEN: &'static str = "127.0.0.1:7010";
}

struct Relay(Pool);

impl Handler for Relay {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(line) = conn.read_line(LINE_MAX).await? {
            let answer = match patience(&line) {
                None => echo(&self.0, &line).await,
                Some(patience) => or(echo(&self.0, &line), give_up_after(patience)).await,
            };
            match answer {
                Ok(text) => conn.write(text).await?,
                Err(error) => conn.write(&format!("!{error}")).await?,
            }
            conn.write("\n").await?;
        }
        Ok(())
    }
}

fn patience(line: &[u8]) -> Option<Duration> {
    let number = line
        .strip_prefix(b"hurry ")?
        .split(|byte| *byte == b' ')
        .next()?;
    Some(Duration::from_micros(
        str::from_utf8(number).ok()?.parse().ok()?,
    ))
}

async fn give_up_after(patience: Duration) -> Result<Chunk, Error> {
    sleep(patience).await;
    Err(Error::handler("given up"))
}

async fn echo(pool: &Pool, text: &[u8]) -> Result<Chunk, Error> {
    let mut redis = pool.get().await?;
    // Through `DerefMut` and `blame`, where `exchange` would do: both ways are to work.
    let header = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", text.len());
    for part in [header.as_bytes(), text, b"\r\n"] {
        let written = redis.write(part).await;
        written.map_err(|error| redis.blame(error))?;
    }
    if text.starts_with(b"abandon ") {
        let sent = redis.flush().await;
        return Err(sent.map_or_else(|error| redis.blame(error), |()| Error::handler("given up")));
    }
    let mut answer = redis.exchange("", LINE_MAX, bulk).await?;
    redis.done();
    let (start, end) = answer.value;
    answer.bytes.truncate(end);
    answer.bytes.split_to(start);
    Ok(answer.bytes)
}

fn main() -> ExitCode {
    corelane::run(|shard, _settings: &RelaySettings| {
        Relay(shard.pool("next").expect("the test sets upstream.next"))
    })
}
