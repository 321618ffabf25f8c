//! What holds of HTTP, whatever a peer's bytes are and however they come in. Told of bytes, so that
//! property tests, the kept corpus and the fuzzer ask the same question: the first byte picks the
//! pieces, the rest is what a peer sends before its FIN.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::conn::connection::Conn;
use crate::error::Error;
use crate::handler::from_fn;
use crate::http::{Http, Limits, Response};
use crate::shard::futures::sleep::sleep;
use crate::testing::{block_on, serve};

/// Small ones, so that short inputs meet them.
fn limits() -> Limits {
    Limits {
        head_max: 256,
        fields_max: 8,
        body_max: 100,
        unread_body_max: 20,
        pipelined_max: 3,
        ..Limits::default()
    }
}

/// What a handler sees of a connection, and what its peer does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    requests: Vec<String>,
    bodies: Vec<Vec<u8>>,
    statuses: Vec<String>,
    reason: Option<CloseReason>,
}

/// Sends `bytes` at once and in pieces: both must be the same to the handler, and every request have
/// one answer.
pub(crate) fn hold_for(bytes: &[u8]) {
    let [pieces, stream @ ..] = bytes else {
        return;
    };
    let (pieces, stream) = (*pieces, stream.to_vec());
    let (whole, split) = block_on(async move || {
        let whole = seen(vec![stream.clone()]).await;
        (whole, seen(split(&stream, pieces)).await)
    });
    // Which of several mistakes is found first depends on what has come, and whether before the FIN.
    assert_eq!(whole.requests, split.requests);
    assert_eq!(whole.bodies, split.bodies);
    assert_eq!(whole.reason, split.reason);
    let served = |seen: &Seen| {
        seen.statuses
            .iter()
            .filter(|status| *status == "200")
            .count()
    };
    assert_eq!(served(&whole), served(&split), "{whole:?}, {split:?}");
}

fn split(stream: &[u8], pieces: u8) -> Vec<Vec<u8>> {
    let (mut parts, mut rest, mut choice) = (Vec::new(), stream, u32::from(pieces));
    while !rest.is_empty() {
        choice = choice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = 1 + u32::from(pieces % 16);
        let (part, after) =
            rest.split_at((1 + (choice >> 16) % most).min(rest.len() as u32) as usize);
        parts.push(part.to_vec());
        rest = after;
    }
    parts
}

async fn seen(parts: Vec<Vec<u8>>) -> Seen {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let (limits, told) = (Rc::new(limits()), Rc::clone(&seen));
    let mut peer = serve(from_fn(async move |conn: &mut Conn| {
        let limits = Rc::clone(&limits);
        handle(conn, &limits, &told).await
    }));
    for part in parts {
        peer.send(part);
        sleep(Duration::from_micros(1)).await;
    }
    peer.finish();
    let answers = peer.receive_to_end().await;
    let reason = peer.closed().await;
    let mut seen = seen.borrow_mut();
    seen.statuses = statuses(&answers);
    seen.reason = Some(reason);
    let refusals = seen.statuses.len() - seen.requests.len().min(seen.statuses.len());
    assert!(
        refusals <= 1,
        "one answer each, and one refusal at most: {seen:?}"
    );
    seen.clone()
}

async fn handle(conn: &mut Conn, limits: &Rc<Limits>, told: &RefCell<Seen>) -> Result<(), Error> {
    let mut http = Http::new(conn, limits);
    while let Some(mut request) = http.next().await? {
        let mut line = format!(
            "{} {} {:?}",
            request.method_name(),
            request.target(),
            request.host()
        );
        for (name, value) in request.headers() {
            line += &format!(" {name}={}", value.escape_ascii());
        }
        let is_left = request.path().ends_with("/left");
        let is_streamed = request.path().ends_with("/streamed");
        told.borrow_mut().requests.push(line);
        if is_left {
            request.respond(Response::ok().body("left")).await?;
        } else if is_streamed {
            let mut out = request.respond_streamed(Response::ok()).await?;
            while let Some(chunk) = out.body().next_chunk().await? {
                out.write(chunk).await?;
            }
            out.finish().await?;
        } else {
            let body = request.body().read_all(50).await?;
            told.borrow_mut()
                .bodies
                .push(body.clone().unwrap_or_default());
            request.respond(Response::ok().body("read")).await?;
        }
    }
    Ok(())
}

