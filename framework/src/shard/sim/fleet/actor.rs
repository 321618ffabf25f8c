//! What handlers, tasks beside them and `on_message` do: whatever they may, as the seed says, and
//! the model is told of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::future::or;

use crate::conn::connection::Conn;
use crate::conn::next::Event;
use crate::error::Error;
use crate::id::{ConnId, Key};
use crate::shard::conns::Delivery;
use crate::shard::conns::slot::Phase;
use crate::shard::conns::topics::Behind;
use crate::shard::futures::notify::Notify;
use crate::shard::futures::spawn::spawn;
use crate::shard::futures::timeout::timeout;
use crate::shard::handle::Shard;
use crate::shard::mail::outcome::Outcome;
use crate::shard::mail::peers::{Full, Peers, SendError};
use crate::shard::mail::receipt::Receipt;
use crate::shard::mail::topic::Topic;
use crate::shard::sim::fleet::model::{FrameId, MIXED, RETAINED, TOPICS, bytes_of, parse};
use crate::shard::sim::fleet::script::{Note, Script};
use crate::shard::sim::random::Random;

/// Longest frame, without its header.
const FRAME_MAX: u32 = 200;

/// What all of a shard's actors share.
pub(super) struct Stage {
    pub(super) script: Arc<Script>,
    pub(super) shard: usize,
    peers: Peers<Note>,
    topics: Vec<Topic>,
    random: RefCell<Random>,
    /// Whoever waits for its cue, by a number of its own.
    actors: RefCell<BTreeMap<u64, Rc<Notify>>>,
    serial: Cell<u64>,
}

impl Stage {
    pub(super) fn new(script: &Arc<Script>, shard: usize, random: Random) -> Self {
        let topic = |number: usize| {
            let topic = Topic::of_this_thread(&script.mesh, &format!("topic {number}"));
            match number {
                RETAINED => topic.retained(1),
                1 => topic.behind(Behind::Latest),
                2 => topic.behind(Behind::Close),
                3 => topic.behind(Behind::Wait {
                    publications_max: 2,
                }),
                _ => topic,
            }
        };
        Self {
            script: Arc::clone(script),
            shard,
            peers: Peers::of_this_thread(&script.mesh),
            topics: (0..TOPICS).map(topic).collect(),
            random: RefCell::new(random),
            actors: RefCell::default(),
            serial: Cell::new(0),
        }
    }

    fn below(&self, count: u32) -> u32 {
        self.random.borrow_mut().below(count)
    }

    /// One of those who wait goes on, or all do.
    pub(super) fn cue(&self, all: bool) {
        let actors = self.actors.borrow();
        let count = actors.len() as u32;
        let from = if all || count == 0 {
            0
        } else {
            self.below(count)
        };
        let most = if all { usize::MAX } else { 1 };
        let chosen = actors.values().skip(from as usize).take(most);
        chosen.for_each(|actor| actor.notify());
    }

    fn is_settling(&self) -> bool {
        self.script.model().is_settling
    }

    fn is_ending(&self) -> bool {
        self.script.model().is_ending
    }

    /// Takes note of those of the shard's connections that have ended, or can be written no more.
    pub(super) fn look(&self) {
        let living = self.script.model().living(self.shard);
        for (life, key) in living {
            let slot = Shard::with(|shard| shard.core().conns.snapshot(key));
            let mut model = self.script.model();
            match slot {
                None => model.dies(life),
                Some(slot) => {
                    let is_over = slot.phase != Phase::Serving || slot.failed.is_some();
                    model.lives[life].is_unwritable |= is_over || slot.send.has_fin();
                }
            }
        }
    }
}

/// An actor among those that wait for their cue, until it is dropped.
struct Actor<'a> {
    stage: &'a Stage,
    number: u64,
    cue: Rc<Notify>,
}

