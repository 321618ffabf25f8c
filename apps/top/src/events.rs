//! The stream of events (WHATWG HTML, 9.2), over HTTP/1.0: as it comes, in no chunks.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::mpsc::SyncSender;
use std::thread::sleep;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::stats::Stats;

const REQUEST: &[u8] = b"GET /events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n";
/// Until it is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Events come each second; one that has been silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Bytes of a line: thousands of shards or upstreams.
const LINE_MAX: u64 = 4 << 20;
/// Lines of a header.
const HEADER_LINES_MAX: usize = 64;

/// What is heard.
#[derive(Debug)]
pub(crate) enum News {
    Stats(Box<Stats>),
    /// It cannot be heard, and why.
    Gone(String),
}

/// Tells of each event, and of each attempt that failed, until nobody listens.
pub(crate) fn watch(place: &Endpoint, tell: &SyncSender<News>) {
    loop {
        let heard = place.connect(SILENCE_MAX).and_then(|mut stream| {
            stream.write_all(REQUEST)?;
            listen(BufReader::new(stream), tell)
        });
        let why = match heard {
            Ok(()) => return,
            Err(error) => why(&error),
        };
        if tell.send(News::Gone(why)).is_err() {
            return;
        }
        sleep(RETRY_INTERVAL);
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "it says nothing".to_owned(),
        ErrorKind::UnexpectedEof => "it has ended".to_owned(),
        ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        ErrorKind::NotFound => "there is no such socket".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads an answer; `Ok`: nobody wants to know.
fn listen(mut stream: impl BufRead, tell: &SyncSender<News>) -> io::Result<()> {
    read_header(&mut stream)?;
    let mut data = String::new();
    loop {
        let line = read_line(&mut stream)?;
        match line.split_once(':') {
            Some(("data", value)) => data.push_str(value.strip_prefix(' ').unwrap_or(value)),
            None if line.is_empty() && !data.is_empty() => {
                let stats = serde_json::from_str(&data).map_err(io::Error::other)?;
                data.clear();
                if tell.send(News::Stats(stats)).is_err() {
                    return Ok(());
                }
            }
            _ => {} // comments and fields that say nothing here
        }
    }
}

fn read_header(stream: &mut impl BufRead) -> io::Result<()> {
    let status = read_line(stream)?;
    let code = status.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with("HTTP/1.") || code != "200" {
        let refusal = format!("it answers {}", status.escape_debug());
        return Err(io::Error::other(refusal));
    }
    for _ in 0..HEADER_LINES_MAX {
        if read_line(stream)?.is_empty() {
            return Ok(());
        }
    }
    Err(io::Error::other("it answers with too long a header"))
}

/// A line without its end.
fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.take(LINE_MAX).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => {}
        Some(_) if line.len() as u64 + 1 >= LINE_MAX => {
            return Err(io::Error::other("it sends a line without end"));
        }
        _ => return Err(ErrorKind::UnexpectedEof.into()),
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// What an answer tells, and how it ends.
    fn heard(answer: &str) -> (usize, String) {
        let (tell, news) = sync_channel(8);
        let end = listen(answer.as_bytes(), &tell);
        let end = end.map_err(|error| why(&error)).err().unwrap_or_default();
        (news.try_iter().count(), end)
    }

    #[test]
    fn each_event_is_told_of() {
        let head = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let cases = [
            ("retry: 1000\ndata: {}\n\n: comment\ndata:{}\n\n", 2),
            ("data: {\ndata: }\r\n\r\nevent: x\n\ndata: {}", 1),
            ("\n\n\n", 0),
        ];
        for (body, count) in cases {
            let told = heard(&format!("{head}{body}"));
            assert_eq!(told, (count, "it has ended".to_owned()), "{body}");
        }
    }

    #[test]
    fn what_is_no_stream_of_events_is_told_of() {
        let end = |answer: &str| heard(answer).1;
        assert_eq!(
            end("HTTP/1.1 503 Service Unavailable\r\n\r\n"),
            "it answers HTTP/1.1 503 Service Unavailable"
        );
        assert_eq!(end("\u{1b}[2J\n"), "it answers \\u{1b}[2J");
        assert!(end("HTTP/1.1 200 OK\r\n\r\ndata: x\n\n").contains("expected value"));
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(99));
        assert_eq!(end(&endless), "it answers with too long a header");
        let endless = format!(
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "x".repeat(LINE_MAX as usize + 9)
        );
        assert_eq!(end(&endless), "it sends a line without end");
    }
}
