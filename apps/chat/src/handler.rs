//! What the chat server does with one connection, and with what shards tell each other.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use corelane::{Conn, ConnId, Error, Handler, ShardContext, Topic};

use crate::command::{Command, parse};
use crate::rate;
use crate::settings::ChatSettings;

/// Longest line of a peer, in bytes, its end included.
const LINE_MAX: usize = 1024;
/// Names that a shard tells for `/who`.
const NAMES_MAX: usize = 100;

const NO_ROOM: &str = "you are in no room: /join ROOM";
const TOO_BUSY: &str = "too busy: this was not done";

/// One per shard.
pub(crate) struct Chat {
    pub(crate) settings: ChatSettings,
    pub(crate) shard: ShardContext<Who>,
    /// Those that connections of this shard are in.
    pub(crate) rooms: RefCell<HashMap<Box<str>, Members>>,
}

/// With their names.
type Members = HashMap<ConnId, Rc<RefCell<String>>>;

/// A connection. It leaves its room when this is dropped.
struct Speaker<'a> {
    chat: &'a Chat,
    id: ConnId,
    name: Rc<RefCell<String>>,
    room: Option<Topic>,
}

/// From a shard to every shard: who is in that room, a connection asks.
#[derive(Clone)]
pub(crate) struct Who(Arc<str>, ConnId);

/// What a peer is told, or what is wrong.
type Told = Result<String, &'static str>;

impl Handler<Who> for Chat {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let (mut full_at, per_second) = (Instant::now(), self.settings.lines_per_second);
        let mut speaker = Speaker {
            chat: self,
            id: conn.id(),
            name: Rc::new(RefCell::new(format!("guest-{}", conn.id()))),
            room: None,
        };
        loop {
            let line = match conn.read_line(LINE_MAX).await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                // What is rare is boxed, or it would be part of every idle connection.
                Err(error) => return Box::pin(refuse(conn, error)).await,
            };
            let told = match parse(&line) {
                Ok(Command::Quit) => return Ok(()),
                _ if !rate::take(&mut full_at, Instant::now(), per_second) => Err("too fast: wait"),
                Ok(Command::Say(text)) => speaker.say(&text),
                Ok(Command::Join(room)) => speaker.join(room),
                Ok(Command::Name(name)) => Ok(speaker.rename(name)),
                Ok(Command::Who) => speaker.who(),
                Err(why) => Err(why),
            };
            let told = told.unwrap_or_else(|why| format!("! {why}\n"));
            conn.write(&told).await?;
        }
    }

    fn on_message(&self, Who(room, asker): Who) {
        if let Some(members) = self.rooms.borrow().get(&*room) {
            let names = members.values().take(NAMES_MAX);
            let names: Vec<_> = names.map(|name| name.borrow().clone()).collect();
            let names = names.join(", ");
            let line = format!("* in {room} on shard {}: {names}\n", self.shard.id);
            let _receipt = self.shard.peers().send_to(asker, line.into_bytes());
        }
    }
}

impl Speaker<'_> {
    /// Every member hears a line once, those of one speaker in order, be it as it is said or as the
    /// history of who joins later.
    fn say(&self, text: &str) -> Told {
        let topic = self.room.clone().ok_or(NO_ROOM)?;
        let line = format!("{}: {text}\n", self.name.borrow());
        let kept = topic.retained(self.chat.settings.history_lines.into());
        kept.publish(line.as_bytes()).map_err(|_| TOO_BUSY)?;
        Ok(String::new())
    }

    /// Gives the history; the notice of joining comes behind it, as to everybody in the room.
    fn join(&mut self, name: &str) -> Told {
        self.leave();
        let topic = self.chat.shard.topic(name);
        topic.subscribe(self.id).map_err(|_| TOO_BUSY)?;
        self.room = Some(topic);
        let mut rooms = self.chat.rooms.borrow_mut();
        let members = rooms.entry(name.into()).or_default();
        members.insert(self.id, Rc::clone(&self.name));
        Ok(self.announce(format!("* {} joined\n", self.name.borrow())))
    }

    fn rename(&self, name: &str) -> String {
        let before = self.name.replace(name.to_owned());
        self.announce(format!("* {before} is now {name}\n"))
    }

    /// Each shard with members of the room answers by a line.
    fn who(&self) -> Told {
        let room = self.room.as_ref().ok_or(NO_ROOM)?.name().into();
        self.tell_all(&Who(room, self.id))
    }

    fn leave(&mut self) {
        if let Some(topic) = self.room.take() {
            topic.unsubscribe(self.id);
            let mut rooms = self.chat.rooms.borrow_mut();
            if let Entry::Occupied(mut room) = rooms.entry(topic.name().into()) {
                room.get_mut().remove(&self.id);
                if room.get().is_empty() {
                    room.remove();
                }
            }
            // A room whose shards are too busy is not told who comes and goes.
            let _full = topic.publish(format!("* {} left\n", self.name.borrow()).as_bytes());
        }
    }

    /// Tells the room, and gives the notice back if the peer does not hear it there.
    fn announce(&self, notice: String) -> String {
        let room = self.room.as_ref();
        let heard = room.is_some_and(|room| room.publish(notice.as_bytes()).is_ok());
        if heard { String::new() } else { notice }
    }

    fn tell_all(&self, message: &Who) -> Told {
        for peer in self.chat.shard.peers().iter() {
            peer.try_send(message.clone()).map_err(|_| TOO_BUSY)?;
        }
        Ok(String::new())
    }
}

impl Drop for Speaker<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// All is sent before the connection fails: a reset could overtake it.
async fn refuse(conn: &mut Conn, error: Error) -> Result<(), Error> {
    conn.write(&format!("! {error}\n")).await?;
    conn.close().await?;
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F: Future>(_serve: impl FnOnce(&'a Chat, &'a mut Conn) -> F) -> usize {
        size_of::<F>()
    }

    /// The memory of an idle connection is a promise, and this is the part of it that is the
    /// handler's.
    #[test]
    fn what_is_rare_is_not_paid_for_by_an_idle_connection() {
        let served = size(|chat: &Chat, conn| chat.serve(conn));
        assert!(served <= 240, "{served} bytes");
    }
}
