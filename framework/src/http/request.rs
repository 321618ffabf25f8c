//! A request, as its handler sees it.

use std::fmt;

#[cfg(feature = "websocket")]
use crate::conn::handle::Handle;
use crate::error::Error;
use crate::http::body::Body;
use crate::http::head::Field;
use crate::http::response::Response;
use crate::http::send::Sending;
use crate::http::session::Session;
use crate::http::streamed::Streamed;
use crate::http::target;

/// A request whose head has come. It is answered by one of [`respond`](Self::respond),
/// [`respond_streamed`](Self::respond_streamed), [`take_over`](Self::take_over) and
/// [`upgrade`](Self::upgrade).
///
/// What it gives lies in the buffer that the kernel has received it into.
pub struct Request<'h> {
    session: &'h mut Session,
}

/// The method of a request (RFC 9110, 9). It is as it was written: `get` is not [`Get`](Self::Get).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method<'r> {
    /// RFC 9110, 9.3.1.
    Get,
    /// RFC 9110, 9.3.2: its answer has the head of GET's, and no content.
    Head,
    /// RFC 9110, 9.3.3.
    Post,
    /// RFC 9110, 9.3.4.
    Put,
    /// RFC 9110, 9.3.5.
    Delete,
    /// RFC 5789.
    Patch,
    /// RFC 9110, 9.3.7.
    Options,
    /// RFC 9110, 9.3.8.
    Trace,
    /// Any other, but for CONNECT, which is refused.
    Other(&'r str),
}

impl<'h> Request<'h> {
    pub(super) fn new(session: &'h mut Session) -> Self {
        Self { session }
    }

    /// Of its connection, for the protocol that it goes over to.
    #[cfg(feature = "websocket")]
    pub(crate) fn handle(&self) -> Handle {
        self.session.handle
    }

    /// The bytes of its head, the empty line at its end included.
    pub fn head(&self) -> &[u8] {
        self.session.exchange().head()
    }

