//! Messages, as they come and as they are sent.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::conn::chunk::Chunk;
use crate::conn::output::Output;

/// A message that has come, whole: unmasked in the buffer that the kernel has received it into, if it
/// came in one, else put together.
#[derive(Debug)]
pub enum Message {
    /// Text.
    Text(Text),
    /// Bytes.
    Binary(Chunk),
}

impl Message {
    /// Its bytes, whatever it is.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => &text.0,
            Self::Binary(bytes) => bytes,
        }
    }
}

/// A text message. It is a `&str` by looking through its bytes once more, at some gigabytes a
/// second: whoever needs it often keeps the `&str`.
#[derive(Default)]
pub struct Text(Chunk);

impl Text {
    /// Of bytes that were found to be UTF-8.
    pub(super) fn of_valid(bytes: Chunk) -> Self {
        Self(bytes)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Its bytes, which are UTF-8.
    pub fn into_bytes(self) -> Chunk {
        self.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Text({:?})", self.as_str())
    }
}

/// A message to be sent: a `&str`, a [`Text`] and an `Arc<str>` go out as text, whatever else as
/// binary. A [`Chunk`], a [`Text`] and an `Arc` are sent from where they lie, a slice is copied.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub(super) is_text: bool,
    pub(super) payload: Output<'a>,
}

impl<'a> Outgoing<'a> {
    fn text(payload: Output<'a>) -> Self {
        Self {
            is_text: true,
            payload,
        }
    }

    fn binary(payload: Output<'a>) -> Self {
        Self {
            is_text: false,
            payload,
        }
    }
}

impl<'a> From<&'a str> for Outgoing<'a> {
    fn from(text: &'a str) -> Self {
        Self::text(Output::Slice(text.as_bytes()))
    }
}

impl<'a> From<&'a String> for Outgoing<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

impl<'a> From<&'a Text> for Outgoing<'a> {
    fn from(text: &'a Text) -> Self {
        Self::text(Output::Slice(&text.0))
    }
}

impl From<Text> for Outgoing<'_> {
    fn from(text: Text) -> Self {
        Self::text(Output::Chunk(text.0))
    }
}

impl From<Arc<str>> for Outgoing<'_> {
    fn from(text: Arc<str>) -> Self {
        Self::text(Output::Shared(text.into()))
    }
}

impl<'a> From<&'a [u8]> for Outgoing<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::binary(Output::Slice(bytes))
    }
}

impl<'a, const LENGTH: usize> From<&'a [u8; LENGTH]> for Outgoing<'a> {
    fn from(bytes: &'a [u8; LENGTH]) -> Self {
        bytes.as_slice().into()
    }
}

impl<'a> From<&'a Vec<u8>> for Outgoing<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl From<Chunk> for Outgoing<'_> {
    fn from(bytes: Chunk) -> Self {
        Self::binary(Output::Chunk(bytes))
    }
}

impl From<Arc<[u8]>> for Outgoing<'_> {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::binary(Output::Shared(bytes))
    }
}

impl From<Message> for Outgoing<'_> {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => text.into(),
            Message::Binary(bytes) => bytes.into(),
        }
    }
}

impl<'a> From<&'a Message> for Outgoing<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => text.into(),
            Message::Binary(bytes) => (&**bytes).into(),
        }
    }
}