impl<'a> Actor<'a> {
    fn new(stage: &'a Stage) -> Self {
        let number = stage.serial.get();
        stage.serial.set(number + 1);
        let cue = Rc::new(Notify::new());
        stage.actors.borrow_mut().insert(number, Rc::clone(&cue));
        Self { stage, number, cue }
    }
}

impl Drop for Actor<'_> {
    fn drop(&mut self) {
        self.stage.actors.borrow_mut().remove(&self.number);
    }
}

/// A task beside the connections.
pub(super) async fn bystander(stage: Rc<Stage>) {
    let actor = Actor::new(&stage);
    while !stage.is_ending() {
        actor.cue.notified().await;
        if !stage.is_settling() {
            act(&stage).await;
        }
    }
}

/// A connection's handler.
pub(super) async fn serve(stage: &Rc<Stage>, key: Key) -> Result<(), Error> {
    let mut conn = Conn::new(key);
    let life = stage.script.model().begins(stage.shard, key, conn.id());
    let actor = Actor::new(stage);
    let takes = stage.below(2) == 0;
    if takes {
        let first = poll_fn(|context| Poll::Ready(pin!(conn.next()).poll(context))).await;
        if let Poll::Ready(event) = first
            && !hear(stage, life, event?.as_ref())
        {
            return Ok(());
        }
    }
    for _ in 0..stage.below(5) {
        subscribe(stage, life, conn.id());
    }
    let mut is_lazy = false;
    while !stage.is_ending() {
        let cue = async {
            actor.cue.notified().await;
            Ok(None)
        };
        let heard = if is_lazy && !stage.is_settling() {
            cue.await
        } else if takes {
            or(async { conn.next().await.map(Some) }, cue).await
        } else {
            let read = async { conn.read().await };
            or(async { Ok(Some(read.await?.map(Event::Input))) }, cue).await
        };
        match heard? {
            Some(event) if !hear(stage, life, event.as_ref()) => return Ok(()),
            None if !stage.is_settling() => {
                is_lazy = stage.below(3) == 0;
                if !use_conn(stage, life, &mut conn).await? {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// False at the end of the input.
fn hear(stage: &Stage, life: usize, event: Option<&Event>) -> bool {
    if let Some(Event::Message(bytes)) = event {
        let mut model = stage.script.model();
        let frame = parse(bytes).filter(|(_, length)| *length == bytes.len());
        model.rule(frame.is_some(), || {
            format!("life {life} was given {bytes:?}")
        });
        frame
            .into_iter()
            .for_each(|(frame, _)| model.got(life, frame, bytes));
    }
    event.is_some()
}

/// False: it ends.
async fn use_conn(stage: &Rc<Stage>, life: usize, conn: &mut Conn) -> Result<bool, Error> {
    let may_end = !stage.script.is_kind;
    match stage.below(24) {
        0..=5 => {
            let is_refused = stage.script.model().lives[life].is_unwritable;
            if !is_refused {
                let frame = stage.script.model().own(life);
                let bytes = bytes_of(frame, stage.below(FRAME_MAX) as usize);
                conn.write(&bytes).await?;
            }
        }
        6 => conn.flush().await?,
        7 if may_end && stage.below(4) == 0 => return Ok(false),
        8 if may_end && stage.below(6) == 0 => conn.close().await?,
        9 if may_end && stage.below(6) == 0 => conn.abort(),
        _ => act(stage).await,
    }
    Ok(true)
}

/// Something that has to do with other shards, or with topics.
async fn act(stage: &Rc<Stage>) {
    match stage.below(16) {
        0..=2 => try_send(stage),
        3..=5 => send(stage).await,
        6..=9 => send_to(stage).await,
        10..=13 => publish(stage).await,
        14 => {
            if let Some((life, id)) = someone(stage, true) {
                subscribe(stage, life, id);
            }
        }
        _ => {
            if let Some((life, id)) = someone(stage, true) {
                unsubscribe(stage, life, id);
            }
        }
    }
}

/// What a handler does with a message.
pub(super) fn on_message(stage: &Rc<Stage>, note: &Note) {
    let mut model = stage.script.model();
    model.received(note.source, stage.shard, note.number);
    if model.is_settling {
        return;
    }
    drop(model);
    match stage.below(8) {
        0 => try_send(stage),
        1 | 2 => at_once(stage, publish(stage)),
        3 => at_once(stage, send_to(stage)),
        4 => {
            let (source, number) = (stage.shard, stage.script.model().next_message());
            let peer = stage
                .peers
                .at(stage.below(stage.peers.len() as u32) as usize);
            let mut send = pin!(peer.send(Note { source, number }, Duration::from_secs(1)));
            let sent = send.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let is_refused = matches!(sent, Poll::Ready(Err(SendError::Receiving(_))));
            let mut model = stage.script.model();
            model.rule(is_refused, || "a send waits in on_message".to_owned());
        }
        _ => {}
    }
}

/// As far as it comes in one poll.
fn at_once(_stage: &Stage, task: impl Future<Output = ()>) {
    let mut task = pin!(task);
    let _pends = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

fn try_send(stage: &Stage) {
    let (source, number) = (stage.shard, stage.script.model().next_message());
    let target = stage.below(stage.peers.len() as u32) as usize;
    let sent = stage.peers.at(target).try_send(Note { source, number });
    let mut model = stage.script.model();
    match sent {
        Ok(()) => model.sent(source, target, number),
        Err(Full(note)) => model.rule(note.number == number, || "another came back".to_owned()),
    }
}

/// A send that may wait, until this is dropped.
struct Sending<'a> {
    stage: &'a Stage,
    number: u64,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.stage.script.model().send_ends(self.number);
    }
}

async fn send(stage: &Stage) {
    let source = stage.shard;
    let target = stage.below(stage.peers.len() as u32) as usize;
    let within = Duration::from_millis(stage.below(600).into());
    let until = Shard::with(|shard| shard.core().conns.shared.clock) + within;
    let number = stage.script.model().send_begins(source, target, until);
    let ends = Sending { stage, number };
    let peer = stage.peers.at(target);
    let sending = peer.send(Note { source, number }, within);
    let patience = Duration::from_millis(stage.below(900).into());
    let sent = timeout(patience, sending).await;
    drop(ends);
    let mut model = stage.script.model();
    match sent {
        Ok(Ok(())) => model.sent(source, target, number),
        Ok(Err(error)) => {
            let back = error.into_message().number;
            model.rule(back == number, || "another came back".to_owned());
        }
        Err(_elapsed) => {}
    }
}

/// A connection that lives or has lived, of this shard or of any.
fn someone(stage: &Stage, is_own: bool) -> Option<(usize, ConnId)> {
    let model = stage.script.model();
    let lives = model.lives.iter().enumerate();
    let lives: Vec<_> = lives
        .filter(|(_, life)| !is_own || life.shard == stage.shard)
        .map(|(index, life)| (index, life.id))
        .collect();
    let recent = lives.len().saturating_sub(8);
    let from = if stage.below(4) == 0 { 0 } else { recent };
    let count = (lives.len() - from) as u32;
    (count > 0).then(|| lives[from + stage.below(count) as usize])
}

async fn send_to(stage: &Rc<Stage>) {
    let Some((life, id)) = someone(stage, false) else {
        return;
    };
    let frame = stage.script.model().direct(stage.shard, life);
    let bytes = bytes_of(frame, stage.below(FRAME_MAX) as usize);
    let receipt = stage.peers.send_to(id, bytes);
    let target = Some(id.shard().0 as usize);
    let tell = move |stage: &Stage, delivery: Delivery| {
        stage.look();
        stage.script.model().answered(frame, delivery);
    };
    follow(stage, receipt, frame, target, tell).await;
}

async fn publish(stage: &Rc<Stage>) {
    let number = stage.below(TOPICS as u32) as usize;
    let topic = &stage.topics[number];
    let frame = stage.script.model().publication(stage.shard, number);
    let bytes = bytes_of(frame, stage.below(FRAME_MAX) as usize);
    let is_counted = stage.script.model().is_counted[number];
    if !is_counted && stage.below(2) == 0 {
        if topic.publish(bytes).is_err() {
            stage.script.model().is_void(frame);
        }
        return;
    }
    match topic.publish_counted(bytes) {
        Err(_full) => stage.script.model().is_void(frame),
        Ok(receipt) => {
            let tell = move |stage: &Stage, counts| stage.script.model().counted(frame, counts);
            if is_counted {
                watch(stage, receipt, frame, None, tell);
            } else {
                follow(stage, receipt, frame, None, tell).await;
            }
        }
    }
}

/// Awaits the receipt, here or elsewhere, or drops it at once or half-way.
async fn follow<T: Outcome>(
    stage: &Rc<Stage>,
    receipt: Receipt<T>,
    frame: FrameId,
    target: Option<usize>,
    tell: impl Fn(&Stage, T) + 'static,
) {
    match stage.below(6) {
        0 => {}
        1 => {
            let mut receipt = pin!(receipt);
            let first = poll_fn(|context| Poll::Ready(receipt.as_mut().poll(context))).await;
            if let Poll::Ready(outcome) = first {
                tell(stage, outcome);
            }
        }
        2 => {
            let _awaited = Awaited::new(stage, frame, target);
            let patience = Duration::from_millis(stage.below(500).into());
            if let Ok(outcome) = timeout(patience, receipt).await {
                tell(stage, outcome);
            }
        }
        _ => watch(stage, receipt, frame, target, tell),
    }
}

/// The receipt of a frame is awaited, until this is dropped.
struct Awaited {
    stage: Rc<Stage>,
    frame: FrameId,
}

impl Awaited {
    fn new(stage: &Rc<Stage>, frame: FrameId, target: Option<usize>) -> Self {
        stage.script.model().awaits(frame, stage.shard, target);
        let stage = Rc::clone(stage);
        Self { stage, frame }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.stage.script.model().gives_up(self.frame);
    }
}

/// A task awaits the receipt.
fn watch<T: Outcome>(
    stage: &Rc<Stage>,
    receipt: Receipt<T>,
    frame: FrameId,
    target: Option<usize>,
    tell: impl Fn(&Stage, T) + 'static,
) {
    let awaited = Awaited::new(stage, frame, target);
    let watches = async move {
        let outcome = receipt.await;
        tell(&awaited.stage, outcome);
    };
    assert!(spawn(watches).is_ok(), "there is room for a task");
}

fn subscribe(stage: &Stage, life: usize, id: ConnId) {
    let number = stage.below(TOPICS as u32) as usize;
    // Once: what is retained would come again.
    if number == RETAINED && stage.script.model().was_member(life, number) {
        return;
    }
    let mut topic = stage.topics[number].clone();
    if number == MIXED {
        let policies = [
            Behind::Drop,
            Behind::Latest,
            Behind::Close,
            Behind::Wait {
                publications_max: 3,
            },
        ];
        topic = topic.behind(policies[stage.below(4) as usize]);
    }
    stage.look();
    let subscribed = topic.subscribe(id);
    let mut model = stage.script.model();
    let is_dead = model.lives[life].died.is_some();
    model.rule(subscribed.is_err() == is_dead, || {
        format!("life {life} is subscribed: {subscribed:?}")
    });
    if subscribed.is_ok() {
        model.subscribes(life, number);
    }
}

fn unsubscribe(stage: &Stage, life: usize, id: ConnId) {
    let number = stage.below(TOPICS as u32) as usize;
    let was = stage.topics[number].unsubscribe(id);
    stage.look();
    stage.script.model().unsubscribes(life, number, was);
}
