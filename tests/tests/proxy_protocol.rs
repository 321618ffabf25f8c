//! The PROXY protocol, said by raw sockets, curl and HAProxy: who is believed, what is refused, and
//! what a handler learns.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{
    CloseReason, Conn, ConnInfo, Error, Escaped, Handler, ProxyVersion, Server, ServerHandle,
    Settings, ShardContext,
};
use tests::{BOUND, Client, Launch, connect, free_address, needs, within};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// From 192.0.2.1:56324 to 198.51.100.2:443.
const ADDRESSES: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 0x04, 1, 0xBB];
const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";

fn header(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
    let length = u16::try_from(behind.len()).unwrap();
    [
        SIGNATURE,
        &[command, family][..],
        &length.to_be_bytes(),
        behind,
    ]
    .concat()
}

fn of_tcp4(tlvs: &[u8]) -> Vec<u8> {
    header(PROXY, TCP4, &[&ADDRESSES, tlvs].concat())
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [
        &[kind][..],
        &u16::try_from(value.len()).unwrap().to_be_bytes(),
        value,
    ]
    .concat()
}

type Left = Arc<Mutex<Vec<(Option<SocketAddr>, CloseReason)>>>;

/// A handler that says what it was told of its client, and then echoes.
struct Teller(Left);

impl Handler for Teller {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        conn.write(&format!("{}\n", told(conn))).await?;
        while let Some(bytes) = conn.read().await? {
            conn.write(bytes).await?;
        }
        Ok(())
    }

    fn on_close(&self, conn: ConnInfo, reason: CloseReason) {
        self.0.lock().unwrap().push((conn.proxied_addr, reason));
    }
}

fn told(conn: &Conn) -> String {
    let Some(proxied) = conn.proxied() else {
        return "nothing".to_owned();
    };
    let address =
        |address: Option<SocketAddr>| address.map_or("-".to_owned(), |address| address.to_string());
    let text = |text: Option<&[u8]>| text.map_or("-".to_owned(), |text| Escaped(text).to_string());
    let version = match proxied.version() {
        ProxyVersion::V1 => "v1",
        ProxyVersion::V2 => "v2",
    };
    format!(
        "{version} {} {} {} {}",
        address(proxied.source()),
        address(proxied.destination()),
        text(proxied.authority()),
        text(proxied.unique_id())
    )
}

fn settings(versions: &str) -> Settings {
    Settings::new()
        .set("server.shards", 1)
        .set("limits.connections_max", 100)
        .set("listener.proxy", versions)
        .set("listener.proxy_trusted", vec!["127.0.0.0/30", "::1"])
}

fn serve(settings: Settings) -> ServerHandle {
    serve_and_tell(settings, &Left::default())
}

/// `left` is told what the handler is of connections that have ended.
fn serve_and_tell(settings: Settings, left: &Left) -> ServerHandle {
    let left = Arc::clone(left);
    let factory = move |_: &ShardContext| Teller(Arc::clone(&left));
    let server = Server::builder().settings(settings).handler(factory).bind();
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let handle = server.spawn().unwrap();
    handle.wait_ready().unwrap();
    handle
}

fn end(handle: ServerHandle) {
    handle.drain();
    assert_eq!(handle.join().outcome, Ok(()));
}

fn wait_for_closed(handle: &ServerHandle, reason: CloseReason, count: u64) {
    within(BOUND, reason.as_str(), || {
        (handle.stats().closed(reason) == count).then_some(())
    });
}

