//! Passes each connection on to another server, both ways at once.
//!
//! ```text
//! cargo run --example proxy -- --set 'app.upstream="127.0.0.1:7007"'
//! ```
//!
//! Bytes go from one connection to the other without being copied; who does not read holds up
//! nobody but the one who writes to him.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use corelane::{AppSettings, Conn, Connector, Error, Handler, ShardContext, copy_bidirectional};

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProxySettings {
    upstream: SocketAddr,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            upstream: ([127, 0, 0, 1], 7007).into(),
        }
    }
}

impl AppSettings for ProxySettings {
    const NAME: &'static str = "proxy";
    const ABOUT: &'static str = "Passes connections on to another server";
    const LISTEN: &'static str = "127.0.0.1:7011";
    // A connection to the upstream for each that is accepted.
    const DEFAULTS: &'static str = "
        [limits]
        outbound_per_shard_max = 1000
    ";
}

struct Proxy {
    upstream: SocketAddr,
    connector: Connector,
}

impl Handler for Proxy {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut upstream = self.connector.connect(self.upstream).await?;
        copy_bidirectional(conn, &mut upstream).await?;
        Ok(())
    }
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, settings: &ProxySettings| Proxy {
        upstream: settings.upstream,
        connector: Connector::new().timeout(Duration::from_secs(3)),
    })
}
