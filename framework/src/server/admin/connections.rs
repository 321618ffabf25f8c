//! Connections as an operator asks for them: listed, filtered, sorted, explained, ended. The shards
//! answer a few slots a turn; what they say is passed on as it comes.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtrb::Consumer;
use serde_json::json;

use crate::config::{Network, parse_duration};
use crate::id::{ConnId, ServerNumber, ShardId};
use crate::net::listener::ListenerAddr;
use crate::server::admin::running::Running;
use crate::server::view::{ShardLink, View};
use crate::shard::commands::survey::{Close, Filter, ROWS_MAX, Row, Survey};
use crate::shard::futures::sleep::sleep;

/// One JSON value a line.
pub(super) const CONTENT_TYPE: &str = "application/x-ndjson";
/// Rows of a list, unless the query says otherwise.
const LIMIT: usize = 100;
/// Rows of a list that is sorted: they are kept until all are known.
const SORTED_MAX: usize = 10_000;
/// Lists at a time. No key: each has [`ROWS_MAX`] rows for each shard.
const RUNNING_MAX: u32 = 4;
/// How often it is looked whether rows have come.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// What is asked.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    filter: Filter,
    shard: Option<ShardId>,
    sort: Option<SortBy>,
    limit: Option<usize>,
    at_once: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SortBy {
    Age,
    Idle,
    Unread,
    Unsent,
}

impl Query {
    /// # Errors
    ///
    /// Which part is not understood.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            let known = query.set(&key, &value);
            known.ok_or_else(|| format!("{key}={value} is not understood\n{HELP}"))?;
        }
        if query.sort.is_some() && query.limit.is_some_and(|limit| limit > SORTED_MAX) {
            return Err(format!("a sorted list has at most {SORTED_MAX} rows\n"));
        }
        Ok(query)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        let filter = &mut self.filter;
        match key {
            "shard" => self.shard = Some(ShardId(value.parse().ok()?)),
            "network" => filter.network = Some(Network::parse(value)?),
            "phase" => filter.phase = Some(value.to_owned()),
            "age_min" => filter.age_min = parse_duration(value)?,
            "idle_min" => filter.idle_min = parse_duration(value)?,
            "queued_bytes_min" => filter.queued_bytes_min = value.parse().ok()?,
            "limit" => self.limit = Some(value.parse().ok()?),
            "at_once" => self.at_once = value.parse().ok()?,
            "sort" => {
                self.sort = Some(match value {
                    "age" => SortBy::Age,
                    "idle" => SortBy::Idle,
                    "unread" => SortBy::Unread,
                    "unsent" => SortBy::Unsent,
                    _ => return None,
                });
            }
            _ => return None,
        }
        Some(())
    }

    /// The same for one connection alone.
    pub(super) fn of_one(mut self, server: ServerNumber, name: &str) -> Option<Self> {
        let conn = ConnId::parse(server, name)?;
        self.shard = Some(conn.shard());
        self.filter.conn = Some(conn);
        Some(self)
    }
}

/// What a query may have.
const HELP: &str = "shard=N network=IP or IP/BITS phase=WORD age_min=5s idle_min=1m \
    queued_bytes_min=N sort=age|idle|unread|unsent limit=N; to close also at_once=true|false\n";

/// A list that is being made.
pub(super) struct List {
    /// Of the server.
    listeners: Arc<[ListenerAddr]>,
    /// The shards that have not said all.
    awaited: Vec<Awaited>,
    unanswered: Vec<ShardId>,
    answer_timeout: Duration,
    limit: usize,
    matched: u64,
    told_to_end: u64,
    sorted: Option<Sorted>,
    _running: Running,
}

struct Awaited {
    shard: ShardId,
    link: ShardLink,
    rows: Consumer<Row>,
    /// When it said something last.
    heard: Instant,
}

/// The rows that come first, the least of them on top.
struct Sorted {
    by: SortBy,
    rows: BinaryHeap<Reverse<Ranked>>,
}

struct Ranked(u64, Row);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl List {
    /// Asks the shards; `close`: those that fit are told to end. None: too many lists are being
    /// made.
    pub(super) fn begin(
        view: &View,
        running: &Rc<Cell<u32>>,
        query: Query,
        closes: bool,
    ) -> Option<Self> {
        let running = Running::begin(running, RUNNING_MAX)?;
        let close = closes.then_some(if query.at_once {
            Close::AtOnce
        } else {
            Close::Politely
        });
        let mut list = Self {
            listeners: Arc::clone(&view.listeners),
            awaited: Vec::new(),
            unanswered: Vec::new(),
            answer_timeout: view.config.admin.answer_timeout,
            limit: query.limit.unwrap_or(LIMIT),
            matched: 0,
            told_to_end: 0,
            sorted: query.sort.map(|by| Sorted {
                by,
                rows: BinaryHeap::new(),
            }),
            _running: running,
        };
        for (number, link) in view.links.iter().enumerate() {
            let shard = ShardId(number as u32);
            if query.shard.is_none_or(|wanted| wanted == shard) {
                list.ask(shard, link, Survey::new(query.filter.clone(), close));
            }
        }
        Some(list)
    }

