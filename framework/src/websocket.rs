//! WebSocket on a connection (RFC 6455), as straight sequential code: a [`Request`] by HTTP goes over
//! to a [`WebSocket`], which gives one [`Message`] after the other. With the feature `websocket`;
//! [`connect`] is the client's side.
//!
//! Pings are answered, fragments put together, the peer's closing is answered. A message that came in
//! one frame lies where the kernel has received it. Whatever is published to a [`Topic`] as
//! [`text_frame`] is framed once, and comes to each subscriber between two messages of its handler.
//! Compression (permessage-deflate, RFC 7692) is off: the feature `websocket-deflate` and
//! [`Options::deflate`] turn it on.
//!
//! # Rules
//!
//! Whoever breaks one gets a close frame with the code below and a reason that says which, as soon as
//! the bytes tell; nothing behind it is read. The handler never sees the message: [`WebSocket::next`]
//! fails with [`Error::Protocol`](crate::Error::Protocol).
//!
//! | of | is refused | code | RFC 6455 |
//! |---|---|---|---|
//! | a request | that asks for no WebSocket, or for another version than 13 | status 426 | 4.2.2, 4.4 |
//! | | with another method than GET, a body, or a key other than 16 bytes in base64 | status 400 | 4.2.1 |
//! | | of a page that is not among [`origins`](Options::origins) | status 403 | 10.2 |
//! | a frame | with a reserved bit or opcode | 1002 | 5.2 |
//! | | that a client has not masked, or a server has | 1002 | 5.1 |
//! | | whose length takes more bytes than it has to, or is 2^63 or more | 1002 | 5.2 |
//! | a control frame | in fragments, or of more than 125 bytes | 1002 | 5.5 |
//! | a message | that begins within another one; a continuation of none | 1002 | 5.4 |
//! | | of more than `message_max` bytes, before they are read; of more than `fragments_max` frames | 1009 | 7.4.1 |
//! | | of text that is no UTF-8, at the first byte that cannot be | 1007 | 8.1 |
//! | | that does not inflate; to more than `message_max` bytes | 1007; 1009 | RFC 7692, 6.2 |
//! | a close frame | with half a code, or a code that may not be sent | 1002 | 5.5.1, 7.4 |
//! | | with a reason that is no UTF-8 | 1007 | 5.5.1 |
//!
//! A peer that ends the connection within a message ends it with
//! [`Error::Truncated`](crate::Error::Truncated), one that does between two without a close frame with
//! [`End::Abandoned`]. In a drain a peer that has its answers is told 1001.
//!
//! [`Request`]: crate::http::Request
//! [`Topic`]: crate::Topic

mod accept;
mod code;
mod connect;
#[cfg(feature = "websocket-deflate")]
mod deflate;
mod handshake;
mod head;
mod incoming;
mod mask;
mod message;
mod options;
mod outgoing;
mod random;
mod session;
mod socket;
mod state;

pub use accept::{Accept, accept};
pub use code::Code;
pub use connect::connect;
pub use message::{Message, Outgoing, Text};
pub use options::Options;
pub use outgoing::{Send, binary_frame, text_frame};
pub use socket::{Close, Flush, Next, Reader, WebSocket, Writer};
pub use state::End;