#[test]
fn a_handler_learns_what_the_header_says_and_reads_what_follows_it() {
    let handle = serve(settings("any"));
    let tcp6 = [
        &[0x20, 1, 0x0D, 0xB8][..],
        &[0; 11],
        &[1],
        &[0; 15],
        &[1],
        &[0, 7, 0, 9],
    ]
    .concat();
    let tlvs = [
        tlv(0x02, b"example.org"),
        tlv(0x05, b"id\n1"),
        tlv(0xEE, b"own"),
    ]
    .concat();
    let both = "192.0.2.1:56324 198.51.100.2:443";
    let cases = [
        (LINE.to_vec(), format!("v1 {both} - -")),
        (
            b"PROXY TCP6 2001:db8::1 ::1 7 9\r\n".to_vec(),
            "v1 [2001:db8::1]:7 [::1]:9 - -".to_owned(),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "v1 - - - -".to_owned()),
        (
            b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            "v1 - - - -".to_owned(),
        ),
        (of_tcp4(&[]), format!("v2 {both} - -")),
        (
            header(PROXY, TCP6, &tcp6),
            "v2 [2001:db8::1]:7 [::1]:9 - -".to_owned(),
        ),
        (of_tcp4(&tlvs), format!("v2 {both} example.org id\\x0a1")),
        (header(LOCAL, 0, &[]), "v2 - - - -".to_owned()),
        (header(LOCAL, TCP4, &ADDRESSES), "v2 - - - -".to_owned()),
        (
            header(LOCAL, 0xFF, b"whatever it is"),
            "v2 - - - -".to_owned(),
        ),
        (header(PROXY, 0, b"whatever it is"), "v2 - - - -".to_owned()),
    ];
    for (header, expected) in &cases {
        let expected = format!("{expected}\n");
        let mut together = Client::connect(handle.local_addr());
        together.send(&[&header[..], b"with it"].concat());
        together.expect(expected.as_bytes());
        together.expect(b"with it");
        together.ask(b"behind it", b"behind it");
        let mut bytewise = Client::connect(handle.local_addr());
        bytewise.stream().set_nodelay(true).unwrap();
        for byte in header {
            bytewise.send(&[*byte]);
            thread::sleep(Duration::from_micros(300));
        }
        bytewise.expect(expected.as_bytes());
        bytewise.ask(b"echoed", b"echoed");
    }
    end(handle);
}

/// What HAProxy puts at the end of a header with `crc32c`, as a table would give it.
const CHECKED: &str = "0d0a0d0a000d0a515549540a21110013c0000201c6336402dc0401bb030004";

