//! The comparison as text: one table per load, one for idle connections.

use std::fmt;

use super::comparison::{Case, IdleCase};
use super::shape::Shape;
use super::statistics::Spread;

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            pipeline,
            ..
        } = *self;
        writeln!(
            f,
            "{}, closed loop",
            Shape {
                connections,
                pipeline
            }
        )?;
        writeln!(
            f,
            "  {:<15} {:>10} {:>13} {:>19} {:>5} {:>8} {:>19} {:>8} {:>19} {:>9}",
            "server",
            "us CPU/req",
            "min-max",
            "ratio (min-max)",
            "busy",
            "p50 us",
            "ratio (min-max)",
            "p99 us",
            "ratio (min-max)",
            "req/s"
        )?;
        for row in &self.servers {
            let cpu = row.cpu_us_per_request;
            writeln!(
                f,
                "  {:<15} {:>10.2} {:>13} {:>19} {:>4.0}% {:>8.0} {:>19} {:>8.0} {:>19} {:>9.0}",
                row.server,
                cpu.median,
                format!("{:.2}-{:.2}", cpu.min, cpu.max),
                spelled(row.ratio),
                100.0 * row.server_busy.median,
                row.p50_us.median,
                spelled(row.p50_ratio),
                row.p99_us.median,
                spelled(row.p99_ratio),
                row.requests_per_second.median,
            )?;
        }
        writeln!(
            f,
            "  ratio: of what stands before it, the median of the rounds' own ratios to {}",
            self.suite.reference()
        )
    }
}

fn spelled(ratio: Option<Spread>) -> String {
    ratio.map_or("-".to_owned(), |Spread { median, min, max }| {
        format!("{median:.3} ({min:.2}-{max:.2})")
    })
}

impl fmt::Display for IdleCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} idle connections", self.connections)?;
        writeln!(
            f,
            "  {:<15} {:>15} {:>17} {:>16} {:>15} {:>23} {:>12}",
            "server",
            "RSS before MiB",
            "RSS with them MiB",
            "bytes/connection",
            "min-max",
            "ratio (min-max)",
            "% of a core"
        )?;
        for row in &self.servers {
            let bytes = row.bytes_per_connection;
            writeln!(
                f,
                "  {:<15} {:>15.2} {:>17.2} {:>16.0} {:>15} {:>23} {:>12.2}",
                row.server,
                mebibytes(row.resident_bytes_before.median),
                mebibytes(row.resident_bytes_after.median),
                bytes.median,
                format!("{:.0}-{:.0}", bytes.min, bytes.max),
                spelled(row.ratio),
                100.0 * row.cpu_share.median,
            )?;
        }
        Ok(())
    }
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}
