//! What a parser says: pure, total, and called again when more has come.

/// What a parser makes of the unread bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// They are the beginning of a frame.
    NeedMore,
    /// Their first `length` bytes are a frame that means `value`. At least one byte, at most those
    /// offered.
    Frame {
        /// What the frame means.
        value: T,
        /// Its bytes.
        length: usize,
    },
    /// They cannot become a frame.
    Invalid(&'static str),
}
