//! The promise of the ping server to the clients that people have: they connect with their
//! defaults, because what they say before their first command is answered as a Redis server with
//! one database, no password and no keys answers it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tests::{Client, End, Launch, Random, Redis, Server, have, needs, skip};

/// A bound for what takes two seconds on a machine that is not busy.
const SCRIPT_SECONDS_MAX: &str = "240";

/// Where `make clients` puts them.
fn installed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/clients")
        .join(path)
}

/// Runs a script of tests/clients by `interpreter` against the server at `addr`.
fn run(interpreter: &Path, script: &str, addr: SocketAddr) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(script);
    let mut command = Command::new("timeout");
    command
        .arg(SCRIPT_SECONDS_MAX)
        .arg(interpreter)
        .arg(script)
        .arg(addr.port().to_string());
    command
        .env("NODE_PATH", installed("node/node_modules"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The script must hold against the ping server, and so that it asks for nothing that is not so,
/// against a real Redis server.
fn connects(interpreter: &Path, script: &str) {
    let server = Launch::ping().start();
    let redis = have("redis-server").then(Redis::start);
    for addr in [Some(server.addr()), redis.as_ref().map(Redis::addr)]
        .into_iter()
        .flatten()
    {
        let output = run(interpreter, script, addr);
        let said = [&output.stdout[..], &output.stderr].concat();
        assert!(
            output.status.success(),
            "{script} at {addr}: {}",
            String::from_utf8_lossy(&said)
        );
    }
    let counts = server.stop();
    assert_eq!(counts.of("protocol_error"), 0);
}

#[test]
fn redis_py_connects() {
    needs!("timeout");
    if !installed("python/installed").exists() {
        skip!("needs redis-py: make clients");
    }
    connects(&installed("python/bin/python"), "redis_py.py");
}

#[test]
fn node_redis_connects() {
    needs!("timeout", "node");
    if !installed("node/installed").exists() {
        skip!("needs node-redis: make clients");
    }
    connects(Path::new("node"), "node_redis.mjs");
}

#[test]
fn ioredis_connects() {
    needs!("timeout", "node");
    if !installed("node/installed").exists() {
        skip!("needs ioredis: make clients");
    }
    connects(Path::new("node"), "ioredis.mjs");
}

/// Runs one of Redis's tools against the server.
fn tool(server: &Server, arguments: &[&str]) -> String {
    let port = server.addr().port().to_string();
    let output = Command::new("timeout")
        .args(["60", arguments[0], "-p", &port])
        .args(&arguments[1..])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn redis_cli_speaks_resp3() {
    needs!("redis-cli", "timeout");
    let server = Launch::ping().start();
    let say = |arguments: &[&str]| tool(&server, &[&["redis-cli", "-3"], arguments].concat());
    assert_eq!(say(&["ping"]), "PONG\n");
    assert_eq!(say(&["echo", "two words"]), "two words\n");
    assert_eq!(say(&["client", "getname"]), "\n");
    assert_eq!(
        say(&[
            "-n",
            "0",
            "--user",
            "default",
            "--pass",
            "any",
            "--no-auth-warning",
            "ping"
        ]),
        "PONG\n"
    );
    assert!(say(&["hello"]).contains("proto 3\n"));
    assert!(say(&["info"]).contains("loading:0"));
    assert!(
        say(&[
            "--user",
            "bob",
            "--pass",
            "any",
            "--no-auth-warning",
            "ping"
        ])
        .contains("WRONGPASS")
    );
    server.stop();
}

#[test]
fn redis_benchmark_speaks_resp3() {
    needs!("redis-benchmark", "timeout");
    let server = Launch::ping().start();
    let said = tool(
        &server,
        &[
            "redis-benchmark",
            "-3",
            "-t",
            "ping",
            "-q",
            "-n",
            "20000",
            "-P",
            "4",
        ],
    );
    assert!(
        !said.contains("rror") && said.matches("requests per second").count() == 2,
        "{said}"
    );
    server.stop();
}

/// All that is answered to `input`, until the server closes; without what Redis may choose: a
/// client's number, and its own version.
fn answer(addr: SocketAddr, input: &[u8]) -> String {
    let mut client = Client::connect(addr);
    client.send(input);
    client.half_close();
    let (answer, end) = client.receive_all();
    assert_eq!(end, End::Eof, "{}", input.escape_ascii());
    let answer = answer.escape_ascii().to_string();
    let without_id = masked(&answer, "$2\\r\\nid\\r\\n:", "\\r\\n$4\\r\\nmode");
    masked(&without_id, "$7\\r\\nversion\\r\\n", "\\r\\n$5\\r\\nproto")
}

/// `text` without what stands between `before` and `after`.
fn masked(text: &str, before: &str, after: &str) -> String {
    let mut pieces = text.split(before);
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |masked, piece| {
        masked + before + piece.split_once(after).map_or(piece, |(_, rest)| rest)
    })
}

fn compare(server: &Server, redis: &Redis, input: &[u8]) {
    let (ours, theirs) = (answer(server.addr(), input), answer(redis.addr(), input));
    assert!(
        ours == theirs,
        "to   {}\nours {ours}\nhis  {theirs}",
        input.escape_ascii()
    );
}

#[test]
fn a_connection_is_set_up_as_by_a_real_redis_server() {
    needs!("redis-server");
    let (server, redis) = (Launch::ping().start(), Redis::start());
    let lines = [
        "HELLO",
        "HELLO 2",
        "HELLO 3",
        "hello 3 auth default any setname me",
        "HELLO 3 SETNAME me AUTH default any",
        "HELLO 3 SETNAME you SETNAME me",
        "HELLO 2 SETNAME \"\"",
        "HELLO 3 SETNAME \"a b\"",
        "HELLO 3 SETNAME \"a b\" AUTH bob x",
        "HELLO 3 SETNAME",
        "HELLO 3 AUTH",
        "HELLO 3 AUTH default",
        "HELLO 3 AUTH bob x",
        "HELLO 3 AUTH default x AUTH bob x",
        "HELLO 3 AUTH Default x",
        "HELLO 3 AUTH bob x SETNAME me",
        "HELLO 3 SETNAME me AUTH bob x",
        "HELLO 3 SETNAME me no",
        "HELLO 3 no",
        "HELLO 3 \"a\\r\\nb\\n\"",
        "HELLO 3 \"a\\x00b\"",
        "HELLO 3 \"SETNAME\\x00\" me",
        "HELLO 1",
        "HELLO 4",
        "HELLO 4 SETNAME \"a b\"",
        "HELLO -3",
        "HELLO three",
        "HELLO 03",
        "HELLO \"3 \"",
        "HELLO \"\"",
        "HELLO 9223372036854775807",
        "HELLO 9223372036854775808",
        "HELLO AUTH default any",
        "AUTH",
        "AUTH any",
        "AUTH default any",
        "AUTH default \"\"",
        "AUTH DEFAULT any",
        "AUTH bob any",
        "AUTH a b c",
        "SELECT",
        "SELECT 0",
        "select 0 1",
        "SELECT 1",
        "SELECT -1",
        "SELECT x",
        "SELECT 00",
        "SELECT 2147483647",
        "SELECT 2147483648",
        "SELECT -2147483649",
        "SELECT 9223372036854775808",
        "RESET",
        "RESET now",
        "CLIENT",
        "CLIENT zz",
        "CLIENT zz a b c d",
        "CLIENT \"\"",
        "CLIENT \"a\\r\\nb\\n\"",
        "CLIENT \"a\\x00b\"",
        // Redis takes "ID\\x00" for ID where its table of subcommands, which is hashed by chance, has both at one place.
        "CLIENT \"I\\x00D\"",
        "CLIENT ID now",
        "CLIENT GETNAME",
        "client getname now",
        "CLIENT SETNAME",
        "CLIENT SETNAME me",
        "CLIENT SETNAME \"\"",
        "CLIENT SETNAME a b",
        "CLIENT SETNAME \"a b\"",
        "CLIENT SETNAME \"a\\nb\"",
        "CLIENT SETNAME \"a\\x00b\"",
        "CLIENT SETNAME \"\\x7f\"",
        "CLIENT SETNAME \"\\xc3\\xa9\"",
        "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip",
        "COMMAND zz",
        "COMMAND \"a\\r\\nb\"",
        "COMMAND COUNT now",
        "COMMAND DOCS zz",
        "INFO zz",
        "INFO cluster",
        "info CLUSTER zz Cluster",
    ];
    for line in lines {
        // In both protocols, and what came of it: its name and its protocol, before a reset and
        // behind it.
        for protocol in [2, 3] {
            let input = format!(
                "HELLO {protocol}\r\n{line}\r\nCLIENT GETNAME\r\nHELLO\r\nPING\r\nECHO x\r\nPING y\r\nRESET\r\nCLIENT GETNAME\r\nHELLO\r\n"
            );
            compare(&server, &redis, input.as_bytes());
        }
    }
    let (long, longest) = ("z".repeat(200), "n".repeat(256));
    for line in [
        format!("CLIENT {long}"),
        format!("HELLO 3 {long}"),
        format!("HELLO 3 SETNAME {longest}"),
        format!("COMMAND {long}"),
    ] {
        compare(
            &server,
            &redis,
            format!("{line}\r\nCLIENT GETNAME\r\n").as_bytes(),
        );
    }
    server.stop();
}

#[test]
fn random_ways_to_set_up_a_connection_are_answered_as_by_a_real_redis_server() {
    const COMMANDS: [&str; 8] = [
        "HELLO",
        "HELLO 2",
        "HELLO 3",
        "CLIENT",
        "AUTH",
        "SELECT",
        "RESET",
        "COMMAND COUNT x",
    ];
    const WORDS: [&str; 18] = [
        "2",
        "3",
        "4",
        "0",
        "-1",
        "x",
        "AUTH",
        "auth",
        "default",
        "bob",
        "SETNAME",
        "setname",
        "me",
        "\"\"",
        "\"a b\"",
        "GETNAME",
        "getname",
        "\"\\x00\\r\\n\"",
    ];
    needs!("redis-server");
    let (server, redis) = (Launch::ping().start(), Redis::start());
    let mut random = Random::new();
    for _ in 0..2000 {
        let lines = (0..1 + random.below(6)).map(|_| {
            let command = COMMANDS[random.below(COMMANDS.len())];
            let words: String = (0..random.below(6))
                .map(|_| format!(" {}", WORDS[random.below(WORDS.len())]))
                .collect();
            format!("{command}{words}\r\nCLIENT GETNAME\r\n")
        });
        let input: String = lines.collect();
        compare(&server, &redis, input.as_bytes());
    }
    server.stop();
}

#[test]
fn a_client_may_tell_its_library_as_to_redis_7_2() {
    let server = Launch::ping().start();
    let mut client = server.connect();
    client.ask(
        b"CLIENT SETINFO LIB-NAME node-redis\r\nclient setinfo lib-ver 6.3.1\r\n",
        b"+OK\r\n+OK\r\n",
    );
    client.ask(
        b"CLIENT SETINFO lib-ver \"6 3\"\r\n",
        b"-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n",
    );
    client.ask(
        b"CLIENT SETINFO lib x\r\n",
        b"-ERR Unrecognized option 'lib'\r\n",
    );
    client.ask(
        b"CLIENT SETINFO lib-ver\r\n",
        b"-ERR wrong number of arguments for 'client|setinfo' command\r\n",
    );
    server.stop();
}

#[test]
fn there_are_no_commands_to_know() {
    let server = Launch::ping().start();
    let mut client = server.connect();
    client.ask(
        b"COMMAND\r\nCOMMAND COUNT\r\nCOMMAND DOCS\r\n",
        b"*0\r\n:0\r\n*0\r\n",
    );
    client.send(b"HELLO 3\r\n");
    while client.receive_line() != "*0\r" {}
    client.ask(
        b"COMMAND\r\nCOMMAND COUNT\r\nCOMMAND DOCS ping\r\n",
        b"*0\r\n:0\r\n%0\r\n",
    );
    server.stop();
}

/// The lines of an answer to `INFO`.
fn info(addr: SocketAddr, command: &str) -> Vec<String> {
    let mut client = Client::connect(addr);
    client.send(format!("{command}\r\nQUIT\r\n").as_bytes());
    let (answer, _) = client.receive_all();
    let text = String::from_utf8(answer).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("redis_version:"));
    lines.skip(1).map(str::to_owned).collect()
}

#[test]
fn info_says_what_a_ready_check_asks_and_nothing_that_redis_does_not_say() {
    needs!("redis-server");
    let (server, redis) = (Launch::ping().start(), Redis::start());
    let asked = [
        "# Server",
        "redis_mode:standalone",
        "# Persistence",
        "loading:0",
        "# Replication",
        "role:master",
        "connected_slaves:0",
    ];
    for (command, least) in [
        ("INFO", &asked[..]),
        ("INFO everything", &asked[..]),
        ("INFO server replication", &asked[..2]),
    ] {
        let (ours, theirs) = (info(server.addr(), command), info(redis.addr(), command));
        assert!(
            least
                .iter()
                .all(|line| ours.iter().any(|ours| ours == line)),
            "{command}: {ours:?}"
        );
        // In his order, too.
        let mut rest = theirs.iter();
        assert!(
            ours.iter().all(|line| rest.any(|theirs| theirs == line)),
            "{command}:\nours {ours:?}\nhis  {theirs:?}"
        );
    }
    assert!(!info(server.addr(), "INFO server").contains(&"loading:0".to_owned()));
    server.stop();
}

#[test]
fn no_two_clients_have_one_number() {
    const CLIENTS: usize = 60;
    let server = Launch::ping().set("server.shards=3").start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    let mut number = |client: &mut Client| {
        client.send(b"CLIENT ID\r\n");
        client.receive_line()
    };
    let numbers: Vec<String> = clients.iter_mut().map(&mut number).collect();
    let again: Vec<String> = clients.iter_mut().map(&mut number).collect();
    assert_eq!(numbers, again);
    assert_eq!(
        numbers.iter().collect::<BTreeSet<_>>().len(),
        CLIENTS,
        "{numbers:?}"
    );
    assert!(numbers.iter().all(|number| {
        number
            .trim_end()
            .strip_prefix(':')
            .is_some_and(|number| number.parse::<u64>().is_ok_and(|number| number > 0))
    }));
    server.stop();
}

#[test]
fn a_name_has_a_bound() {
    let server = Launch::ping().start();
    let mut client = server.connect();
    let longest = "n".repeat(256);
    client.ask(
        format!("CLIENT SETNAME {longest}\r\n").as_bytes(),
        b"+OK\r\n",
    );
    for refused in [
        format!("CLIENT SETNAME {longest}n\r\n"),
        format!("HELLO 3 SETNAME {longest}n\r\n"),
    ] {
        client.ask(
            refused.as_bytes(),
            b"-ERR Client names cannot be longer than 256 bytes\r\n",
        );
    }
    client.ask(
        b"CLIENT GETNAME\r\n",
        format!("$256\r\n{longest}\r\n").as_bytes(),
    );
    server.stop();
}

/// A thousand ECHOs of 10 KB, and their answers.
fn pipeline() -> (Vec<u8>, Vec<u8>) {
    let text = "x".repeat(10_000);
    (
        format!("*2\r\n$4\r\nECHO\r\n$10000\r\n{text}\r\n")
            .repeat(1000)
            .into(),
        format!("$10000\r\n{text}\r\n").repeat(1000).into(),
    )
}

#[test]
fn a_pipeline_that_is_written_whole_before_it_is_read_wants_room_for_its_answers() {
    let server = Launch::ping()
        .set("limits.write_queue_max=16777216")
        .start();
    let (requests, answers) = pipeline();
    server.connect().ask(&requests, &answers);
    server.stop();
}

#[test]
fn a_pipeline_whose_answers_have_no_room_ends_at_the_write_deadline() {
    let server = Launch::ping()
        .debug()
        .set("timeouts.write=\"500ms\"")
        .set("limits.write_queue_max=65536")
        .start();
    let mut client = server.connect();
    let (requests, _) = pipeline();
    // The kernel's buffers grow to some 10 MB, which is all of one.
    let failed = (0..10).any(|_| client.stream().write_all(&requests).is_err());
    assert!(failed, "the kernel took all of it");
    server.wait_for_closed("write_timeout", 1);
    server.stop();
}
