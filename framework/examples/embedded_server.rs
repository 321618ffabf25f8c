//! A server inside a program that has a `main` of its own: started, asked, measured, drained.
//!
//! ```text
//! cargo run --example embedded_server
//! ```
//!
//! Signals, log and command line stay the program's; several servers may run in it.

use std::error::Error as StdError;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use corelane::{CloseReason, Conn, ConnInfo, Error, Handler, Server, Settings, ShardContext};

/// Greets, and tells the program how many have left.
struct Greeter {
    left: Arc<AtomicU64>,
}

impl Handler for Greeter {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(name) = conn.read_line(100).await? {
            conn.write("hello, ").await?;
            conn.write(&*name).await?;
            conn.write("\n").await?;
        }
        Ok(())
    }

    fn on_close(&self, _conn: ConnInfo, _reason: CloseReason) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    let settings = Settings::from_toml("[timeouts]\nidle = '1m'\n")
        .set("server.shards", 2)
        .set("limits.connections_max", 100)
        .set("timeouts.drain", Duration::from_secs(5));
    let left = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&left);
    let factory = move |_shard: &ShardContext| Greeter {
        left: Arc::clone(&counter),
    };
    // Every problem at once, each with its remedy, before anything runs.
    let server = Server::builder()
        .settings(settings)
        .handler(factory)
        .bind()?;
    println!("bound to {}", server.local_addr());
    let handle = server.spawn()?;
    handle.wait_ready()?;

    for name in ["Ada", "Grace"] {
        let mut stream = TcpStream::connect(handle.local_addr())?;
        stream.write_all(format!("{name}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        print!("{answer}");
    }

    handle.drain();
    let ended = handle.join();
    ended.outcome?;
    println!(
        "served {}, {} left",
        ended.stats.accepted,
        left.load(Ordering::Relaxed)
    );
    Ok(())
}
