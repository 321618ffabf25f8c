//! Requests in, replies out: a handler for protocols that need no more.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::codec::Codec;
use crate::conn::connection::Conn;
use crate::conn::frame::Frame;
use crate::conn::framed::Framed;
use crate::error::Error;
use crate::handler::Handler;

/// Requests of one connection in hand, unless [`FromService::in_hand_max`] says otherwise.
const IN_HAND_MAX: usize = 16;

/// What answers each frame of a codec by one message: one value per shard, as a [`Handler`], which
/// [`from_service`] makes of it.
///
/// Requests of a connection may be pipelined. They are called as they come, several at a time, and
/// answered in their order; see [`FromService`].
///
/// ```
/// use corelane::codec::{Netstrings, Payload};
/// use corelane::{Error, Frame, Service, ShardContext, from_service};
///
/// struct Shout;
///
/// impl Service for Shout {
///     type Codec = Netstrings;
///     type Reply = Vec<u8>;
///
///     fn codec(&self) -> Netstrings {
///         Netstrings::new(4096)
///     }
///
///     async fn call(&self, request: Frame<Payload>) -> Result<Vec<u8>, Error> {
///         Ok(request.to_ascii_uppercase())
///     }
/// }
///
/// let factory = |_shard: &ShardContext| from_service(Shout);
/// # let _ = factory;
/// # #[cfg(feature = "testing")]
/// # corelane::testing::block_on(async || {
/// #     let mut peer = corelane::testing::serve(from_service(Shout));
/// #     peer.send("2:hi,");
/// #     assert_eq!(peer.receive(5).await, b"2:HI,");
/// # });
/// ```
pub trait Service: 'static {
    /// The protocol.
    type Codec: Codec;
    /// What the codec encodes as the reply.
    type Reply: Borrow<<Self::Codec as Codec>::Out<'static>>;

    /// The codec of a new connection.
    fn codec(&self) -> Self::Codec;

    /// Answers one request. What of it is pending runs beside others of the connection.
    ///
    /// # Errors
    ///
    /// Whatever ends the connection, with the close reason that it stands for. Requests before it
    /// have been answered, those behind it are not.
    fn call(
        &self,
        request: Frame<<Self::Codec as Codec>::In>,
    ) -> impl Future<Output = Result<Self::Reply, Error>>;
}

/// A handler that serves `service`.
pub fn from_service<S: Service>(service: S) -> FromService<S> {
    FromService {
        service,
        in_hand_max: IN_HAND_MAX,
    }
}

/// What [`from_service`] makes.
///
/// A connection has as many requests in hand as were read and are not answered: at most 16, or what
/// [`in_hand_max`](Self::in_hand_max) says. At that bound it is not read from, so a peer that
/// pipelines more meets a closed window. Replies are sent in the order of the requests; one that is
/// ready before its turn waits, as it is. While the peer takes no replies the calls in hand go on,
/// and no new one is read.
///
/// `timeouts.request` is for each request in its turn: the next one's time begins when the one
/// before it was answered. While there are requests in hand the peer is not waited for, and neither
/// `timeouts.idle` nor `timeouts.read` runs.
///
/// A peer that ends its side, or sends what is no frame, has its requests before that answered. In
/// a drain those that have come are.
///
/// An idle connection holds its codec, and nothing of its requests. While calls end at once a request
/// allocates nothing but for the first of those that came together; a call that is pending beside
/// another one is a box.
#[derive(Clone, Debug)]
pub struct FromService<S> {
    service: S,
    in_hand_max: usize,
}

