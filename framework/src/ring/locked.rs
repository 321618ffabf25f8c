//! What of a ring the kernel counts as memory that its user has locked (RLIMIT_MEMLOCK): since Linux
//! 6.14 its queues and its ring of provided buffers, which are "regions" from then on, in whole
//! pages (`io_create_region` in io_uring/memmap.c). Before that only registered buffers count.

use io_uring::types::BufRingEntry;
use io_uring::{cqueue, squeue};

use crate::ring::uring::queues;

/// `struct io_rings` up to its completions.
const HEADER_BYTES: usize = 192;
/// An entry of the array by which the kernel finds submissions.
const INDEX_BYTES: usize = size_of::<u32>();

/// Bytes of a shard's socket ring beside so many receive buffers.
pub(crate) fn socket_ring_bytes(buffers: u32) -> u64 {
    let (submissions, completions) = queues(buffers);
    let entries = buffers as usize * size_of::<BufRingEntry>();
    queues_bytes(submissions, completions) + pages(entries)
}

/// Bytes of the queues of a ring of so many entries.
pub(crate) fn queues_bytes(submissions: u32, completions: u32) -> u64 {
    let (submissions, completions) = (submissions as usize, completions as usize);
    let rings = HEADER_BYTES + completions * size_of::<cqueue::Entry>() + submissions * INDEX_BYTES;
    pages(rings) + pages(submissions * size_of::<squeue::Entry>())
}

fn pages(bytes: usize) -> u64 {
    bytes.next_multiple_of(rustix::param::page_size()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_pages_count() {
        if rustix::param::page_size() != 4096 {
            return;
        }
        // 2 pages of queues, 1 of provided buffers; 34, 16 and 16.
        assert_eq!(queues_bytes(8, 64), 2 * 4096);
        assert_eq!(socket_ring_bytes(4096), (34 + 16 + 16) * 4096);
        assert_eq!(socket_ring_bytes(64), (5 + 4 + 1) * 4096);
    }
}
