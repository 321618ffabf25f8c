//! A program of shards that only connect: sends numbered requests to an echo server, from every
//! core, and counts the answers.
//!
//! ```text
//! cargo run --example echo &
//! cargo run --example client -- 127.0.0.1:7007
//! ```

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use corelane::{Client, Connector, Error, Settings, ShardContext, spawn};

const CONNECTIONS: u32 = 4;
const REQUESTS: u32 = 100;
/// Within which an answer must be there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks over one connection. Gives how many answers were right.
async fn ask(target: SocketAddr) -> Result<u64, Error> {
    let mut conn = Connector::new().timeout(PATIENCE).connect(target).await?;
    let mut right = 0;
    for number in 0..REQUESTS {
        let request = number.to_be_bytes();
        conn.write(&request).await?;
        conn.set_read_deadline(Some(PATIENCE));
        let answer = conn.read_exact(request.len()).await?;
        right += u64::from(answer.is_some_and(|answer| *answer == request));
    }
    Ok(right)
}

/// What each shard runs: its connections side by side.
async fn run(target: SocketAddr, right: Arc<AtomicU64>) {
    let asking: Vec<_> = (0..CONNECTIONS)
        .filter_map(|_| spawn(ask(target)).ok())
        .collect();
    for asked in asking {
        match asked.await {
            Ok(Ok(count)) => drop(right.fetch_add(count, Ordering::Relaxed)),
            Ok(Err(error)) | Err(error) => eprintln!("client: {error}"),
        }
    }
}

fn main() -> ExitCode {
    let target = std::env::args()
        .nth(1)
        .and_then(|target| target.parse().ok());
    let Some(target) = target else {
        eprintln!("usage: client ADDRESS:PORT");
        return ExitCode::from(2);
    };
    let right = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&right);
    let settings = Settings::new()
        .set("server.shards", 2)
        .set("limits.outbound_per_shard_max", 100);
    let client = Client::with_settings(&settings, move |_shard: ShardContext| {
        run(target, Arc::clone(&counted))
    });
    match client.map(Client::join) {
        Ok(Ok(())) => {
            println!("{} right answers", right.load(Ordering::Relaxed));
            ExitCode::SUCCESS
        }
        Ok(Err(why)) => {
            eprintln!("client: {why}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("client: {error}");
            ExitCode::from(2)
        }
    }
}
