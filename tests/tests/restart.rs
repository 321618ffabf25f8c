//! A program that starts servers again and again keeps nothing of those that have ended.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use corelane::{Conn, Server, Settings, ShardContext, from_fn};
use tests::slack;

fn serve_once() {
    let settings = Settings::new()
        .set("server.shards", 1)
        .set("limits.connections_max", 10);
    let echo = |_shard: &ShardContext| {
        from_fn(async |conn: &mut Conn| {
            while let Some(bytes) = conn.read().await? {
                conn.write(bytes).await?;
            }
            Ok(())
        })
    };
    let server = Server::builder()
        .settings(settings)
        .handler(echo)
        .bind()
        .unwrap();
    let handle = server.spawn().unwrap();
    handle.wait_ready().unwrap();
    let mut client = TcpStream::connect(handle.local_addr()).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    drop(client);
    handle.drain();
    handle.join().outcome.unwrap();
}

/// Kibibytes of a field of proc_pid_status(5).
fn kibibytes(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn what_a_server_took_is_given_back() {
    const TIMES: u64 = 30;
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    (0..5).for_each(|_| serve_once());
    let (size, resident, open) = (kibibytes("VmSize"), kibibytes("VmRSS"), descriptors());
    (0..TIMES).for_each(|_| serve_once());
    let size_each = kibibytes("VmSize").saturating_sub(size) / TIMES;
    let resident_each = kibibytes("VmRSS").saturating_sub(resident) / TIMES;
    eprintln!("{size_each} KiB mapped and {resident_each} KiB resident are left of each");
    // The allocator maps 64 MiB at a time for a thread, now and then; the buffers were 16 each time.
    assert!(
        size_each < 8 * 1024,
        "{size_each} KiB are left mapped by each server"
    );
    assert!(
        resident_each < 64 * u64::from(slack()),
        "{resident_each} KiB are left resident by each"
    );
    assert!(
        descriptors() < open + 5,
        "{open} descriptors were open, {} are",
        descriptors()
    );
}