/// Those of all final answers, as far as they can be told from contents.
fn statuses(answers: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answers);
    let lines = text.split("HTTP/1.1 ").skip(1);
    let codes = lines.map(|answer| answer.chars().take(3).collect::<String>());
    codes
        .filter(|code| code.parse::<u16>().is_ok_and(|code| code >= 200))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proptests::cases;
    use crate::shard::handle::Shard;

    fn head() -> impl Strategy<Value = String> {
        let method = prop_oneof!["GET", "POST", "HEAD", "OPTIONS", "get", "[A-Z]{1,3}"];
        let target = prop_oneof![
            Just("/left"),
            Just("/streamed"),
            Just("/"),
            Just("*"),
            Just("http://a/left")
        ];
        let version =
            prop_oneof![8 => Just("HTTP/1.1"), 1 => Just("HTTP/1.0"), 1 => Just("HTTP/2.0")];
        let field = prop_oneof![
            Just("Host: b\r\n".to_owned()),
            Just("Transfer-Encoding: chunked\r\n".to_owned()),
            Just("Expect: 100-continue\r\n".to_owned()),
            Just("Connection: close\r\n".to_owned()),
            "Content-Length: [0-9]{1,3}\r\n",
            "[A-Za-z-]{1,8}:[ -~]{0,10}\r\n",
            "[ -~]{0,10}\r?\n",
        ];
        let fields = proptest::collection::vec(field, 0..3).prop_map(|fields| fields.concat());
        (method, target, version, fields).prop_map(|(method, target, version, fields)| {
            format!("{method} {target} {version}\r\nHost: a\r\n{fields}\r\n")
        })
    }

    fn body() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z]{0,30}",
            "([0-9a-f]{1,2}(;[a-z]{0,5})?\r\n[a-z]{0,20}\r\n){0,3}(0\r\n(A: b\r\n)?\r\n)?",
            Just("5\r\nhello\r\n0\r\n\r\n".to_owned()),
            "\r?\n{0,3}",
        ]
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let plain = Just("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned());
        let chunked = "[0-9a-f]{1,2}".prop_map(|size| {
            format!(
                "POST /streamed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n\
                     abcdefghij\r\n0\r\n\r\n"
            )
        });
        let any_request = (head(), body()).prop_map(|(head, body)| head + &body);
        let request = prop_oneof![plain, chunked, any_request];
        let requests = proptest::collection::vec(request, 0..5)
            .prop_map(|requests| requests.concat().into_bytes());
        prop_oneof![
            6 => requests.clone(),
            2 => (requests, any::<u16>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
                let length = bytes.len().max(1);
                if let Some(place) = bytes.get_mut(usize::from(at) % length) {
                    *place = byte;
                }
                bytes
            }),
            1 => proptest::collection::vec(any::<u8>(), 0..400),
        ]
    }

    #[test]
    fn a_silent_connection_holds_no_buffer() {
        block_on(async || {
            let mut peer = serve(from_fn(async |conn: &mut Conn| {
                let limits = Rc::new(Limits::default());
                handle(conn, &limits, &RefCell::default()).await
            }));
            for request in [
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST /streamed HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
            ] {
                peer.send(request);
                sleep(Duration::from_secs(1)).await;
                assert_eq!(Shard::with(|shard| shard.buffers.referenced()), 0);
            }
            peer.finish();
            assert_eq!(statuses(&peer.receive_to_end().await), ["200", "200"]);
        });
    }

    proptest! {
        #![proptest_config(cases(1500))]

        #[test]
        fn requests_are_the_same_in_any_pieces(pieces: u8, stream in stream()) {
            hold_for(&[&[pieces][..], &stream].concat());
        }
    }
}
