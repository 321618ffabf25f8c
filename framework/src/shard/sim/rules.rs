//! What must hold of every slot after every turn.

use crate::error::CloseReason;
use crate::id::{Key, SlotIndex};
use crate::ring::Operation;
use crate::shard::conns::Conns;
use crate::shard::conns::interest::{Interest, RunState};
use crate::shard::conns::slot::{PeerState, Phase, RecvState, SendState};
use crate::shard::conns::snapshot::Snapshot;
use crate::shard::core::Core;
use crate::shard::policy::bounds::Bounds;
use crate::shard::sim::kernel::Kernel;
use crate::shard::sim::world::{Life, World};
use crate::time::{Tick, Ticks};

/// A bound of a shard that its few connections cannot reach.
pub(crate) const AMPLE: u64 = 1 << 20;

/// What the clock and the drain were when a turn was looked at.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Tick,
    pub(crate) bounds: Bounds,
    pub(crate) request: Ticks,
    /// When the drain began.
    pub(crate) drains_since: Option<Tick>,
}

/// A phase is only ever followed by a later one.
fn rank(phase: Phase) -> u32 {
    match phase {
        Phase::Free => 0,
        Phase::Connecting | Phase::Held => 1,
        Phase::Serving => 2,
        Phase::Flushing => 3,
        Phase::Lingering => 4,
        Phase::Closing => 5,
        Phase::CloseInFlight => 6,
    }
}

/// Takes note of those who came and went in the turn, before any handler runs.
pub(crate) fn see_turn(core: &mut Core, kernel: &Kernel, world: &mut World, now: Tick) {
    see_ends(core, kernel, world);
    for key in core.conns.table.occupants() {
        if world.find(key).is_none() {
            let slot = look(&core.conns, key);
            assert!(
                matches!(
                    slot.phase,
                    Phase::Serving | Phase::Connecting | Phase::CloseInFlight | Phase::Closing
                ),
                "{key:?} begins {slot:?}"
            );
            world.begin(key, slot.is_outbound(), Phase::Connecting, now);
        }
    }
    for life in &mut world.lives {
        let slot = look(&core.conns, life.key);
        if matches!(slot.waits.run(), RunState::Due | RunState::Start) {
            life.polled = now; // at the end of this turn
        }
    }
    if core.grace.is_over(now) {
        let deadlines = &core.conns.shared.deadlines;
        let late = core
            .conns
            .table
            .occupants()
            .into_iter()
            .find(|key| deadlines.of(key.slot) <= now);
        assert!(
            late.is_none() || deadlines.goes_on(),
            "{late:?}: a sweep that has not had its fill leaves no deadline that has passed"
        );
    }
}

/// A slot is vacated once everything it owed has come, and its reason is counted once.
pub(crate) fn see_ends(core: &mut Core, kernel: &Kernel, world: &mut World) {
    let (gone, live): (Vec<Life>, Vec<Life>) = std::mem::take(&mut world.lives)
        .into_iter()
        .partition(|life| core.conns.get(life.key).is_none());
    world.lives = live;
    for life in gone {
        let owed = kernel.owed(life.key);
        assert!(
            owed.is_empty(),
            "{:?} is vacated and owes {owed:?}",
            life.key
        );
        assert_eq!(
            life.phase,
            Phase::CloseInFlight,
            "{:?} is vacated from its last phase",
            life.key
        );
        world.past.push(life.key);
        if life.is_outbound {
            continue;
        }
        let reason = life.reason.expect("a phase that was seen has a reason");
        assert!(
            life.allows(reason),
            "{:?} ended as {reason}: {life:?}",
            life.key
        );
        assert_eq!(
            life.was_reset,
            reason.resets() && !life.has_fin,
            "{:?} ended as {reason}: a peer that was cut short is told so",
            life.key
        );
        world.closed[reason as usize] += 1;
    }
    for reason in CloseReason::ALL {
        let counted = core.conns.shared.metrics.closed[reason as usize].get();
        assert_eq!(
            counted, world.closed[reason as usize],
            "{reason} is counted once for each who ended so"
        );
    }
}

impl Life {
    /// Whether its end may have this reason: what its handler's end said, or what happened to its
    /// last bytes after that.
    fn allows(&self, reason: CloseReason) -> bool {
        let late = [
            CloseReason::WriteTimeout,
            CloseReason::RequestTimeout,
            CloseReason::Overloaded,
            CloseReason::LifetimeExceeded,
            CloseReason::DrainCut,
        ];
        let flushing_failed =
            self.failed.is_none() && (self.errors.contains(&reason) || late.contains(&reason));
        self.expected == Some(reason)
            || self.expected != Some(CloseReason::HandlerPanicked) && flushing_failed
    }
}

