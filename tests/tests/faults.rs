//! What the kernel does only to a machine in need: caused by failpoints (`framework/src/failpoint.rs`), in a server that is built with
//! them.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use tests::{Client, Launch, Server};

/// A server that may connect, one connect at a time.
fn dialing(failpoints: &str) -> Server {
    Launch::faulty(failpoints).set("server.shards=1").set("limits.outbound_per_shard_max=8").set("limits.connects_in_flight_max=1").start()
}

#[test]
fn a_wrong_failpoint_refuses_the_start() {
    let exit = Launch::faulty("accept=ENOFILE").run();
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.stderr.contains("CORELANE_FAILPOINTS") && exit.stderr.contains("there is no errno `ENOFILE`"), "{}", exit.stderr);
}

#[test]
fn a_receive_that_finds_no_buffer_is_made_again() {
    let server = Launch::faulty("receive=ENOBUFS*50").set("server.shards=1").start();
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for _ in 0..20 {
        clients.iter_mut().for_each(|client| client.ask(b"still here?\n", b"still here?\n"));
    }
    drop(clients);
    assert_eq!(server.stop().accepted, 4);
}

#[test]
fn a_connect_whose_socket_cannot_be_made_passes_its_place_on() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = dialing("socket=EMFILE*8");
    let mut clients: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    let dial = format!("dial {}\n", target.local_addr().unwrap());
    clients.iter_mut().for_each(|client| client.send(dial.as_bytes()));
    let answers: Vec<String> = clients.iter_mut().map(Client::receive_line).collect();
    let failed = answers.iter().filter(|answer| answer.contains("os error 24")).count();
    let connected = answers.iter().filter(|answer| *answer == "connected").count();
    assert_eq!((failed, connected), (8, 8), "{answers:?}");
    drop(clients);
    server.stop();
}
