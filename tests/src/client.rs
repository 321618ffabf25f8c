//! One connection to a server, every operation bounded.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::BOUND;

/// How a connection ended, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server closed it politely.
    Eof,
    /// The server reset it.
    Reset,
    /// It has not ended.
    Open,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

/// A bare connection with the rig's bounds on it.
///
/// # Errors
/// When the server does not take it.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, BOUND)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))?;
    Ok(stream)
}

/// The same from an address of this machine.
///
/// # Errors
/// When the server does not take it.
pub fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&address.into(), BOUND)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))?;
    Ok(stream)
}

/// Ends a connection by a reset, whatever is under way on it.
///
/// # Errors
/// When the socket is none.
pub fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

impl Client {
    /// # Panics
    /// When the server cannot be reached.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = connect(address).unwrap_or_else(|error| panic!("connect {address}: {error}"));
        Self { stream }
    }

    /// # Panics
    /// When the server cannot be reached from `source`, an address of this machine.
    #[must_use]
    pub fn connect_from(source: impl Into<IpAddr>, address: SocketAddr) -> Self {
        let source = source.into();
        let stream = connect_from(source, address)
            .unwrap_or_else(|error| panic!("connect {address} from {source}: {error}"));
        Self { stream }
    }

    /// The socket, for what this type has no word for.
    #[must_use]
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends all of `bytes`.
    ///
    /// # Panics
    /// When they cannot be sent within ten seconds.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .unwrap_or_else(|error| panic!("send: {error}"));
    }

    /// The next `length` bytes.
    ///
    /// # Panics
    /// When the connection ends before, or a wait for more takes ten seconds.
    pub fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream
            .read_exact(&mut bytes)
            .unwrap_or_else(|error| panic!("receive: {error}"));
        bytes
    }

    /// The next line, without its end.
    ///
    /// # Panics
    /// When none comes, or no text.
    pub fn receive_line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(self.receive(1));
        }
        line.pop();
        String::from_utf8(line).expect("a line is text")
    }

    /// All bytes up to the end of the connection, and which end that was.
    ///
    /// # Panics
    /// When nothing comes for ten seconds.
    pub fn receive_all(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let result = self.stream.read_to_end(&mut bytes);
        match end(result.map(|_| 0)) {
            End::Open => panic!("still open after {:?}", bytes.escape_ascii().to_string()),
            end => (bytes, end),
        }
    }

    /// Fails the test unless the next bytes are these.
    ///
    /// # Panics
    /// When they are others, or do not come.
    pub fn expect(&mut self, expected: &[u8]) {
        let bytes = self.receive(expected.len());
        let equal = bytes
            .iter()
            .zip(expected)
            .take_while(|(one, other)| one == other)
            .count();
        let shown = equal..expected.len().min(equal + 80);
        assert!(
            equal == expected.len(),
            "at byte {equal} of {}: got \"{}\", expected \"{}\"",
            expected.len(),
            bytes[shown.clone()].escape_ascii(),
            expected[shown].escape_ascii(),
        );
    }

    /// Sends a request and expects its reply.
    ///
    /// # Panics
    /// When the reply is another.
    pub fn ask(&mut self, request: &[u8], reply: &[u8]) {
        self.send(request);
        self.expect(reply);
    }

    /// Fails the test unless the server now ends the connection politely, without another byte.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    pub fn expect_eof(&mut self) {
        let (bytes, end) = self.receive_all();
        assert_eq!(
            (bytes.escape_ascii().to_string().as_str(), end),
            ("", End::Eof)
        );
    }

    /// Fails the test unless the server now resets the connection, without another byte: what it
    /// has said may not be whole.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    pub fn expect_reset(&mut self) {
        let (bytes, end) = self.receive_all();
        assert_eq!(
            (bytes.escape_ascii().to_string().as_str(), end),
            ("", End::Reset)
        );
    }

    /// Waits for a reply or an end for `time`. True: neither came.
    ///
    /// # Panics
    /// When the socket is none.
    pub fn is_silent_for(&self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let result = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(BOUND)).unwrap();
        result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether the server ended the connection; with data to read it has not.
    ///
    /// # Panics
    /// When the socket is none.
    pub fn end(&self) -> End {
        self.stream.set_nonblocking(true).unwrap();
        let result = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        end(result)
    }

    /// Says that no more will be sent; the replies are still read.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection by a reset.
    ///
    /// # Panics
    /// When the socket is none.
    pub fn reset(self) {
        reset(self.stream).unwrap();
    }

    /// How long the server takes to end the connection, counted from `start`.
    ///
    /// # Panics
    /// When it takes ten seconds.
    pub fn time_to_end(&mut self, start: Instant) -> Duration {
        let _ = self.receive_all();
        start.elapsed()
    }
}

fn end(result: io::Result<usize>) -> End {
    match result.map_err(|error| error.kind()) {
        Ok(0) => End::Eof,
        Ok(_) | Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => End::Open,
        Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => End::Reset,
        Err(other) => panic!("unexpected end: {other}"),
    }
}