/// Looks at every slot after the handlers have run and the kernel has taken what they submitted.
pub(crate) fn see_rest(core: &mut Core, kernel: &Kernel, world: &mut World, moment: Moment) {
    assert_eq!(core.conns.shared.places.open() as usize, world.lives.len());
    let accepted = world.lives.iter().filter(|life| !life.is_outbound).count() as u32;
    assert_eq!(
        (
            core.conns.shared.places.accepted(),
            core.conns.shared.places.outbound()
        ),
        (accepted, core.conns.shared.places.open() - accepted)
    );
    assert_eq!(
        core.conns.shared.metrics.connections.get(),
        u64::from(accepted)
    );
    see_sums(core);
    for index in 0..world.lives.len() {
        let key = world.lives[index].key;
        see_phase(core, kernel, &mut world.lives[index], moment.now);
        see_operations(core, kernel, &world.lives[index]);
        see_queues(core, key);
        see_failure(core, &mut world.lives[index], moment);
        see_waiting(core, &world.lives[index]);
        see_deadline(core, &world.lives[index], moment);
    }
    for key in &world.past {
        assert!(
            core.conns.get(*key).is_none(),
            "{key:?} is past and was found"
        );
    }
}

fn see_phase(core: &mut Core, kernel: &Kernel, life: &mut Life, now: Tick) {
    let slot = look(&core.conns, life.key);
    assert!(
        rank(slot.phase) >= rank(life.phase),
        "{:?} went from {:?} back to {:?}",
        life.key,
        life.phase,
        slot.phase
    );
    if slot.phase != life.phase {
        life.phase = slot.phase;
        life.phase_since = now;
    }
    let handler_runs = life.expected.is_none() && !life.is_outbound;
    match slot.phase {
        Phase::Free => panic!("{:?} lives and is free", life.key),
        Phase::Connecting => assert!(life.is_outbound),
        Phase::Held => panic!("{:?} is held, and there are no spare places", life.key),
        Phase::Serving => assert!(
            life.is_outbound || handler_runs,
            "{:?} serves and its handler is over",
            life.key
        ),
        Phase::Flushing => assert!(
            !handler_runs && slot.is_sending(),
            "{:?} flushes nothing",
            life.key
        ),
        Phase::Lingering => {
            assert!(
                !handler_runs && slot.send.has_fin(),
                "{:?} lingers before its FIN",
                life.key
            );
            assert!(
                life.is_writing || life.sent == life.output.len(),
                "{:?} takes leave before all is sent",
                life.key
            );
        }
        Phase::Closing => {
            assert!(
                !handler_runs && !kernel.owed(life.key).is_empty(),
                "{:?} closes and waits for nothing",
                life.key
            );
            assert!(
                kernel.is_taken_back(life.key),
                "{:?} closes and waits for its peer",
                life.key
            );
        }
        Phase::CloseInFlight => assert_eq!(kernel.owed(life.key), [Operation::Close]),
    }
    if matches!(
        slot.phase,
        Phase::Flushing | Phase::Lingering | Phase::Closing | Phase::CloseInFlight
    ) {
        life.reason = Some(slot.reason);
    }
}

/// What the slot says is in the kernel is there, and nothing else is.
fn see_operations(core: &mut Core, kernel: &Kernel, life: &Life) {
    let (key, owed) = (life.key, kernel.owed(life.key));
    let slot = look(&core.conns, key);
    let has = |operation: Operation| owed.contains(&operation);
    let receiving = match slot.recv {
        RecvState::Armed => has(Operation::Receive) && !has(Operation::Poll),
        RecvState::Polled => has(Operation::Poll) && !has(Operation::Receive),
        RecvState::Cancelling => has(Operation::Poll) != has(Operation::Receive),
        RecvState::Disarmed | RecvState::Starved | RecvState::Ended => {
            !has(Operation::Poll) && !has(Operation::Receive)
        }
    };
    // One that completed in this turn's entry is still awaited.
    assert!(
        receiving,
        "{key:?} is {:?} with {owed:?} in the kernel",
        slot.recv
    );
    assert!(
        slot.is_sending() || !has(Operation::Send) && !has(Operation::Connect),
        "{key:?} does not know of its send"
    );
    assert_eq!(
        slot.send == SendState::FinInFlight,
        has(Operation::Shutdown),
        "{key:?}: {:?}",
        slot.send
    );
    let starved = slot.recv == RecvState::Starved;
    assert!(
        !starved || core.conns.shared.starved.contains(&key) || core.conns.shared.overload.is_on(),
        "{key:?} starves and nobody knows"
    );
}

