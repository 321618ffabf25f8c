//! Sends back what it gets (RFC 862): the whole of a program.
//!
//! ```text
//! cargo run --example echo -- --set 'server.listen="127.0.0.1:7007"'
//! nc 127.0.0.1 7007
//! ```

use std::process::ExitCode;

use corelane::{AppSettings, Conn, Error, Handler, ShardContext};

#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EchoSettings {}

impl AppSettings for EchoSettings {
    const NAME: &'static str = "echo";
    const ABOUT: &'static str = "Sends back what it gets";
    const LISTEN: &'static str = "127.0.0.1:7007";
}

struct Echo;

impl Handler for Echo {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        // What has been read is sent from where it lies.
        while let Some(bytes) = conn.read().await? {
            conn.write(bytes).await?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, _settings: &EchoSettings| Echo)
}
