//! The screen: a header, the shards, why connections ended, the upstreams, and the last minutes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, SparklineBar, Table};

use crate::history::{History, Link, Point, Rate, Sample};
use crate::stats::{Counts, Stats};
use crate::text::{NONE, bytes, count, percent, rate, span, turn};

/// Lines of a sparkline with its border, and what the tables keep before it has any.
const SPARKLINE_HEIGHT: u16 = 10;
const TABLES_HEIGHT_MIN: u16 = 12;

/// A column of the shards: its head, its width, and what stands in it. The last ones go first where
/// there is not room for all.
type Column = (&'static str, u16, fn(&Counts, Option<&Rate>) -> String);

const COLUMNS: [Column; 14] = [
    ("Conns", 9, |now, _| count(now.connections)),
    ("Accepts/s", 9, |_, rates| {
        per_second(rates, |of| rate(of.accepted))
    }),
    ("Messages/s", 10, |_, rates| {
        per_second(rates, |of| rate(of.messages))
    }),
    ("Busy %", 6, |now, _| percent(now.busy)),
    ("Turn p99<=", 10, |now, _| {
        turn(now.turn_seconds_at_most.p99)
    }),
    ("max<=", 6, |now, _| turn(now.turn_seconds_at_most.max)),
    ("In/s", 9, |_, rates| {
        per_second(rates, |of| bytes(of.received_bytes))
    }),
    ("Out/s", 9, |_, rates| {
        per_second(rates, |of| bytes(of.sent_bytes))
    }),
    ("p50<=", 6, |now, _| turn(now.turn_seconds_at_most.p50)),
    ("Stalls", 6, |now, _| count(now.stalls)),
    ("Unsent", 8, |now, _| bytes(now.unsent_bytes as f64)),
    ("Unread", 8, |now, _| bytes(now.unread_bytes as f64)),
    ("Buffers", 11, |now, _| {
        format!("{}/{}", now.buffers_used, now.buffers)
    }),
    ("Tasks", 7, |now, _| count(now.tasks)),
];
const NAME_WIDTH: u16 = 5;

fn per_second(rates: Option<&Rate>, shown: impl Fn(&Rate) -> String) -> String {
    rates.map_or_else(|| NONE.to_owned(), shown)
}

/// Draws all of it; `scrolled`: the first shard that is shown, which is cut to what there is.
pub(crate) fn draw(frame: &mut Frame<'_>, history: &History, scrolled: &mut usize) {
    let area = frame.area();
    let spare = area.height.saturating_sub(TABLES_HEIGHT_MIN + 4);
    let plots = if spare >= SPARKLINE_HEIGHT / 3 {
        spare.min(SPARKLINE_HEIGHT)
    } else {
        0
    };
    let rows = [
        Constraint::Length(3),
        Constraint::Min(0),
        Constraint::Length(plots),
        Constraint::Length(1),
    ];
    let [header, tables, plots, footer] = Layout::vertical(rows).areas(area);
    draw_header(frame, header, history);
    if let Some(sample) = &history.last {
        draw_tables(frame, tables, sample, scrolled);
        draw_plots(frame, plots, &history.points);
    }
    let keys = " q quit, arrows scroll   turns: upper ends of their ranges   a bar: a second";
    frame.render_widget(Paragraph::new(keys.dim()), footer);
}

fn draw_header(frame: &mut Frame<'_>, area: Rect, history: &History) {
    let stats = history.last.as_ref().map(|sample| &sample.stats);
    let state = match &history.link {
        Link::Connecting => Span::from("connecting").yellow(),
        Link::Gone(since, why) => {
            let told = format!(
                "server gone for {}: {why}; trying again each second",
                span(since.elapsed().as_secs_f64())
            );
            Span::from(told).red().bold()
        }
        Link::Heard => readiness(stats),
    };
    let name = match stats {
        None => history.place.clone(),
        Some(stats) => format!("{} {}", stats.program, stats.address),
    };
    let facts = stats.map(facts).unwrap_or_default();
    let lines = vec![
        Line::from(vec![" ".into(), name.bold()]),
        Line::from(vec![" ".into(), state]),
        Line::from(format!(" {facts}")),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

fn readiness(stats: Option<&Stats>) -> Span<'static> {
    let why = stats.filter(|stats| !stats.ready);
    match why.map(|stats| stats.unready_because.clone().unwrap_or_default()) {
        None => Span::from("ready").green().bold(),
        Some(why) => Span::from(format!("not ready: {why}")).yellow().bold(),
    }
}

fn facts(stats: &Stats) -> String {
    let memory = stats.resident_bytes.map(|resident| bytes(resident as f64));
    let none = || NONE.to_owned();
    format!(
        "up {}   {} of {} connections   {}   accept queue {}   log lines dropped {}",
        span(stats.uptime_seconds),
        count(stats.total.connections),
        count(stats.connections_max),
        memory.unwrap_or_else(none),
        stats.accept_queue.map_or_else(none, count),
        count(stats.log_lines_dropped),
    )
}

fn draw_tables(frame: &mut Frame<'_>, area: Rect, sample: &Sample, scrolled: &mut usize) {
    let shards = sample.stats.shards.len();
    // A head, the sum, a border.
    let wanted = u16::try_from(shards + 4).unwrap_or(u16::MAX);
    let rows = [Constraint::Max(wanted), Constraint::Min(area.height.min(5))];
    let [upper, lower] = Layout::vertical(rows).areas(area);
    let room = usize::from(upper.height.saturating_sub(4));
    *scrolled = (*scrolled).min(shards.saturating_sub(room));
    draw_shards(frame, upper, sample, *scrolled, room);
    if sample.stats.upstreams.is_empty() {
        return draw_closes(frame, lower, sample);
    }
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    let [left, right] = Layout::horizontal(halves).areas(lower);
    draw_closes(frame, left, sample);
    draw_upstreams(frame, right, &sample.stats);
}

fn draw_shards(frame: &mut Frame<'_>, area: Rect, sample: &Sample, first: usize, room: usize) {
    let mut left = area.width.saturating_sub(2 + NAME_WIDTH);
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .take_while(|(_, width, _)| {
            let fits = left > *width;
            left = left.saturating_sub(width + 1);
            fits
        })
        .collect();
    let row = |name: String, counts: &Counts, rates: Option<&Rate>| {
        let cells = columns
            .iter()
            .map(|(_, _, show)| right(show(counts, rates)));
        Row::new([Line::from(name)].into_iter().chain(cells))
    };
    let rates = sample.rates.as_ref();
    let shards = sample
        .stats
        .shards
        .iter()
        .enumerate()
        .skip(first)
        .take(room);
    let mut rows: Vec<Row<'_>> = shards
        .map(|(index, shard)| {
            let rates = rates.and_then(|rates| rates.shards.get(index));
            row(shard.shard.to_string(), shard, rates)
        })
        .collect();
    let total = row(
        "all".to_owned(),
        &sample.stats.total,
        rates.map(|rates| &rates.total),
    );
    rows.push(total.style(Style::new().bold()));
    let heads = columns.iter().map(|(head, _, _)| right((*head).to_owned()));
    let head = Row::new([Line::from("Shard")].into_iter().chain(heads));
    let widths = columns
        .iter()
        .map(|(_, width, _)| Constraint::Length(*width));
    let widths = [Constraint::Length(NAME_WIDTH)].into_iter().chain(widths);
    let title = format!(" {} shards ", sample.stats.shards.len());
    frame.render_widget(table(title, rows, widths).header(head.dim()), area);
}

fn draw_closes(frame: &mut Frame<'_>, area: Rect, sample: &Sample) {
    let mut closes: Vec<(&String, u64)> = sample
        .stats
        .closed_by_reason
        .iter()
        .map(|(reason, count)| (reason, *count))
        .collect();
    closes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rates = sample.rates.as_ref().map(|rates| &rates.closed_by_reason);
    let rows = closes.into_iter().map(|(reason, number)| {
        let rate_of = rates
            .and_then(|rates| rates.get(reason))
            .map(|of| rate(*of));
        let rate_of = rate_of.unwrap_or_else(|| NONE.to_owned());
        Row::new([
            Line::from(reason.clone()),
            right(count(number)),
            right(rate_of),
        ])
    });
    let head = Row::new([
        Line::from("Reason"),
        right_of("Closed"),
        right_of("Per second"),
    ]);
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(10),
        Constraint::Length(10),
    ];
    let table = table(" closed by reason ".to_owned(), rows.collect(), widths);
    frame.render_widget(table.header(head.dim()), area);
}

fn draw_upstreams(frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
    let rows = stats.upstreams.iter().map(|(name, of)| {
        let counts = [of.used, of.waiting, of.failed].map(|number| right(count(number)));
        Row::new([Line::from(name.clone())].into_iter().chain(counts))
    });
    let heads = ["In use", "Waiting", "Failed"].map(right_of);
    let head = Row::new([Line::from("Name")].into_iter().chain(heads));
    let widths = [Constraint::Fill(1)]
        .into_iter()
        .chain([Constraint::Length(9); 3]);
    let table = table(" upstreams ".to_owned(), rows.collect(), widths);
    frame.render_widget(table.header(head.dim()), area);
}

fn table<'t>(
    title: String,
    rows: Vec<Row<'t>>,
    widths: impl IntoIterator<Item = Constraint>,
) -> Table<'t> {
    Table::new(rows, widths).block(
        Block::bordered()
            .title(title)
            .border_style(Style::new().dim()),
    )
}

