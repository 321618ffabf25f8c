//! Operations that a failpoint makes fail ([`crate::failpoint`]). In its place the kernel gets a
//! poll under the same token: it completes when the operation would have gone through, takes
//! nothing, and can be cancelled like it. Where the operation waits for nothing, a no-op does as
//! well.

use io_uring::squeue;

use crate::failpoint;
use crate::failpoint::Point;
use crate::ring::token::{Completion, Token};

/// What is in the kernel instead, and what the completions are to say.
#[derive(Debug, Default)]
pub(super) struct Faked(Vec<(Token, i32)>);

impl Faked {
    /// `entry`, or what takes its place if `point` is to fail this time.
    pub(super) fn entry(
        &mut self,
        point: Point,
        token: Token,
        entry: squeue::Entry,
        instead: impl FnOnce() -> squeue::Entry,
    ) -> squeue::Entry {
        let Some(errno) = failpoint::errno(point) else {
            return entry;
        };
        self.0.push((token, errno));
        instead()
    }

    /// Has the completion of such an entry say what it is to; one that was cancelled says that.
    pub(super) fn complete(&mut self, completion: &mut Completion) {
        let Some(place) = self
            .0
            .iter()
            .position(|(token, _)| *token == completion.token)
        else {
            return;
        };
        let (_, errno) = self.0.swap_remove(place);
        if completion.result >= 0 {
            completion.result = -errno;
        }
    }
}
