//! A client's side of the opening handshake (RFC 6455, 4.1).

use std::rc::Rc;
use std::time::Duration;

use crate::conn::connection::Conn;
use crate::error::Error;
use crate::http::field::{self, InvalidField};
use crate::step::Step;
use crate::websocket::handshake::{self, members};
use crate::websocket::options::Options;
use crate::websocket::random;
use crate::websocket::socket::WebSocket;
use crate::websocket::state::Agreed;

/// How long the answer may take. No key: a client may wait for less by [`timeout`](crate::timeout).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of the answer's head, and its fields.
const HEAD_MAX: usize = 8192;
const FIELDS_MAX: usize = 64;

/// Asks the server at the other end of `conn`, which was just opened, for a WebSocket: as
/// `ws://host/target`. `fields` are sent besides, as `Origin` or `Authorization`.
///
/// ```
/// use std::rc::Rc;
///
/// use corelane::websocket::{self, Code, Options};
/// use corelane::{Connector, Error};
///
/// async fn ask(server: std::net::SocketAddr) -> Result<(), Error> {
///     let mut conn = Connector::new().connect(server).await?;
///     let options = Rc::new(Options::default());
///     let mut ws = websocket::connect(&mut conn, "example.org", "/chat", &[], &options).await?;
///     ws.send("hello").await?;
///     println!("{:?}", ws.next().await?);
///     ws.close(Code::NORMAL, "").await
/// }
/// # let _ = ask;
/// ```
///
/// The messages that the client sends are masked with keys of the kernel's randomness, for which they
/// are copied. A frame of [`text_frame`](super::text_frame) is a server's.
///
/// # Errors
///
/// [`Error::Protocol`] when the answer is not that of a server that agrees, or goes beyond what was
/// offered; [`Error::Truncated`] when the server ends before it; [`Error::Closed`] as for
/// [`Conn::read`], past 30 seconds with [`ReadTimeout`](crate::CloseReason::ReadTimeout);
/// [`Error::Handler`] when `host`, `target` or `fields` are none that may be sent.
pub async fn connect<'c>(
    conn: &'c mut Conn,
    host: &str,
    target: &str,
    fields: &[(&str, &str)],
    options: &Rc<Options>,
) -> Result<WebSocket<'c>, Error> {
    let key = handshake::key(random::bytes());
    let request = request(host, target, fields, options, &key)
        .map_err(|InvalidField(why)| Error::handler(why))?;
    conn.set_read_deadline(Some(ANSWER_TIMEOUT));
    conn.write(&request).await?;
    let judge = |bytes: &[u8]| judge(bytes, &handshake::accept(key.as_bytes()), options);
    let answer = conn.read_frame(HEAD_MAX, judge).await?;
    let Some(answer) = answer else {
        return Err(Error::Truncated);
    };
    conn.set_read_deadline(None);
    let agreed = answer.value.map_err(Error::Protocol)?;
    Ok(WebSocket::new(conn.handle(), options, true, agreed))
}

fn request(
    host: &str,
    target: &str,
    fields: &[(&str, &str)],
    options: &Options,
    key: &str,
) -> Result<Vec<u8>, InvalidField> {
    let is_target = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_target || target.contains('#') {
        return Err(InvalidField("the target is no path"));
    }
    let mut out = format!("GET {target} HTTP/1.1\r\n").into_bytes();
    let subprotocols = options.subprotocols.join(", ");
    let own = [
        ("Host", host),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
    ];
    let agreed = [
        ("Sec-WebSocket-Protocol", &*subprotocols),
        (
            "Sec-WebSocket-Extensions",
            if options.may_deflate() { OFFER } else { "" },
        ),
    ];
    let agreed = agreed.iter().filter(|(_, value)| !value.is_empty());
    for (name, value) in own.iter().chain(agreed).chain(fields) {
        field::write_any(name, value.as_bytes(), &mut out)?;
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// Each message is compressed for itself, in either direction (RFC 7692, 7.1.1).
const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What the server's answer agrees to.
fn judge(bytes: &[u8], accept: &str, options: &Options) -> Step<Result<Agreed, &'static str>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Partial) => return Step::NeedMore,
        Ok(httparse::Status::Complete(length)) => length,
        Err(_) => return Step::Invalid("the answer to a WebSocket's handshake is no HTTP"),
    };
    Step::Frame {
        value: agreed(&head, accept, options),
        length,
    }
}

