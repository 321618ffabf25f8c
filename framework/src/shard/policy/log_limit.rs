//! Keeps what peers can cause from filling the log: so many lines about one kind in an interval.
//! The others are counted, and told when the interval is over.

use std::fmt;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::error::CloseReason;
use crate::time::{Tick, Ticks};

/// How long a kind has for its lines.
const INTERVAL: Ticks = Ticks::seconds(1);

/// What a peer, an upstream or a handler can bring about again and again, and the log tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogKind {
    Closed(CloseReason),
    OutboundClosed,
    CloseFailed,
    HandlerFailed,
    HandlerPanicked,
    ProtocolBroken,
    WriteLimit,
    ProxyRefused,
    AcceptsPaused,
    ShardBlocked,
    UnderPressure,
    UpstreamDown,
    UpstreamBack,
    #[cfg(feature = "tls")]
    TlsRefused,
    #[cfg(feature = "tls")]
    TlsBroken,
    #[cfg(feature = "tls")]
    OutboundTlsBroken,
}

impl LogKind {
    /// Those that are not [`Self::Closed`].
    const OTHERS: &[Self] = &[
        Self::OutboundClosed,
        Self::CloseFailed,
        Self::HandlerFailed,
        Self::HandlerPanicked,
        Self::ProtocolBroken,
        Self::WriteLimit,
        Self::ProxyRefused,
        Self::AcceptsPaused,
        Self::ShardBlocked,
        Self::UnderPressure,
        Self::UpstreamDown,
        Self::UpstreamBack,
        #[cfg(feature = "tls")]
        Self::TlsRefused,
        #[cfg(feature = "tls")]
        Self::TlsBroken,
        #[cfg(feature = "tls")]
        Self::OutboundTlsBroken,
    ];
    const COUNT: usize = CloseReason::ALL.len() + Self::OTHERS.len();

    fn all() -> impl Iterator<Item = Self> {
        CloseReason::ALL
            .into_iter()
            .map(Self::Closed)
            .chain(Self::OTHERS.iter().copied())
    }

    fn index(self) -> usize {
        // By name, so that the compiler asks for a new one's; `OTHERS` has them in this order.
        let other = match self {
            Self::Closed(reason) => return reason as usize,
            Self::OutboundClosed => 0,
            Self::CloseFailed => 1,
            Self::HandlerFailed => 2,
            Self::HandlerPanicked => 3,
            Self::ProtocolBroken => 4,
            Self::WriteLimit => 5,
            Self::ProxyRefused => 6,
            Self::AcceptsPaused => 7,
            Self::ShardBlocked => 8,
            Self::UnderPressure => 9,
            Self::UpstreamDown => 10,
            Self::UpstreamBack => 11,
            #[cfg(feature = "tls")]
            Self::TlsRefused => 12,
            #[cfg(feature = "tls")]
            Self::TlsBroken => 13,
            #[cfg(feature = "tls")]
            Self::OutboundTlsBroken => 14,
        };
        CloseReason::ALL.len() + other
    }

    /// Whether lines of its level are logged at all.
    pub(crate) fn is_enabled(self) -> bool {
        self.level() <= LevelFilter::current()
    }

    /// The level of its lines.
    pub(crate) fn level(self) -> Level {
        match self {
            Self::Closed(_) | Self::OutboundClosed | Self::ProtocolBroken => Level::DEBUG,
            Self::UpstreamBack | Self::HandlerFailed => Level::INFO,
            Self::WriteLimit
            | Self::ProxyRefused
            | Self::AcceptsPaused
            | Self::ShardBlocked
            | Self::UnderPressure
            | Self::UpstreamDown => Level::WARN,
            Self::HandlerPanicked | Self::CloseFailed => Level::ERROR,
            #[cfg(feature = "tls")]
            Self::TlsRefused => Level::INFO,
            #[cfg(feature = "tls")]
            Self::TlsBroken => Level::DEBUG,
            // That of an upstream: who has set it up is to hear of it.
            #[cfg(feature = "tls")]
            Self::OutboundTlsBroken => Level::WARN,
        }
    }

    /// Its lines in an interval, where the settings say `lines_max`; 0: as many as there are.
    fn lines_max(self, lines_max: u32) -> u32 {
        match self {
            // A panic comes with its backtrace; pauses and looks at one shortage are all alike.
            Self::HandlerPanicked | Self::AcceptsPaused | Self::UnderPressure => lines_max.min(1),
            _ => lines_max,
        }
    }
}

impl fmt::Display for LogKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => write!(formatter, "closed {reason}"),
            Self::OutboundClosed => formatter.write_str("outbound closed"),
            Self::CloseFailed => formatter.write_str("close failed"),
            Self::HandlerFailed => formatter.write_str("handler failed"),
            Self::HandlerPanicked => formatter.write_str("handler panicked"),
            Self::ProtocolBroken => formatter.write_str("protocol broken"),
            Self::WriteLimit => formatter.write_str("write limit"),
            Self::ProxyRefused => formatter.write_str("proxy refused"),
            Self::AcceptsPaused => formatter.write_str("accepts paused"),
            Self::ShardBlocked => formatter.write_str("shard blocked"),
            Self::UnderPressure => formatter.write_str("under pressure"),
            Self::UpstreamDown => formatter.write_str("upstream down"),
            Self::UpstreamBack => formatter.write_str("upstream back"),
            #[cfg(feature = "tls")]
            Self::TlsRefused => formatter.write_str("tls refused"),
            #[cfg(feature = "tls")]
            Self::TlsBroken => formatter.write_str("tls broken"),
            #[cfg(feature = "tls")]
            Self::OutboundTlsBroken => formatter.write_str("outbound tls broken"),
        }
    }
}

