//! epoll echo: one thread, level-triggered, one read and one write per event, one buffer for all
//! connections. A connection whose peer does not read keeps what is unsent, and is not read from
//! until that is gone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use baseline_common::ACCEPT_PAUSE;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

const EVENTS_MAX: usize = 1024;
const BUFFER_SIZE: usize = 4096;

struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
}

struct Echo {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: Vec<Option<Connection>>, // by descriptor
    buffer: [u8; BUFFER_SIZE],
}

fn main() -> io::Result<()> {
    let listener = baseline_common::listener()?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, data(&listener), EventFlags::IN)?;
    let mut echo = Echo {
        epoll,
        listener,
        connections: Vec::new(),
        buffer: [0; BUFFER_SIZE],
    };
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        match epoll::wait(
            &echo.epoll,
            rustix::buffer::spare_capacity(&mut events),
            None,
        ) {
            Err(Errno::INTR) => {}
            waited => drop(waited?),
        }
        for event in &events {
            echo.handle(event);
        }
    }
}

/// What an event carries: the descriptor.
fn data(source: &impl AsRawFd) -> EventData {
    EventData::new_u64(source.as_raw_fd() as u64)
}

impl Echo {
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
            true => connection.echo(&self.epoll, &mut self.buffer),
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
            unsent: Vec::new(),
        });
        Ok(())
    }
}

impl Connection {
    /// True unless the peer has ended it.
    fn echo(&mut self, epoll: &OwnedFd, buffer: &mut [u8]) -> io::Result<bool> {
        let length = self.stream.read(buffer)?;
        if length == 0 {
            return Ok(false);
        }
        let sent = self.send(&buffer[..length])?;
        if sent < length {
            self.unsent.extend_from_slice(&buffer[sent..length]);
            epoll::modify(epoll, &self.stream, data(&self.stream), EventFlags::OUT)?;
        }
        Ok(true)
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

    /// How much of it the socket took.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        }
    }
}
