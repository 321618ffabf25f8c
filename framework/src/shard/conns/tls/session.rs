//! One TLS session: ciphertext in, plaintext out, and back. The only file that speaks to rustls's
//! connections; it knows no shard.

use std::fmt;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, Error, InvalidMessage, ServerConfig};

use crate::shard::conns::tls::hello;
use crate::shard::conns::tls::record::{self, Next};

/// Calls in which rustls may say what it has to send, between two of ours: a flight is a few.
const STEPS_MAX: usize = 64;
/// Room for one of its messages at first; one that is larger says so.
const MESSAGE_GUESS: usize = 512;

/// A session, of either end.
pub(crate) struct Session {
    side: Side,
    /// By which name the client has asked for us (RFC 6066, 3); of a server's.
    server_name: Option<Box<str>>,
    /// Bytes at the front of the next input that rustls has seen: a message of the handshake goes
    /// on in a further record.
    seen: u32,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What has become of some input.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Bytes at its front that are done with; what is behind them is to come again, with more.
    pub(crate) consumed: usize,
    /// Records that brought no data.
    pub(crate) without_data: u32,
    /// The peer has said that nothing more comes.
    pub(crate) is_over: bool,
    /// The session has failed; what tells the peer so is among what is to be sent.
    pub(crate) failure: Option<Error>,
}

/// How one call has ended.
enum Step {
    Data,
    /// There may be more to send.
    Sent,
    Over,
    /// It needs more input, or is ready to send.
    Settled,
}

impl Session {
    /// One that a client is to begin.
    pub(crate) fn of_server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let side = Side::Server(UnbufferedServerConnection::new(config)?);
        Ok(Self::of(side))
    }

    /// One that begins with [`Self::begin`].
    pub(crate) fn of_client(
        config: Arc<ClientConfig>,
        server: ServerName<'static>,
    ) -> Result<Self, Error> {
        let side = Side::Client(UnbufferedClientConnection::new(config, server)?);
        Ok(Self::of(side))
    }

    fn of(side: Side) -> Self {
        Self {
            side,
            server_name: None,
            seen: 0,
        }
    }

    // ---- what is known of it ----

    pub(crate) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(conn) => conn,
            Side::Client(conn) => conn,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    // ---- input ----

    /// Whether [`Self::open`] would find something to do.
    pub(crate) fn can_go_on(&self, input: &[u8]) -> bool {
        let fresh = input.get(self.seen as usize..).unwrap_or_default();
        record::next(fresh) != Next::Partial
    }

    /// The client's first flight goes to `own`.
    pub(crate) fn begin(&mut self, own: &mut Vec<u8>) -> Result<(), Error> {
        self.settle(&mut [], own, &mut |_| {}).1.map(drop)
    }

    /// Takes the whole records of `input`, one after the other: their data goes to `data`, and what
    /// is to be sent for them to `own`. A session that shakes hands goes no further than to the end
    /// of that.
    pub(crate) fn open(
        &mut self,
        input: &mut [u8],
        own: &mut Vec<u8>,
        mut data: impl FnMut(&[u8]),
    ) -> Opened {
        let was_handshaking = self.is_handshaking();
        let mut opened = Opened {
            consumed: 0,
            without_data: 0,
            is_over: false,
            failure: None,
        };
        let mut end = (self.seen as usize).min(input.len());
        loop {
            let next = record::next(&input[end..]);
            end += match next {
                Next::Partial => break,
                Next::Whole(bytes) => bytes,
                Next::Invalid => input.len() - end, // rustls finds the words for it
            };
            self.note_server_name(&input[opened.consumed..end]);
            let mut has_data = false;
            let mut sink = |bytes: &[u8]| {
                has_data |= !bytes.is_empty();
                data(bytes);
            };
            let (discard, settled) = self.settle(&mut input[opened.consumed..end], own, &mut sink);
            opened.consumed += discard;
            opened.without_data += u32::from(!has_data);
            let no_record = Error::InvalidMessage(InvalidMessage::InvalidContentType);
            let settled = settled.and_then(|is_over| match next {
                Next::Invalid => Err(no_record),
                _ => Ok(is_over),
            });
            match settled {
                Ok(false) => {}
                Ok(true) => {
                    // What comes behind it is ignored (RFC 8446, 6.1).
                    opened.is_over = true;
                    opened.consumed = input.len();
                    end = input.len();
                    break;
                }
                Err(error) => {
                    self.settle_failed(own);
                    opened.failure = Some(error);
                    return opened;
                }
            }
            if was_handshaking && !self.is_handshaking() {
                break;
            }
        }
        self.seen = (end - opened.consumed) as u32;
        opened
    }

    /// Until rustls has no more to say of `input`. Gives how much of that is done with, and whether
    /// the peer has ended its side.
    fn settle(
        &mut self,
        input: &mut [u8],
        own: &mut Vec<u8>,
        data: &mut dyn FnMut(&[u8]),
    ) -> (usize, Result<bool, Error>) {
        let (mut consumed, mut is_over) = (0, false);
        for _ in 0..STEPS_MAX {
            let rest = &mut input[consumed..];
            let (discard, step) = match &mut self.side {
                Side::Server(conn) => step(conn.process_tls_records(rest), own, data),
                Side::Client(conn) => step(conn.process_tls_records(rest), own, data),
            };
            consumed += discard;
            match step {
                Ok(Step::Data | Step::Sent) => {}
                Ok(Step::Over) => is_over = true,
                Ok(Step::Settled) => return (consumed, Ok(is_over)),
                Err(error) => return (consumed, Err(error)),
            }
        }
        let endless = Error::General("a record without end".to_owned());
        (consumed, Err(endless))
    }

    /// The alert that tells of a failure goes to `own`.
    fn settle_failed(&mut self, own: &mut Vec<u8>) {
        let _same = self.settle(&mut [], own, &mut |_| {});
    }

    /// The first record of a server's session is looked at for the name, before rustls has it.
    fn note_server_name(&mut self, records: &[u8]) {
        let is_hello =
            matches!(self.side, Side::Server(_)) && self.common().protocol_version().is_none();
        if is_hello && self.server_name.is_none() {
            self.server_name = hello::server_name(records);
        }
    }

    // ---- output ----

    /// Protects `plaintext`, one record's at most, into `room`; gives how much of that it takes.
    /// What rustls has to send first is before it.
    pub(crate) fn seal(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, Unsealed> {
        self.with_traffic(|traffic| traffic.encrypt(plaintext, room))
    }

    /// Our last words: nothing is sealed behind them.
    pub(crate) fn seal_end(&mut self, room: &mut [u8]) -> Result<usize, Unsealed> {
        self.with_traffic(|traffic| traffic.queue_close_notify(room))
    }

    fn with_traffic(
        &mut self,
        mut act: impl FnMut(&mut dyn Traffic) -> Result<usize, EncryptError>,
    ) -> Result<usize, Unsealed> {
        for _ in 0..STEPS_MAX {
            let done = match &mut self.side {
                Side::Server(conn) => traffic(conn.process_tls_records(&mut []), &mut act),
                Side::Client(conn) => traffic(conn.process_tls_records(&mut []), &mut act),
            };
            match done {
                None => {}
                Some(Ok(bytes)) => return Ok(bytes),
                Some(Err(EncryptError::InsufficientSize(size))) => {
                    return Err(Unsealed::NeedsRoom(size.required_size));
                }
                Some(Err(EncryptError::EncryptExhausted)) => return Err(Unsealed::Over),
            }
        }
        Err(Unsealed::Over)
    }
}

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsealed {
    /// So much room is wanted.
    NeedsRoom(usize),
    /// It seals nothing any more.
    Over,
}