fn see_queues(core: &mut Core, key: Key) {
    let slot = look(&core.conns, key);
    assert_eq!(
        slot.input_segments, slot.input_count,
        "{key:?}: what is unread"
    );
    assert_eq!(
        slot.output_segment_bytes, slot.output_bytes,
        "{key:?}: what is unsent"
    );
}

/// What the shard counts for all of them is what they hold.
fn see_sums(core: &mut Core) {
    let (mut unread, mut unsent) = (0, 0);
    for key in core.conns.table.occupants() {
        let slot = look(&core.conns, key);
        unread += slot.input_bytes;
        unsent += u64::from(slot.output_bytes);
    }
    assert_eq!(
        (core.conns.shared.unread, core.conns.shared.unsent),
        (unread, unsent),
        "unread and unsent bytes of all"
    );
}

fn look(conns: &Conns, key: Key) -> Snapshot {
    conns.snapshot(key).expect("it lives")
}

/// A failure has its cause.
fn see_failure(core: &mut Core, life: &mut Life, moment: Moment) {
    let Moment {
        now,
        bounds,
        request,
        drains_since,
    } = moment;
    let slot = look(&core.conns, life.key);
    let Some(reason) = slot.failed else {
        let ignored =
            !life.errors.is_empty() && slot.phase == Phase::Serving && !life.errors_are_new;
        assert!(
            !ignored,
            "{:?} was told of {:?} and goes on",
            life.key, life.errors
        );
        return;
    };
    assert!(
        life.failed.is_none_or(|first| first == reason),
        "{:?}: the first failure stays",
        life.key
    );
    if life.failed.replace(reason).is_some() {
        return;
    }
    let passed = |since: Tick, bound| now >= since.after(bound);
    let caused = match reason {
        CloseReason::FirstByteTimeout => {
            life.delivered == 0 && passed(life.opened, bounds.first_byte)
        }
        CloseReason::LifetimeExceeded => passed(life.opened, bounds.lifetime),
        CloseReason::RequestTimeout => life.delivered > 0 && passed(life.opened, request),
        CloseReason::Overloaded => bounds.unread_max < AMPLE,
        CloseReason::IdleTimeout => passed(life.opened, bounds.idle),
        CloseReason::WriteTimeout => passed(life.send_since, bounds.write),
        CloseReason::ReadTimeout => {
            life.is_outbound || life.delivered > life.read && passed(life.opened, bounds.read)
        }
        CloseReason::DrainCut => drains_since.is_some_and(|since| passed(since, bounds.drain)),
        CloseReason::HandlerClosed | CloseReason::Drained => life.is_outbound,
        CloseReason::Aborted => life.aborts,
        reason => life.errors.contains(&reason),
    };
    assert!(
        caused,
        "{:?} failed as {reason} at {now:?}, for nothing: {life:?}",
        life.key
    );
}

/// Nobody waits for what has happened already, or for what will not happen.
fn see_waiting(core: &mut Core, life: &Life) {
    // Where the shard as a whole has no room, a connection waits until nothing of its own is
    // unsent.
    let (write_queue_max, is_tight) = (
        core.conns.shared.bounds.write_queue_max,
        core.conns.shared.bounds.unsent_max < AMPLE,
    );
    let slot = look(&core.conns, life.key);
    if slot.phase != Phase::Serving {
        return;
    }
    for interest in Interest::ALL
        .into_iter()
        .filter(|interest| slot.waits.has(*interest))
    {
        let comes = match interest {
            Interest::Input => {
                let reads_all = life.reads_all && slot.input_count != 0;
                let comes = !matches!(slot.recv, RecvState::Disarmed | RecvState::Ended);
                comes && !reads_all && slot.peer_state != PeerState::Over
            }
            Interest::Space => {
                slot.is_sending()
                    && slot.is_unsent
                    && (is_tight || slot.output_bytes > write_queue_max / 2)
            }
            Interest::Flushed => slot.is_sending() && slot.is_unsent,
        };
        assert!(
            comes && slot.failed.is_none(),
            "{:?} waits for what does not come: {interest:?}, {slot:?}",
            life.key
        );
    }
    let stands = match slot.waits.run() {
        RunState::Idle => true,
        RunState::Pooled => {
            life.is_outbound && slot.recv != RecvState::Disarmed && slot.recv != RecvState::Ended
        }
        RunState::Start | RunState::Due => !life.is_outbound,
    };
    assert!(stands, "{:?} is {slot:?}", life.key);
    assert!(
        !slot.is_unsent || slot.is_sending() || slot.failed.is_some(),
        "{:?}: what was written is on its way: {slot:?}",
        life.key
    );
}

