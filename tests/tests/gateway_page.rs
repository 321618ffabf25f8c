//! The page of the gateway: what it may do, and what a browser makes of it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tests::browser::{Page, element, sha256};
use tests::gateway::{ADA, answer_to, ask, request};
use tests::{BOUND, Launch, Server, needs, within};

/// What a browser that is starved may take for one thing.
const PATIENCE: Duration = Duration::from_secs(60);
/// A message that would be markup, and would change the title.
const MARKUP: &str = "<img src=x onerror=document.title=7><script>document.title=7</script>";

fn gateway() -> Launch {
    Launch::gateway()
        .set("server.shards=2")
        .set("timeouts.drain='2s'")
}

fn publish(server: &Server, body: &str) {
    let fields = format!("Authorization: Bearer {ADA}\r\n");
    let asks = request("POST", "/publish/news", &fields, body.as_bytes());
    let answer = answer_to(server, &asks, false);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn the_page_loads_nothing_and_runs_only_its_own_script() {
    needs!("basenc", "sha256sum");
    let server = gateway().start();
    let answer = ask(&server, "GET", "/", "");
    let policy = answer.field("content-security-policy").unwrap();
    let page = str::from_utf8(&answer.content).unwrap();
    for name in ["script", "style"] {
        let directive = format!("{name}-src 'sha256-{}';", sha256(element(page, name)));
        assert!(
            policy.contains(&directive),
            "apps/gateway/src/page.rs lacks {directive}"
        );
    }
    for directive in [
        "default-src 'none';",
        "connect-src 'self';",
        "base-uri 'none';",
        "form-action 'none';",
        "frame-ancestors 'none';",
    ] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("-inline"), "{policy}");
    for outside in [
        "http://", "https://", "//www", " src=", "url(", "@import", "<link",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    for markup in [
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
    ] {
        assert!(!page.contains(markup), "{markup}");
    }
    server.stop();
}

/// The page of `server`, in a browser of its own.
fn open(server: &Server, name: &str) -> Page {
    let mut page = Page::open(&format!("http://{}/", server.addr()), name);
    page.wait_for("typeof keep === 'function'");
    page
}

/// Fills the form in and sends it.
fn subscribe(page: &mut Page, by: &str, token: &str) {
    page.run(&format!(
        "byId('by').value = '{by}'; byId('token').value = '{token}'; byId('begin').click()"
    ));
}

fn state_is(page: &mut Page, beginning: &str) {
    page.wait_for(&format!(
        "byId('state').textContent.startsWith('{beginning}')"
    ));
}

/// Waits until the newest message on the page is this, which is published again and again: when the
/// page says that it is subscribed, its subscription may be about to be made.
fn hears(page: &mut Page, server: &Server, message: &str) {
    let newest = json!(message);
    within(PATIENCE, message, || {
        publish(server, message);
        thread::yield_now();
        (page.run("document.querySelector('#came pre')?.textContent ?? null") == newest)
            .then_some(())
    });
}

#[test]
fn a_browser_subscribes_both_ways_and_publishes() {
    needs!("chromium");
    let server = gateway().start();
    let mut page = open(&server, "gateway");
    for by in ["websocket", "events"] {
        subscribe(&mut page, by, "");
        state_is(&mut page, "Subscribed to news");
        hears(&mut page, &server, "two\nlines h\u{e9}");
        hears(&mut page, &server, MARKUP);
        // Its own words come back to it.
        page.run(&format!(
            "byId('message').value = 'mine by {by}'; byId('publish').requestSubmit()"
        ));
        page.wait_for("byId('outcome').textContent.includes('reached 1')");
        page.wait_for(&format!(
            "[...document.querySelectorAll('#came pre')].some((pre) => pre.textContent === 'mine by {by}')"
        ));
        page.run("byId('end').click()");
        state_is(&mut page, "Not subscribed");
    }
    assert_eq!(
        page.run("document.querySelectorAll('#came img, #came script').length"),
        0
    );
    assert_eq!(page.run("document.title"), "Gateway");
    let count = "byId('count').textContent === String(count) && document.querySelectorAll('#came li').length === Math.min(count, 200)";
    assert_eq!(page.run(count), true);
    assert_eq!(page.complaints(), [] as [String; 0]);
    server.stop();
}

/// What is no text comes as its bytes.
#[test]
fn a_browser_shows_bytes_both_ways() {
    needs!("chromium");
    let server = gateway().start();
    let mut page = open(&server, "gateway-bytes");
    for by in ["websocket", "events"] {
        subscribe(&mut page, by, "");
        state_is(&mut page, "Subscribed to news");
        let send = "fetch('/publish/news', { method: 'POST', body: new Uint8Array([255, 0, 16]) }); \
            document.querySelector('#came pre')?.textContent ?? null";
        within(PATIENCE, by, || {
            (page.run(send) == json!("ff 00 10")).then_some(())
        });
        page.run("byId('came').replaceChildren()");
    }
    server.stop();
}

#[test]
fn a_page_comes_again_after_a_restart() {
    needs!("chromium");
    let mut server = gateway().start();
    let mut pages = ["websocket", "events"].map(|by| {
        let mut page = open(&server, &format!("gateway-again-{by}"));
        subscribe(&mut page, by, "");
        state_is(&mut page, "Subscribed to news");
        hears(&mut page, &server, "before");
        page.run("globalThis.states = []; new MutationObserver(() => states.push(byId('state').textContent))\
            .observe(byId('state'), { childList: true })");
        page
    });
    server.restart();
    for page in &mut pages {
        page.wait_for("states.some((text) => text.startsWith('Lost (')) && states.at(-1).startsWith('Subscribed')");
        hears(page, &server, "after");
    }
    drop(pages);
    server.stop();
}

#[test]
fn a_page_without_the_token_is_refused_and_says_why() {
    needs!("chromium");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gateway-page-tokens");
    std::fs::write(&path, format!("ada {ADA} publish,subscribe\n")).unwrap();
    let file = format!("app.tokens_file={:?}", path.display().to_string());
    let mut server = gateway().set(&file).start();
    let mut page = open(&server, "gateway-token");
    for by in ["websocket", "events"] {
        subscribe(&mut page, by, "");
        state_is(&mut page, "Refused, 401: a bearer token is needed");
        subscribe(&mut page, by, "ada-0123456789abcdeX");
        state_is(&mut page, "Refused, 401: a bearer token is needed");
        subscribe(&mut page, by, ADA);
        state_is(&mut page, "Subscribed to news");
        hears(&mut page, &server, by);
    }
    page.run(
        "byId('token').value = ''; byId('message').value = 'x'; byId('publish').requestSubmit()",
    );
    page.wait_for("byId('outcome').textContent.startsWith('Not published, 401')");
    server.signal(Signal::TERM);
    state_is(&mut page, "Lost (");
    assert_eq!(server.wait_exit(BOUND), Some(0));
}
