//! Answers by HTTP that are cut, late or without content, as their peers see them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::conn::connection::Conn;
use crate::error::Error;
use crate::handler::from_fn;
use crate::http::{
    Http, LAST_CHUNK, Limits, Request, Response, Status, chunk_frame, spare_exchanges,
};
use crate::settings::Settings;
use crate::shard::futures::sleep::sleep;
use crate::shard::futures::timeout::timeout;
use crate::shard::handle::Shard;
use crate::testing::{Peer, block_on, block_on_with, serve};

const SECOND: Duration = Duration::from_secs(1);
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Whose answer ends with its connection, where no length is told.
const GET_1_0: &str = "GET / HTTP/1.0\r\n\r\n";

/// A peer whose first request is answered by `answer`, and nothing else is done with its connection.
fn serve_one(answer: impl AsyncFn(Request<'_>) -> Result<(), Error> + 'static) -> Peer {
    let answer = Rc::new(answer);
    serve(from_fn(async move |conn: &mut Conn| {
        let (limits, answer) = (Rc::new(Limits::default()), Rc::clone(&answer));
        let mut http = Http::new(conn, &limits);
        match http.next().await? {
            Some(request) => answer(request).await,
            None => Ok(()),
        }
    }))
}

/// How it ends for a peer that sends `request`, and whether that is a reset.
async fn end_of(mut peer: Peer, request: &str) -> (CloseReason, bool) {
    peer.send(request);
    (peer.closed().await, peer.was_reset())
}

#[test]
fn a_connection_that_speaks_another_protocol_holds_nothing_of_its_request() {
    block_on(async || {
        let mut peer = serve_one(async |request| {
            request.upgrade("silence", &[]).await?;
            sleep(SECOND).await;
            Ok(())
        });
        peer.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: silence\r\n\r\n");
        assert_eq!(peer.receive(12).await, b"HTTP/1.1 101");
        assert_eq!(spare_exchanges(), 1, "it is back");
    });
}

#[test]
fn an_answer_that_is_cut_is_told_by_a_reset_though_its_handler_says_it_is_well() {
    block_on(async || {
        for request in [GET, GET_1_0] {
            let peer = serve_one(async |request| {
                let mut out = request.respond_streamed(Response::ok()).await?;
                out.write("half").await?;
                sleep(SECOND).await; // it goes out
                Ok(())
            });
            let end = end_of(peer, request).await;
            assert_eq!(end, (CloseReason::HandlerFailed, true), "{request}");
            let peer = serve_one(async |request| {
                let announced = Response::ok().length(3);
                let mut out = request.respond_streamed(announced).await?;
                let _too_much = out.write("more").await;
                Ok(())
            });
            let end = end_of(peer, request).await;
            assert_eq!(end, (CloseReason::HandlerFailed, true), "{request}");
            let peer = serve_one(async |request| {
                let mut out = request.respond_streamed(Response::ok()).await?;
                out.write("all").await?;
                out.finish().await
            });
            let end = end_of(peer, request).await;
            assert_eq!(end, (CloseReason::HandlerClosed, false), "{request}");
        }
    });
}

#[test]
fn whole_answers_before_one_that_is_cut_arrive() {
    block_on(async || {
        let mut peer = serve(from_fn(async |conn: &mut Conn| {
            let mut http = Http::new(conn, &Rc::default());
            while let Some(request) = http.next().await? {
                if request.path() == "/" {
                    request.respond(Response::ok().body("whole")).await?;
                    continue;
                }
                let mut out = request.respond_streamed(Response::ok()).await?;
                return out.write("half").await;
            }
            Ok(())
        }));
        peer.send([GET, GET, "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        let received = peer.receive_to_end().await;
        let received = String::from_utf8_lossy(&received);
        assert_eq!(received.matches("whole").count(), 2, "{received}");
        assert_eq!(peer.closed().await, CloseReason::HandlerFailed);
        assert!(peer.was_reset());
    });
}

#[test]
fn of_an_answer_that_is_cut_its_handler_tells_the_cause() {
    block_on(async || {
        let peer = serve_one(async |request| {
            let mut out = request.respond_streamed(Response::ok()).await?;
            out.write("half").await?;
            Err(Error::Protocol("what the body says is wrong"))
        });
        let end = end_of(peer, GET).await;
        assert_eq!(end, (CloseReason::ProtocolError, true));
    });
}

/// What is left of a part that is dropped half-way does not come behind the next one, nor twice.
#[test]
fn behind_a_part_that_was_dropped_half_way_nothing_is_written() {
    let settings = Settings::new().set("limits.write_queue_max", 4096);
    block_on_with(settings, async || {
        for request in [GET, GET_1_0] {
            for is_finished in [false, true] {
                let told = Rc::new(RefCell::new(Vec::new()));
                let tells = Rc::clone(&told);
                let mut peer = serve_one(async move |request| {
                    let mut out = request.respond_streamed(Response::ok()).await?;
                    let large = [b'a'; 20_000];
                    let is_cut = timeout(SECOND, out.write(&large)).await.is_err();
                    assert!(is_cut, "its peer takes nothing");
                    sleep(SECOND * 2).await; // now it does
                    let ends = match is_finished {
                        false => out.write("next").await,
                        true => out.finish().await,
                    };
                    tells.borrow_mut().push(ends.is_err());
                    sleep(SECOND).await;
                    Ok(())
                });
                peer.set_window(Some(0));
                peer.send(request);
                sleep(SECOND * 2).await;
                peer.set_window(None);
                let received = peer.receive_to_end().await;
                assert_eq!(*told.borrow(), [true]);
                let received = String::from_utf8_lossy(&received);
                assert!(!received.contains("next"), "{received}");
                assert!(!received.contains("0\r\n\r\n"), "{received}");
                assert_eq!(peer.closed().await, CloseReason::HandlerFailed);
                assert!(peer.was_reset());
            }
        }
    });
}

#[test]
fn the_time_of_a_handler_that_has_dropped_its_read_is_not_the_peers() {
    let limits = || {
        Rc::new(Limits {
            body_timeout: SECOND * 10,
            ..Limits::default()
        })
    };
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    block_on(async || {
        let reader = from_fn(async move |conn: &mut Conn| {
            let mut http = Http::new(conn, &limits());
            while let Some(mut request) = http.next().await? {
                let mut body = request.body();
                let first = timeout(SECOND * 2, body.next_chunk()).await;
                assert!(first.is_err(), "nothing has come");
                sleep(SECOND * 60).await;
                let body = body.read_all(10).await?.unwrap_or_default();
                request.respond(Response::ok().body(&body)).await?;
            }
            Ok(())
        });
        let skipper = from_fn(async move |conn: &mut Conn| {
            let mut http = Http::new(conn, &limits());
            while let Some(request) = http.next().await? {
                request.respond(Response::ok().body("hello")).await?;
                let next = timeout(SECOND * 2, http.next()).await;
                assert!(next.is_err(), "the body has not come");
                sleep(SECOND * 60).await;
            }
            Ok(())
        });
        let mut peers = [serve(reader), serve(skipper)];
        for peer in &mut peers {
            peer.send(head);
        }
        sleep(SECOND * 65).await;
        for mut peer in peers {
            peer.send("hello");
            peer.finish();
            let answer = peer.receive_to_end().await;
            assert!(answer.ends_with(b"hello"), "{}", answer.escape_ascii());
            assert_eq!(peer.closed().await, CloseReason::PeerClosed);
        }
        // Both waits of a peer count, but not what is between them.
        let mut late = serve(from_fn(async move |conn: &mut Conn| {
            let mut http = Http::new(conn, &limits());
            while let Some(mut request) = http.next().await? {
                let mut body = request.body();
                _ = timeout(SECOND * 6, body.next_chunk()).await;
                sleep(SECOND * 60).await;
                _ = timeout(SECOND * 6, body.next_chunk()).await;
            }
            Ok(())
        }));
        late.send(head);
        assert_eq!(late.closed().await, CloseReason::ReadTimeout);
    });
}

/// The fields of an answer's head but for `Date`, and what is behind it.
fn head_and_content(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("Date: ")).collect()
}

#[test]
fn an_answer_without_content_is_the_same_in_parts_and_at_once() {
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let none = |line: &str| format!("HTTP/1.1 {line}\r\n\r\n");
    let zero = none("205 Reset Content\r\nContent-Length: 0");
    let cases = [
        (GET, Status::RESET_CONTENT, zero.clone()),
        (head, Status::RESET_CONTENT, zero),
        (GET, Status::NO_CONTENT, none("204 No Content")),
        (GET, Status::NOT_MODIFIED, none("304 Not Modified")),
        (head, Status::OK, none("200 OK\r\nContent-Length: 7")),
    ];
    block_on(async || {
        for (request, status, expected) in cases {
            for (is_streamed, length) in [(false, None), (true, Some(7)), (true, None)] {
                let mut peer = serve_one(async move |request| {
                    let response = Response::new(status);
                    if !is_streamed {
                        return request.respond(response.body("content")).await;
                    }
                    let response = match length {
                        Some(length) => response.length(length),
                        None => response,
                    };
                    let mut out = request.respond_streamed(response).await?;
                    out.write("content").await?;
                    out.finish().await
                });
                peer.send(request);
                peer.finish();
                let answer = head_and_content(&peer.receive_to_end().await);
                if status == Status::OK && is_streamed && length.is_none() {
                    assert_eq!(answer, none("200 OK\r\nTransfer-Encoding: chunked"));
                } else {
                    assert_eq!(answer, expected, "{status}, {is_streamed}, {length:?}");
                }
            }
        }
    });
}

#[test]
fn an_answer_that_is_taken_over_is_the_handlers_to_write_and_to_end() {
    block_on(async || {
        let mut peer = serve(from_fn(async |conn: &mut Conn| {
            let mut http = Http::new(conn, &Rc::default());
            if let Some(request) = http.next().await? {
                let content = Response::ok().header("X", "y").body("not sent");
                request.take_over(content).await?;
            }
            assert!(http.next().await?.is_none(), "it ends as the head has said");
            drop(http);
            // What was sent behind the request is unread.
            let behind = conn.read().await?;
            conn.write(chunk_frame(behind.unwrap_or_default())).await?;
            conn.write(chunk_frame("")).await?;
            conn.write(LAST_CHUNK).await
        }));
        peer.send(format!("{GET}behind it"));
        let answer = head_and_content(&peer.receive_to_end().await);
        let head =
            "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        assert_eq!(answer, format!("{head}9\r\nbehind it\r\n0\r\n\r\n"));
    });
}

#[test]
fn an_answer_without_chunks_is_not_taken_over() {
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let unread = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    type Make = fn() -> Response<'static>;
    let ok: Make = Response::ok;
    let cases: [(&str, Make); 6] = [
        (GET_1_0, ok),
        (head, ok),
        (unread, ok),
        (GET, || Response::ok().length(1)),
        (GET, || Response::new(Status::NO_CONTENT)),
        (GET, || Response::ok().header("a b", "")),
    ];
    block_on(async || {
        for (request, response) in cases {
            let mut peer = serve_one(async move |request| {
                let taken = request.take_over(response()).await;
                assert!(matches!(taken, Err(Error::Handler(_))), "{taken:?}");
                taken
            });
            peer.send(request);
            assert_eq!(peer.receive_to_end().await, b"", "{request}");
            assert_eq!(peer.closed().await, CloseReason::HandlerFailed, "{request}");
        }
    });
}

#[test]
fn a_connection_that_has_gone_over_holds_no_buffer() {
    block_on(async || {
        let taken_over = "GET /taken HTTP/1.1\r\nHost: a\r\n\r\n";
        let upgraded = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: b\r\n\r\n";
        for asks in [taken_over, upgraded] {
            let mut peer = serve_one(async |request| {
                match request.path() {
                    "/taken" => request.take_over(Response::ok()).await?,
                    _ => request.upgrade("b", &[]).await?,
                }
                sleep(SECOND * 2).await; // its layer is still there
                Ok(())
            });
            peer.send(asks);
            sleep(SECOND).await;
            assert!(!peer.receive(1).await.is_empty());
            assert_eq!(Shard::with(|shard| shard.buffers.referenced()), 0, "{asks}");
            peer.finish();
            peer.closed().await;
        }
    });
}
