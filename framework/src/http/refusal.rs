//! Why a request is not served.

use crate::http::status::Status;

/// A request that is not served, and behind which nothing is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: Status,
    pub(super) why: &'static str,
}

impl Refusal {
    pub(super) const fn bad(why: &'static str) -> Self {
        Self::of(Status::BAD_REQUEST, why)
    }

    pub(super) const fn of(status: Status, why: &'static str) -> Self {
        Self { status, why }
    }
}

pub(super) const BARE_LINE_FEED: Refusal = Refusal::bad("a line ends without a carriage return");
