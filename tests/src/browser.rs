//! A browser that shows a page: Chromium without a window, driven over its DevTools protocol.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::within;

/// How long Chromium may take to begin, and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page in a browser of its own.
#[derive(Debug)]
pub struct Page {
    browser: Child,
    orders: ChildStdin,
    answers: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    complaints: Vec<String>,
}

impl Page {
    /// Opens `url`; `name` is that of a directory which no other page has.
    ///
    /// # Panics
    /// When the browser does not answer.
    #[must_use]
    pub fn open(url: &str, name: &str) -> Self {
        let home = std::env::temp_dir().join(format!("corelane-{name}-{}", std::process::id()));
        // Chromium reads orders from descriptor 3 and answers on 4.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --no-first-run \
            --remote-debugging-pipe --user-data-dir=\"$0\" about:blank \
            3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut browser = Command::new("sh")
            .args(["-c", script])
            .arg(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let answers = read_from(browser.stdout.take().unwrap());
        let mut page = Self {
            orders: browser.stdin.take().unwrap(),
            browser,
            answers,
            session: None,
            asked: 0,
            complaints: Vec::new(),
        };
        let target = page.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = page.ask("Target.attachToTarget", &attach);
        page.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.ask(domain, &json!({}));
        }
        page.ask("Page.navigate", &json!({ "url": url }));
        page
    }

    /// What `script` gives on the page.
    ///
    /// # Panics
    /// When the browser does not answer.
    pub fn run(&mut self, script: &str) -> Value {
        let mut said = self.ask("Runtime.evaluate", &json!({ "expression": script }));
        said["result"]["value"].take()
    }

    /// Waits until `script` gives true.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_for(&mut self, script: &str) {
        within(PATIENCE, script, || {
            (self.run(script) == json!(true)).then_some(())
        });
    }

    /// What it has found wrong so far: errors of scripts, breaches of policies.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let mut order = json!({ "id": self.asked, "method": method, "params": params });
        if let Some(session) = &self.session {
            order["sessionId"] = json!(session);
        }
        self.orders
            .write_all(format!("{order}\0").as_bytes())
            .unwrap();
        loop {
            let mut said = self.answers.recv_timeout(PATIENCE).expect(method);
            if said["id"] == json!(self.asked) {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].take();
            }
            let is_complaint = ["Log.entryAdded", "Runtime.exceptionThrown"];
            if is_complaint.contains(&said["method"].as_str().unwrap_or_default()) {
                self.complaints.push(said["params"].to_string());
            }
        }
    }
}

/// What comes from the browser, each value with a zero byte behind it.
fn read_from(mut pipe: ChildStdout) -> Receiver<Value> {
    let (tell, answers) = channel();
    thread::spawn(move || {
        let (mut bytes, mut piece) = (Vec::new(), [0; 65_536]);
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            bytes.extend_from_slice(&piece[..length]);
            while let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                let value = serde_json::from_slice(&bytes[..end]).unwrap();
                bytes.drain(..=end);
                if tell.send(value).is_err() {
                    return;
                }
            }
        }
    });
    answers
}

impl Drop for Page {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.browser);
        let _gone = kill_process_group(group, Signal::KILL);
        let _status = self.browser.wait();
    }
}

/// What stands on a page between the tags called `name`, of which there is one.
///
/// # Panics
/// When there is none, or several.
#[must_use]
pub fn element<'p>(page: &'p str, name: &str) -> &'p str {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    assert_eq!(page.matches(&open).count(), 1, "{name}");
    let (_, behind) = page.split_once(&open).unwrap();
    behind.split_once(&close).unwrap().0
}

/// A script or a style as a policy of content names it.
///
/// # Panics
/// Without `basenc` and `sha256sum`.
#[must_use]
pub fn sha256(text: &str) -> String {
    let script = "sha256sum | cut -c1-64 | tr a-f A-F | basenc --base16 -d | base64 -w0";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap()
}
