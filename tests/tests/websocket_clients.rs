//! Ends of WebSocket that others have written: `websockets` of Python at both ends, `ws` of Node,
//! Chromium, and the cases of the Autobahn test suite, as kosoku drives them.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tests::websocket::{Socket, close, frame};
use tests::{BOUND, Launch, Server, needs, skip};

/// A bound for what takes seconds on a machine that is not busy.
const SCRIPT_SECONDS_MAX: &str = "240";

/// Where `make clients` puts them.
fn installed(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients");
    root.join(path)
}

fn script(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    root.join(name)
}

fn server() -> Launch {
    Launch::sockets()
        .set("app.websocket.deflate=true")
        .set("app.websocket.message_max=20000000")
        .set("app.websocket.subprotocols=['v1', 'v2']")
}

fn run(interpreter: &Path, name: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command
        .arg(SCRIPT_SECONDS_MAX)
        .arg(interpreter)
        .arg(script(name));
    command
        .args(arguments)
        .env("NODE_PATH", installed("node/node_modules"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn holds(interpreter: &Path, name: &str, arguments: &[&str]) -> String {
    let output = run(interpreter, name, arguments);
    let (said, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{name}: {said}{err}");
    said
}

fn port(server: &Server) -> String {
    server.addr().port().to_string()
}

#[test]
fn the_library_of_python_speaks_with_the_server() {
    needs!("timeout");
    if !installed("python/bin/websockets").exists() {
        skip!("needs websockets: make clients");
    }
    let server = server().start();
    holds(
        &installed("python/bin/python"),
        "websockets_py.py",
        &[&port(&server)],
    );
    assert_eq!(
        server.stop().of("protocol_error"),
        1,
        "the strange page alone"
    );
}

#[test]
fn the_library_of_node_speaks_with_the_server() {
    needs!("timeout", "node");
    if !installed("node/node_modules/ws").exists() {
        skip!("needs ws: make clients");
    }
    let server = server().start();
    holds(Path::new("node"), "ws.mjs", &[&port(&server)]);
    assert_eq!(server.stop().of("protocol_error"), 0);
}

/// Our client with a server that others have written, compressed and not.
#[test]
fn the_client_speaks_with_the_library_of_python() {
    needs!("timeout");
    if !installed("python/bin/websockets").exists() {
        skip!("needs websockets: make clients");
    }
    let mut other = Command::new(installed("python/bin/python"))
        .arg(script("websockets_server.py"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    let said = other.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut port).unwrap();
    for deflate in [false, true] {
        let server = Launch::sockets()
            .set(&format!("app.upstream='127.0.0.1:{}'", port.trim()))
            .set(&format!("app.websocket.deflate={deflate}"))
            .set("limits.outbound_per_shard_max=10")
            .start();
        let mut socket = Socket::open(&server, "/relay");
        for size in [0, 1, 125, 126, 65_535, 65_536, 900_000] {
            let message: Vec<u8> = (0..size).map(|place: usize| (place % 7) as u8).collect();
            socket.send(&frame(0x82, &message));
            socket.expect(0x82, &message);
        }
        for (said, answer) in [("ping", "ping"), ("fragments", "in fragments")] {
            socket.send(&frame(0x81, said.as_bytes()));
            socket.expect(0x81, answer.as_bytes());
        }
        socket.send(&frame(0x81, b"close"));
        socket.expect(0x88, b"\x0f\xa2as asked");
        socket.send(&close(4002, ""));
        server.stop();
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

/// All cases of frames, pings, fragments, UTF-8 and closing, and some of the large and of the compressed
/// ones, each of which sends a thousand messages. kosoku 0.1 cannot run the compressed ones of text.
#[test]
fn the_cases_of_autobahn_hold() {
    needs!("timeout");
    if !installed("python/bin/kosoku").exists() {
        skip!("needs kosoku: make clients");
    }
    let server = server().start();
    let reports = std::env::temp_dir().join(format!("corelane-autobahn-{}", std::process::id()));
    let directory = reports.to_str().unwrap();
    let port = port(&server);
    let mut arguments = vec![port.as_str(), directory];
    arguments.extend(["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]);
    arguments.extend([
        "9.1.1", "9.2.1", "9.3.9", "9.4.9", "9.5.6", "9.6.6", "9.7.1", "9.8.1",
    ]);
    arguments.extend(["12.3.5", "12.3.7", "12.3.12", "12.4.4", "12.4.15"]);
    let run = holds(&installed("python/bin/python"), "autobahn.py", &arguments);
    let count: u32 = run.trim().parse().unwrap();
    assert!(count >= 255, "{count} cases");
    std::fs::remove_dir_all(&reports).unwrap();
    is_served(&server);
    server.stop();
}

fn is_served(server: &Server) {
    let mut socket = Socket::open(server, "/");
    socket.send(&frame(0x81, b"hello"));
    socket.expect(0x81, b"hello");
}

/// Chromium with this page, until it is dropped.
struct Browser {
    process: Child,
    directory: PathBuf,
}

impl Browser {
    /// Shows a page whose script connects to `/hall` of `server`, says what was agreed to, and then
    /// how much it has heard.
    fn open(server: &Server, name: &str) -> Self {
        let directory = std::env::temp_dir();
        let directory = directory.join(format!("corelane-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let page = directory.join("page.html");
        let script = format!(
            "const ws = new WebSocket('ws://{}/hall', ['v2']);\
             ws.onopen = () => ws.send(ws.protocol + ' ' + ws.extensions);\
             ws.onmessage = (m) => {{ if (m.data.startsWith('x')) ws.send('heard ' + m.data.length); }};",
            server.addr()
        );
        std::fs::write(&page, format!("<script>{script}</script>")).unwrap();
        let process = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .arg(format!("--user-data-dir={}", directory.display()))
            .arg(format!("file://{}", page.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, directory }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        _ = std::fs::remove_dir_all(&self.directory); // its children may be about to end
    }
}

/// A page of another host may not connect, one that is named may. A file has the origin `null`.
#[test]
fn chromium_speaks_with_the_server() {
    needs!("chromium");
    let server = server()
        .debug()
        .set("app.websocket.origins=['null']")
        .start();
    let mut socket = Socket::open(&server, "/hall");
    socket.stream.set_read_timeout(Some(6 * BOUND)).unwrap();
    let browser = Browser::open(&server, "page");
    let agreed = "v2 permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    socket.expect(0x81, agreed.as_bytes());
    let long = "x\u{e9}".repeat(1000);
    socket.send(&frame(0x81, long.as_bytes()));
    socket.expect(0x81, long.as_bytes());
    socket.expect(0x81, b"heard 2000");
    drop(browser);
    server.stop();
    let server = self::server().debug().start();
    let browser = Browser::open(&server, "strange-page");
    server.wait_for_line(0, 6 * BOUND, "the page is refused", |line| {
        line.field("reason").as_deref() == Some("protocol_error")
    });
    drop(browser);
    server.stop();
}