fn right(text: String) -> Line<'static> {
    Line::from(text).right_aligned()
}

fn right_of(text: &str) -> Line<'static> {
    right(text.to_owned())
}

/// What a sparkline shows: its title, its unit, and its number of a point.
type Plot = (&'static str, fn(u64) -> String, fn(&Point) -> Option<u64>);

const PLOTS: [Plot; 3] = [
    ("connections", count, |point| Some(point.connections)),
    ("messages/s", count, |point| point.messages),
    (
        "turn p99<=",
        |micros| turn(Some(micros as f64 / 1e6)),
        |point| point.turn_p99_micros,
    ),
];

fn draw_plots<'p>(
    frame: &mut Frame<'_>,
    area: Rect,
    points: impl IntoIterator<Item = &'p Point> + Copy,
) {
    let areas: [Rect; PLOTS.len()] =
        Layout::horizontal([Constraint::Fill(1); PLOTS.len()]).areas(area);
    for ((title, show, number_of), area) in PLOTS.iter().zip(areas) {
        let room = usize::from(area.width.saturating_sub(2));
        let numbers: Vec<Option<u64>> = points.into_iter().map(number_of).collect();
        let shown = &numbers[numbers.len().saturating_sub(room)..];
        let peak = shown.iter().flatten().max().map(|peak| show(*peak));
        let title = format!(" {title}, peak {} ", peak.unwrap_or_default());
        let bars = shown.iter().map(|number| SparklineBar::from(*number));
        let block = Block::bordered()
            .title(title)
            .border_style(Style::new().dim());
        let plot = Sparkline::default().data(bars).absent_value_symbol(" ");
        frame.render_widget(plot.block(block).cyan(), area);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::events::News;

    fn history() -> History {
        let mut history = History::new("unix:/a".to_owned());
        for uptime_seconds in [100.0, 101.0] {
            let total = Counts {
                connections: 1234,
                messages: uptime_seconds as u64 * 500,
                ..Counts::default()
            };
            let shard = |shard| Counts {
                shard,
                ..Counts::default()
            };
            let stats = Stats {
                program: "echo".to_owned(),
                ready: true,
                uptime_seconds,
                total,
                shards: (0..64).map(shard).collect(),
                closed_by_reason: [("peer_closed".to_owned(), 7)].into(),
                ..Stats::default()
            };
            history.hear(News::Stats(Box::new(stats)), Instant::now());
        }
        history
    }

    /// The screen's text.
    fn drawn(width: u16, height: u16, history: &History, scrolled: &mut usize) -> String {
        let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
        let Ok(_) = terminal.draw(|frame| draw(frame, history, scrolled));
        terminal.backend().to_string()
    }

    #[test]
    fn a_screen_of_any_size_is_drawn() {
        for width in [1, 7, 40, 400] {
            for height in 0..50 {
                drawn(width, height, &history(), &mut 60);
            }
        }
    }

    #[test]
    fn what_matters_is_on_a_screen_of_80_columns() {
        let screen = drawn(80, 24, &history(), &mut 0);
        for text in [
            "ready",
            "1,234",
            "500",
            "peer_closed",
            "Messages/s",
            "p99<=",
            "all",
            "q quit",
        ] {
            assert!(screen.contains(text), "no {text} in\n{screen}");
        }
    }

    #[test]
    fn one_scrolls_to_the_last_shard_and_no_further() {
        let mut scrolled = 1000;
        let screen = drawn(80, 24, &history(), &mut scrolled);
        assert!(screen.contains("63") && scrolled < 64, "{screen}");
    }

    #[test]
    fn a_server_that_is_gone_is_told_of() {
        let mut history = history();
        history.hear(
            News::Gone("nobody listens there".to_owned()),
            Instant::now(),
        );
        let screen = drawn(120, 40, &history, &mut 0);
        assert!(
            screen.contains("server gone for 0 s: nobody listens there"),
            "{screen}"
        );
        assert!(screen.contains("1,234"), "the last numbers stay: {screen}");
    }
}
