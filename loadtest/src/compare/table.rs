//! The comparison as text: one table per number of connections, one for idle connections.

use std::fmt;

use super::measure::Idle;
use super::{REFERENCE, Size};
use crate::statistics::Spread;

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} connections, closed loop", self.connections)?;
        writeln!(
            f,
            "  {:<10} {:>12} {:>15} {:>12} {:>13} {:>6} {:>8} {:>8} {:>10}",
            "server", "us CPU/req", "min-max", "ratio", "min-max", "busy", "p50 us", "p99 us", "req/s"
        )?;
        for row in &self.servers {
            let cpu = row.cpu_us_per_request;
            writeln!(
                f,
                "  {:<10} {:>12.2} {:>15} {:>12} {:>13} {:>5.0}% {:>8.0} {:>8.0} {:>10.0}",
                row.server,
                cpu.median,
                format!("{:.2}-{:.2}", cpu.min, cpu.max),
                row.ratio.map_or("-".to_owned(), |ratio| format!("{:.3}", ratio.median)),
                row.ratio.map_or("-".to_owned(), extent),
                100.0 * row.server_busy.median,
                row.p50_us.median,
                row.p99_us.median,
                row.requests_per_second.median,
            )?;
        }
        writeln!(f, "  ratio: median of the rounds' own ratios to {REFERENCE}")
    }
}

fn extent(spread: Spread) -> String {
    format!("{:.3}-{:.3}", spread.min, spread.max)
}

pub(super) struct IdleTable<'a>(pub(super) &'a [Idle]);

impl fmt::Display for IdleTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} idle connections", self.0.first().map_or(0, |idle| idle.connections))?;
        writeln!(
            f,
            "  {:<10} {:>15} {:>17} {:>16} {:>12}",
            "server", "RSS before MiB", "RSS with them MiB", "bytes/connection", "% of a core"
        )?;
        for idle in self.0 {
            writeln!(
                f,
                "  {:<10} {:>15.2} {:>17.2} {:>16.0} {:>12.2}",
                idle.server,
                mebibytes(idle.resident_bytes_before),
                mebibytes(idle.resident_bytes_after),
                idle.bytes_per_connection,
                100.0 * idle.cpu_share,
            )?;
        }
        Ok(())
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
