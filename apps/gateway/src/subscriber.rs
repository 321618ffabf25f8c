//! Subscribers: connections that stay, and are told of messages.

use std::sync::Arc;
use std::time::Duration;

use corelane::http::LAST_CHUNK;
use corelane::websocket::{Code, WebSocket};
use corelane::{Behind, Conn, ConnTimeouts, Error, Gauge, ShardContext, SubscribeError, Topic};
use futures_lite::future::or;

use crate::event;
use crate::publisher::{Order, events, frames};

/// Messages that a stream which catches up holds at a time. No key: of a slow one that many stay in
/// memory for it, and with fewer the list is gone through more often.
const CATCH_UP_MAX: usize = 16;

/// What the subscribers of a shard have in common.
pub(crate) struct Subscribers {
    shard: ShardContext<Order>,
    websockets: Gauge,
    event_streams: Gauge,
}

/// What an event stream is for.
pub(crate) struct Wanted {
    pub(crate) topic: String,
    /// Of the last event that its reader has.
    pub(crate) last_id: Option<u64>,
}

impl Subscribers {
    pub(crate) fn new(shard: &ShardContext<Order>) -> Self {
        Self {
            shard: shard.clone(),
            websockets: shard.gauge(
                "gateway_websocket_subscribers",
                "WebSockets that are subscribed to a topic.",
            ),
            event_streams: shard.gauge(
                "gateway_event_stream_subscribers",
                "Event streams that are subscribed to a topic.",
            ),
        }
    }

    /// Messages come between two of its handler's, which has none: it answers pings and the peer's
    /// closing, and in a drain says 1001.
    pub(crate) async fn serve_websocket(
        &self,
        mut ws: WebSocket<'_>,
        topic: String,
    ) -> Result<(), Error> {
        // Who is behind has missed a message, and cannot be told in the midst of what it has unread.
        let topic = frames(&self.shard, &topic).behind(Behind::Close);
        if let Err(error) = topic.subscribe(ws.id()) {
            return ws.close(Code::TRY_AGAIN_LATER, &error.to_string()).await;
        }
        let _counted = Counted::begin(&self.websockets);
        match ws.next().await? {
            None => Ok(()),
            Some(_message) => {
                topic.unsubscribe(ws.id());
                ws.close(Code::POLICY_VIOLATION, "messages are published by POST")
                    .await
            }
        }
    }

    /// Events are parts of the answer, whose head is out.
    pub(crate) async fn serve_events(
        &self,
        conn: &mut Conn,
        wanted: Wanted,
        heartbeat: Duration,
    ) -> Result<(), Error> {
        conn.request_done();
        conn.set_timeouts(ConnTimeouts::new().idle(None)); // it has nothing more to say
        let topic = events(&self.shard, &wanted.topic).behind(Behind::Close);
        if subscribe(conn, &topic, wanted.last_id).await?.is_ok() {
            let _counted = Counted::begin(&self.event_streams);
            wait_for_end(conn, heartbeat).await?;
            topic.unsubscribe(conn.id());
        }
        conn.write(LAST_CHUNK).await
    }
}

/// Sends what is retained behind number `last_id`, as fast as the peer takes it, and then subscribes:
/// each message comes once and in order. Without a number nothing that was published before comes.
async fn subscribe(
    conn: &mut Conn,
    topic: &Topic,
    last_id: Option<u64>,
) -> Result<Result<(), SubscribeError>, Error> {
    let newest = || topic.kept().last().and_then(|frame| event::id_of(frame));
    let mut last = last_id.or_else(newest).unwrap_or(0);
    conn.write(event::opening(last)).await?;
    loop {
        let frames = kept_behind(topic, last);
        if frames.is_empty() {
            return Ok(topic.subscribe_to_new(conn.id()));
        }
        for (id, frame) in frames {
            last = id;
            conn.write(frame).await?;
        }
    }
}

/// The oldest messages that are retained behind number `last`.
fn kept_behind(topic: &Topic, last: u64) -> Vec<(u64, Arc<[u8]>)> {
    let frames = topic.kept().into_iter();
    let numbered = frames.filter_map(|frame| Some((event::id_of(&frame)?, frame)));
    let behind = numbered.filter(|(id, _)| *id > last);
    behind.take(CATCH_UP_MAX).collect()
}

/// Until the peer ends or says anything, or the server drains.
async fn wait_for_end(conn: &mut Conn, heartbeat: Duration) -> Result<(), Error> {
    let comment = event::heartbeat();
    let mut ticks = conn.every(heartbeat);
    loop {
        let input = async { Some(conn.read().await) };
        let tick = async {
            ticks.tick().await;
            None
        };
        match or(input, tick).await {
            Some(input) => return input.map(drop),
            None => conn.write(comment.clone()).await?,
        }
    }
}

/// Counted for as long as this is there.
struct Counted<'g>(&'g Gauge);

impl<'g> Counted<'g> {
    fn begin(gauge: &'g Gauge) -> Self {
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