/// Lets a number of lines per interval through and counts the others.
#[derive(Clone, Copy, Debug)]
struct Window {
    over_at: Tick,
    lines: u32,
    held_back: u64,
}

impl Window {
    const NEW: Self = Self {
        over_at: Tick(0),
        lines: 0,
        held_back: 0,
    };

    fn is_open(&self, now: Tick, lines_max: u32) -> bool {
        lines_max == 0 || now >= self.over_at || self.lines < lines_max
    }

    fn pass(&mut self, now: Tick, lines_max: u32) -> bool {
        let open = self.is_open(now, lines_max);
        if now >= self.over_at {
            self.over_at = now.after(INTERVAL);
            self.lines = 0;
        }
        if open {
            self.lines = self.lines.saturating_add(1);
        } else {
            self.held_back += 1;
        }
        open
    }
}

/// The limiter of a shard, one per kind.
#[derive(Debug)]
pub(crate) struct LogLimiter {
    /// From the settings; 0: nothing is held back.
    lines_max: u32,
    by_kind: [Window; LogKind::COUNT],
    /// When lines that were held back are to be told of; never if there are none.
    due: Tick,
}

impl LogLimiter {
    pub(crate) fn new(lines_max: u32) -> Self {
        Self {
            lines_max,
            by_kind: [Window::NEW; LogKind::COUNT],
            due: Tick::NEVER,
        }
    }

    pub(crate) fn set_lines_max(&mut self, lines_max: u32) {
        self.lines_max = lines_max;
    }

    /// When [`Self::take_held_back`] has something to give.
    pub(crate) fn due(&self) -> Tick {
        self.due
    }

    pub(crate) fn is_open(&self, kind: LogKind, now: Tick) -> bool {
        self.by_kind[kind.index()].is_open(now, kind.lines_max(self.lines_max))
    }

    /// Whether a line about `kind` has a place in this interval. If not, it is counted.
    pub(crate) fn pass(&mut self, kind: LogKind, now: Tick) -> bool {
        let window = &mut self.by_kind[kind.index()];
        let passes = window.pass(now, kind.lines_max(self.lines_max));
        if !passes {
            self.due = self.due.min(window.over_at);
        }
        passes
    }

    /// Takes how many lines were held back in the intervals that are over at `now`, and sets the
    /// next `due`.
    pub(crate) fn take_held_back(&mut self, now: Tick) -> Vec<(LogKind, u64)> {
        if now < self.due {
            return Vec::new();
        }
        self.due = Tick::NEVER;
        let mut taken = Vec::new();
        for kind in LogKind::all() {
            let window = &mut self.by_kind[kind.index()];
            if window.held_back > 0 && now >= window.over_at {
                taken.push((kind, std::mem::take(&mut window.held_back)));
            } else if window.held_back > 0 {
                self.due = self.due.min(window.over_at);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: LogKind = LogKind::Closed(CloseReason::IdleTimeout);

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let places: Vec<usize> = LogKind::all().map(LogKind::index).collect();
        assert_eq!(places, (0..LogKind::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn so_many_lines_pass_in_an_interval_and_the_others_are_counted() {
        let mut limiter = LogLimiter::new(2);
        let passed = [10, 10, 11, 17].map(|tick| limiter.pass(LATE, Tick(tick)));
        assert_eq!(passed, [true, true, false, false]);
        assert!(
            limiter.pass(LogKind::OutboundClosed, Tick(17)),
            "another kind has lines of its own"
        );
        assert_eq!(limiter.due(), Tick(18));
        assert_eq!(limiter.take_held_back(Tick(17)), []);
        assert_eq!(limiter.take_held_back(Tick(18)), [(LATE, 2)]);
        assert_eq!(limiter.due(), Tick::NEVER);
        assert!(limiter.is_open(LATE, Tick(18)) && limiter.pass(LATE, Tick(18)));
    }

    #[test]
    fn nothing_that_was_held_back_is_forgotten() {
        let mut limiter = LogLimiter::new(1);
        let passed: Vec<bool> = (0..100)
            .map(|tick| limiter.pass(LATE, Tick(tick)))
            .collect();
        let passed = passed.into_iter().filter(|passes| *passes).count() as u64;
        assert_eq!(
            (passed, limiter.take_held_back(Tick::NEVER)),
            (13, vec![(LATE, 100 - passed)])
        );
    }

    #[test]
    fn without_a_bound_everything_passes() {
        let mut limiter = LogLimiter::new(0);
        assert!((0..1000).all(|_| limiter.pass(LogKind::HandlerPanicked, Tick(1))));
        assert_eq!(limiter.due(), Tick::NEVER);
    }

    #[test]
    fn a_panic_is_described_once_an_interval() {
        let mut limiter = LogLimiter::new(10);
        assert_eq!(
            [1, 1, 9].map(|tick| limiter.pass(LogKind::HandlerPanicked, Tick(tick))),
            [true, false, true]
        );
    }
}
