//! TLS with the clients and servers that people have: OpenSSL's, curl, and sslyze for what a server
//! should not do.
#![allow(clippy::unwrap_used)]

mod tls_rig;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use corelane::{CloseReason, HandshakeFailure};
use tests::{BOUND, Launch, needs, skip, within};
use tls_rig::{Files, NAME, end, serve, wait_for_closed};

/// A bound for what takes a second on a machine that is not busy.
const SECONDS_MAX: &str = "120";

/// A client that runs, and what it has printed.
struct Talk {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Talk {
    /// `openssl s_client` to `addr`, with these arguments besides.
    fn begin(files: &Files, addr: SocketAddr, arguments: &[&str]) -> Self {
        let (addr, ca) = (addr.to_string(), files.path("ca.crt"));
        let mut child = Command::new("timeout")
            .args([SECONDS_MAX, "openssl", "s_client", "-connect", &addr])
            .args(["-servername", NAME, "-CAfile", &ca, "-verify_return_error"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let pipes: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for mut pipe in pipes {
            let said = Arc::clone(&said);
            thread::spawn(move || {
                let mut room = [0; 1024];
                while let Ok(count @ 1..) = pipe.read(&mut room) {
                    said.lock()
                        .unwrap()
                        .push_str(&String::from_utf8_lossy(&room[..count]));
                }
            });
        }
        Self { child, said }
    }

    fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        // It may have ended, and said why.
        drop(stdin.write_all(line.as_bytes()));
    }

    /// Waits until it has printed each of them.
    #[track_caller]
    fn hears(&self, texts: &[&str]) {
        let begun = Instant::now();
        for text in texts {
            while !self.said.lock().unwrap().contains(text) {
                let said = self.said.lock().unwrap().clone();
                assert!(begun.elapsed() < 3 * BOUND, "{text} is not in: {said}");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// How often it has printed that.
    fn count(&self, text: &str) -> usize {
        self.said.lock().unwrap().matches(text).count()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn openssl_is_echoed_by_both_versions() {
    needs!("openssl", "timeout");
    let files = Files::new();
    let handle = serve(
        files
            .settings()
            .set("listener.tls.alpn", vec!["echo", "h2"]),
    );
    for (version, told) in [
        ("-tls1_2", "1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ("-tls1_3", "1.3 TLS13_AES_256_GCM_SHA384"),
    ] {
        let arguments = [version, "-quiet", "-alpn", "h2,echo"];
        let mut client = Talk::begin(&files, handle.local_addr(), &arguments);
        client.say("hello, everybody\n");
        let session = "alpn=echo name=a.test certificates=0 resumed=false";
        client.hears(&[told, session, "hello, everybody"]);
    }
    end(handle);
}

#[test]
fn openssl_resumes_its_sessions() {
    needs!("openssl", "timeout");
    let files = Files::new();
    let handle = serve(files.settings());
    let client = Talk::begin(&files, handle.local_addr(), &["-tls1_2", "-reconnect"]);
    within(3 * BOUND, "five sessions that go on", || {
        (client.count("Reused, TLSv1.2") == 5).then_some(())
    });
    // TLS 1.3 has its tickets behind the handshake.
    let session = files.path("session");
    let arguments = ["-tls1_3", "-sess_out", &session];
    let first = Talk::begin(&files, handle.local_addr(), &arguments);
    first.hears(&["resumed=false"]);
    within(BOUND, "a session", || {
        let text = std::fs::read_to_string(&session).unwrap_or_default();
        text.contains("END SSL SESSION PARAMETERS").then_some(())
    });
    drop(first);
    let arguments = ["-tls1_3", "-sess_in", &session];
    let second = Talk::begin(&files, handle.local_addr(), &arguments);
    second.hears(&["Reused, TLSv1.3", "resumed=true"]);
    assert_eq!(handle.stats().tls.handshakes_resumed, 6);
    end(handle);
}

#[test]
fn openssl_shows_its_certificate_where_it_is_asked() {
    needs!("openssl", "timeout");
    let files = Files::new();
    let settings = files
        .settings()
        .set("listener.tls.client_ca", files.path("ca.crt"));
    let handle = serve(settings);
    let (certificate, key) = (files.path("client.crt"), files.path("client.key"));
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [version, "-quiet", "-cert", &certificate, "-key", &key];
        let client = Talk::begin(&files, handle.local_addr(), &arguments);
        client.hears(&["certificates="]);
        assert_eq!(client.count("certificates=0"), 0);
        let client = Talk::begin(&files, handle.local_addr(), &[version, "-quiet"]);
        client.hears(&["alert"]);
    }
    wait_for_closed(&handle, CloseReason::TlsFailed, 2);
    let tls = handle.stats().tls;
    assert_eq!(tls.handshakes_failed(HandshakeFailure::Certificate), 2);
    end(handle);
}

#[test]
fn openssl_is_refused_what_is_not_allowed() {
    needs!("openssl", "timeout");
    let files = Files::new();
    let handle = serve(files.settings().set("listener.tls.versions", vec!["1.3"]));
    let client = Talk::begin(&files, handle.local_addr(), &["-tls1_2"]);
    client.hears(&["alert protocol version"]);
    wait_for_closed(&handle, CloseReason::TlsFailed, 1);
    let tls = handle.stats().tls;
    assert_eq!(tls.handshakes_failed(HandshakeFailure::NoSharedProtocol), 1);
    end(handle);
}

#[test]
fn openssl_changes_its_keys() {
    needs!("openssl", "timeout");
    let files = Files::new();
    let handle = serve(files.settings());
    let mut client = Talk::begin(&files, handle.local_addr(), &["-tls1_3"]);
    client.hears(&["resumed=false"]);
    // A line that begins so is a command to it: new keys, and the server is asked for its own.
    for (line, told) in [("one\n", "one\n"), ("K\n", "KEYUPDATE"), ("two\n", "two\n")] {
        client.say(line);
        client.hears(&[told]);
    }
    client.say("Q\n");
    wait_for_closed(&handle, CloseReason::PeerClosed, 1);
    end(handle);
}

#[test]
fn curl_speaks_http_over_tls() {
    needs!("curl", "timeout");
    let files = Files::new();
    let server = Launch::web()
        .set(&format!(
            "listener.tls.certificate='{}'",
            files.path("server.crt")
        ))
        .set(&format!("listener.tls.key='{}'", files.path("server.key")))
        .start();
    let port = server.addr().port();
    let resolve = format!("{NAME}:{port}:127.0.0.1");
    let curl = |arguments: &[&str]| {
        let output = Command::new("timeout")
            .args([SECONDS_MAX, "curl", "--silent", "--show-error", "--http1.1"])
            .args(["--cacert", &files.path("ca.crt"), "--resolve", &resolve])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let hello = format!("https://{NAME}:{port}/hello");
    assert_eq!(curl(&[&hello]), b"hello");
    assert_eq!(curl(&["--tls-max", "1.2", &hello, &hello]), b"hellohello");
    let body: Vec<u8> = (0..300_000_u32).map(|at| (at % 250) as u8).collect();
    let file = files.path("body");
    std::fs::write(&file, &body).unwrap();
    let echo = format!("https://{NAME}:{port}/echo");
    let echoed = curl(&["--data-binary", &format!("@{file}"), &echo]);
    assert!(echoed == body, "{} bytes", echoed.len());
    let counts = server.stop();
    assert_eq!(counts.of("tls_failed") + counts.of("tls_invalid"), 0);
}

/// Where `make clients` puts it.
fn sslyze() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients");
    root.join("python/bin/sslyze")
}

#[test]
fn sslyze_finds_nothing_wrong() {
    needs!("timeout");
    if !sslyze().exists() {
        skip!("needs sslyze: make clients");
    }
    let files = Files::new();
    let handle = serve(files.settings());
    let report = files.path("report.json");
    let output = Command::new("timeout")
        .arg(SECONDS_MAX)
        .arg(sslyze())
        .args(["--json_out", &report, "--sni", NAME])
        .args([
            "--sslv2",
            "--sslv3",
            "--tlsv1",
            "--tlsv1_1",
            "--tlsv1_2",
            "--tlsv1_3",
        ])
        .args([
            "--compression",
            "--heartbleed",
            "--openssl_ccs",
            "--reneg",
            "--robot",
        ])
        .args(["--early_data", "--fallback", "--elliptic_curves", "--ems"])
        .arg(handle.local_addr().to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let report = std::fs::read(&report).unwrap_or_else(|error| panic!("{error}: {said}"));
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let result = &report["server_scan_results"][0]["scan_result"];
    let of = |command: &str| {
        let command = &result[command];
        assert_eq!(command["status"], "COMPLETED", "{command}");
        command["result"].clone()
    };
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        let accepted = &of(&format!("{version}_cipher_suites"))["accepted_cipher_suites"];
        assert_eq!(
            accepted.as_array().unwrap().len(),
            0,
            "{version}: {accepted}"
        );
    }
    for version in ["tls_1_2", "tls_1_3"] {
        let accepted = &of(&format!("{version}_cipher_suites"))["accepted_cipher_suites"];
        let accepted = accepted.as_array().unwrap();
        assert!(accepted.len() >= 3, "{version}: {accepted:?}");
        for suite in accepted {
            let suite = &suite["cipher_suite"];
            assert_eq!(suite["is_anonymous"], false, "{suite}");
            assert!(suite["key_size"].as_u64().unwrap() >= 128, "{suite}");
        }
    }
    assert_eq!(of("tls_compression")["supports_compression"], false);
    assert_eq!(of("heartbleed")["is_vulnerable_to_heartbleed"], false);
    assert_eq!(
        of("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"],
        false
    );
    let robot = &of("robot")["robot_result"];
    assert!(
        robot.as_str().unwrap().starts_with("NOT_VULNERABLE"),
        "{robot}"
    );
    let renegotiation = of("session_renegotiation");
    assert_eq!(
        renegotiation["is_vulnerable_to_client_renegotiation_dos"],
        false
    );
    assert_eq!(renegotiation["supports_secure_renegotiation"], true);
    assert_eq!(of("tls_1_3_early_data")["supports_early_data"], false);
    assert_eq!(
        of("tls_extended_master_secret")["supports_ems_extension"],
        true
    );
    end(handle);
}
