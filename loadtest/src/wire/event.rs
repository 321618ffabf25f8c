//! What a parser finds.

/// What the next bytes of the replies are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'b> {
    /// All is taken, and more is to come.
    More,
    /// Some of what a reply carries.
    Body(&'b [u8]),
    /// The reply is whole.
    End,
    /// The server wants these back.
    Ping(Vec<u8>),
    /// The server says that it closes, and why.
    Close(String),
}

/// The first `length` of them, or all there are, which are taken off.
pub(super) fn split<'b>(bytes: &mut &'b [u8], length: u64) -> &'b [u8] {
    let length = usize::try_from(length).map_or(bytes.len(), |length| length.min(bytes.len()));
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}
