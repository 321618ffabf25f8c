//! Kernel memory: of the sockets themselves, and of the data that they hold unread.

use super::demand::Demand;
use super::facts::{Facts, either, set_sysctl};
use super::values::MemoryMarks;

/// Kernel memory of one end of an idle connection: socket, inode, file, hash entries, and the
/// receive armed in a ring.
const SOCKET_BYTES: u64 = 5_200;
const MIB: u64 = 1 << 20;
const PAGE_BYTES_DEFAULT: u64 = 4096;

/// The sockets against the memory that is left. Without it the kernel ends processes, not
/// connections.
pub(super) fn sockets(demand: &Demand, facts: &Facts) -> Option<String> {
    let connections = demand.connections;
    let need = demand.sockets() * SOCKET_BYTES;
    let (have, whose) = available(facts)?;
    let is_local = demand.target_is_local;
    let ends = if is_local { "both ends of " } else { "" };
    let fewer = have / (SOCKET_BYTES * demand.ends());
    (need > have).then(|| {
        format!(
            "{ends}{connections} connections take {} MiB of kernel memory, {whose} {} MiB: free \
             memory, or lower to --connections {fewer}",
            need.div_ceil(MIB),
            have / MIB
        )
    })
}

/// The lesser of what the machine and the control group have, and which it is.
fn available(facts: &Facts) -> Option<(u64, &'static str)> {
    let (machine, group) = (facts.memory_available, facts.memory_max);
    let machine = machine.map(|bytes| (bytes, "the machine has"));
    let group = group.map(|bytes| (bytes, "the control group's memory.max is"));
    machine.into_iter().chain(group).min()
}

/// Unread data is charged by the page and per socket against net.ipv4.tcp_mem; at the high mark the
/// kernel drops segments. That matters only when all connections speak at once.
pub(super) fn unread_data(demand: &Demand, facts: &Facts) -> Option<String> {
    let (marks, sockets) = (facts.tcp_mem?, demand.sockets());
    let page = facts.page_bytes.unwrap_or(PAGE_BYTES_DEFAULT).max(1);
    let pages = sockets.saturating_mul(demand.payload_bytes.div_ceil(page).max(1));
    // A mark beyond the memory would turn dropped segments into killed processes.
    let data = pages.saturating_mul(page);
    let all = data.saturating_add(sockets * SOCKET_BYTES);
    let fits = available(facts).is_some_and(|(have, _)| all <= have);
    let higher = MemoryMarks::for_pages(pages).joined(marks);
    let remedies = either([
        Some("let them not all speak at once (--rate)".to_owned()),
        fits.then(|| set_sysctl("net.ipv4.tcp_mem", higher)),
    ]);
    let high = marks.high();
    (pages > high).then(|| {
        format!(
            "unread requests of all connections at once are {pages} pages, TCP drops data from \
             {high} on (net.ipv4.tcp_mem is {marks}): {remedies}"
        )
    })
}
