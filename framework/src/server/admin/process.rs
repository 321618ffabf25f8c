//! What the kernel says of the process: `process_*`, by the names that Prometheus's own clients
//! give (proc(5)).

use procfs::process::{LimitValue, Process};

use crate::server::admin::text_format::Exposition;

/// Of a process that cannot be read about nothing is told.
pub(super) fn expose(to: &mut Exposition) {
    let Ok(process) = Process::myself() else {
        return;
    };
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second() as f64;
        let cpu = (stat.utime + stat.stime) as f64 / ticks;
        to.counter(
            "process_cpu_seconds_total",
            "Processor time of the process.",
        )
        .value(cpu);
        let resident = stat.rss * procfs::page_size();
        to.gauge(
            "process_resident_memory_bytes",
            "Memory of the process that lies in RAM.",
        )
        .value(resident);
        to.gauge(
            "process_virtual_memory_bytes",
            "Address space of the process.",
        )
        .value(stat.vsize);
        to.gauge("process_threads", "Threads of the process.")
            .value(stat.num_threads);
        if let Ok(boot) = procfs::boot_time_secs() {
            let started = boot as f64 + stat.starttime as f64 / ticks;
            to.gauge(
                "process_start_time_seconds",
                "When the process began, in seconds since 1970.",
            )
            .value(started);
        }
    }
    if let Ok(open) = process.fd_count() {
        to.gauge(
            "process_open_fds",
            "Descriptors in the process's table; those of connections lie in the rings'.",
        )
        .value(open);
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        to.gauge("process_max_fds", "Descriptors that the process may have.")
            .value(most);
    }
}
