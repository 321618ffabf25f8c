//! What the gateway does with one connection: requests by HTTP, until one of them stays to be told of
//! messages.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;

use corelane::http::{Http, Method, Request, Status};
use corelane::{Conn, Error, Handler, Reloaded, ShardContext};

use crate::origin::Origin;
use crate::policy::Policy;
use crate::publisher::{Order, Publisher};
use crate::route::{NO_TOPIC, Route, of_path};
use crate::settings::GatewaySettings;
use crate::subscriber::{Subscribers, Wanted};
use crate::tokens::Right;
use crate::{answer, event, page};

/// One per shard.
pub(crate) struct Gateway {
    policy: RefCell<Rc<Policy>>,
    publisher: Rc<Publisher>,
    subscribers: Subscribers,
    is_draining: Cell<bool>,
}

/// What comes behind a request.
enum Next<'h> {
    /// The next one.
    Request,
    /// A WebSocket that stays to be told.
    WebSocket(Pin<Box<dyn Future<Output = Result<(), Error>> + 'h>>),
    /// A stream of events.
    Events(Box<Wanted>),
}

impl Handler<Order> for Gateway {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut http = Http::new(conn, &self.policy().limits);
        let wanted = loop {
            let Some(request) = http.next().await? else {
                return Ok(());
            };
            // What is not waited for by an idle connection is boxed, and takes no room of it.
            match Box::pin(self.answer(request)).await? {
                Next::Request => {}
                Next::WebSocket(serve) => return serve.await,
                Next::Events(wanted) => break wanted,
            }
        };
        drop(http);
        let heartbeat = self.policy().heartbeat;
        Box::pin(self.subscribers.serve_events(conn, *wanted, heartbeat)).await
    }

    fn on_start(&self, _shard: &ShardContext<Order>) {
        self.publisher.start();
    }

    fn on_message(&self, order: Order) {
        self.publisher.take(order);
    }

    fn on_drain(&self) {
        self.is_draining.set(true);
    }

    fn on_reload(&self, settings: &Reloaded<'_>) {
        if let Some(settings) = settings.app::<GatewaySettings>() {
            self.policy.replace(Rc::new(Policy::new(settings)));
        }
    }
}

impl Gateway {
    pub(crate) fn new(shard: &ShardContext<Order>, settings: &GatewaySettings) -> Self {
        Self {
            policy: RefCell::new(Rc::new(Policy::new(settings))),
            publisher: Rc::new(Publisher::new(shard)),
            subscribers: Subscribers::new(shard),
            is_draining: Cell::new(false),
        }
    }

    fn policy(&self) -> Rc<Policy> {
        Rc::clone(&self.policy.borrow())
    }

    async fn answer<'h>(&'h self, request: Request<'h>) -> Result<Next<'h>, Error> {
        let policy = self.policy();
        let origin = policy.origin(&request);
        let path = request.path().to_owned();
        let route = of_path(&path);
        let response = match (&route, request.method()) {
            (Route::Unknown, _) => answer::text(Status::NOT_FOUND, "no such path"),
            (Route::BadTopic, _) => answer::text(Status::BAD_REQUEST, NO_TOPIC),
            (Route::Page, Method::Get | Method::Head) => page::response(),
            (Route::Health, Method::Get | Method::Head) => answer::health(self.is_draining.get()),
            (Route::Publish(_) | Route::Subscribe(_), _) if origin == Origin::Strange => {
                answer::text(
                    Status::FORBIDDEN,
                    "scripts of that page may not ask (app.origins)",
                )
            }
            (Route::Publish(_) | Route::Subscribe(_), Method::Options) => answer::preflight(&route),
            (Route::Publish(topic), Method::Post) => {
                self.publish(request, &policy, &origin, topic).await?;
                return Ok(Next::Request);
            }
            (Route::Subscribe(topic), Method::Get) => {
                return self.subscribe(request, &policy, &origin, topic).await;
            }
            _ => answer::method_not_allowed(&route),
        };
        request.respond(answer::for_page(response, &origin)).await?;
        Ok(Next::Request)
    }

    async fn publish(
        &self,
        mut request: Request<'_>,
        policy: &Policy,
        origin: &Origin,
        topic: &str,
    ) -> Result<(), Error> {
        let response = match answer::refusal(policy.judge(&request, Right::Publish)) {
            Some(refusal) => refusal,
            None => match request.body().read_all(policy.message_max).await? {
                Some(message) => {
                    let outcome = self
                        .publisher
                        .publish(topic, message, policy.retained)
                        .await;
                    answer::published(outcome)
                }
                None => answer::text(Status::CONTENT_TOO_LARGE, "the message is too long"),
            },
        };
        request.respond(answer::for_page(response, origin)).await
    }

    async fn subscribe<'h>(
        &'h self,
        mut request: Request<'h>,
        policy: &Policy,
        origin: &Origin,
        topic: &str,
    ) -> Result<Next<'h>, Error> {
        let is_allowed = policy.judge(&request, Right::Subscribe);
        let last_id = request.header("last-event-id").map(event::parse_id);
        let has_body = request.body().remaining() != Some(0);
        let refusal = match answer::refusal(is_allowed) {
            Some(refusal) => refusal,
            None if request.wants_upgrade("websocket") => {
                let ws = request.websocket(&policy.options).await?;
                let topic = topic.to_owned();
                return Ok(Next::WebSocket(Box::pin(
                    self.subscribers.serve_websocket(ws, topic),
                )));
            }
            None if request.is_http_1_0() => answer::text(
                Status::VERSION_NOT_SUPPORTED,
                "event streams are for HTTP/1.1",
            ),
            None if !takes_events(&request) => answer::text(
                Status::NOT_ACCEPTABLE,
                "there are text/event-stream and WebSocket here",
            ),
            None if has_body => answer::text(
                Status::BAD_REQUEST,
                "who subscribes sends no content with the request",
            ),
            None if last_id == Some(None) => answer::text(
                Status::BAD_REQUEST,
                "Last-Event-ID is not the id of an event",
            ),
            None => {
                let head = answer::for_page(answer::events(), origin);
                request.take_over(head).await?;
                let wanted = Wanted {
                    topic: topic.to_owned(),
                    last_id: last_id.flatten(),
                };
                return Ok(Next::Events(Box::new(wanted)));
            }
        };
        request.respond(answer::for_page(refusal, origin)).await?;
        Ok(Next::Request)
    }
}

/// Whether a client that says what it takes takes events (RFC 9110, 12.5.1).
fn takes_events(request: &Request<'_>) -> bool {
    let is_any = |accepted| request.header_has("accept", accepted);
    request.header("accept").is_none()
        || ["text/event-stream", "text/*", "*/*"]
            .into_iter()
            .any(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F: Future>(_serve: impl FnOnce(&'a Gateway, &'a mut Conn) -> F) -> usize {
        size_of::<F>()
    }

    /// The memory of an idle connection is a promise, and this is the part of it that is the
    /// handler's while it waits for a request.
    #[test]
    fn what_is_rare_is_not_paid_for_by_an_idle_connection() {
        let served = size(|gateway: &Gateway, conn| gateway.serve(conn));
        assert!(served <= 200, "{served} bytes");
    }
}
