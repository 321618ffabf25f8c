//! The promise of the ping server: to Redis's own tools and to any client it answers `PING`, `ECHO`
//! and `QUIT` with the bytes a Redis server would send, and no bytes at all can bring it down.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tests::{
    BOUND, Client, End, Launch, Random, Redis as RedisAtPort, Server, needs, resident_bytes, within,
};

/// Runs one of Redis's tools against the server; `timeout` bounds it.
fn tool(server: &Server, name: &str, arguments: &[&str]) -> Output {
    let address = server.addr();
    Command::new("timeout")
        .args([
            "60",
            name,
            "-h",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn redis_cli_is_answered() {
    needs!("redis-cli", "timeout");
    let server = Launch::ping().start();
    let say = |arguments: &[&str]| {
        let output = tool(&server, "redis-cli", arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(say(&["ping"]), "PONG\n");
    assert_eq!(say(&["ping", "hello"]), "hello\n");
    assert_eq!(say(&["echo", "two words"]), "two words\n");
    assert_eq!(say(&["quit"]), "OK\n");
    assert!(say(&["get", "key"]).starts_with("ERR unknown command 'get'"));
    server.stop();
}

#[test]
fn redis_cli_in_a_terminal_is_answered() {
    needs!("redis-cli", "script", "timeout");
    let server = Launch::ping().start();
    let address = server.addr();
    // In a terminal redis-cli asks for COMMAND DOCS first, and lives with an error.
    let (ip, port) = (address.ip(), address.port());
    let command = format!("timeout --foreground 20 redis-cli -h {ip} -p {port}");
    let mut session = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "dumb") // or it would ask the terminal for its size
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    session
        .stdin
        .take()
        .unwrap()
        .write_all(b"ping\r\nexit\r\n")
        .unwrap();
    let output = session.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("PONG"), "{text}");
    server.stop();
}

fn benchmark(arguments: &[&str]) {
    let server = Launch::ping().alone().start();
    let output = tool(
        &server,
        "redis-benchmark",
        &[&["-t", "ping", "-q"], arguments].concat(),
    );
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{}", text.replace('\r', "\n"));
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("Error"), "{text}");
    for test in ["PING_INLINE", "PING_MBULK"] {
        let result = format!("{test}: ");
        assert!(
            text.contains(&result) && text.contains("requests per second"),
            "{text}"
        );
    }
    server.stop();
}

#[test]
fn redis_benchmark_meets_no_error() {
    needs!("redis-benchmark", "timeout");
    benchmark(&["-n", "100000"]);
}

#[test]
fn redis_benchmark_meets_no_error_with_a_pipeline() {
    needs!("redis-benchmark", "timeout");
    benchmark(&["-n", "400000", "-P", "16"]);
}

#[test]
fn redis_benchmark_meets_no_error_with_a_thousand_connections() {
    needs!("redis-benchmark", "timeout");
    benchmark(&["-n", "100000", "-c", "1000"]);
}

#[test]
fn a_pipeline_is_answered_by_one_send() {
    let server = Launch::ping().start();
    let mut client = server.connect();
    let mut first = [0; 1000];
    for _ in 0..100 {
        client.send(&b"PING\r\n".repeat(16));
        let length = client.stream().read(&mut first).unwrap();
        assert_eq!(
            first[..length].escape_ascii().to_string(),
            "+PONG\\r\\n".repeat(16)
        );
    }
    server.stop();
}

#[test]
fn a_pipeline_longer_than_every_queue_is_answered() {
    let server = Launch::ping().start();
    let mut client = server.connect();
    let mut writer = client.stream().try_clone().unwrap();
    let requests = 200_000;
    let sender = std::thread::spawn(move || {
        writer
            .write_all(&b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n".repeat(requests))
            .unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    client.expect(&b"$5\r\nhello\r\n".repeat(requests));
    client.expect_eof();
    sender.join().unwrap();
    server.stop();
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let server = Launch::ping().start();
    let mut client = server.connect();
    for request in [
        &b"PING\r\n"[..],
        b"*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n",
        b"ECHO \"a b\"\n",
    ] {
        for byte in request {
            client.send(&[*byte]);
        }
    }
    client.expect(b"+PONG\r\n$2\r\nhi\r\n$3\r\na b\r\n");
    server.stop();
}

#[test]
fn an_error_of_the_protocol_is_told_and_the_connection_closed() {
    let server = Launch::ping().start();
    let refusals: [(&[u8], &str); 9] = [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*4294967295\r\n", "invalid multibulk length"),
        (b"*1\r\nx\r\n", "expected '$', got 'x'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$4294967295\r\n", "invalid bulk length"),
        (b"PING \"a\r\n", "unbalanced quotes in request"),
        (&[b'x'; 70_000], "too big inline request"),
        (&[b'*'; 70_000], "too big mbulk count string"),
        (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
    ];
    for (request, why) in &refusals {
        let mut client = server.connect();
        client.ask(b"PING\r\n", b"+PONG\r\n");
        client.send(request);
        client.expect(format!("-ERR Protocol error: {why}\r\n").as_bytes());
        client.expect_eof();
    }
    let counts = server.stop();
    assert_eq!(counts.of("protocol_error"), refusals.len() as u64);
}

#[test]
fn quit_is_confirmed_and_nothing_behind_it_is_answered() {
    let server = Launch::ping().start();
    let mut client = server.connect();
    client.send(b"PING\r\nQUIT\r\nPING\r\n");
    let (bytes, end) = client.receive_all();
    assert_eq!((&bytes[..], end), (&b"+PONG\r\n+OK\r\n"[..], End::Eof));
    assert_eq!(server.stop().of("handler_closed"), 1);
}

#[test]
fn random_garbage_never_kills_the_server() {
    const CONNECTIONS: usize = 3000;
    let server = Launch::ping().alone().start();
    let mut random = Random::new();
    let before = resident_bytes(server.pid());
    for _ in 0..CONNECTIONS {
        let mut client = server.connect();
        let length = random.below(5000);
        // The server may close before it has everything.
        let _ = client.stream().write_all(&random.bytes(length));
        let _ = client.stream().shutdown(Shutdown::Write);
        drop(client);
    }
    server.connect().ask(b"PING\r\n", b"+PONG\r\n");
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(
        grown < (16 << 20) * u64::from(tests::slack()),
        "grew by {grown} bytes"
    );
    let lines = server.log().lines().len();
    assert!(lines < 100, "garbage filled the log with {lines} lines");
    assert!(server.stop().accepted > CONNECTIONS as u64);
}

/// Fails the test unless the next line is `+PONG` and a time in microseconds.
fn expect_time(client: &mut Client) {
    let line = receive_line(client);
    let time = line
        .strip_prefix("+PONG ")
        .and_then(|rest| rest.strip_suffix(" us\r\n"));
    assert!(
        time.is_some_and(|time| time.parse::<u64>().is_ok()),
        "{line:?}"
    );
}

fn receive_line(client: &mut Client) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.extend(client.receive(1));
    }
    String::from_utf8(line).unwrap()
}

fn passing_on_to(upstream: std::net::SocketAddr) -> Server {
    Launch::ping()
        .set("server.shards=1")
        .set(&format!("upstream.next.addr=\"{upstream}\""))
        .start()
}

#[test]
fn ping_is_passed_on_and_answered_with_the_time_it_took() {
    let upstream = Launch::ping().set("server.shards=1").start();
    let middle = passing_on_to(upstream.addr());
    let server = passing_on_to(middle.addr());
    for server in [&middle, &server] {
        let mut client = server.connect();
        for _ in 0..100 {
            client.send(b"PING\r\n");
            expect_time(&mut client);
        }
        client.ask(
            b"PING hello\r\nECHO you\r\n",
            b"$5\r\nhello\r\n$3\r\nyou\r\n",
        );
        client.send(&b"*1\r\n$4\r\nPING\r\n".repeat(100));
        (0..100).for_each(|_| expect_time(&mut client));
    }
    server.stop();
    middle.stop();
    // One request after the other: they share one connection.
    assert_eq!(upstream.stop().of("peer_closed"), 1);
}

#[test]
fn an_upstream_that_fails_is_an_error_and_the_client_goes_on() {
    needs!("redis-server");
    let mut redis = RedisAtPort::start();
    let server = passing_on_to(redis.addr());
    let mut client = server.connect();
    client.send(b"PING\r\n");
    expect_time(&mut client);
    redis.kill();
    let refused = format!(
        "-ERR upstream next: cannot connect to {}: Connection refused (os error 111)\r\n",
        redis.addr()
    );
    within(BOUND, "the failure is told", || {
        client.send(b"PING\r\n");
        let line = receive_line(&mut client);
        assert!(line.starts_with("-ERR upstream next: "), "{line}");
        (line == refused).then_some(())
    });
    client.ask(b"ECHO hello\r\n", b"$5\r\nhello\r\n");
    redis.start_again();
    within(
        std::time::Duration::from_secs(1) * tests::slack(),
        "the upstream is found again",
        || {
            client.send(b"PING\r\n");
            receive_line(&mut client)
                .starts_with("+PONG ")
                .then_some(())
        },
    );
    server.stop();
}

#[test]
fn an_upstream_that_does_not_speak_redis_is_named() {
    let upstream = Launch::echo().start();
    let server = passing_on_to(upstream.addr());
    let mut client = server.connect();
    client.ask(b"PING\r\n", b"-ERR upstream next: answered *1\r\n");
    client.ask(b"ECHO hello\r\n", b"$5\r\nhello\r\n");
    server.stop();
}

/// Answers one connection as a proxy that takes no inline commands, and gives what it was sent.
fn without_inline_commands(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 64];
    let length = stream.read(&mut request).unwrap();
    let is_array = request.starts_with(b"*");
    stream
        .write_all(if is_array {
            b"+PONG\r\n"
        } else {
            b"-ERR inline commands are not supported\r\n"
        })
        .unwrap();
    request[..length].to_vec()
}

#[test]
fn ping_is_passed_on_as_an_array() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = passing_on_to(listener.local_addr().unwrap());
    let upstream = std::thread::spawn(move || without_inline_commands(&listener));
    let mut client = server.connect();
    client.send(b"PING\r\n");
    expect_time(&mut client);
    assert_eq!(
        upstream.join().unwrap().escape_ascii().to_string(),
        "*1\\r\\n$4\\r\\nPING\\r\\n"
    );
    server.stop();
}

/// A real Redis server on a socket in a directory of its own.
struct Redis {
    child: Child,
    directory: PathBuf,
}

impl Redis {
    fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "redis-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        fs::create_dir_all(&directory).unwrap();
        let child = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--unixsocket",
                "socket",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .current_dir(&directory)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self { child, directory };
        within(BOUND, "redis-server listens", || redis.connect().ok());
        redis
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        // Relative to a descriptor, because the path of a socket must be short.
        let directory = fs::File::open(&self.directory)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
        let stream = UnixStream::connect(format!("/proc/self/fd/{number}/socket"))?;
        stream.set_read_timeout(Some(BOUND))?;
        Ok(stream)
    }

    /// All that Redis answers to `input`, and whether it closed by itself.
    fn answer(&self, input: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().unwrap();
        let mut answer = Vec::new();
        // It closes, and no longer reads, after an error of the protocol.
        let _ = stream.write_all(input);
        let _ = stream.shutdown(Shutdown::Write);
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("redis: {error}"),
            _ => answer,
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn answer(server: &Server, input: &[u8]) -> Vec<u8> {
    let mut client: Client = server.connect();
    client.send(input);
    client.half_close();
    let (answer, end) = client.receive_all();
    assert_eq!(end, End::Eof, "{}", input.escape_ascii());
    answer
}

fn compare(server: &Server, redis: &Redis, input: &[u8]) {
    let (ours, theirs) = (answer(server, input), redis.answer(input));
    assert!(
        ours == theirs,
        "to   {}\nours {}\nhis  {}",
        input.escape_ascii(),
        ours.escape_ascii(),
        theirs.escape_ascii()
    );
}

#[test]
fn the_replies_are_those_of_a_real_redis_server() {
    needs!("redis-server");
    let (server, redis) = (Launch::ping().start(), Redis::start());
    let long = "a".repeat(200);
    let near = "a".repeat(124);
    let inputs = [
        "PING\r\n",
        "ping\n",
        "PiNg hello\r\n",
        "PING a b\r\n",
        "ECHO\r\n",
        "ECHO x\r\n",
        "ECHO x y\r\n",
        "QUIT\r\nPING\r\n",
        "quit now\r\n",
        "zz a b\r\n",
        "zz\r\n",
        "\r\n\n  \r\nPING\r\n",
        "*0\r\nPING\r\n",
        "*-1\r\nPING\r\n",
        "*-9223372036854775808\r\nPING\r\n",
        "*-9223372036854775809\r\nPING\r\n",
        "*00\r\n",
        "*+1\r\n",
        "*\r\n",
        "*x\r\n",
        "*1 \r\n",
        "*-0\r\n",
        "*4294967295\r\n",
        "*9223372036854775808\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n\r\n",
        "*1\r\n\n\r\n",
        "*1\r\nPING\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$4294967295\r\n",
        "*1\r\n$\r\n",
        "*1\r\n$ 4\r\n",
        "*1\r\n$0\r\n\r\n",
        "*1\r\n$4\r\nPINGxy*1\r\n$4\r\nPING\r\n",
        "*1\rX$4\rXPING\r\n",
        "*2\r\n$4\r\nPING\r\n$0\r\n\r\n",
        "*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n",
        "PING \"a b\"\r\n",
        "PING \"a\r\n",
        "PING 'a\r\n",
        "PING \"a\"b\r\n",
        "PING a\"b c\"\r\n",
        "PING \"\\x41\\n\\q\\\"z\\x4\"\r\n",
        "PING 'it\\'s \\n'\r\n",
        "PI\"NG\"\r\n",
        "\"\" x\r\n",
        "PING \"\"\r\n",
        "PING '' ''\r\n",
        "POST / HTTP/1.1\r\nPING\r\n",
        "host: x\r\nPING\r\n",
        "PING\x0bx\r\n",
        "PING \x0b\x0cx\r\n",
        "PING\rx\r\n",
        "PING x\ry\r\n",
        "PING x\r\r\n",
        "PING \"a\"\x0bb\r\n",
        "PING a\x0b\r\n",
        "zz \"\\r\\nx\\n\" b\r\n",
        "\"\\x00PING\" a\r\n",
        "zz \"x\\x00y\" b\r\n",
        "PING\r\nPING \"\r\nPING\r\n",
        "*3\r\n$2\r\nzz\r\n$3\r\na\r\n\r\n$1\r\nb\r\n",
        // Not `PING\0`: Redis finds commands by hash and then compares up to the first zero, so its
        // answer depends on a seed of the process.
        "*2\r\n$4\r\nECHO\r\n$3\r\na\0b\r\n",
        "*2\r\n$3\r\nz\0z\r\n$3\r\na\0b\r\n",
        "PING",
        "*1\r\n$4\r\nPIN",
        "*2\r\n$4\r\nPING\r\n",
        "",
        "\r",
        "*",
        "*1",
        "*1\r\n$",
    ];
    for input in inputs {
        compare(&server, &redis, input.as_bytes());
    }
    for input in [
        format!("zz {long} b\r\n"),
        format!("zz {near} bbbb c\r\n"),
        format!("zz {near}a b c\r\n"),
        format!("zz {near}aaaa b c\r\n"),
        format!("{long} a\r\n"),
        format!("zz {}\r\n", "a ".repeat(100)),
        format!("ECHO {}\r\n", long.repeat(50)),
    ] {
        compare(&server, &redis, input.as_bytes());
    }
    compare(&server, &redis, b"PI\xcdNG \xff\x01\r\n");
    compare(&server, &redis, b"*1\r\n\xff\r\n");
    server.stop();
}

#[test]
fn random_requests_get_the_replies_of_a_real_redis_server() {
    needs!("redis-server");
    let redis = Redis::start();
    // As generous as Redis, so that only the protocol decides.
    let server = Launch::ping()
        .set("app.arguments_max=1048576")
        .set("app.bulk_max=67108864")
        .start();
    let mut random = Random::new();
    for _ in 0..5000 {
        let input: Vec<u8> = (0..1 + random.below(4))
            .flat_map(|_| request(&mut random))
            .collect();
        compare(&server, &redis, &input);
    }
    server.stop();
}

/// Something between a well-formed request and garbage. Never a NUL, at which Redis
/// waits for ever, and no command that Redis knows and we do not.
fn request(random: &mut Random) -> Vec<u8> {
    const NAMES: [&str; 8] = ["PING", "ping", "ECHO", "eCHo", "PING", "ECHO", "zz", "QUIT"];
    const GARBAGE: &[u8] = b"\"\"''\\\\x4n \t\x0b$*:-019az\xff\r";
    let garbage = |random: &mut Random, length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| GARBAGE[random.below(GARBAGE.len())])
            .collect()
    };
    let name = NAMES[random.below(NAMES.len())];
    let end = if random.below(2) == 0 { "\r\n" } else { "\n" };
    match random.below(8) {
        0..3 => {
            let words: Vec<Vec<u8>> = (0..random.below(4))
                .map(|_| {
                    let longest = if random.below(8) == 0 { 200 } else { 6 };
                    let length = random.below(longest);
                    random
                        .bytes(length)
                        .into_iter()
                        .map(|byte| byte.max(1))
                        .collect()
                })
                .collect();
            let mut text =
                format!("*{}\r\n${}\r\n{name}\r\n", words.len() + 1, name.len()).into_bytes();
            for word in words {
                text.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                text.extend_from_slice(&word);
                text.extend_from_slice(b"\r\n");
            }
            text
        }
        3..6 => {
            let length = random.below(20);
            [
                name.as_bytes(),
                b" ",
                &garbage(random, length),
                end.as_bytes(),
            ]
            .concat()
        }
        6 => {
            let length = random.below(12);
            [b"zz", &garbage(random, length)[..], end.as_bytes()].concat()
        }
        _ => {
            let length = random.below(6);
            [b"*", &garbage(random, length)[..], b"\r\n"].concat()
        }
    }
}
