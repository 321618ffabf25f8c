//! What a parser says: pure, total, and called again when more has come.

/// What a parser makes of the unread bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// They are the beginning of a frame.
    NeedMore,
    /// The first `length` bytes are a frame that means `value`, at least one byte. More than were
    /// offered: the frame's length is known and the rest of it is yet to come. It is refused at
    /// once if that is too long; otherwise the parser is asked again, and `value` is dropped.
    Frame {
        /// What the frame means.
        value: T,
        /// Its bytes.
        length: usize,
    },
    /// They cannot become a frame.
    Invalid(&'static str),
}
