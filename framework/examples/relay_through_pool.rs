//! Asks another server for each line, over a pool of connections to it.
//!
//! ```text
//! cargo run --example lines &
//! cargo run --example relay_through_pool -- --set 'upstream.next.addr="127.0.0.1:7009"'
//! echo 1 2 39 | nc 127.0.0.1 7013
//! ```
//!
//! Settings bound the pool: `[upstream.next]`. A request that fails is answered with what went
//! wrong, and the connection goes on; a connection of the pool that was left in the middle of a
//! request is never used again.

use std::process::ExitCode;

use corelane::{AppSettings, Chunk, Conn, Error, Handler, Pool, ShardContext, Step};

/// Longest line, and longest answer.
const LINE_MAX: usize = 1024;

#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RelaySettings {}

impl AppSettings for RelaySettings {
    const NAME: &'static str = "relay_through_pool";
    const ABOUT: &'static str = "Asks another server for each line";
    const LISTEN: &'static str = "127.0.0.1:7013";
    const DEFAULTS: &'static str = "
        [upstream.next]
        addr = '127.0.0.1:7009'
        connections_max = 4
        waiting_max = 100
        request_timeout = '2s'
    ";
}

struct Relay(Pool);

impl Relay {
    async fn ask(&self, line: &[u8]) -> Result<Chunk, Error> {
        let mut next = self.0.get().await?;
        let request = [line, b"\n"].concat();
        let answer = next.exchange(&request, LINE_MAX, parse_line).await?;
        next.done(); // it goes back to the pool
        Ok(answer.bytes)
    }
}

fn parse_line(unread: &[u8]) -> Step<()> {
    match unread.iter().position(|byte| *byte == b'\n') {
        Some(end) => Step::Frame {
            value: (),
            length: end + 1,
        },
        None => Step::NeedMore,
    }
}

impl Handler for Relay {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(line) = conn.read_line(LINE_MAX).await? {
            match self.ask(&line).await {
                Ok(answer) => conn.write(answer).await?,
                Err(Error::Upstream(error)) => conn.write(&format!("! {error}\n")).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    corelane::run(|shard: &ShardContext, _settings: &RelaySettings| {
        shard.pool("next").map(Relay).ok_or("no [upstream.next]")
    })
}
