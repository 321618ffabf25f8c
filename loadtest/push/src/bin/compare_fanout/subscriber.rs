//! The process of some subscribers.

use std::io::{self, BufRead};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use loadtest::error::Error;
use push::arrival::{receive, stamp_arrivals};
use push::{MESSAGE_BYTES, Message};

use crate::{LINE, line};

/// A line that does not come for so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

pub(crate) fn run(addr: SocketAddr, connections: u32) -> Result<(), Error> {
    let connected = (0..connections).map(|_| connect(addr));
    let streams = connected.collect::<io::Result<Vec<_>>>();
    let streams = streams.map_err(Error::failed("cannot connect"))?;
    println!("{connections}");
    let told = io::stdin().lock().lines();
    for (serial, _) in (0..).zip(told.map_while(Result::ok)) {
        let mut last = 0;
        for stream in &streams {
            let heard = hear(stream, serial);
            last = last.max(heard.map_err(Error::failed(format!("line {serial}")))?);
        }
        println!("{last}");
    }
    Ok(())
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(LOST_AFTER))?;
    stamp_arrivals(&stream)?;
    Ok(stream)
}

/// When line `serial` came, in nanoseconds since 1970.
fn hear(stream: &TcpStream, serial: u64) -> io::Result<u64> {
    let mut heard = [0; LINE];
    let (length, arrived) = receive(stream, &mut heard)?;
    let message = Message::from_bytes(&heard[..MESSAGE_BYTES]);
    match message.filter(|message| message.serial == serial && heard == line(*message)) {
        Some(_) => Ok(arrived.unwrap_or(0)),
        None => Err(io::Error::other(format!(
            "came as {length} bytes: {}",
            heard.escape_ascii()
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_the_line_that_is_due_is_heard_and_only_unchanged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let heard = |bytes: &[u8]| {
            let stream = connect(listener.local_addr().unwrap()).unwrap();
            listener.accept().unwrap().0.write_all(bytes).unwrap();
            hear(&stream, 3)
        };
        let right = line(Message::now(3));
        let mut changed = right;
        changed[LINE - 1] ^= 1;
        assert!(heard(&right).is_ok());
        for wrong in [&changed[..], &line(Message::now(2)), &right[..LINE - 1]] {
            assert!(heard(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
