//! A server's side of the opening handshake (RFC 6455, 4.2).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::conn::connection::Conn;
use crate::conn::handle::Handle;
use crate::error::Error;
use crate::http::{Http, Limits, Method, Request, Response, Status};
use crate::websocket::handshake::{self, members};
use crate::websocket::options::Options;
use crate::websocket::socket::WebSocket;
use crate::websocket::state::Agreed;

const PROTOCOL: &str = "websocket";
/// The one version there is (RFC 6455, 4.1).
const VERSION: &[u8] = b"13";

/// Why a request does not become a WebSocket.
struct Refusal {
    status: Status,
    why: &'static str,
}

impl<'h> Request<'h> {
    /// Goes over to WebSocket (RFC 6455), with the feature `websocket`.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// use corelane::http::{Http, Limits, Response};
    /// use corelane::websocket::Options;
    /// use corelane::{Conn, Error, Handler};
    ///
    /// #[derive(Default)]
    /// struct Echo {
    ///     limits: Rc<Limits>,
    ///     options: Rc<Options>,
    /// }
    ///
    /// impl Handler for Echo {
    ///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
    ///         let mut http = Http::new(conn, &self.limits);
    ///         loop {
    ///             // No `while let`: what its `?` looks at, 32 bytes, would be kept beside the
    ///             // WebSocket.
    ///             let Some(request) = http.next().await? else {
    ///                 return Ok(());
    ///             };
    ///             if request.path() != "/echo" {
    ///                 request.respond(Response::ok().body("hello\n")).await?;
    ///                 continue;
    ///             }
    ///             let mut ws = request.websocket(&self.options).await?;
    ///             while let Some(message) = ws.next().await? {
    ///                 ws.send(message).await?;
    ///             }
    ///             return Ok(());
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] for a request that asks for no WebSocket, which was answered with 426, as
    /// was one of another version than 13; for an ill-formed one, with 400; for one of a page that is
    /// not among `origins`, with 403. The connection ends behind the answer. [`Error::Closed`] as for
    /// [`respond`](Self::respond).
    pub fn websocket(self, options: &Rc<Options>) -> Accept<'h> {
        let options = Rc::clone(options);
        Accept(Box::pin(async move {
            let (handle, agreed) = go_over(self, &options).await?;
            Ok(WebSocket::new(handle, &options, false, agreed))
        }))
    }
}

/// Speaks HTTP on `conn` until `route` gives a request back, and goes over to WebSocket with that one;
/// `None` for a peer that ends before. Whatever `route` keeps it has answered.
///
/// An idle connection takes 40 bytes more than an echo's then; where [`Request::websocket`] has made
/// it, so that [`Http`] is there beside it, 72.
///
/// ```
/// use std::rc::Rc;
///
/// use corelane::http::{Limits, Request, Response};
/// use corelane::websocket::{self, Options};
/// use corelane::{Conn, Error, Handler};
///
/// #[derive(Default)]
/// struct Echo {
///     limits: Rc<Limits>,
///     options: Rc<Options>,
/// }
///
/// async fn route(request: Request<'_>) -> Result<Option<Request<'_>>, Error> {
///     if request.path() == "/echo" {
///         return Ok(Some(request));
///     }
///     request.respond(Response::ok().body("a page\n")).await?;
///     Ok(None)
/// }
///
/// impl Handler for Echo {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         let Some(mut ws) = websocket::accept(conn, &self.limits, &self.options, route).await? else {
///             return Ok(());
///         };
///         while let Some(message) = ws.next().await? {
///             ws.send(message).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// # Errors
///
/// As for [`Http::next`] and [`Request::websocket`]; those of `route`.
pub fn accept<'c>(
    conn: &'c mut Conn,
    limits: &Rc<Limits>,
    options: &Rc<Options>,
    route: impl AsyncFn(Request<'_>) -> Result<Option<Request<'_>>, Error> + 'c,
) -> Accept<'c, Option<WebSocket<'c>>> {
    let (limits, options) = (Rc::clone(limits), Rc::clone(options));
    Accept(Box::pin(async move {
        let mut http = Http::new(conn, &limits);
        while let Some(request) = http.next().await? {
            if let Some(request) = route(request).await? {
                let (handle, agreed) = go_over(request, &options).await?;
                return Ok(Some(WebSocket::new(handle, &options, false, agreed)));
            }
        }
        Ok(None)
    }))
}

/// The future of [`Request::websocket`], and of [`accept`].
#[must_use = "futures do nothing unless awaited"]
pub struct Accept<'c, T = WebSocket<'c>>(Pin<Box<dyn Future<Output = Result<T, Error>> + 'c>>);

impl<T> Future for Accept<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for Accept<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Accept").finish_non_exhaustive()
    }
}

