use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;
use crate::config::Config;
use crate::shard::policy::bounds::MemoryShare;
use crate::shard::sim::stand_in::stand_in_shard;
use crate::shard::task::tickers::TICKS_PER_TURN_MAX;

const SECOND: Duration = Duration::from_secs(1);

fn shard() -> Rc<Shard> {
    let all = MemoryShare {
        unread_max: u32::MAX,
        unsent_max: u32::MAX,
    };
    stand_in_shard(Config::default(), all)
}

fn set_clock(shard: &Shard, clock: Duration) {
    shard.core().conns.shared.clock = clock;
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Wakes those whose tick has come, and the wakers among them.
fn fire(shard: &Shard) {
    shard.core().fire_tickers();
    let (wakers, _) = shard.core().conns.shared.run_queue.take_wakers();
    wakers.into_iter().for_each(Waker::wake);
}

#[test]
fn a_ticker_is_listed_once_while_it_waits_and_keeps_no_waker_after() {
    let shard = shard();
    let listed = || shard.core().tickers.len();
    let counts: [Arc<Count>; 2] = Default::default();
    let wakers = counts.clone().map(Waker::from);
    let mut every = Every::at_place(0, SECOND);
    assert_eq!(listed(), 0, "it does not wait before it is polled");
    for waker in [&wakers[0], &wakers[0], &wakers[1]] {
        let tick = pin!(every.tick());
        assert!(tick.poll(&mut Context::from_waker(waker)).is_pending());
        assert_eq!(listed(), 1);
    }
    assert_eq!(Arc::strong_count(&counts[0]), 2, "the last to wait counts");
    set_clock(&shard, 2 * SECOND);
    fire(&shard);
    assert_eq!(listed(), 0);
    let woken = counts
        .each_ref()
        .map(|count| count.0.load(Ordering::Relaxed));
    assert_eq!(woken, [0, 1]);
    let mut context = Context::from_waker(&wakers[0]);
    assert!(every.poll_tick(&mut context).is_ready());
    assert!(every.poll_tick(&mut context).is_pending() && listed() == 1);
    drop(every);
    assert_eq!(listed(), 0);
    assert_eq!(Arc::strong_count(&counts[0]), 2);
}

#[test]
fn ticks_that_were_missed_are_counted_and_move_none_of_the_others() {
    let shard = shard();
    let mut context = Context::from_waker(Waker::noop());
    let mut every = Every::at_place(0, SECOND); // its points are whole seconds
    let mut poll_at = |millis| {
        set_clock(&shard, Duration::from_millis(millis));
        every.poll_tick(&mut context)
    };
    assert_eq!(poll_at(999), Poll::Pending);
    assert_eq!(poll_at(1000), Poll::Ready(1));
    assert_eq!(poll_at(1001), Poll::Pending);
    assert_eq!(poll_at(5700), Poll::Ready(4));
    assert_eq!(poll_at(5700), Poll::Pending, "they are not made up for");
    assert_eq!(poll_at(6000), Poll::Ready(1));
}

#[test]
fn the_first_tick_of_those_that_come_together_is_within_a_period_and_spread() {
    let shard = shard();
    for clock in [Duration::from_millis(12_345), Duration::from_secs(86_400)] {
        set_clock(&shard, clock);
        let now = clock.as_millis() as u64;
        let mut counts = [0; 20];
        for place in 0..2000 {
            let due = Every::at_place(place, SECOND).next.due();
            assert!((now + 1..=now + 1000).contains(&due), "{due}");
            counts[((due - now - 1) / 50) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (95..=105).contains(count)),
            "{counts:?}"
        );
    }
}

#[test]
fn of_many_that_are_due_together_a_turn_wakes_so_many_and_the_next_goes_on() {
    const COUNT: usize = 5 * TICKS_PER_TURN_MAX + 1;
    let shard = shard();
    let count = Arc::<Count>::default();
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut tickers: Vec<Every> = (0..COUNT).map(|_| every(SECOND)).collect();
    for ticker in &mut tickers {
        assert!(ticker.poll_tick(&mut context).is_pending());
    }
    let mut woken = Vec::new();
    for turn in 0..7 {
        shard.turn(3 * SECOND); // the shard has stood still
        let (wakers, _) = shard.core().conns.shared.run_queue.take_wakers();
        woken.push(wakers.len());
        let is_left = turn < 5;
        assert_eq!(shard.core().has_due(), is_left, "turn {turn}");
    }
    let most = TICKS_PER_TURN_MAX;
    assert_eq!(woken, [most, most, most, most, most, 1, 0]);
    for ticker in &mut tickers {
        let Poll::Ready(passed) = ticker.poll_tick(&mut context) else {
            panic!("each has its tick")
        };
        assert!((3..=4).contains(&passed), "{passed}");
    }
}

#[test]
fn a_ticker_is_small() {
    assert_eq!(size_of::<Every>(), 24);
}