    fn ask(&mut self, shard: ShardId, link: &ShardLink, (survey, rows): (Survey, Consumer<Row>)) {
        if !link.commands.ask(survey) {
            return self.unanswered.push(shard);
        }
        link.signal();
        self.awaited.push(Awaited {
            shard,
            link: link.clone(),
            rows,
            heard: Instant::now(),
        });
    }

    /// The next lines of it; none when it is complete.
    pub(super) async fn next(&mut self) -> Option<String> {
        while !self.awaited.is_empty() {
            let lines = self.take();
            if !lines.is_empty() {
                return Some(lines);
            }
            sleep(LOOK_INTERVAL).await;
        }
        let rest = self.sorted.take()?.rows.into_sorted_vec();
        let lines = rest.iter().map(|Reverse(Ranked(_, row))| self.line(row));
        Some(lines.collect())
    }

    /// The last line of it.
    pub(super) fn summary(&self) -> String {
        let unanswered: Vec<u32> = self.unanswered.iter().map(|shard| shard.0).collect();
        let summary = json!({
            "matched": self.matched,
            "told_to_end": self.told_to_end,
            "unanswered_shards": unanswered,
        });
        format!("{summary}\n")
    }

    pub(super) fn has_matched(&self) -> bool {
        self.matched > 0
    }

    /// Whether every shard has answered.
    pub(super) fn is_whole(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// What has come, as far as it is to be shown at once.
    fn take(&mut self) -> String {
        let mut rows = Vec::new();
        let (patience, unanswered) = (self.answer_timeout, &mut self.unanswered);
        self.awaited.retain_mut(|awaited| {
            // Looked at before the rows: what was pushed before the end is taken.
            let is_over = awaited.rows.is_abandoned();
            let coming = awaited.rows.slots().min(ROWS_MAX);
            if let Ok(chunk) = awaited.rows.read_chunk(coming) {
                rows.extend(chunk);
            }
            if coming > 0 {
                awaited.heard = Instant::now();
                awaited.link.signal();
            }
            let is_mute = !is_over && awaited.heard.elapsed() >= patience;
            if is_mute {
                unanswered.push(awaited.shard);
            }
            !is_over && !is_mute
        });
        rows.into_iter().filter_map(|row| self.show(row)).collect()
    }

    fn show(&mut self, row: Row) -> Option<String> {
        self.matched += 1;
        self.told_to_end += u64::from(row.is_told_to_end);
        let Some(Sorted { by, rows }) = &mut self.sorted else {
            return (self.matched <= self.limit as u64).then(|| self.line(&row));
        };
        rows.push(Reverse(Ranked(by.rank(&row), row)));
        if rows.len() > self.limit {
            rows.pop();
        }
        None
    }

    /// A connection as a line.
    fn line(&self, row: &Row) -> String {
        let listener = row
            .listener
            .and_then(|listener| self.listeners.get(listener.place()));
        let deadline = row
            .deadline
            .map(|(ends_as, within)| json!({ "ends_as": ends_as, "in_seconds": seconds(within) }));
        let connection = json!({
            "id": row.id.to_string(),
            "peer": row.peer.to_string(),
            "listener": listener.map(|listener| &listener.name),
            "origin": row.origin,
            "phase": row.phase,
            "age_seconds": seconds(row.age),
            "idle_seconds": row.idle.map(seconds),
            "unread_bytes": row.unread_bytes,
            "unsent_bytes": row.unsent_bytes,
            "deadline": deadline,
            "receive": row.receive,
            "send": row.send,
            "waits_for": row.waits_for,
            "subscriptions": row.subscriptions,
            "told_to_end": row.is_told_to_end,
        });
        format!("{connection}\n")
    }
}

impl SortBy {
    fn rank(self, row: &Row) -> u64 {
        match self {
            Self::Age => row.age.as_millis() as u64,
            Self::Idle => row.idle.map_or(0, |idle| idle.as_millis() as u64 + 1),
            Self::Unread => row.unread_bytes,
            Self::Unsent => row.unsent_bytes,
        }
    }
}

/// To the millisecond: the shard's own times are coarser.
pub(super) fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_understood_whole_or_not_at_all() {
        let query = Query::parse("shard=1&network=10.0.0.0%2F8&age_min=5s&sort=idle&limit=7")
            .unwrap_or_default();
        assert_eq!(query.shard, Some(ShardId(1)));
        assert_eq!(query.filter.network, Network::parse("10.0.0.0/8"));
        assert_eq!(query.filter.age_min, Duration::from_secs(5));
        assert_eq!((query.sort, query.limit), (Some(SortBy::Idle), Some(7)));
        for wrong in [
            "shards=1",
            "shard=-1",
            "network=10",
            "network=10.0.0.1%2F8",
            "age_min=5",
            "sort=name",
            "sort=age&limit=10001",
        ] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_taken_only_as_it_is_written() {
        let server = ServerNumber::default();
        let of_one = |name: &str| {
            Query::default()
                .of_one(server, name)
                .map(|query| query.shard)
        };
        assert_eq!(of_one("1.2.3"), Some(Some(ShardId(1))));
        for wrong in [
            "",
            "1.2",
            "1.2.3.4",
            "+1.2.3",
            "01.2.3",
            "1.2.x",
            "1.2.99999999999999999999",
        ] {
            assert_eq!(of_one(wrong), None, "{wrong}");
        }
    }
}
