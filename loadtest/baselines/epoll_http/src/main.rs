//! HTTP hello by epoll: one thread, level-triggered, one read and one write per event, requests by
//! httparse, the date written once a second. It knows keep-alive and pipelining, and none of what a
//! server needs besides: no bodies, no deadlines, no checks. A connection whose peer does not read
//! keeps what is unsent, and is not read from until that is gone.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use baseline_common::ACCEPT_PAUSE;
use httparse::{Request, Status};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

const EVENTS_MAX: usize = 1024;
const BUFFER_SIZE: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;
const DATE_AGE_MAX: Duration = Duration::from_secs(1);

struct Connection {
    stream: TcpStream,
    /// The beginning of a request.
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

/// What the server needs for a moment.
struct Scratch {
    input: [u8; BUFFER_SIZE],
    output: Vec<u8>,
    answer: Vec<u8>,
    answer_made: Instant,
}

struct Hello {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: Vec<Option<Connection>>, // by descriptor
    scratch: Scratch,
}

fn main() -> io::Result<()> {
    let listener = baseline_common::listener()?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, data(&listener), EventFlags::IN)?;
    let mut hello = Hello {
        epoll,
        listener,
        connections: Vec::new(),
        scratch: Scratch {
            input: [0; BUFFER_SIZE],
            output: Vec::new(),
            answer: answer(),
            answer_made: Instant::now(),
        },
    };
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        match epoll::wait(
            &hello.epoll,
            rustix::buffer::spare_capacity(&mut events),
            None,
        ) {
            Err(Errno::INTR) => {}
            waited => drop(waited?),
        }
        if hello.scratch.answer_made.elapsed() >= DATE_AGE_MAX {
            hello.scratch.answer = answer();
            hello.scratch.answer_made = Instant::now();
        }
        for event in &events {
            hello.handle(event);
        }
    }
}

/// The same header fields as the server that it is compared with sends.
fn answer() -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let head = format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: text/plain\r\n");
    (head + "Content-Length: 6\r\n\r\nhello\n").into_bytes()
}

/// What an event carries: the descriptor.
fn data(source: &impl AsRawFd) -> EventData {
    EventData::new_u64(source.as_raw_fd() as u64)
}

impl Hello {
    fn handle(&mut self, event: &Event) {
        let descriptor = event.data.u64() as usize;
        if descriptor == self.listener.as_raw_fd() as usize {
            return self.accept();
        }
        // None: it was closed by an event earlier in this batch.
        let Some(connection) = &mut self.connections[descriptor] else {
            return;
        };
        let alive = match connection.unsent.is_empty() {
            true => connection.serve(&self.epoll, &mut self.scratch),
            false => connection.send_rest(&self.epoll),
        };
        match alive {
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => self.connections[descriptor] = None, // closed, and with it forgotten by epoll
        }
    }

    /// Takes all that wait.
    fn accept(&mut self) {
        loop {
            match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => drop(self.open(TcpStream::from(socket))),
                Err(Errno::AGAIN) => return,
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(_) => return std::thread::sleep(ACCEPT_PAUSE),
            }
        }
    }

    fn open(&mut self, stream: TcpStream) -> io::Result<()> {
        epoll::add(&self.epoll, &stream, data(&stream), EventFlags::IN)?;
        let descriptor = stream.as_raw_fd() as usize;
        if descriptor >= self.connections.len() {
            self.connections.resize_with(descriptor + 1, || None);
        }
        self.connections[descriptor] = Some(Connection {
            stream,
            unread: Vec::new(),
            unsent: Vec::new(),
        });
        Ok(())
    }
}

impl Connection {
    /// True unless the peer has ended it, or has sent what is no request.
    fn serve(&mut self, epoll: &OwnedFd, scratch: &mut Scratch) -> io::Result<bool> {
        let length = self.stream.read(&mut scratch.input)?;
        if length == 0 {
            return Ok(false);
        }
        let input = &scratch.input[..length];
        scratch.output.clear();
        let used = if self.unread.is_empty() {
            answer_all(input, &scratch.answer, &mut scratch.output)
        } else {
            self.unread.extend_from_slice(input);
            answer_all(&self.unread, &scratch.answer, &mut scratch.output)
        };
        let Some(used) = used else {
            return Ok(false);
        };
        if self.unread.is_empty() {
            self.unread.extend_from_slice(&input[used..]);
        } else {
            self.unread.drain(..used);
        }
        self.send(epoll, &scratch.output)?;
        Ok(true)
    }

    fn send(&mut self, epoll: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
        let sent = match self.stream.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
            epoll::modify(epoll, &self.stream, data(&self.stream), EventFlags::OUT)?;
        }
        Ok(())
    }

    fn send_rest(&mut self, epoll: &OwnedFd) -> io::Result<bool> {
        let sent = self.stream.write(&self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
            epoll::modify(epoll, &self.stream, data(&self.stream), EventFlags::IN)?;
        }
        Ok(true)
    }
}

/// Answers every whole request of `input`, and gives their bytes; none if one is no request.
fn answer_all(input: &[u8], answer: &[u8], output: &mut Vec<u8>) -> Option<usize> {
    let mut used = 0;
    while used < input.len() {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = Request::new(&mut []);
        match request.parse_with_uninit_headers(&input[used..], &mut fields) {
            Ok(Status::Complete(length)) => used += length,
            Ok(Status::Partial) => break,
            Err(_) => return None,
        }
        output.extend_from_slice(answer);
    }
    Some(used)
}
