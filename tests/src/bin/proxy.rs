//! A TCP proxy: each connection is passed on to `app.upstream`, both ways at once. For the tests of
//! full duplex, and for `make compare-proxy`.

use std::net::SocketAddr;
use std::process::ExitCode;

use corelane::{AppSettings, Conn, Connector, Error, Handler, copy_bidirectional};

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
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
    const ABOUT: &'static str = "Passes connections on to an upstream";
    const LISTEN: &'static str = "127.0.0.1:7011";
}

struct Proxy(SocketAddr);

impl Handler for Proxy {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut upstream = Connector::new().connect(self.0).await?;
        copy_bidirectional(conn, &mut upstream).await?;
        Ok(())
    }
}

fn main() -> ExitCode {
    corelane::run(|_shard, settings: &ProxySettings| Proxy(settings.upstream))
}
