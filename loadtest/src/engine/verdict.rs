//! Whether a run's figures are the server's, or those of a load tester at its limit.

use crate::data::Report;

/// A load tester that sends one request in a hundred later than this has measured itself, in
/// microseconds.
const LAG_P99_MAX_US: f64 = 10_000.0;
/// Of the cores that its shards may use, the share from which the load tester was at its limit.
const BUSY_MIN: f64 = 0.97;
/// A server that used less than this share of what the load tester used was not at its limit.
const SERVER_BUSY_MAX: f64 = 0.8;
/// Of the window, the share that it may stand still in all. A busy machine holds it up for a tenth of
/// a second now and then, which is much of a short window only.
const STOOD_STILL_MAX: f64 = 0.2;
/// In seconds.
const STOOD_STILL_WINDOW_MIN_S: f64 = 1.0;
/// Processor time over a shorter window is not judged, in seconds: the processes are looked at one
/// after the other, and on a busy machine tens of milliseconds lie between.
const JUDGED_WINDOW_MIN_S: f64 = 0.5;

/// Why the figures say nothing about the server, if so.
pub(super) fn void(report: &Report) -> Option<String> {
    let reasons = [late, stopped, outrun, unmeasured];
    reasons.into_iter().find_map(|reason| reason(report))
}

/// Zeros would be read as the fastest of all servers.
fn unmeasured(report: &Report) -> Option<String> {
    let is_measured = !matches!(
        &*report.load.mode,
        "open" | "closed" | "storm" | "chat" | "push"
    ) || report.latency_us.count > 0;
    (!is_measured && report.is_complete()).then(|| {
        "no request was due in the window: nothing is known of the server. Make it longer (--duration), or its requests more frequent"
            .to_owned()
    })
}

fn late(report: &Report) -> Option<String> {
    let lag = &report.generator.lag_us;
    let has_times = matches!(&*report.load.mode, "open" | "chat" | "push");
    (has_times && lag.p99 > LAG_P99_MAX_US).then(|| {
        format!(
            "the load tester was the bottleneck: it sent one request in a hundred more than {:.0} ms late. Lower the rate (a longer \
             --interval, fewer --connections) or give it more cores",
            lag.p99 / 1e3
        )
    })
}

/// What was not asked meanwhile is missing in the rate of a closed loop or a storm, and what was on
/// its way seems to have taken so long.
fn stopped(report: &Report) -> Option<String> {
    let (stood, window) = (report.generator.stood_still_s, report.requests.window_s);
    let is_judged =
        matches!(&*report.load.mode, "closed" | "storm") && window >= STOOD_STILL_WINDOW_MIN_S;
    (is_judged && stood > STOOD_STILL_MAX * window).then(|| {
        format!(
            "the load tester stood still for {stood:.1} of the {window:.1} s: it was stopped, or others had its cores. Run it again, with \
             cores of its own"
        )
    })
}

/// A closed loop asks for capacity: what came out is the load tester's own if it was busy all the
/// time while the server was not.
fn outrun(report: &Report) -> Option<String> {
    let is_judged = report.load.mode == "closed" && report.requests.window_s >= JUDGED_WINDOW_MIN_S;
    let server = report.server.as_ref().filter(|_| is_judged)?;
    let cores = f64::from(report.generator.shards.min(report.machine.cores)).max(1.0);
    let (own, servers) = (report.generator.cpu_cores, server.cpu_cores);
    let is_outrun = own >= BUSY_MIN * cores && servers < SERVER_BUSY_MAX * own;
    is_outrun.then(|| {
        format!(
            "the load tester was the bottleneck: it used {own:.2} of {cores:.0} cores while the server used {servers:.2}. Give it more \
             cores and shards (--cpus, --shards)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Generator, Machine, Quantiles, ServerUse};

    fn report(mode: &str, lag_p99: f64, own: f64, servers: f64) -> Report {
        let mut report = crate::data::served(0, 0);
        report.load.mode = mode.to_owned();
        report.requests.window_s = 1.0;
        report.machine = Machine {
            cores: 4,
            ..Machine::default()
        };
        report.generator = Generator {
            shards: 1,
            cpu_cores: own,
            lag_us: Quantiles {
                count: 1,
                p99: lag_p99,
                ..Quantiles::default()
            },
            ..Generator::default()
        };
        report.server = Some(ServerUse {
            cpu_cores: servers,
            ..ServerUse::default()
        });
        report
    }

    #[test]
    fn a_late_load_tester_voids_an_open_run() {
        assert!(
            void(&report("open", 10_500.0, 0.1, 0.1)).is_some_and(|why| why.contains("10 ms late"))
        );
        assert_eq!(void(&report("open", 500.0, 0.1, 0.1)), None);
        assert!(void(&report("chat", 10_500.0, 0.1, 0.1)).is_some());
    }

    #[test]
    fn a_load_tester_that_stood_still_voids_a_run_that_asks_for_capacity() {
        for (mode, stood_still_s, is_void) in [
            ("closed", 0.3, true),
            ("storm", 0.3, true),
            ("closed", 0.1, false),
            ("idle", 0.9, false),
        ] {
            let mut report = report(mode, 0.0, 0.1, 0.1);
            report.latency_us.count = 1;
            report.generator.stood_still_s = stood_still_s;
            assert_eq!(void(&report).is_some(), is_void, "{mode} {stood_still_s}");
        }
    }

    #[test]
    fn a_load_tester_at_its_limit_voids_a_closed_run_unless_the_server_was_too() {
        assert!(void(&report("closed", 0.0, 0.99, 0.5)).is_some());
        assert_eq!(void(&report("closed", 0.0, 0.99, 0.95)), None);
        assert_eq!(void(&report("closed", 0.0, 0.6, 0.3)), None);
    }

    #[test]
    fn a_window_without_a_request_voids_a_run_that_asks() {
        for (mode, is_void) in [
            ("open", true),
            ("closed", true),
            ("storm", true),
            ("chat", true),
            ("push", true),
            ("idle", false),
            ("slow", false),
        ] {
            let mut report = report(mode, 0.0, 0.1, 0.1);
            report.connections = crate::data::Connections {
                wanted: 1,
                established: 1,
                served: 1,
                ..Default::default()
            };
            assert_eq!(void(&report).is_some(), is_void, "{mode}");
            report.latency_us.count = 1;
            assert_eq!(void(&report), None, "{mode}");
        }
    }

    #[test]
    fn a_window_too_short_for_an_accurate_look_is_not_judged() {
        let mut brief = report("closed", 0.0, 3.42, 1.13);
        brief.requests.window_s = 0.1;
        assert_eq!(void(&brief), None);
    }
}
