//! `[buffers]`.

use crate::config::choices::Words;
use crate::config::declare::section;
use crate::config::numbers::Whole;

use super::units::{KIB, MIB};

const SMALL: Buffers = Buffers {
    size: 4 * KIB,
    count: 4096,
};
const MEDIUM: Buffers = Buffers {
    size: 16 * KIB,
    count: 2048,
};
const LARGE: Buffers = Buffers {
    size: 64 * KIB,
    count: 512,
};
const PROFILES: Words<Buffers> = Words(&[("small", SMALL), ("medium", MEDIUM), ("large", LARGE)]);
// The kernel's bound on a ring of provided buffers is 32 768, and it wants a power of two.
const COUNT: Whole = Whole::of("buffers", 16, 32_768).power_of_two();

section! {
    /// The receive buffers of a shard. Its connections share them; an idle connection holds none.
    struct Buffers after {
        /// Size and number of the buffers. `"small"` is 4096 buffers of 4096 bytes, `"medium"` 2048
        /// of 16384, `"large"` 512 of 65536.
        shipped profile: Buffers = PROFILES, SMALL;
    } {
        /// Size of a buffer, and so the longest chunk that a handler reads. Overrides the profile,
        /// which decides where this is not set. No more than `limits.write_queue_max`.
        documented size: u32 = Whole::of("bytes", 256, MIB), profile.size;

        /// Number of buffers of a shard. Overrides the profile, which decides where this is not
        /// set.
        documented count: u32 = COUNT, profile.count;
    }
}
