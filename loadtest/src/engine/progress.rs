//! The progress of a run on standard error.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::control::RunStage;
use crate::data::Sample;
use crate::output::{note, write_behind};
use crate::plan::Plan;

/// Between two lines where there is no terminal.
const LINE_INTERVAL: f64 = 5.0;

/// How a run is shown while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Not at all.
    Nothing,
    /// A bar on a terminal, lines elsewhere; on standard error.
    Progress,
}

/// A bar on a terminal, lines elsewhere.
pub(super) enum Progress {
    Nothing,
    Bar(ProgressBar),
    /// When the next line is due, in seconds, and the stage of the last.
    Lines(f64, RunStage),
}

impl Progress {
    pub(super) fn new(show: Show, plan: &Plan) -> Self {
        match show {
            Show::Nothing => Self::Nothing,
            Show::Progress if std::io::stderr().is_terminal() => Self::Bar(bar(plan)),
            Show::Progress => Self::Lines(0.0, RunStage::Ramping),
        }
    }

    /// Without waiting for a terminal that is held (Ctrl-S).
    pub(super) fn show(&mut self, stage: RunStage, sample: &Sample, served: u64) {
        let (words, connections) = (words(stage, sample), sample.connections);
        match self {
            Self::Lines(next_s, shown) if sample.at_s >= *next_s || stage != *shown => {
                (*next_s, *shown) = (sample.at_s + LINE_INTERVAL, stage);
                let at_s = sample.at_s;
                let line = format!("{at_s:6.1} s  {connections} connections, {served} served");
                note(format_args!("{line}, {words}"));
            }
            Self::Bar(bar) => {
                let bar = bar.clone();
                write_behind(move || {
                    bar.set_position(connections);
                    bar.set_message(words);
                });
            }
            Self::Nothing | Self::Lines(..) => {}
        }
    }

    pub(super) fn end(&mut self) {
        if let Self::Bar(bar) = self {
            let bar = bar.clone();
            write_behind(move || bar.finish_and_clear());
        }
    }
}

fn bar(plan: &Plan) -> ProgressBar {
    let (length, target) = (plan.connections.into(), ProgressDrawTarget::stderr());
    let bar = ProgressBar::with_draw_target(Some(length), target);
    let template = "{elapsed:>4} [{bar:24}] {human_pos}/{human_len} {msg}";
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

fn words(stage: RunStage, sample: &Sample) -> String {
    let stage = match stage {
        RunStage::Ramping => "connecting",
        RunStage::Warming => "warming up",
        RunStage::Measuring => "measuring",
        RunStage::Settling => "awaiting replies",
        RunStage::Resting => "resting",
        RunStage::Finishing | RunStage::Over => "finishing",
    };
    format!(
        "{stage}: {:.0} connects/s, {:.0} requests/s, p50 {:.0} us, p99 {:.0} us, {} errors",
        sample.connects_per_s, sample.requests_per_s, sample.p50_us, sample.p99_us, sample.failures
    )
}
