//! Several listeners of one server, TCP and Unix: each with addresses, options, clients and PROXY
//! headers of its own.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use corelane::{
    CloseReason, Conn, Endpoint, Error, Server, ServerHandle, Settings, ShardContext, from_fn,
};
use tests::listeners::{Directory, Stream, THREE, other, unix};
use tests::{BOUND, Client, Launch, connect, free_address, free_address_of, needs, within};

/// By the other listener nobody comes, so its accept says nothing of the pause.
#[test]
fn accepting_goes_on_at_a_listener_whose_accepts_have_failed() {
    const TWO: &str = "
        [server]
        shards = 1
        [limits]
        accepts_in_flight_max = 2
        [[listener]]
        name = 'busy'
        listen = '127.0.0.1:0'
        [[listener]]
        name = 'quiet'
        listen = '127.0.0.1:0'
    ";
    let directory = Directory::new();
    let server = Launch::faulty_with(&directory.file(TWO), "accept=ENFILE*3").start();
    server.connect().ask(b"at last\n", b"at last\n");
    let mut quiet = Client::connect(other(&server, "quiet"));
    quiet.ask(b"and here\n", b"and here\n");
    drop(quiet);
    assert_eq!(server.stop().accepts_failed, 3);
}

#[test]
fn listeners_of_tcp_and_unix_serve_at_once() {
    let directory = Directory::new();
    let server = directory.launch(THREE).start();
    let dual = other(&server, "dual").port();
    let mut streams: Vec<Box<dyn Stream>> = Vec::new();
    for _ in 0..20 {
        streams.push(Box::new(connect(server.addr()).unwrap()));
        streams.push(Box::new(
            connect((Ipv6Addr::LOCALHOST, dual).into()).unwrap(),
        ));
        streams.push(Box::new(
            connect((Ipv4Addr::LOCALHOST, dual).into()).unwrap(),
        ));
        streams.push(Box::new(unix(&directory.socket())));
    }
    for round in 0..3 {
        let words = format!("round {round}");
        streams.iter_mut().for_each(|stream| stream.asks(&words));
    }
    drop(streams);
    server.stop();
    assert!(!directory.socket().exists(), "the file has stayed");
}

#[test]
fn netcat_and_curl_are_served_at_a_unix_socket() {
    needs!("nc", "curl");
    let directory = Directory::new();
    let server = directory.launch(THREE).start();
    let mut netcat = Command::new("nc");
    netcat.args(["-N", "-U"]).arg(directory.socket());
    netcat.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut netcat = netcat.spawn().unwrap();
    netcat.stdin.take().unwrap().write_all(b"by nc\n").unwrap();
    let output = netcat.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"by nc\n");
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--no-buffer",
        "--http0.9",
        "--max-time",
        "10",
        "--unix-socket",
    ])
    .arg(directory.socket())
    .arg("http://echo/by-curl")
    .stdin(Stdio::null())
    .stdout(Stdio::piped());
    let mut curl = Ended(curl.spawn().unwrap());
    let mut heard = [0; 12];
    curl.0
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut heard)
        .unwrap();
    assert_eq!(&heard, b"GET /by-curl");
    drop(curl);
    server.stop();
}