    /// Its method.
    pub fn method(&self) -> Method<'_> {
        if self.session.exchange().said.is_get {
            return Method::Get;
        }
        match self.method_name() {
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "PATCH" => Method::Patch,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            other => Method::Other(other),
        }
    }

    /// Its method, as it was written.
    pub fn method_name(&self) -> &str {
        self.session.exchange().said.method.in_text(self.head())
    }

    /// What it asks for, as it was written: a path and a query (`/a?b`), a URL (`http://host/a?b`), or
    /// the `*` of OPTIONS.
    pub fn target(&self) -> &str {
        self.session.exchange().said.target.in_text(self.head())
    }

    /// The path of the target, as it was written: nothing is decoded, and no `..` taken away.
    pub fn path(&self) -> &str {
        target::path_and_query(self.target()).0
    }

    /// What stands behind the first `?` of the target.
    pub fn query(&self) -> Option<&str> {
        target::path_and_query(self.target()).1
    }

    /// Whom it is for: the host of the target, else the field `Host` (RFC 9112, 3.2.2), with its port
    /// if it has one. None in HTTP/1.0 without either.
    pub fn host(&self) -> Option<&str> {
        target::authority(self.target()).or_else(|| self.header_str("host"))
    }

    /// It is of HTTP/1.0, else of HTTP/1.1.
    pub fn is_http_1_0(&self) -> bool {
        self.session.exchange().said.is_1_0
    }

    /// The value of the first header field of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.header_values(name).next()
    }

    /// As [`Self::header`]; none as well if it is no UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name)
            .and_then(|value| str::from_utf8(value).ok())
    }

    /// The values of all header fields of that name, in their order.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &[u8]> + Clone {
        let named =
            move |field: &&Field| field.name.in_text(self.head()).eq_ignore_ascii_case(name);
        let fields = self.session.exchange().said.fields.iter().filter(named);
        fields.map(|field| field.value.in_bytes(self.head()))
    }

    /// All header fields, names and values, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        let head = self.head();
        let fields = self.session.exchange().said.fields.iter();
        fields.map(|field| (field.name.in_text(head), field.value.in_bytes(head)))
    }

    /// Whether a field that is a list, as `Accept` or `Upgrade`, has that member, in any case;
    /// parameters of a member (`;q=0.5`) do not count.
    pub fn header_has(&self, name: &str, member: &str) -> bool {
        let members = self
            .header_values(name)
            .flat_map(|value| value.split(|byte| *byte == b','));
        let mut bare =
            members.map(|one| one.split(|byte| *byte == b';').next().unwrap_or_default());
        bare.any(|one| one.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
    }

    /// Its body; one without is empty.
    pub fn body(&mut self) -> Body<'_> {
        Body::new(self.session)
    }

    /// Answers it. Success says only that the answer is queued: it goes out when the handler waits
    /// for anything, together with the answers to whatever was sent ahead.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] as for [`Conn::write`](crate::Conn::write); [`Error::Handler`] for an answer
    /// with an invalid header field, of which nothing is sent.
    pub fn respond(self, response: Response<'_>) -> Sending<'h> {
        self.session.answer(response);
        Sending::new(self.session)
    }

    /// Answers it with content that comes in parts: in chunks, or with
    /// [`Response::length`] as they are; to a client of HTTP/1.0 until the connection ends. The
    /// content that `response` has itself is not sent.
    ///
    /// ```
    /// use corelane::Error;
    /// use corelane::http::{Request, Response};
    ///
    /// /// Sends back what it gets, as it comes.
    /// async fn echo(request: Request<'_>) -> Result<(), Error> {
    ///     let mut answer = request.respond_streamed(Response::ok()).await?;
    ///     while let Some(chunk) = answer.body().next_chunk().await? {
    ///         answer.write(chunk).await?;
    ///     }
    ///     answer.finish().await
    /// }
    /// # let _ = echo;
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`respond`](Self::respond).
    pub async fn respond_streamed(self, response: Response<'_>) -> Result<Streamed<'h>, Error> {
        self.session.answer_in_parts(response);
        Sending::new(self.session).await?;
        Ok(Streamed::new(self.session))
    }

    /// Answers it with content that is the handler's to write on the connection itself: this sends
    /// the head, with `Connection: close`, and then the connection is the handler's, as behind
    /// [`upgrade`](Self::upgrade). So what is [published](crate::Topic) comes to the peer as a part of
    /// the answer, framed once for all by [`chunk_frame`](super::chunk_frame). The handler ends it with
    /// [`LAST_CHUNK`](super::LAST_CHUNK). The content that `response` has itself is not sent.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// use corelane::http::{Http, LAST_CHUNK, Limits, Response};
    /// use corelane::{Conn, Error, Topic};
    ///
    /// /// Sends the news as they come, until the peer goes or the server drains. Elsewhere:
    /// /// `news.publish(corelane::http::chunk_frame(line))`.
    /// async fn serve(conn: &mut Conn, limits: &Rc<Limits>, news: &Topic) -> Result<(), Error> {
    ///     let mut http = Http::new(conn, limits);
    ///     let Some(request) = http.next().await? else {
    ///         return Ok(());
    ///     };
    ///     request.take_over(Response::ok().header("Content-Type", "text/plain")).await?;
    ///     drop(http);
    ///     news.subscribe(conn.id()).map_err(Error::handler)?;
    ///     while conn.read().await?.is_some() {}
    ///     news.unsubscribe(conn.id());
    ///     conn.write(LAST_CHUNK).await
    /// }
    /// # let _ = serve;
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`respond`](Self::respond); [`Error::Handler`] as well where the content could not be
    /// sent in chunks: to HTTP/1.0 and for HEAD, with a [`length`](Response::length) or a status that
    /// has none, or where the request's body is unread.
    pub fn take_over(self, response: Response<'_>) -> Sending<'h> {
        self.session.answer_and_hand_over(response);
        Sending::new(self.session)
    }

    /// Whether its peer would speak `protocol` from here on (RFC 9110, 7.8).
    pub fn wants_upgrade(&self, protocol: &str) -> bool {
        self.session.exchange().said.upgrades && self.header_has("upgrade", protocol)
    }

    /// Goes over to `protocol`, with `101 Switching Protocols` and these header fields. Then the
    /// connection is the handler's again, and what the peer has sent behind the head is unread.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// use corelane::http::{Http, Limits, Response, Status};
    /// use corelane::{Conn, Error};
    ///
    /// async fn serve(conn: &mut Conn, limits: &Rc<Limits>) -> Result<(), Error> {
    ///     let mut http = Http::new(conn, limits);
    ///     while let Some(request) = http.next().await? {
    ///         if request.wants_upgrade("echo") {
    ///             request.upgrade("echo", &[]).await?;
    ///             return echo(conn).await;
    ///         }
    ///         request.respond(Response::new(Status::BAD_REQUEST)).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// async fn echo(conn: &mut Conn) -> Result<(), Error> {
    ///     while let Some(chunk) = conn.read().await? {
    ///         conn.write(chunk).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = serve;
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] as for [`Conn::write`](crate::Conn::write); [`Error::Handler`] when the peer
    /// has not asked for it ([`wants_upgrade`](Self::wants_upgrade)), its body is unread, or a field
    /// is invalid.
    pub fn upgrade(self, protocol: &str, fields: &[(&str, &str)]) -> Sending<'h> {
        let is_wanted = self.wants_upgrade(protocol);
        self.session.answer_upgrade(protocol, fields, is_wanted);
        Sending::new(self.session)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Request(\"{} {}\")",
            self.method_name(),
            self.target()
        )
    }
}