#[test]
fn a_checksum_is_right_or_the_connection_refused() {
    let handle = serve(settings("v2"));
    let mut zeroed: Vec<u8> = (0..CHECKED.len() / 2)
        .map(|at| u8::from_str_radix(&CHECKED[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    assert_eq!(
        zeroed,
        [&of_tcp4(&tlv(3, &[0; 4]))[..zeroed.len()]].concat()
    );
    zeroed.extend([0; 4]);
    let sum = crc32c(&zeroed).to_be_bytes();
    let at = zeroed.len() - 4;
    let sealed = [&zeroed[..at], &sum].concat();
    let mut client = Client::connect(handle.local_addr());
    client.send(&sealed);
    assert!(client.receive_line().starts_with("v2 192.0.2.1:56324"));
    for flipped in [16, 20, at - 1, at, at + 3] {
        let mut wrong = sealed.clone();
        wrong[flipped] ^= 0x10;
        let mut client = Client::connect(handle.local_addr());
        client.send(&wrong);
        client.expect_reset();
    }
    wait_for_closed(&handle, CloseReason::ProxyInvalid, 5);
    end(handle);
}

/// By a table, as others do.
fn crc32c(bytes: &[u8]) -> u32 {
    let entry = |index: u32| {
        (0..8).fold(index, |entry, _| {
            if entry & 1 == 1 {
                entry >> 1 ^ 0x82F6_3B78
            } else {
                entry >> 1
            }
        })
    };
    let table: Vec<u32> = (0..256).map(entry).collect();
    let step = |crc: u32, byte: &u8| table[usize::from(crc as u8 ^ byte)] ^ crc >> 8;
    !bytes.iter().fold(u32::MAX, step)
}

#[test]
fn what_is_no_whole_header_is_refused_and_never_served() {
    let handle = serve(settings("any"));
    let overlong = header(LOCAL, 0, &[0; 521]);
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat();
    let cases: [&[u8]; 14] = [
        b"PING\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY tcp4 ",
        b"proxy",
        &endless,
        &overlong[..16],
        &header(PROXY, TCP4, &ADDRESSES[..11]),
        &header(PROXY, 0x41, &ADDRESSES),
        &header(0x22, TCP4, &ADDRESSES),
        &of_tcp4(&[1, 0, 9, b'h']),
    ];
    for (count, bytes) in (1..).zip(cases) {
        let mut client = Client::connect(handle.local_addr());
        client.send(bytes);
        client.expect_reset();
        wait_for_closed(&handle, CloseReason::ProxyInvalid, count);
    }
    assert_eq!(CloseReason::ProxyInvalid.as_str(), "proxy_invalid");
    // The same after data: a header is the first thing or none.
    let mut late = Client::connect(handle.local_addr());
    late.send(&[b"hello", LINE].concat());
    late.expect_reset();
    end(handle);
}

#[test]
fn a_header_that_is_cut_short_is_refused_and_a_connection_without_one_is_only_over() {
    let handle = serve(settings("any"));
    let v2 = of_tcp4(&tlv(0x02, b"a"));
    for (count, bytes) in (1..).zip([
        &LINE[..1],
        &LINE[..LINE.len() - 1],
        &v2[..12],
        &v2[..16],
        &v2[..v2.len() - 1],
    ]) {
        let mut client = Client::connect(handle.local_addr());
        client.send(bytes);
        client.stream().shutdown(std::net::Shutdown::Write).unwrap();
        client.expect_reset();
        wait_for_closed(&handle, CloseReason::ProxyInvalid, count);
    }
    drop(Client::connect(handle.local_addr())); // as a health check of TCP does
    wait_for_closed(&handle, CloseReason::PeerClosed, 1);
    end(handle);
}

#[test]
fn only_the_version_that_is_set_is_taken() {
    for (versions, taken, refused) in [
        ("v1", LINE.to_vec(), of_tcp4(&[])),
        ("v2", of_tcp4(&[]), LINE.to_vec()),
    ] {
        let handle = serve(settings(versions));
        let mut client = Client::connect(handle.local_addr());
        client.send(&refused);
        client.expect_reset();
        let mut client = Client::connect(handle.local_addr());
        client.send(&taken);
        assert!(client.receive_line().starts_with(versions));
        wait_for_closed(&handle, CloseReason::ProxyInvalid, 1);
        drop(client);
        end(handle);
    }
}

#[test]
fn without_the_setting_a_header_is_what_the_client_says() {
    let handle = serve(Settings::new().set("server.shards", 1));
    let mut client = Client::connect(handle.local_addr());
    client.send(LINE);
    client.expect(b"nothing\n");
    client.expect(LINE);
    drop(client);
    end(handle);
}

#[test]
fn a_header_that_comes_late_ends_the_connection_by_its_own_deadline() {
    let settings = settings("any")
        .set("listener.proxy_timeout", Duration::from_millis(500))
        // Neither of these, nor a request's, is the header's.
        .set("timeouts.request", Duration::from_millis(100))
        .set("timeouts.read", Duration::from_millis(100))
        .set("limits.receive_rate_min", 1_000_000)
        .set("limits.rate_window", Duration::from_secs(1));
    let handle = serve(settings);
    let mut silent = Client::connect(handle.local_addr());
    let mut slow = Client::connect(handle.local_addr());
    let begun = Instant::now();
    let dripping = thread::spawn(move || {
        for byte in LINE {
            if std::io::Write::write_all(slow.stream(), &[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    silent.expect_eof();
    assert!(
        begun.elapsed() >= Duration::from_millis(450),
        "{:?}",
        begun.elapsed()
    );
    dripping.join().unwrap();
    wait_for_closed(&handle, CloseReason::ProxyTimeout, 2);
    assert_eq!(CloseReason::ProxyTimeout.as_str(), "proxy_timeout");
    // Just in time it counts for nothing afterwards.
    let mut client = Client::connect(handle.local_addr());
    thread::sleep(Duration::from_millis(250));
    client.send(LINE);
    let _told = client.receive_line();
    thread::sleep(Duration::from_millis(700));
    client.ask(b"still here", b"still here");
    end(handle);
}

#[test]
fn a_client_behind_a_proxy_has_the_first_byte_timeout_for_its_own_first_byte() {
    let handle = serve(settings("any").set("timeouts.first_byte", Duration::from_secs(1)));
    let mut client = Client::connect(handle.local_addr());
    client.send(LINE);
    let _told = client.receive_line();
    client.expect_eof();
    wait_for_closed(&handle, CloseReason::FirstByteTimeout, 1);
    end(handle);
}

#[test]
fn an_untrusted_peer_is_closed_whatever_it_says() {
    let handle = serve(settings("any"));
    for (count, says) in (1..).zip([&b""[..], LINE, b"PING\r\n"]) {
        let address = handle.local_addr();
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, 4), address);
        let _may_be_closed = std::io::Write::write_all(client.stream(), says);
        wait_for_closed(&handle, CloseReason::ProxyUntrusted, count);
        let (received, _end) = client.receive_all();
        assert!(received.is_empty());
    }
    assert_eq!(CloseReason::ProxyUntrusted.as_str(), "proxy_untrusted");
    let mut trusted = Client::connect_from(Ipv4Addr::new(127, 0, 0, 3), handle.local_addr());
    trusted.send(LINE);
    assert!(trusted.receive_line().starts_with("v1 192.0.2.1"));
    end(handle);
}

#[test]
fn the_cap_of_an_address_is_on_the_clients_and_not_on_the_proxy() {
    let settings = settings("v1")
        .set("limits.connections_per_address_max", 2)
        .set("limits.refuse_with", "too many\n");
    let handle = serve(settings);
    let client = |line: &str| {
        let mut client = Client::connect(handle.local_addr());
        client.send(format!("{line}\r\n").as_bytes());
        let told = client.receive_line();
        (client, told)
    };
    let one = "PROXY TCP4 192.0.2.1 198.51.100.2 1 443";
    let (first, second) = (client(one), client(one));
    assert!(first.1.starts_with("v1") && second.1.starts_with("v1"));
    let (mut third, told) = client(one);
    assert_eq!(told.trim_end(), "too many");
    third.expect_eof();
    wait_for_closed(&handle, CloseReason::AddressLimit, 1);
    let other = client("PROXY TCP4 192.0.2.2 198.51.100.2 1 443");
    let checks: Vec<_> = (0..3).map(|_| client("PROXY UNKNOWN")).collect();
    assert!(other.1.starts_with("v1") && checks.iter().all(|(_, told)| told.starts_with("v1")));
    drop(first);
    within(BOUND, "one that left makes room for one", || {
        client(one).1.starts_with("v1").then_some(())
    });
    drop((second, other, checks));
    end(handle);
}

#[test]
fn a_handler_hears_of_the_end_of_those_alone_that_it_has_served() {
    let left = Left::default();
    let capped = settings("any").set("limits.connections_per_address_max", 1);
    let handle = serve_and_tell(capped, &left);
    let mut served = Client::connect(handle.local_addr());
    served.send(LINE);
    let _told = served.receive_line();
    let mut capped = Client::connect(handle.local_addr());
    capped.send(LINE);
    capped.expect_eof();
    Client::connect(handle.local_addr()).send(b"GET / HTTP/1.1\r\n");
    wait_for_closed(&handle, CloseReason::ProxyInvalid, 1);
    drop(Client::connect(handle.local_addr()));
    wait_for_closed(&handle, CloseReason::PeerClosed, 1);
    let from = Ipv4Addr::new(127, 0, 0, 4);
    drop(Client::connect_from(from, handle.local_addr()));
    wait_for_closed(&handle, CloseReason::ProxyUntrusted, 1);
    let mut local = Client::connect(handle.local_addr());
    local.send(&header(LOCAL, 0, &[]));
    let _told = local.receive_line();
    drop(local);
    wait_for_closed(&handle, CloseReason::PeerClosed, 2);
    drop(served);
    wait_for_closed(&handle, CloseReason::PeerClosed, 3);
    end(handle);
    let client = Some(([192, 0, 2, 1], 56324).into());
    let expected = [None, client].map(|client| (client, CloseReason::PeerClosed));
    assert_eq!(*left.lock().unwrap(), expected);
}

#[test]
fn a_drain_waits_for_a_header_no_longer_than_its_deadline_and_serves_what_came_with_it() {
    let timeout = Duration::from_secs(2);
    let handle = serve(settings("v1").set("listener.proxy_timeout", timeout));
    let mut silent = Client::connect(handle.local_addr());
    let mut begun = Client::connect(handle.local_addr());
    begun.send(&LINE[..9]);
    within(BOUND, "both to be accepted", || {
        (handle.stats().accepted == 2).then_some(())
    });
    handle.drain();
    thread::sleep(Duration::from_millis(200));
    begun.send(&[&LINE[9..], b"a request"].concat());
    let _told = begun.receive_line();
    begun.expect(b"a request");
    begun.expect_eof();
    silent.expect_eof();
    assert_eq!(handle.join().outcome, Ok(()));
}

#[test]
fn a_client_that_only_a_proxy_has_spoken_for_makes_room_for_another() {
    let settings = settings("v1")
        .set("limits.connections_max", 1)
        .set("limits.reclaim", true)
        .set("timeouts.reclaim", Duration::from_millis(100));
    let handle = serve(settings);
    let mut silent = Client::connect(handle.local_addr());
    silent.send(LINE);
    let _told = silent.receive_line();
    let mut next = Client::connect(handle.local_addr());
    next.send(LINE);
    assert!(next.receive_line().starts_with("v1"));
    silent.expect_eof();
    wait_for_closed(&handle, CloseReason::Reclaimed, 1);
    end(handle);
}

#[test]
fn the_log_names_the_client_beside_the_proxy_and_says_why_one_was_refused() {
    let server = Launch::echo()
        .debug()
        .set("server.shards=1")
        .set("listener.proxy=\"any\"")
        .set("listener.proxy_trusted=[\"127.0.0.1\"]")
        .start();
    let mut client = server.connect();
    client.send(LINE);
    client.ask(b"echo", b"echo");
    drop(client);
    let closed = server.wait_for_log("closed", BOUND);
    assert_eq!(
        closed.field("client").as_deref(),
        Some("192.0.2.1:56324"),
        "{}",
        closed.text
    );
    assert!(closed.field("peer").unwrap().starts_with("127.0.0.1:"));
    server.connect().send(b"GET / HTTP/1.1\r\n");
    let refused = server.wait_for_log("no PROXY header that is believed", BOUND);
    assert_eq!(refused.field("why").as_deref(), Some("no PROXY header"));
    server.wait_for_closed("proxy_invalid", 1);
    let counts = server.stop();
    assert_eq!(
        (counts.of("proxy_invalid"), counts.of("peer_closed")),
        (1, 1)
    );
}

#[test]
fn a_header_without_anybody_to_believe_is_no_setting() {
    for (settings, what) in [
        (&["listener.proxy=\"v2\""][..], "nobody is trusted"),
        (
            &["listener.proxy_trusted=[\"10.0.0.0/8\"]"],
            "listener.proxy is \"off\"",
        ),
    ] {
        let launch = settings
            .iter()
            .fold(Launch::bare(tests::Program::Echo), |launch, setting| {
                launch.set(setting)
            });
        let exit = launch.argument("--check").run();
        assert_ne!(exit.code, Some(0));
        assert!(
            exit.stderr.contains(what) && exit.stderr.contains("help:"),
            "{}",
            exit.stderr
        );
    }
}

#[test]
fn curl_says_the_header_and_is_served() {
    needs!("curl");
    let handle = serve(settings("v1"));
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--no-buffer",
        "--haproxy-protocol",
        "--noproxy",
        "*",
        "--max-time",
        "20",
        "--http0.9",
    ])
    .arg(format!("http://{}/", handle.local_addr()))
    .stdin(Stdio::null())
    .stdout(Stdio::piped());
    let mut curl = Ended(curl.spawn().unwrap());
    let mut told = String::new();
    let output = std::io::BufReader::new(curl.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut { output }, &mut told).unwrap();
    assert!(told.starts_with("v1 127.0.0.1:"), "{told}");
    assert!(
        told.contains(&format!(" {} ", handle.local_addr())),
        "{told}"
    );
    drop(curl);
    end(handle);
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// HAProxy in front of `server`, with these words behind its address.
fn haproxy(name: &str, server: SocketAddr, options: &str) -> (Ended, SocketAddr) {
    let free = free_address();
    let text = format!(
        "global\n    maxconn 100\n    nbthread 1\ndefaults\n    mode tcp\n    timeout connect 5s\n    \
         timeout client 30s\n    timeout server 30s\nlisten front\n    bind {free}\n    \
         unique-id-format front-%ci\n    server one {server} {options}\n"
    );
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("haproxy-{name}.cfg"));
    fs::write(&file, text).unwrap();
    let mut command = Command::new("haproxy");
    command
        .args(["-db", "-q", "-f"])
        .arg(&file)
        .stdin(Stdio::null());
    let process = Ended(command.spawn().unwrap());
    within(BOUND, "HAProxy to listen", || connect(free).ok());
    (process, free)
}

#[test]
fn haproxy_passes_its_clients_on_by_either_version() {
    needs!("haproxy");
    let handle = serve(settings("any"));
    for (name, options, version, unique_id) in [
        ("v1", "send-proxy", "v1", "-"),
        ("v2", "send-proxy-v2", "v2", "-"),
        ("crc", "send-proxy-v2 proxy-v2-options crc32c", "v2", "-"),
        (
            "id",
            "send-proxy-v2 proxy-v2-options crc32c,unique-id",
            "v2",
            "front-127.0.0.1",
        ),
    ] {
        let (process, front) = haproxy(name, handle.local_addr(), options);
        let mut client = Client::connect(front);
        let own = client.stream().local_addr().unwrap();
        let told = client.receive_line();
        assert_eq!(
            told.trim_end(),
            format!("{version} {own} {front} - {unique_id}"),
            "{options}"
        );
        client.ask(b"through it", b"through it");
        drop(process);
    }
    assert_eq!(handle.stats().closed(CloseReason::ProxyInvalid), 0);
    end(handle);
}

#[test]
fn health_checks_of_haproxy_are_served_as_its_own() {
    needs!("haproxy");
    let handle = serve(settings("v2"));
    let checked = "send-proxy-v2 check check-send-proxy inter 100ms proxy-v2-options crc32c";
    let (process, _front) = haproxy("check", handle.local_addr(), checked);
    within(BOUND, "checks that were served", || {
        (handle.stats().accepted >= 3).then_some(())
    });
    drop(process);
    assert_eq!(handle.stats().closed(CloseReason::ProxyInvalid), 0);
    end(handle);
}