#[test]
fn an_address_of_ipv6_alone_leaves_ipv4_to_another_listener() {
    let port = free_address_of(Ipv6Addr::UNSPECIFIED).port();
    let directory = Directory::new();
    let listeners = format!(
        "[[listener]]\nlisten = '0.0.0.0:{port}'\n\
         [[listener]]\nlisten = '[::]:{port}'\nv6_only = true\n"
    );
    let told = serve(&listeners);
    let mut four = connect((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    let mut six = connect((Ipv6Addr::LOCALHOST, port).into()).unwrap();
    four.hears("1 127.0.0.1 ");
    six.hears("2 ::1 ");
    drop((four, six, directory));
    end(told);
}

// ---- what a handler learns, and PROXY ----

const LINE: &str = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";

/// Tells by which listener a client has come, from which address, and for whom; then echoes.
fn serve(listeners: &str) -> ServerHandle {
    let settings = Settings::from_toml(listeners)
        .set("server.shards", 1)
        .set("limits.connections_max", 100);
    serve_with(settings)
}

fn serve_with(settings: Settings) -> ServerHandle {
    let settings = settings.set("timeouts.close", "100ms");
    let factory = |_: &ShardContext| {
        from_fn(async |conn: &mut Conn| {
            let client = conn.proxied().and_then(|proxied| proxied.source());
            let client = client.map_or("-".to_owned(), |client| client.to_string());
            let told = format!(
                "{} {} {client} {}\n",
                conn.listener().unwrap(),
                conn.peer_addr().ip(),
                conn.local_addr(),
            );
            conn.write(&told).await?;
            while let Some(bytes) = conn.read().await? {
                conn.write(bytes).await?;
            }
            Ok::<(), Error>(())
        })
    };
    let server = Server::builder().settings(settings).handler(factory).bind();
    let handle = server
        .unwrap_or_else(|error| panic!("{error}"))
        .spawn()
        .unwrap();
    handle.wait_ready().unwrap();
    handle
}

fn end(handle: ServerHandle) {
    handle.drain();
    assert_eq!(handle.join().outcome, Ok(()));
}

fn address(handle: &ServerHandle, place: usize) -> SocketAddr {
    match &handle.local_addrs()[place].endpoint {
        Endpoint::Tcp(address) => *address,
        other => panic!("{other}"),
    }
}

fn two_proxied(socket: &Path) -> String {
    format!(
        "[[listener]]\nname = 'plain'\nlisten = '127.0.0.1:0'\n\
         [[listener]]\nname = 'proxied'\nlisten = '127.0.0.1:0'\nproxy = 'any'\n\
         proxy_trusted = ['127.0.0.1']\n\
         [[listener]]\nname = 'local'\nlisten = 'unix:{}'\nproxy = 'any'\nproxy_timeout = '300ms'\n",
        socket.display()
    )
}

#[test]
fn a_handler_learns_by_which_listener_its_client_has_come() {
    let directory = Directory::new();
    let handle = serve(&two_proxied(&directory.socket()));
    let names = handle.local_addrs().iter().map(|listener| &*listener.name);
    assert_eq!(names.collect::<Vec<_>>(), ["plain", "proxied", "local"]);
    assert_eq!(handle.local_addr(), address(&handle, 0));
    let mut plain = Client::connect(address(&handle, 0));
    let told = format!("plain 127.0.0.1 - {}\n", handle.local_addr());
    plain.expect(told.as_bytes());
    plain.ask(LINE.as_bytes(), LINE.as_bytes());
    let mut proxied = Client::connect(address(&handle, 1));
    proxied.send(LINE.as_bytes());
    let told = format!(
        "proxied 127.0.0.1 192.0.2.1:56324 {}\n",
        address(&handle, 1)
    );
    proxied.expect(told.as_bytes());
    proxied.ask(b"behind it", b"behind it");
    let mut local = unix(&directory.socket());
    local.write_all(LINE.as_bytes()).unwrap();
    local.hears("local 0.0.0.0 192.0.2.1:56324 0.0.0.0:0\n");
    local.asks("behind it");
    end(handle);
}

#[test]
fn headers_are_wanted_where_a_listener_says_so_and_nowhere_else() {
    let directory = Directory::new();
    let handle = serve(&two_proxied(&directory.socket()));
    let mut without = Client::connect(address(&handle, 1));
    without.send(b"GET / HTTP/1.1\r\n");
    is_ended(without);
    let mut silent = unix(&directory.socket());
    silent.bound();
    assert_eq!(
        silent.read(&mut [0; 1]).unwrap_or(0),
        0,
        "its own proxy_timeout"
    );
    let mut untrusted = Client::connect_from(Ipv4Addr::new(127, 0, 0, 9), address(&handle, 1));
    untrusted.send(LINE.as_bytes());
    is_ended(untrusted);
    for reason in [
        CloseReason::ProxyInvalid,
        CloseReason::ProxyTimeout,
        CloseReason::ProxyUntrusted,
    ] {
        within(BOUND, reason.as_str(), || {
            (handle.stats().closed(reason) == 1).then_some(())
        });
    }
    let mut plain = Client::connect_from(Ipv4Addr::new(127, 0, 0, 9), address(&handle, 0));
    let told = format!("plain 127.0.0.9 - {}\n", handle.local_addr());
    plain.expect(told.as_bytes());
    end(handle);
}

fn is_ended(mut client: Client) {
    let (bytes, _end) = client.receive_all();
    assert_eq!(bytes, b"");
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn haproxy_names_its_clients_at_a_unix_socket() {
    needs!("haproxy");
    let directory = Directory::new();
    let handle = serve(&two_proxied(&directory.socket()));
    let front = free_address();
    let text = format!(
        "global\n    maxconn 100\n    nbthread 1\ndefaults\n    mode tcp\n    timeout connect 5s\n    \
         timeout client 30s\n    timeout server 30s\nlisten front\n    bind {front}\n    \
         server one unix@{} send-proxy-v2\n",
        directory.socket().display()
    );
    let file = directory.0.join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("haproxy");
    command
        .args(["-db", "-q", "-f"])
        .arg(&file)
        .stdin(Stdio::null());
    let process = Ended(command.spawn().unwrap());
    within(BOUND, "HAProxy to listen", || connect(front).ok());
    let mut client = Client::connect(front);
    let own = client.stream().local_addr().unwrap();
    client.expect(format!("local 0.0.0.0 {own} 0.0.0.0:0\n").as_bytes());
    client.ask(b"through it", b"through it");
    drop(process);
    end(handle);
}

// ---- admission ----

#[test]
fn a_cap_of_one_listener_is_no_other_s() {
    let directory = Directory::new();
    let listeners = format!(
        "[limits]\nrefuse_with = 'full'\n\
         [[listener]]\nlisten = '127.0.0.1:0'\nconnections_per_address_max = 1\nrefuse_with = 'one each'\n\
         [[listener]]\nlisten = '127.0.0.1:0'\nconnections_per_address_max = 2\n\
         [[listener]]\nlisten = 'unix:{}'\nconnections_per_address_max = 1\n",
        directory.socket().display()
    );
    let handle = serve(&listeners);
    let served = |place: usize| {
        let mut client = Client::connect(address(&handle, place));
        client.expect(format!("{} 127.0.0.1 - ", place + 1).as_bytes());
        client.receive_line();
        client
    };
    let refused = |place: usize, text: &str| {
        let mut client = Client::connect(address(&handle, place));
        client.expect(text.as_bytes());
        client.expect_eof();
    };
    let first = served(0);
    refused(0, "one each");
    let _others = [served(1), served(1)];
    refused(1, "full");
    for _ in 0..3 {
        let mut local = unix(&directory.socket());
        local.hears("3 0.0.0.0 - ");
    }
    drop(first);
    within(BOUND, "its place is free", || {
        let mut client = Client::connect(address(&handle, 0));
        (client.receive(1) == b"1").then_some(())
    });
    end(handle);
}

#[test]
fn one_listener_accepts_no_more_a_second_than_it_may_and_others_do() {
    let listeners = "
        [[listener]]
        listen = '127.0.0.1:0'
        accepts_per_second_max = 2
        [[listener]]
        listen = '127.0.0.1:0'
    ";
    let handle = serve(listeners);
    let mut slow: Vec<Client> = (0..6)
        .map(|_| Client::connect(address(&handle, 0)))
        .collect();
    for _ in 0..20 {
        Client::connect(address(&handle, 1)).expect(b"2 127.0.0.1 - ");
    }
    let silent = slow
        .iter()
        .filter(|client| client.is_silent_for(Duration::from_millis(1)));
    assert!(
        silent.count() >= 2,
        "they wait for the second listener's too"
    );
    slow.iter_mut()
        .for_each(|client| client.expect(b"1 127.0.0.1 - "));
    end(handle);
}

/// Accepts that wait at listeners where nobody comes take no place from others.
#[test]
fn the_last_place_goes_to_whichever_listener_a_client_comes_by() {
    let directory = Directory::new();
    let listeners = format!(
        "[[listener]]\nlisten = '127.0.0.1:0'\n[[listener]]\nlisten = '127.0.0.1:0'\n\
         [[listener]]\nlisten = 'unix:{}'\n",
        directory.socket().display()
    );
    let settings = Settings::from_toml(listeners)
        .set("server.shards", 1)
        .set("limits.connections_max", 1);
    let handle = serve_with(settings);
    for _ in 0..5 {
        for place in [0, 1] {
            let mut client = Client::connect(address(&handle, place));
            client.expect(format!("{} 127.0.0.1 - ", place + 1).as_bytes());
            assert!(handle.stats().connections <= 1);
        }
        unix(&directory.socket()).hears("3 0.0.0.0 - ");
    }
    end(handle);
}

#[test]
fn a_busy_listener_leaves_places_to_another() {
    const CLIENTS: usize = 60;
    let listeners = "
        [[listener]]
        listen = '127.0.0.1:0'
        [[listener]]
        listen = '127.0.0.1:0'
    ";
    let settings = Settings::from_toml(listeners)
        .set("server.shards", 1)
        .set("limits.connections_max", 2)
        .set("limits.accepts_in_flight_max", 4);
    let handle = serve_with(settings);
    let mut held = [(); 2].map(|()| Client::connect(address(&handle, 0)));
    held.iter_mut()
        .for_each(|client| client.expect(b"1 127.0.0.1 - "));
    let busy: Vec<Client> = (0..CLIENTS)
        .map(|_| Client::connect(address(&handle, 0)))
        .collect();
    let mut other = Client::connect(address(&handle, 1));
    assert!(
        other.is_silent_for(Duration::from_millis(50)),
        "all places are taken"
    );
    assert!(handle.stats().connections <= 2);
    let served = AtomicBool::new(false);
    let left = thread::scope(|scope| {
        scope.spawn(|| {
            other.expect(b"2 127.0.0.1 - ");
            served.store(true, Ordering::Relaxed);
        });
        drop(held);
        let mut busy = busy.into_iter();
        for mut client in busy.by_ref() {
            client.expect(b"1 127.0.0.1 - ");
            drop(client);
            thread::sleep(Duration::from_millis(5));
            if served.load(Ordering::Relaxed) {
                break;
            }
        }
        busy.len()
    });
    assert!(
        left > CLIENTS / 2,
        "only {left} of {CLIENTS} were behind it"
    );
    end(handle);
}

#[test]
fn above_the_limit_each_is_told_by_whichever_listener() {
    let listeners = "
        [limits]
        on_full = 'refuse'
        refuse_with = 'full'
        [[listener]]
        listen = '127.0.0.1:0'
        [[listener]]
        listen = '127.0.0.1:0'
        refuse_with = 'no room'
    ";
    let settings = Settings::from_toml(listeners)
        .set("server.shards", 1)
        .set("limits.connections_max", 1);
    let handle = serve_with(settings);
    let mut served = Client::connect(address(&handle, 1));
    served.expect(b"2 127.0.0.1 - ");
    for _ in 0..100 {
        for (place, text) in [(0, "full"), (1, "no room")] {
            let mut client = Client::connect(address(&handle, place));
            client.expect(text.as_bytes());
            client.expect_eof();
        }
    }
    end(handle);
}

/// The settings say who is who by name, whatever their order.
#[test]
fn a_reload_finds_listeners_that_stand_in_another_order() {
    let public = "[[listener]]\nname = 'public'\nlisten = '127.0.0.1:0'\nrefuse_with = 'public'\n";
    let private =
        "[[listener]]\nname = 'private'\nlisten = '127.0.0.1:0'\nrefuse_with = 'private'\n";
    let full = "[limits]\non_full = 'refuse'\n";
    let settings = |text: String| {
        let settings = Settings::from_toml(text).set("server.shards", 1);
        let settings = settings.set("limits.connections_max", 1);
        settings.set("timeouts.close", "100ms")
    };
    let handle = serve_with(settings(format!("{full}{public}{private}")));
    let mut served = Client::connect(address(&handle, 0));
    served.expect(b"public ");
    let public = public.replace("refuse_with = 'public'", "refuse_with = 'changed'");
    let changes = handle
        .reload(settings(format!("{full}{private}{public}")))
        .unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    within(BOUND, "it is in force", || {
        let mut client = Client::connect(address(&handle, 0));
        (client.receive(7) == b"changed").then_some(())
    });
    Client::connect(address(&handle, 1)).expect(b"private");
    drop(served);
    end(handle);
}

#[test]
fn metrics_and_numbers_tell_of_each_listener() {
    let directory = Directory::new();
    let launch = directory.launch(THREE).set("admin.listen=\"127.0.0.1:0\"");
    let server = launch.start();
    (0..3).for_each(|_| server.connect().ask(b"x", b"x"));
    (0..2).for_each(|_| unix(&directory.socket()).asks("x"));
    let _still = unix(&directory.socket());
    let list = within(BOUND, "a connection that is listed", || {
        let list = server.admin_get("/connections").body;
        list.contains("\"peer\":\"0.0.0.0:0\"").then_some(list)
    });
    assert!(list.contains("\"listener\":\"private\""), "{list}");
    let page = server.admin_get("/metrics").body;
    for line in [
        "corelane_listener_accepted_total{listener=\"public\"} 3",
        "corelane_listener_accepted_total{listener=\"dual\"} 0",
        "corelane_listener_accepted_total{listener=\"private\"} 3",
        "corelane_accept_queue{listener=\"public\"} 0",
        "corelane_accept_queue{listener=\"dual\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    server.stop();
}
