//! A hint to the processor.

/// Has the processor fetch the cache lines of the start and the end of `place`, which is looked at
/// soon: while connections by the thousand take turns, the state of the next one is never in the
/// cache.
pub(crate) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint about memory that a reference vouches for; it changes nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = (&raw const *place).cast::<i8>();
        _mm_prefetch::<_MM_HINT_T0>(start);
        if size_of::<T>() > 1 {
            _mm_prefetch::<_MM_HINT_T0>(start.add(size_of::<T>() - 1));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _no_hint = place;
}