fn agreed(
    head: &httparse::Response<'_, '_>,
    accept: &str,
    options: &Options,
) -> Result<Agreed, &'static str> {
    let values = |name: &'static str| {
        let named = head
            .headers
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value)
    };
    let has =
        |name, member: &[u8]| members(values(name)).any(|one| one.eq_ignore_ascii_case(member));
    if head.code != Some(101) {
        return Err("the server does not go over to WebSocket");
    }
    if !has("upgrade", b"websocket") || !has("connection", b"upgrade") {
        return Err("the server goes over to something else than WebSocket");
    }
    let mut accepts = values("sec-websocket-accept");
    if accepts.next().map(<[u8]>::trim_ascii) != Some(accept.as_bytes()) || accepts.next().is_some()
    {
        return Err("the server has not understood the key");
    }
    let spoken = &options.subprotocols;
    let mut chosen = members(values("sec-websocket-protocol"));
    let subprotocol = match (chosen.next(), chosen.next()) {
        (None, _) => 0,
        (Some(chosen), None) => {
            let place = spoken
                .iter()
                .take(255)
                .position(|one| one.as_bytes() == chosen);
            place.ok_or("the server has chosen a subprotocol that was not offered")? as u8 + 1
        }
        (Some(_), Some(_)) => return Err("the server has chosen several subprotocols"),
    };
    let mut extensions = members(values("sec-websocket-extensions"));
    let deflates = match (extensions.next(), extensions.next()) {
        (None, _) => false,
        (Some(one), None) if options.may_deflate() && is_agreed(one) => true,
        _ => return Err("the server uses an extension that was not offered"),
    };
    Ok(Agreed {
        subprotocol,
        deflates,
    })
}

/// Whether it keeps no context itself, which is all that inflating needs of it.
fn is_agreed(extension: &[u8]) -> bool {
    let mut parts = extension
        .split(|byte| *byte == b';')
        .map(<[u8]>::trim_ascii);
    let is_own = parts.next() == Some(b"permessage-deflate");
    let mut keeps_none = false;
    let are_known = parts.all(|one| {
        keeps_none |= one == b"server_no_context_takeover";
        one == b"server_no_context_takeover"
            || one == b"client_no_context_takeover"
            || one.starts_with(b"server_max_window_bits=")
    });
    is_own && are_known && keeps_none
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn judged(fields: &str) -> Result<Agreed, &'static str> {
        let options = Options {
            subprotocols: vec!["b".to_owned(), "a".to_owned()],
            deflate: true,
            ..Options::default()
        };
        let answer = format!("HTTP/1.1 {fields}\r\n\r\n");
        match judge(answer.as_bytes(), ACCEPT, &options) {
            Step::Frame { value, length } if length == answer.len() => value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_agrees_or_it_does_not() {
        let good = format!(
            "101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}"
        );
        assert_eq!(judged(&good), Ok(Agreed::default()));
        let chosen = judged(&format!("{good}\r\nSec-WebSocket-Protocol: a"));
        assert_eq!(chosen.map(|agreed| agreed.subprotocol), Ok(2));
        for (bad, why) in [
            (good.replace("101", "200"), "does not go over"),
            (good.replace("WebSocket\r", "h2c\r"), "something else"),
            (
                good.replace("keep-alive, Upgrade", "close"),
                "something else",
            ),
            (good.replace("s3pP", "s3pQ"), "the key"),
            (
                format!("{good}\r\nSec-WebSocket-Accept: {ACCEPT}"),
                "the key",
            ),
            (
                format!("{good}\r\nSec-WebSocket-Protocol: c"),
                "not offered",
            ),
            (format!("{good}\r\nSec-WebSocket-Protocol: a, b"), "several"),
            (
                format!("{good}\r\nSec-WebSocket-Extensions: x"),
                "not offered",
            ),
            (
                format!("{good}\r\nSec-WebSocket-Extensions: permessage-deflate"),
                "not offered",
            ),
        ] {
            let found = judged(&bad);
            assert!(
                found.is_err_and(|found| found.contains(why)),
                "{bad}: {found:?}"
            );
        }
    }

    #[test]
    fn nothing_of_a_request_ends_it_early() {
        let options = Options::default();
        for (host, target, field) in [
            ("a\r\nb: c", "/", ("d", "e")),
            ("a", "/ HTTP/1.1\r\n", ("d", "e")),
            ("a", "b", ("d", "e")),
            ("a", "/#b", ("d", "e")),
            ("a", "/", ("d\r\n", "e")),
            ("a", "/", ("d", "e\r\nf")),
        ] {
            assert!(
                request(host, target, &[field], &options, "key").is_err(),
                "{host} {target}"
            );
        }
        let text = request("a", "/b?c", &[("Origin", "d")], &options, "key").expect("it is one");
        assert!(
            text.starts_with(b"GET /b?c HTTP/1.1\r\nHost: a\r\n")
                && text.ends_with(b"Origin: d\r\n\r\n")
        );
    }
}