impl<S: Service> FromService<S> {
    /// So many requests of one connection in hand at most, 16 unless it is called; with 1 none is read
    /// before the one before it is answered. 0 is taken for 1.
    ///
    /// How many a service can bear is its own affair, so the framework has no key for it. One that
    /// leaves it to the operator has a key of its own in `[app]`:
    ///
    /// ```
    /// use corelane::codec::{Lines, Payload};
    /// use corelane::{AppSettings, Error, Frame, FromService, Service, ShardContext, from_service};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// #[serde(default, deny_unknown_fields)]
    /// struct LookupSettings {
    ///     /// Requests of one connection that are looked up at a time.
    ///     in_hand_max: usize,
    /// }
    ///
    /// impl Default for LookupSettings {
    ///     fn default() -> Self {
    ///         Self { in_hand_max: 4 }
    ///     }
    /// }
    ///
    /// impl AppSettings for LookupSettings {
    ///     const NAME: &'static str = "lookup";
    ///     const ABOUT: &'static str = "Looks up what it is asked for";
    ///     const LISTEN: &'static str = "127.0.0.1:7021";
    ///
    ///     fn check(&self) -> Vec<(&'static str, String)> {
    ///         let wrong = !(1..=64).contains(&self.in_hand_max);
    ///         let wrong = wrong.then(|| ("in_hand_max", "expected 1 to 64".to_owned()));
    ///         wrong.into_iter().collect()
    ///     }
    /// }
    ///
    /// struct Lookup;
    ///
    /// impl Service for Lookup {
    ///     type Codec = Lines;
    ///     type Reply = Frame<Payload>;
    ///
    ///     fn codec(&self) -> Lines {
    ///         Lines::new(1024)
    ///     }
    ///
    ///     async fn call(&self, name: Frame<Payload>) -> Result<Frame<Payload>, Error> {
    ///         Ok(name)
    ///     }
    /// }
    ///
    /// let factory = |_shard: &ShardContext, settings: &LookupSettings| {
    ///     from_service(Lookup).in_hand_max(settings.in_hand_max)
    /// };
    /// # let _ = factory;
    /// ```
    pub fn in_hand_max(self, requests: usize) -> Self {
        Self {
            in_hand_max: requests.max(1),
            ..self
        }
    }

    /// Answers `first`, and those that come meanwhile, until none is in hand.
    async fn answer(
        &self,
        framed: &mut Framed<'_, S::Codec>,
        first: Frame<<S::Codec as Codec>::In>,
    ) -> Result<(), Error> {
        let place = pin!(None);
        let mut in_hand = InHand::new(place);
        let mut first = Some(first);
        // The end of the input, or why there is no more: who asks again is told again.
        let mut is_over = false;
        while first.is_some() || !in_hand.is_empty() {
            let reply = poll_fn(|context| {
                if let Some(first) = first.take() {
                    in_hand.push(self.service.call(first), context);
                }
                while !is_over && in_hand.len() < self.in_hand_max {
                    match framed.poll_ahead(context) {
                        Poll::Ready(Ok(Some(request))) => {
                            in_hand.push(self.service.call(request), context);
                        }
                        Poll::Ready(Err(Error::Closed(reason))) => {
                            return Poll::Ready(Err(Error::Closed(reason)));
                        }
                        Poll::Ready(Ok(None) | Err(_)) => is_over = true,
                        Poll::Pending => break,
                    }
                }
                in_hand.poll(context);
                in_hand.pop_done()
            });
            let reply = reply.await?;
            let out: &<S::Codec as Codec>::Out<'static> = reply.borrow();
            in_hand.beside(framed.send(out)).await?;
            framed.answered(!in_hand.is_empty());
        }
        Ok(())
    }
}

impl<S: Service> Handler for FromService<S> {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut framed = conn.framed(self.service.codec());
        loop {
            let Some(request) = framed.next().await? else {
                return Ok(());
            };
            // Boxed, or it would be part of every idle connection.
            Box::pin(self.answer(&mut framed, request)).await?;
        }
    }
}

/// The calls of a connection, in the order of their requests.
struct InHand<'a, F: Future> {
    calls: VecDeque<Call<F>>,
    /// Room for one call. Of those that end at once each finds it free, so that none allocates.
    place: Pin<&'a mut Option<F>>,
}

enum Call<F: Future> {
    InPlace,
    /// While another one is in the place.
    Boxed(Pin<Box<F>>),
    Done(F::Output),
}

