//! What a server writes to its standard error, line by line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// One line of a log.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// As it was written.
    pub text: String,
    /// The line as JSON; null for plain text.
    value: Value,
}

impl Line {
    /// The event, "listening" say; empty for plain text.
    #[must_use]
    pub fn message(&self) -> &str {
        self.value["fields"]["message"].as_str().unwrap_or_default()
    }

    /// "INFO" and so on; empty for plain text.
    #[must_use]
    pub fn level(&self) -> &str {
        self.value["level"].as_str().unwrap_or_default()
    }

    /// A field of the event as text, whether it was written as a string or as a number.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        match &self.value["fields"][name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// A field of the event that is a number.
    ///
    /// # Panics
    /// When it is missing or no number.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        let field = self.field(name).and_then(|field| field.parse().ok());
        field.unwrap_or_else(|| panic!("no number `{name}` in {}", self.text))
    }
}

/// What a server has done in its life, as its `drained` line tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that ended.
    pub closed: u64,
    /// The same by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Accepts that failed because their client had left.
    pub accepts_aborted: u64,
    /// Accepts that failed for want of descriptors or memory.
    pub accepts_failed: u64,
}

impl Counts {
    /// Connections that ended with `reason`.
    #[must_use]
    pub fn of(&self, reason: &str) -> u64 {
        self.reasons.get(reason).copied().unwrap_or_default()
    }

    /// Fails the test unless each connection accepted ended, and each with one reason.
    ///
    /// # Panics
    /// When the counts do not balance.
    pub fn assert_balanced(&self) {
        let reasons: u64 = self.reasons.values().sum();
        assert_eq!(
            (self.accepted, self.accepted),
            (self.closed, reasons),
            "leaked: {self:?}"
        );
    }
}

impl From<&Line> for Counts {
    fn from(line: &Line) -> Self {
        let reasons = line.field("reasons").unwrap_or_default();
        let reasons = reasons.split_whitespace().map(|reason| {
            let (name, count) = reason.split_once('=').expect("reasons are name=count");
            (name.to_owned(), count.parse().expect("a count is a number"))
        });
        Self {
            accepted: line.number("accepted"),
            closed: line.number("closed"),
            reasons: reasons.collect(),
            accepts_aborted: line.number("accepts_aborted"),
            accepts_failed: line.number("accepts_failed"),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    ended: bool,
}

/// A log that is still being written.
#[derive(Debug, Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Log {
    /// Collects the lines of `source` until it ends.
    #[must_use]
    pub fn collect(source: impl Read + Send + 'static) -> Log {
        let log = Log::default();
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                writer.add(&line);
            }
            writer.shared.0.lock().unwrap().ended = true;
            writer.shared.1.notify_all();
        });
        log
    }

    fn add(&self, line: &[u8]) {
        let at = Instant::now();
        let text = String::from_utf8_lossy(line).into_owned();
        let value = serde_json::from_str(&text).unwrap_or_default();
        self.shared
            .0
            .lock()
            .unwrap()
            .lines
            .push(Line { at, text, value });
        self.shared.1.notify_all();
    }

    /// The lines so far.
    ///
    /// # Panics
    /// When the thread that reads the log has.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.shared.0.lock().unwrap().lines.clone()
    }

    /// The whole log as text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines()
            .iter()
            .map(|line| line.text.clone() + "\n")
            .collect()
    }

    /// Waits for the first line that `wanted` says yes to, from line number `from` on. None: the
    /// log ended, or `bound` passed, without it.
    ///
    /// # Panics
    /// When the thread that reads the log has.
    #[must_use]
    pub fn find(
        &self,
        from: usize,
        bound: Duration,
        wanted: impl Fn(&Line) -> bool,
    ) -> Option<Line> {
        let deadline = Instant::now() + bound;
        let mut seen = from;
        let mut state = self.shared.0.lock().unwrap();
        loop {
            let new = state.lines.get(seen..).unwrap_or_default();
            if let Some(line) = new.iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            seen = seen.max(state.lines.len());
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until the process has closed its end.
    ///
    /// # Panics
    /// When `bound` passed first.
    pub fn wait_end(&self, bound: Duration) {
        let state = self.shared.0.lock().unwrap();
        let (state, _) = self
            .shared
            .1
            .wait_timeout_while(state, bound, |state| !state.ended)
            .unwrap();
        assert!(state.ended, "standard error still open after {bound:?}");
    }
}
