//! Which of the listeners that share a port (SO_REUSEPORT) the kernel gives a new client to.
//!
//! By itself it goes by a hash of the addresses. A program of classic BPF may choose instead
//! (SO_ATTACH_REUSEPORT_CBPF, socket(7)): it runs for the first packet of a client, on the core that
//! handles that packet, and returns the number of a listener, in the order in which they began to
//! listen. That is the order of the shards. With a number that there is not the hash decides.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use libc::sock_filter;

use crate::ring::{attach_reuseport_program, detach_reuseport_program};

/// Of no listener: shards are at most 1024.
const NONE: u32 = u32::MAX;

/// Of the listeners that share the port of `socket`, a client is given to one of the core that
/// handles its first packet. `cores` has the core of each, in their order.
///
/// # Errors
///
/// Those of setsockopt(2): ENOMEM beyond net.core.optmem_max.
pub(crate) fn by_core(socket: impl AsFd, cores: &[usize]) -> io::Result<()> {
    attach_reuseport_program(socket.as_fd(), &program(cores))
}

/// A client is given to any of them by the hash again, whatever a process before has attached.
///
/// # Errors
///
/// Those of setsockopt(2).
pub(crate) fn by_hash(socket: impl AsFd) -> io::Result<()> {
    match detach_reuseport_program(socket.as_fd()) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()), // there is none
        outcome => outcome,
    }
}

fn program(cores: &[usize]) -> Vec<sock_filter> {
    let mut by_core = BTreeMap::<usize, Vec<u32>>::new();
    for (shard, core) in (0..).zip(cores) {
        by_core.entry(*core).or_default().push(shard);
    }
    let mut program = vec![load(libc::SKF_AD_CPU)];
    for (core, shards) in by_core {
        let choice = choice(&shards);
        program.push(jump_if(core as u32, 1, 0));
        program.push(jump(choice.len() as u32));
        program.extend(choice);
    }
    program.push(give(NONE));
    program
}

/// One of `shards`; of several by chance.
fn choice(shards: &[u32]) -> Vec<sock_filter> {
    let [others @ .., last] = shards else {
        return vec![give(NONE)];
    };
    let mut choice = Vec::new();
    if !others.is_empty() {
        choice.push(load(libc::SKF_AD_RANDOM));
        let modulo = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
        choice.push(instruction(modulo, shards.len() as u32));
    }
    for (number, shard) in (0..).zip(others) {
        choice.push(jump_if(number, 0, 1));
        choice.push(give(*shard));
    }
    choice.push(give(*last));
    choice
}

/// What the kernel knows beside the packet, as if it stood in front of it.
fn load(what: i32) -> sock_filter {
    let place = (libc::SKF_AD_OFF + what).cast_unsigned();
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, place)
}

/// Skips so many instructions: the first number if what was loaded is `value`, else the other.
fn jump_if(value: u32, equal: u8, other: u8) -> sock_filter {
    sock_filter {
        jt: equal,
        jf: other,
        ..instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value)
    }
}

fn jump(instructions: u32) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, instructions)
}

fn give(number: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, number)
}

fn instruction(code: u32, operand: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k: operand,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instructions that the kernel takes (BPF_MAXINSNS).
    const INSTRUCTIONS_MAX: usize = 4096;

    /// What the program returns on that core, with that number of chance.
    fn run(program: &[sock_filter], core: u32, chance: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match code {
                0x20 if k == (libc::SKF_AD_OFF + libc::SKF_AD_CPU).cast_unsigned() => loaded = core,
                0x20 => loaded = chance,
                0x94 => loaded %= k,
                0x05 => at += k as usize,
                0x15 => at += usize::from(if loaded == k { jt } else { jf }),
                0x06 => return k,
                code => panic!("{code:#x}"),
            }
        }
    }

    #[test]
    fn a_core_has_its_shards_and_another_core_has_none() {
        for (cores, shards) in [
            (&[2, 0][..], [&[1][..], &[], &[0], &[]]),
            (&[0, 1, 0, 1, 0], [&[0, 2, 4], &[1, 3], &[], &[]]),
            (&[3; 7], [&[], &[], &[], &[0, 1, 2, 3, 4, 5, 6]]),
        ] {
            let program = program(cores);
            for (core, shards) in (0..).zip(shards) {
                let given =
                    (0..shards.len().max(1) as u32).map(|chance| run(&program, core, chance));
                let none = [NONE];
                let wanted = if shards.is_empty() { &none } else { shards };
                assert_eq!(
                    given.collect::<Vec<u32>>(),
                    wanted,
                    "core {core} of {cores:?}"
                );
            }
        }
    }

    #[test]
    fn the_largest_server_has_a_program_that_the_kernel_takes() {
        for cores in [1, 2, 512, 1024] {
            let cores: Vec<usize> = (0..1024).map(|shard| shard % cores).collect();
            let program = program(&cores);
            assert!(program.len() <= INSTRUCTIONS_MAX, "{}", program.len());
            for (shard, core) in (0..).zip(&cores) {
                let of_core = (0..).zip(&cores).filter(|(_, other)| *other == core);
                let place = of_core.take_while(|(other, _)| *other < shard).count();
                assert_eq!(run(&program, *core as u32, place as u32), shard);
            }
        }
    }
}
