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
    Lines { next_s: f64, stage: RunStage },
}

impl Progress {
    pub(super) fn new(show: Show, plan: &Plan) -> Self {
        match show {
            Show::Nothing => Self::Nothing,
            Show::Progress if std::io::stderr().is_terminal() => {
                let bar = ProgressBar::with_draw_target(
                    Some(plan.connections.into()),
                    ProgressDrawTarget::stderr(),
                );
                let style = ProgressStyle::with_template(
                    "{elapsed:>4} [{bar:24}] {human_pos}/{human_len} {msg}",
                );
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.enable_steady_tick(Duration::from_secs(1));
                Self::Bar(bar)
            }
            Show::Progress => Self::Lines {
                next_s: 0.0,
                stage: RunStage::Ramping,
            },
        }
    }

    /// Without waiting for a terminal that is held (Ctrl-S).
    pub(super) fn show(&mut self, stage: RunStage, sample: &Sample, served: u64) {
        match self {
            Self::Nothing => {}
            Self::Bar(bar) => {
                let (bar, position, message) =
                    (bar.clone(), sample.connections, words(stage, sample));
                write_behind(move || {
                    bar.set_position(position);
                    bar.set_message(message);
                });
            }
            Self::Lines {
                next_s,
                stage: shown,
            } => {
                if sample.at_s >= *next_s || stage != *shown {
                    (*next_s, *shown) = (sample.at_s + LINE_INTERVAL, stage);
                    let (at_s, connections) = (sample.at_s, sample.connections);
                    note(format_args!(
                        "{at_s:6.1} s  {connections} connections, {served} served, {}",
                        words(stage, sample)
                    ));
                }
            }
        }
    }

    pub(super) fn end(&mut self) {
        if let Self::Bar(bar) = self {
            let bar = bar.clone();
            write_behind(move || bar.finish_and_clear());
        }
    }
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
