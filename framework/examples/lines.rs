//! A protocol of lines, with settings of its own: adds the numbers of each line.
//!
//! ```text
//! cargo run --example lines -- --set app.numbers_max=10
//! echo 1 2 39 | nc 127.0.0.1 7009
//! ```
//!
//! A line that is too long, or cut off by the end of the connection, is an error that `?` passes
//! on: the connection ends as `protocol_error`, in the log and in the counters.

use std::process::ExitCode;

use corelane::codec::Lines;
use corelane::{AppSettings, Conn, Error, Handler, ShardContext};

/// Longest line, its end included.
const LINE_MAX: usize = 1024;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SumSettings {
    /// Numbers in a line at most.
    numbers_max: usize,
}

impl Default for SumSettings {
    fn default() -> Self {
        Self { numbers_max: 100 }
    }
}

impl AppSettings for SumSettings {
    const NAME: &'static str = "lines";
    const ABOUT: &'static str = "Adds the numbers of each line";
    const LISTEN: &'static str = "127.0.0.1:7009";
    // Where the framework's own default does not fit; an operator's file is over it.
    const DEFAULTS: &'static str = "
        [timeouts]
        idle = '10m'
    ";

    fn check(&self) -> Vec<(&'static str, String)> {
        match self.numbers_max {
            0 => vec![("numbers_max", "found 0, expected at least 1".to_owned())],
            _ => Vec::new(),
        }
    }
}

struct Sum(SumSettings);

impl Handler for Sum {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut lines = conn.framed(Lines::new(LINE_MAX));
        while let Some(line) = lines.next().await? {
            let answer = match sum(&line, self.0.numbers_max) {
                Ok(sum) => sum.to_string(),
                Err(why) => format!("! {why}"),
            };
            lines.send(answer.as_bytes()).await?;
        }
        Ok(())
    }
}

fn sum(line: &[u8], numbers_max: usize) -> Result<i64, &'static str> {
    let line = str::from_utf8(line).map_err(|_| "not UTF-8")?;
    let numbers: Vec<&str> = line.split_whitespace().take(numbers_max + 1).collect();
    if numbers.len() > numbers_max {
        return Err("too many numbers");
    }
    let numbers = numbers
        .into_iter()
        .map(|number| number.parse::<i64>().map_err(|_| "not a number"));
    numbers.into_iter().try_fold(0_i64, |sum, number| {
        sum.checked_add(number?).ok_or("too large")
    })
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, settings: &SumSettings| Sum(settings.clone()))
}