async fn go_over(mut request: Request<'_>, options: &Options) -> Result<(Handle, Agreed), Error> {
    let handle = request.handle();
    let key = match judge(&mut request, options) {
        Ok(key) => key,
        Err(refusal) => return Err(refuse(request, refusal).await),
    };
    let subprotocol = subprotocol(&request, options);
    let extension = extension(&request, options);
    let agreed = Agreed {
        subprotocol: subprotocol.map_or(0, |index| index as u8 + 1),
        deflates: extension.is_some(),
    };
    let mut fields = vec![("Sec-WebSocket-Accept", key.as_str())];
    if let Some(index) = subprotocol {
        fields.push(("Sec-WebSocket-Protocol", &options.subprotocols[index]));
    }
    if let Some(extension) = extension {
        fields.push(("Sec-WebSocket-Extensions", extension));
    }
    request.upgrade(PROTOCOL, &fields).await?;
    Ok((handle, agreed))
}

/// Answers, and ends the connection politely: an end without our FIN would reset what the peer has
/// yet to read.
async fn refuse(request: Request<'_>, Refusal { status, why }: Refusal) -> Error {
    let handle = request.handle();
    let text = format!("{why}\n");
    let mut response = Response::new(status).close().body(&text);
    response = response.header("Cache-Control", "no-store");
    if status == Status::UPGRADE_REQUIRED {
        response = response
            .header("Sec-WebSocket-Version", VERSION)
            .asks_for(PROTOCOL);
    }
    if let Err(error) = request.respond(response).await {
        return error;
    }
    if let Err(error) = handle.close().await {
        return error;
    }
    Error::Protocol(why)
}

/// Gives what its key is answered with.
fn judge(request: &mut Request<'_>, options: &Options) -> Result<String, Refusal> {
    let refuse = |status, why| Err(Refusal { status, why });
    if !request.wants_upgrade(PROTOCOL) {
        return refuse(
            Status::UPGRADE_REQUIRED,
            "this is a WebSocket, and was asked for as none",
        );
    }
    if request.method() != Method::Get || request.body().remaining() != Some(0) {
        return refuse(
            Status::BAD_REQUEST,
            "a WebSocket is asked for by GET, without a body",
        );
    }
    let one = |name| {
        let mut values = request.header_values(name);
        values.next().filter(|_| values.next().is_none())
    };
    if one("sec-websocket-version") != Some(VERSION) {
        return refuse(
            Status::UPGRADE_REQUIRED,
            "the version of WebSocket is not 13",
        );
    }
    let Some(key) = one("sec-websocket-key").filter(|key| handshake::is_key(key)) else {
        return refuse(
            Status::BAD_REQUEST,
            "Sec-WebSocket-Key is not 16 bytes in base64",
        );
    };
    if !is_welcome(request, &options.origins) {
        return refuse(Status::FORBIDDEN, "no scripts of that page may connect");
    }
    Ok(handshake::accept(key))
}

/// Whether scripts of the page that asks may connect (RFC 6455, 10.2).
fn is_welcome(request: &Request<'_>, origins: &[String]) -> bool {
    let mut values = request.header_values("origin");
    let Some(origin) = values.next() else {
        return true; // no browser
    };
    if values.next().is_some() {
        return false;
    }
    let is_origin = |one: &String| one == "*" || one.as_bytes().eq_ignore_ascii_case(origin);
    if !origins.is_empty() {
        return origins.iter().any(is_origin);
    }
    let own = request.host().unwrap_or_default().as_bytes();
    ["https://", "http://"].iter().any(|scheme| {
        let host = origin.get(scheme.len()..).unwrap_or_default();
        origin[..origin.len() - host.len()].eq_ignore_ascii_case(scheme.as_bytes())
            && !host.is_empty()
            && host.eq_ignore_ascii_case(own)
    })
}

/// The client's first that is spoken, by its place.
fn subprotocol(request: &Request<'_>, options: &Options) -> Option<usize> {
    let spoken = options.subprotocols.iter().take(u8::MAX.into());
    members(request.header_values("sec-websocket-protocol"))
        .find_map(|asked| spoken.clone().position(|one| one.as_bytes() == asked))
}

#[cfg(feature = "websocket-deflate")]
fn extension(request: &Request<'_>, options: &Options) -> Option<&'static str> {
    let offers = request.header_values("sec-websocket-extensions");
    match options.may_deflate() {
        true => crate::websocket::deflate::accept(offers),
        false => None,
    }
}

#[cfg(not(feature = "websocket-deflate"))]
fn extension(_: &Request<'_>, _: &Options) -> Option<&'static str> {
    None
}
