//! Connections of a test: both ends, or the peer's of one that a handler serves.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::conn::connection::Conn;
use crate::handler::{self, Handler};
use crate::id::Key;
use crate::shard::futures::notify::Notify;
use crate::testing::bench::{Bench, Task};
use crate::testing::peer::Peer;

/// Accepts a connection for `handler`, as a server does, and gives its other end.
pub fn serve<H: Handler>(handler: H) -> Peer {
    let handler = Rc::new(handler);
    accept(|key| Box::pin(handler::serve(handler, key))).1
}

/// Both ends of an accepted connection.
///
/// ```
/// use corelane::testing;
///
/// testing::block_on(async || {
///     let (mut conn, mut peer) = testing::pair();
///     peer.send("one\ntwo");
///     let line = conn.read_line(10).await.expect("it is open").expect("it came");
///     assert_eq!(&*line, b"one");
///     conn.write("thanks").await.expect("it is open");
///     drop(conn);
///     assert_eq!(peer.receive_to_end().await, b"thanks");
/// });
/// ```
pub fn pair() -> (Accepted, Peer) {
    let done = Rc::new(Notify::new());
    let end = Rc::clone(&done);
    let held = move |_key| -> Task {
        Box::pin(async move {
            end.notified().await;
            Ok(())
        })
    };
    let (key, peer) = accept(held);
    let conn = Conn::new(key);
    (Accepted { conn, done }, peer)
}

/// The connection of a [`pair`]: a [`Conn`]. Dropped it ends as when its handler returns.
#[derive(Debug)]
pub struct Accepted {
    conn: Conn,
    done: Rc<Notify>,
}

impl Deref for Accepted {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Accepted {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.done.notify();
    }
}

fn accept(start: impl FnOnce(Key) -> Task + 'static) -> (Key, Peer) {
    let bench = Bench::current();
    let (key, wire) = bench.accept(start);
    (key, Peer::new(bench, wire))
}
