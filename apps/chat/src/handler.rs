//! What the chat server does with one connection, and with what shards tell each other.

use std::cell::{RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelane::{Conn, ConnId, Error, Handler, ShardContext, Topic, timeout};

use crate::command::{Command, parse};
use crate::rate;
use crate::settings::ChatSettings;

/// Longest line of a peer, in bytes, its end included.
const LINE_MAX: usize = 1024;
/// Rooms that a shard knows before it forgets those that none of its connections is in.
const ROOMS_MAX: usize = 1000;
/// Names that a shard tells for `/who`.
const NAMES_MAX: usize = 100;
/// How long a speaker is held up by a shard that does not pass a line on.
const PASSED_ON_WITHIN: Duration = Duration::from_secs(1);

const NO_ROOM: &str = "you are in no room: /join ROOM";
const TOO_BUSY: &str = "too busy: this was not done";

/// One per shard.
pub(crate) struct Chat {
    pub(crate) settings: ChatSettings,
    pub(crate) shard: ShardContext<Message>,
    pub(crate) rooms: RefCell<Rooms>,
}

type Rooms = HashMap<Box<str>, Room>;

/// As one shard knows it.
#[derive(Default)]
pub(crate) struct Room {
    /// Its own connections there, with their names.
    members: HashMap<ConnId, Rc<RefCell<String>>>,
    /// What anybody said there, the latest first.
    lines: VecDeque<Arc<str>>,
}

/// A connection. It leaves its room when this is dropped.
struct Speaker<'a> {
    chat: &'a Chat,
    id: ConnId,
    name: Rc<RefCell<String>>,
    room: Option<Topic>,
}

/// From a shard to every shard.
#[derive(Clone)]
pub(crate) enum Message {
    /// For the history of a room: a line that every shard has passed on.
    Said(Arc<str>, Arc<str>),
    /// Who is in that room, a connection asks.
    Who(Arc<str>, ConnId),
}

/// What a peer is told, or what is wrong.
type Told = Result<String, &'static str>;

impl Handler<Message> for Chat {
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
                Ok(Command::Say(text)) => Box::pin(speaker.say(&text)).await,
                Ok(Command::Join(room)) => speaker.join(room),
                Ok(Command::Name(name)) => Ok(speaker.rename(name)),
                Ok(Command::Who) => speaker.who(),
                Err(why) => Err(why),
            };
            let told = told.unwrap_or_else(|why| format!("! {why}\n"));
            conn.write(&told).await?;
        }
    }

    fn on_message(&self, message: Message) {
        let lines_max = self.settings.history_lines;
        match message {
            Message::Said(room, line) => known(&self.rooms, &room).record(line, lines_max),
            Message::Who(room, asker) => {
                if let Some(names) = known(&self.rooms, &room).names() {
                    let line = format!("* in {room} on shard {}: {names}\n", self.shard.id);
                    let _receipt = self.shard.peers().send_to(asker, line.into_bytes());
                }
            }
        }
    }
}

/// The room of that name, which the shard knows from now on. Rooms with members are as many as there
/// may be topics (`topic.topics_per_shard_max`).
fn known<'r>(rooms: &'r RefCell<Rooms>, name: &str) -> RefMut<'r, Room> {
    let mut rooms = rooms.borrow_mut();
    if rooms.len() >= ROOMS_MAX && !rooms.contains_key(name) {
        rooms.retain(|_, room| !room.members.is_empty());
    }
    RefMut::map(rooms, |rooms| rooms.entry(name.into()).or_default())
}

impl Room {
    /// Adds to the history, whose oldest line goes if it is full.
    fn record(&mut self, line: Arc<str>, lines_max: u8) {
        self.lines.push_front(line);
        self.lines.truncate(lines_max.into());
    }

    /// What was said last, in the order in which this shard has heard of it.
    fn history(&self) -> String {
        self.lines.iter().rev().map(|line| &**line).collect()
    }

    /// None: nobody of this shard is here.
    fn names(&self) -> Option<String> {
        let names = self.members.values().take(NAMES_MAX);
        let names: Vec<_> = names.map(|name| name.borrow().clone()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

impl Speaker<'_> {
    /// Every member hears a line once, those of one speaker in order. It is history once every shard
    /// has passed it on: whoever joins then is not to hear it any more. One that is being passed on
    /// while they join may reach them by neither way. While a mailbox is full histories miss some.
    async fn say(&self, text: &str) -> Told {
        let topic = self.room.as_ref().ok_or(NO_ROOM)?;
        let line: Arc<str> = format!("{}: {text}\n", self.name.borrow()).into();
        let passed_on = topic.publish_counted(line.clone()).map_err(|_| TOO_BUSY)?;
        if timeout(PASSED_ON_WITHIN, passed_on).await.is_ok() {
            let _full = self.tell_all(&Message::Said(topic.name().into(), line));
        }
        Ok(String::new())
    }

    /// Gives the history; the notice of joining comes behind it, as to everybody in the room.
    fn join(&mut self, name: &str) -> Told {
        self.leave();
        let topic = self.chat.shard.topic(name);
        topic.subscribe(self.id).map_err(|_| TOO_BUSY)?;
        self.room = Some(topic);
        let mut room = known(&self.chat.rooms, name);
        room.members.insert(self.id, Rc::clone(&self.name));
        let notice = format!("* {} joined\n", self.name.borrow());
        Ok(room.history() + &self.announce(notice))
    }

    fn rename(&self, name: &str) -> String {
        let before = self.name.replace(name.to_owned());
        self.announce(format!("* {before} is now {name}\n"))
    }

    /// Each shard with members of the room answers by a line.
    fn who(&self) -> Told {
        let room = self.room.as_ref().ok_or(NO_ROOM)?.name().into();
        self.tell_all(&Message::Who(room, self.id))
    }

    fn leave(&mut self) {
        if let Some(topic) = self.room.take() {
            topic.unsubscribe(self.id);
            let mut room = known(&self.chat.rooms, topic.name());
            room.members.remove(&self.id);
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

    fn tell_all(&self, message: &Message) -> Told {
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

    const LINES_MAX: u8 = 2;

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

    #[test]
    fn a_history_has_the_last_lines() {
        let mut room = Room::default();
        assert_eq!(room.history(), "");
        for line in ["a", "b", "c"] {
            room.record(line.into(), LINES_MAX);
        }
        assert_eq!(room.history(), "bc");
        room.record("d".into(), 0);
        assert_eq!(room.history(), "");
    }

    #[test]
    fn too_many_rooms_push_out_those_that_nobody_is_in() {
        let rooms = RefCell::default();
        for number in 0..ROOMS_MAX {
            known(&rooms, &number.to_string()).record("a".into(), LINES_MAX);
        }
        assert_eq!(rooms.borrow().len(), ROOMS_MAX);
        known(&rooms, "7").record("b".into(), LINES_MAX);
        assert_eq!(known(&rooms, "7").history(), "ab");
        assert_eq!(known(&rooms, "red").history(), "");
        assert_eq!(rooms.borrow().len(), 1);
    }
}
