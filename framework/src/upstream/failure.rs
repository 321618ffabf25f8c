//! An error of a pooled connection, as a failure of its upstream.

use std::time::Duration;

use crate::error::{CloseReason, Error};
use crate::upstream_error::UpstreamFailure;

/// `request_timeout`: how long the answer was waited for.
pub(super) fn failure_of(error: Error, request_timeout: Option<Duration>) -> UpstreamFailure {
    match (error, request_timeout) {
        (Error::Closed(CloseReason::ReadTimeout), Some(timeout)) => {
            UpstreamFailure::NoAnswer(timeout)
        }
        (Error::Closed(reason), _) => UpstreamFailure::Lost(reason),
        (Error::Truncated, _) => UpstreamFailure::Lost(CloseReason::PeerClosed),
        (Error::Upstream(error), _) => error.failure().clone(),
        (error, _) => UpstreamFailure::Malformed(error.to_string()),
    }
}
