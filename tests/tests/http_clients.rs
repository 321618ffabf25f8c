//! Clients of HTTP that others have written: curl, wrk, h2load.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tests::{Launch, Server, needs};

/// What a client says that is started with `arguments`; `URL` in them is the server's.
fn run(server: &Server, program: &str, arguments: &[&str]) -> Output {
    let url = format!("http://{}", server.addr());
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("URL", &url));
    Command::new(program).args(arguments).output().unwrap()
}

fn said(server: &Server, program: &str, arguments: &[&str]) -> String {
    let output = run(server, program, arguments);
    let (out, err) = (
        output.stdout,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{arguments:?}: {err}");
    String::from_utf8(out).unwrap()
}

fn curl(server: &Server, arguments: &[&str]) -> String {
    said(
        server,
        "curl",
        &[&["-sS", "--max-time", "20"], arguments].concat(),
    )
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("corelane-{name}-{}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn curl_is_served() {
    needs!("curl");
    let server = Launch::web().set("app.http.body_max=100000000").start();
    assert_eq!(curl(&server, &["URL/hello"]), "hello");
    assert_eq!(curl(&server, &["--http1.0", "URL/hello"]), "hello");
    assert_eq!(curl(&server, &["-d", "a=b", "URL/echo"]), "a=b");
    assert_eq!(curl(&server, &["URL/parts/3"]), "part part part ");
    assert_eq!(
        curl(&server, &["--http1.0", "URL/parts/3"]),
        "part part part "
    );
    let head = curl(&server, &["-I", "URL/large/1000"]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: 1000\r\n"), "{head}");
    let chunked = [
        "-H",
        "Transfer-Encoding: chunked",
        "-d",
        "by chunks",
        "URL/echo",
    ];
    assert_eq!(curl(&server, &chunked), "by chunks");
    let connects = curl(
        &server,
        &[
            "-w",
            " %{num_connects}",
            "URL/hello",
            "URL/status/204",
            "URL/parts/2",
            "URL/hello",
        ],
    );
    assert_eq!(
        connects, "hello 1 0part part  0hello 0",
        "one connection for all"
    );
}

#[test]
fn curl_uploads_a_large_body_behind_expect_and_gets_it_back() {
    needs!("curl");
    let server = Launch::web().set("app.http.body_max=100000000").start();
    let bytes: Vec<u8> = (0..8_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let (sent, got) = (file("sent", &bytes), file("got", b""));
    let (from, to) = (format!("@{}", sent.display()), got.display().to_string());
    for coding in ["Transfer-Encoding:", "Transfer-Encoding: chunked"] {
        let expect = "Expect: 100-continue";
        let upload = [
            "-H",
            expect,
            "-H",
            coding,
            "--data-binary",
            &from,
            "-o",
            &to,
            "URL/pass",
        ];
        let code = curl(&server, &[&["-w", "%{http_code}"], &upload[..]].concat());
        assert_eq!(code, "200", "{coding}");
        assert!(fs::read(&got).unwrap() == bytes, "{coding}");
    }
    let small = Launch::web().set("app.http.body_max=1000").start();
    let refused = run(
        &small,
        "curl",
        &[
            "-sS",
            "-w",
            "%{http_code}",
            "-H",
            "Expect: 100-continue",
            "--data-binary",
            &from,
            "-o",
            &to,
            "URL/echo",
        ],
    );
    assert_eq!(String::from_utf8_lossy(&refused.stdout), "413");
    drop((fs::remove_file(sent), fs::remove_file(got)));
}

#[test]
fn wrk_has_no_error() {
    needs!("wrk");
    let server = Launch::web().start();
    let report = said(&server, "wrk", &["-t1", "-c20", "-d2s", "URL/hello"]);
    assert!(!report.contains("errors"), "{report}");
    assert!(report.contains("requests in"), "{report}");
    let counts = server.stop();
    assert_eq!(counts.accepted, counts.closed);
}

#[test]
fn h2load_pipelines_and_no_request_fails() {
    needs!("h2load");
    let server = Launch::web().start();
    for path in ["URL/hello", "URL/parts/3", "URL/large/10000"] {
        let report = said(
            &server,
            "h2load",
            &["--h1", "-n", "20000", "-c", "10", "-m", "16", path],
        );
        let whole = "20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(report.contains(whole), "{path}: {report}");
        assert!(
            report.contains("status codes: 20000 2xx"),
            "{path}: {report}"
        );
    }
}
