//! The subscribers of one side: processes of their own, since one has descriptors for so many only,
//! and what they take of the processor is not the senders'.
//!
//! Each says a line once all of its own are connected. Then, for each line that it is told, it hears
//! what has come, and says when that came to the last.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use loadtest::error::Error;
use push::Message;

/// Descriptors of a process that are not subscribers'.
const DESCRIPTORS_OWN: u32 = 64;
/// Connections to one address: there are ports for some more.
const OF_ADDRESS_MAX: u32 = 14_000;

pub(crate) struct Subscribers {
    processes: Vec<Process>,
    published: u64,
}

impl Subscribers {
    /// So many of each address, all of them connected.
    pub(crate) fn start(
        shares: impl IntoIterator<Item = (SocketAddr, u32)>,
    ) -> Result<Self, Error> {
        let max = baseline_common::descriptors_max().saturating_sub(DESCRIPTORS_OWN);
        let parts = shares
            .into_iter()
            .flat_map(|(addr, count)| parts(addr, count, max.min(OF_ADDRESS_MAX)));
        let processes = parts.map(|(addr, count)| Process::start(addr, count));
        let mut processes = processes.collect::<Result<Vec<_>, Error>>()?;
        for process in &mut processes {
            process.hear()?; // it is connected
        }
        Ok(Self {
            processes,
            published: 0,
        })
    }

    /// What they expect next.
    pub(crate) fn next_message(&mut self) -> Message {
        self.published += 1;
        Message::now(self.published - 1)
    }

    /// Waits until it has come to all, and tells when it came to the last, in nanoseconds since 1970.
    pub(crate) fn hear(&mut self) -> Result<u64, Error> {
        for process in &mut self.processes {
            let told = writeln!(process.input);
            told.map_err(Error::failed("a process of subscribers"))?;
        }
        let mut arrived = self.processes.iter_mut().map(Process::hear);
        arrived.try_fold(0, |last, arrived| Ok(last.max(arrived?)))
    }
}

/// What of `count` each process has, at an address of its own.
fn parts(addr: SocketAddr, count: u32, max: u32) -> impl Iterator<Item = (SocketAddr, u32)> {
    let of_part = move |part: u32| {
        let host = [127, 0, 0, (part + 1) as u8];
        let addr = SocketAddr::from((host, addr.port()));
        (addr, max.min(count - part * max))
    };
    (0..count.div_ceil(max)).map(of_part)
}

/// It ends when its input does.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(addr: SocketAddr, connections: u32) -> Result<Self, Error> {
        let failed = || Error::failed("cannot start subscribers");
        let mut command = Command::new(env::current_exe().map_err(failed())?);
        command
            .args(["--subscribe", &addr.to_string()])
            .args(["--connections", &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed())?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = pipes else {
            return Err(Error::Failed("subscribers without pipes".to_owned()));
        };
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// The number that it says next.
    fn hear(&mut self) -> Result<u64, Error> {
        let mut said = String::new();
        let heard = self.output.read_line(&mut said);
        let number = heard.ok().and_then(|_| said.trim_end().parse().ok());
        number.ok_or_else(|| Error::Failed("subscribers have failed".to_owned()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever it still does is of no interest.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_process_has_more_than_it_may_and_all_have_theirs() {
        let all: Vec<_> = parts(([0, 0, 0, 0], 9).into(), 25, 10).collect();
        let of = |part, count| (SocketAddr::from(([127, 0, 0, part], 9)), count);
        assert_eq!(all, [of(1, 10), of(2, 10), of(3, 5)]);
    }
}
