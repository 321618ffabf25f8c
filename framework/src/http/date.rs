//! The time of day for answers (RFC 9110, 6.6.1), written once for all that go out within a tick.

use std::cell::RefCell;
use std::io::Write;
use std::time::SystemTime;

use httpdate::HttpDate;

use crate::time::Tick;

/// A whole field line, of which only the letters and digits change.
const LENGTH: usize = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();

struct Cached {
    /// When it was written.
    tick: Tick,
    line: [u8; LENGTH],
}

thread_local! {
    static CACHED: RefCell<Cached> = const {
        RefCell::new(Cached { tick: Tick::NEVER, line: [0; LENGTH] })
    };
}

/// Writes the field `Date`, as it is at `now`, the tick of the shard of this thread. It may be a
/// tick (125 ms) behind.
pub(super) fn write(now: Tick, to: &mut Vec<u8>) {
    CACHED.with_borrow_mut(|cached| {
        if cached.tick != now {
            cached.tick = now;
            cached.line = line(SystemTime::now());
        }
        to.extend_from_slice(&cached.line);
    });
}

fn line(time: SystemTime) -> [u8; LENGTH] {
    let mut line = [0; LENGTH];
    let _its_length_is_fixed = write!(&mut line[..], "Date: {}\r\n", HttpDate::from(time));
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_as_the_rfc_has_it_and_is_written_anew_each_tick() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(&line(time), b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        let written = |tick| {
            let mut line = Vec::new();
            write(tick, &mut line);
            line
        };
        let first = written(Tick(1));
        CACHED.with_borrow_mut(|cached| cached.line = line(time));
        assert_ne!(written(Tick(1)), first, "it is the cached one");
        assert_eq!(written(Tick(1)), line(time));
        assert_ne!(written(Tick(2)), line(time), "it is of now");
    }
}
