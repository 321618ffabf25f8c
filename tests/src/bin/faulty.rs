//! An echo server with the failpoints of the framework (`framework/src/failpoint.rs`), for the faults that the kernel does not have on
//! demand. A line `dial ADDRESS` is answered with what came of a connect there.

use std::net::SocketAddr;
use std::process::ExitCode;

use corelane::{Conn, Connector, Error, Handler, Settings};

/// Longest line.
const LINE_MAX: usize = 1024;

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FaultySettings {}

impl Settings for FaultySettings {
    const NAME: &'static str = "faulty";
    const ABOUT: &'static str = "Sends back lines, and fails as CORELANE_FAILPOINTS says";
    const LISTEN: &'static str = "127.0.0.1:7011";
}

struct Faulty;

impl Handler for Faulty {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(line) = conn.read_line(LINE_MAX).await? {
            match target(&line) {
                Some(target) => dial(conn, target).await?,
                None => conn.write(line).await?,
            }
            conn.write("\n").await?;
        }
        Ok(())
    }
}

fn target(line: &[u8]) -> Option<SocketAddr> {
    str::from_utf8(line.strip_prefix(b"dial ")?).ok()?.parse().ok()
}

async fn dial(conn: &mut Conn, target: SocketAddr) -> Result<(), Error> {
    match Connector::new().connect(target).await {
        Ok(_other) => conn.write("connected").await,
        Err(error) => conn.write(&error.to_string()).await,
    }
}

fn main() -> ExitCode {
    corelane::run(|_shard, _settings: &FaultySettings| Faulty)
}