/// The one deadline of a connection is that of the next thing that must happen.
fn see_deadline(core: &mut Core, life: &Life, moment: Moment) {
    let deadline = core.conns.shared.deadlines.of(life.key.slot);
    assert!(
        deadline >= core.conns.shared.deadlines.earliest(),
        "{:?}: a sweep comes in time",
        life.key
    );
    let slot = look(&core.conns, life.key);
    let Some((earliest, latest)) = due(&slot, life, moment) else {
        return;
    };
    let lives_until = match slot.phase {
        Phase::Serving | Phase::Flushing if !life.is_outbound => {
            life.opened.after(moment.bounds.lifetime)
        }
        _ => Tick::NEVER,
    };
    // A request's own deadline is not followed here: it only ever comes before the others.
    let earliest = if moment.request == Ticks::FOREVER || life.is_outbound || life.delivered == 0 {
        earliest
    } else {
        Tick(0)
    };
    let (earliest, latest) = (earliest.min(lives_until), latest.min(lives_until));
    let right = earliest <= deadline && deadline <= latest;
    assert!(
        right,
        "{:?} has the deadline {deadline:?}, not from {earliest:?} to {latest:?}, at {:?}: {slot:?}",
        life.key, moment.now
    );
}

/// Between which ticks the deadline lies, whatever the lifetime; none: nothing is said of it.
fn due(slot: &Snapshot, life: &Life, moment: Moment) -> Option<(Tick, Tick)> {
    let Moment {
        bounds,
        drains_since,
        ..
    } = moment;
    let since = |tick: Tick| tick.max(drains_since.unwrap_or(tick));
    let exactly = |tick: Tick| Some((tick, tick));
    match slot.phase {
        Phase::Closing | Phase::CloseInFlight | Phase::Free | Phase::Held => exactly(Tick::NEVER),
        Phase::Lingering => {
            let least = life.phase_since.after(bounds.close);
            Some((least, since(life.phase_since).after(bounds.close)))
        }
        // One that is being taken back waits for that, and its handler is told of any failure.
        _ if slot.failed.is_some() => None,
        Phase::Connecting => exactly(slot.frame_deadline),
        Phase::Flushing => Some((
            life.send_first.after(bounds.write),
            life.send_since.after(bounds.write),
        )),
        Phase::Serving => due_while_serving(slot, life, moment),
    }
}

fn due_while_serving(slot: &Snapshot, life: &Life, moment: Moment) -> Option<(Tick, Tick)> {
    let Moment {
        now,
        bounds,
        drains_since,
        ..
    } = moment;
    let from = |since: Tick, bound| Some((since.after(bound), now.after(bound)));
    let exactly = |tick: Tick| Some((tick, tick));
    let reading = slot.waits.is_reading();
    let drains = drains_since.is_some() && !life.is_outbound;
    match slot.waits.run() {
        RunState::Pooled => exactly(slot.frame_deadline),
        RunState::Idle if slot.is_sending() => {
            let answer = if life.is_outbound {
                slot.frame_deadline
            } else {
                Tick::NEVER
            };
            Some((
                life.send_first.after(bounds.write).min(answer),
                life.send_since.after(bounds.write).min(answer),
            ))
        }
        _ if reading && slot.frame_deadline != Tick::NEVER => exactly(slot.frame_deadline),
        _ if reading && drains => from(life.polled, bounds.drain_quiet),
        _ if reading && life.delivered == 0 && !life.is_outbound => {
            exactly(life.opened.after(bounds.first_byte))
        }
        _ if reading => from(life.polled.min(life.opened), bounds.idle),
        // A handler that runs, or that waits for something else, has time; only its connection's
        // age is looked at.
        _ if life.is_outbound => None,
        _ => Some((Tick(0), Tick::NEVER)),
    }
}

/// The slot of that number, were it asked for by a name of the past, must not change.
pub(crate) fn fingerprint(core: &Core, index: SlotIndex) -> Option<Snapshot> {
    let key = core.conns.table.occupant(index)?;
    core.conns.snapshot(key)
}
