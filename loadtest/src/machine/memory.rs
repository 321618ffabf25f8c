//! Kernel memory: what sockets are, and what they hold unread.

use super::change::{Change, Goal, remedy};
use super::facts::MemoryMarks;
use super::{Demand, Facts, Problem, sysctl};

/// Kernel memory of one end of an idle connection: socket, inode, file, hash entries, and the
/// receive armed in a ring.
const SOCKET_BYTES: u64 = 5_200;
const MIB: u64 = 1 << 20;
const PAGE_BYTES_DEFAULT: u64 = 4096;

/// The sockets against the memory that is left. Without it the kernel ends processes, not
/// connections.
pub(super) fn sockets(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let need = socket_bytes(demand);
    let (have, whose) = available(facts)?;
    if need <= have {
        return None;
    }
    let ends = if demand.target_is_local {
        "both ends of "
    } else {
        ""
    };
    Some(Problem::new(
        format!(
            "{ends}{} connections take {} MiB of kernel memory",
            demand.connections,
            need.div_ceil(MIB)
        ),
        format!("{whose} {} MiB", have / MIB),
        format!(
            "free memory, or lower to --connections {}",
            have / (SOCKET_BYTES * demand.ends())
        ),
    ))
}

fn socket_bytes(demand: &Demand) -> u64 {
    demand.sockets() * SOCKET_BYTES
}

/// The lesser of what the machine and the control group have, and which it is.
fn available(facts: &Facts) -> Option<(u64, &'static str)> {
    let machine = facts
        .memory_available
        .map(|bytes| (bytes, "the machine has"));
    let group = facts
        .memory_max
        .map(|bytes| (bytes, "the control group's memory.max is"));
    machine.into_iter().chain(group).min()
}

/// Unread data is charged by the page and per socket against net.ipv4.tcp_mem; at the high mark the
/// kernel drops segments. That matters only when all connections speak at once.
pub(super) fn unread_data(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let marks = facts.tcp_mem?;
    let page = facts.page_bytes.unwrap_or(PAGE_BYTES_DEFAULT).max(1);
    let pages = demand
        .sockets()
        .saturating_mul(u64::from(demand.payload_bytes).div_ceil(page).max(1));
    if pages <= marks.high {
        return None;
    }
    // A mark beyond the memory would turn dropped segments into killed processes.
    let all = pages
        .saturating_mul(page)
        .saturating_add(socket_bytes(demand));
    let fits = available(facts).is_some_and(|(have, _)| all <= have);
    let goal = Goal::MarksAtLeast(MemoryMarks::for_pages(pages));
    let changes: Vec<Change> = fits
        .then(|| Change::new(sysctl::TCP_MEM, goal, marks))
        .flatten()
        .into_iter()
        .collect();
    let raise = if changes.is_empty() {
        String::new()
    } else {
        format!(", or {}", remedy(&changes))
    };
    let problem = Problem::new(
        format!("unread requests of all connections at once are {pages} pages"),
        format!(
            "TCP drops data from {} on (net.ipv4.tcp_mem is {marks})",
            marks.high
        ),
        format!("let them not all speak at once (--rate){raise}"),
    );
    Some(problem.with(changes))
}
