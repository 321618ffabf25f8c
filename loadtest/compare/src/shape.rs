//! A load as it is typed: `100`, or `100x16`.

use std::fmt;
use std::str::FromStr;

const CONNECTIONS_MAX: u32 = 1_000_000;
const PIPELINE_MAX: u32 = 4096;

/// So many connections, each of which sends so many requests in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// At least one.
    pub connections: u32,
    /// At least one.
    pub pipeline: u32,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (connections, pipeline) = text.split_once('x').unwrap_or((text, "1"));
        let connections = number(connections, CONNECTIONS_MAX, "connections")?;
        let pipeline = number(pipeline, PIPELINE_MAX, "requests in one go")?;
        Ok(Self {
            connections,
            pipeline,
        })
    }
}

fn number(text: &str, max: u32, what: &str) -> Result<u32, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| {
        format!("want 1 to {max} {what}, as in 100 or, with 16 requests in one go, 100x16")
    })
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections", self.connections)?;
        if self.pipeline > 1 {
            write!(f, ", {} requests in one go", self.pipeline)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_connections_and_perhaps_requests_in_one_go() {
        assert_eq!(
            "100".parse(),
            Ok(Shape {
                connections: 100,
                pipeline: 1
            })
        );
        assert_eq!(
            "1000x16".parse(),
            Ok(Shape {
                connections: 1000,
                pipeline: 16
            })
        );
        for wrong in [
            "", "0", "x16", "100x", "100x0", "100x16x1", "1000001", "1x4097", "-1",
        ] {
            wrong.parse::<Shape>().expect_err(wrong);
        }
    }
}