/// [`WriteTraffic`], of either side.
trait Traffic {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<Data> Traffic for WriteTraffic<'_, Data> {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, plaintext, room)
    }

    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::queue_close_notify(self, room)
    }
}

/// None: another call is to be asked.
fn traffic<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    act: &mut impl FnMut(&mut dyn Traffic) -> Result<usize, EncryptError>,
) -> Option<Result<usize, EncryptError>> {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => Some(act(&mut traffic)),
        Ok(ConnectionState::TransmitTlsData(mut transmit)) => {
            let done = transmit
                .may_encrypt_app_data()
                .map(|mut traffic| act(&mut traffic));
            transmit.done();
            done
        }
        Ok(ConnectionState::PeerClosed) => None,
        Ok(_) | Err(_) => Some(Err(EncryptError::EncryptExhausted)),
    }
}

/// What one call of rustls says. Gives the bytes of the input that are done with besides.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    own: &mut Vec<u8>,
    data: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut outcome = Ok(Step::Data);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        data(record.payload);
                    }
                    Err(error) => outcome = Err(error),
                }
            }
            outcome
        }
        Ok(ConnectionState::EncodeTlsData(mut encode)) => {
            let begin = own.len();
            own.resize(begin + MESSAGE_GUESS, 0);
            let mut encoded = encode.encode(&mut own[begin..]);
            if let Err(EncodeError::InsufficientSize(size)) = &encoded {
                own.resize(begin + size.required_size, 0);
                encoded = encode.encode(&mut own[begin..]);
            }
            own.truncate(begin + encoded.as_ref().copied().unwrap_or_default());
            let unencoded = |error: EncodeError| Error::General(error.to_string());
            encoded.map(|_| Step::Sent).map_err(unencoded)
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            Ok(Step::Sent)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::Over),
        Ok(
            ConnectionState::BlockedHandshake
            | ConnectionState::WriteTraffic(_)
            | ConnectionState::Closed,
        ) => Ok(Step::Settled),
        // Early data is never allowed for (`ServerConfig::max_early_data_size` is 0).
        Ok(_) => Err(Error::InvalidMessage(InvalidMessage::UnexpectedMessage(
            "early data",
        ))),
    };
    (discard, step)
}

/// Nothing of its keys.
impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Session")
    }
}