impl<'a, F: Future> InHand<'a, F> {
    fn new(place: Pin<&'a mut Option<F>>) -> Self {
        let calls = VecDeque::new();
        Self { calls, place }
    }

    fn len(&self) -> usize {
        self.calls.len()
    }

    fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// One more, which goes as far as it can.
    fn push(&mut self, call: F, context: &mut Context<'_>) {
        let mut call = match self.place.is_none() {
            true => {
                self.place.set(Some(call));
                Call::InPlace
            }
            false => Call::Boxed(Box::pin(call)),
        };
        call.poll(self.place.as_mut(), context);
        self.calls.push_back(call);
    }

    /// Each goes as far as it can.
    fn poll(&mut self, context: &mut Context<'_>) {
        for call in &mut self.calls {
            call.poll(self.place.as_mut(), context);
        }
    }

    /// Waits for `other`, while each goes on.
    async fn beside<R>(&mut self, other: impl Future<Output = R>) -> R {
        let mut other = pin!(other);
        poll_fn(|context| {
            let outcome = other.as_mut().poll(context);
            if outcome.is_pending() {
                self.poll(context);
            }
            outcome
        })
        .await
    }

    /// What the first has ended with, once it has.
    fn pop_done(&mut self) -> Poll<F::Output> {
        match self.calls.pop_front() {
            Some(Call::Done(output)) => Poll::Ready(output),
            Some(pending) => {
                self.calls.push_front(pending);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

impl<F: Future> Call<F> {
    fn poll(&mut self, mut place: Pin<&mut Option<F>>, context: &mut Context<'_>) {
        let polled = match self {
            Self::InPlace => match place.as_mut().as_pin_mut() {
                Some(future) => future.poll(context),
                None => return,
            },
            Self::Boxed(future) => future.as_mut().poll(context),
            Self::Done(_) => return,
        };
        if let Poll::Ready(output) = polled {
            if let Self::InPlace = self {
                place.set(None);
            }
            *self = Self::Done(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Waker;

    use super::*;
    use crate::codec::{Lines, Payload};
    use crate::id::Key;

    struct Echo;

    impl Service for Echo {
        type Codec = Lines;
        type Reply = Frame<Payload>;

        fn codec(&self) -> Lines {
            Lines::new(100)
        }

        async fn call(&self, line: Frame<Payload>) -> Result<Frame<Payload>, Error> {
            Ok(line)
        }
    }

    #[test]
    fn an_idle_connection_holds_its_codec_and_nothing_of_its_requests() {
        let mut conn = Conn::new(Key::of_place(0));
        let service = from_service(Echo);
        let served = size_of_val(&service.serve(&mut conn));
        assert!(served <= 152, "{served} bytes");
    }

    #[test]
    fn a_call_that_ends_at_once_is_not_boxed_and_one_beside_a_pending_one_is() {
        let context = &mut Context::from_waker(Waker::noop());
        let (may_end, place) = (Cell::new(false), pin!(None));
        let mut in_hand = InHand::new(place);
        let call = |number: u8| {
            let may_end = &may_end;
            poll_fn(move |_| match number == 0 || may_end.get() {
                true => Poll::Ready(number),
                false => Poll::Pending,
            })
        };
        for _ in 0..3 {
            in_hand.push(call(0), context);
            assert!(matches!(in_hand.calls.back(), Some(Call::Done(0))));
        }
        in_hand.push(call(1), context);
        in_hand.push(call(2), context);
        assert!(matches!(in_hand.calls[3], Call::InPlace));
        assert!(matches!(in_hand.calls[4], Call::Boxed(_)));
        may_end.set(true);
        in_hand.poll(context);
        let replies = [0, 0, 0, 1, 2].map(|number| (in_hand.pop_done(), Poll::Ready(number)));
        for (reply, expected) in replies {
            assert_eq!(reply, expected, "in their order");
        }
        in_hand.push(call(3), context);
        assert!(in_hand.place.is_none(), "the place is free again");
    }
}
