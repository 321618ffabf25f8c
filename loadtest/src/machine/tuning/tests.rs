//! Tuning a directory that mimics /proc/sys, and, as root, one sysctl of this machine by one.

#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::*;
use crate::machine::change::Goal;
use crate::machine::facts::{PortList, PortRange};

/// A machine in a directory. Removed when dropped.
struct Machine(PathBuf);

impl Machine {
    /// With the sysctls that most tests change.
    fn new(name: &str) -> Self {
        let machine = Self(
            std::env::temp_dir().join(format!("loadtest-tuning-{name}-{}", std::process::id())),
        );
        let _ = fs::remove_dir_all(&machine.0);
        machine.put("proc/sys/net/core/somaxconn", "4096\n");
        machine.put("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        machine.put("proc/sys/net/ipv4/ip_local_reserved_ports", "\n");
        fs::create_dir_all(machine.0.join("run")).unwrap();
        machine
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn place(&self) -> Place {
        Place {
            root: self.0.clone(),
            state: self.0.join("run/state"),
            is_root: false,
        }
    }

    fn values(&self) -> [String; 3] {
        [
            sysctl::SOMAXCONN,
            sysctl::PORT_RANGE,
            sysctl::PORTS_RESERVED,
        ]
        .map(|name| get(&self.place(), name).unwrap())
    }

    fn has_state(&self) -> bool {
        self.place().state.exists()
    }

    /// As /proc shows a process that runs.
    fn start_process(&self, pid: u32, state: char, started: u64) {
        let fields: Vec<String> = (4..22).map(|field| field.to_string()).collect();
        self.put(
            &format!("proc/{pid}/stat"),
            &format!("{pid} (a) name) {state} {} {started} 0\n", fields.join(" ")),
        );
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BEFORE: [&str; 3] = ["4096", "32768\t60999", ""];
const TUNED: [&str; 3] = ["65535", "1024 65535", "7007"];

fn changes() -> Vec<Change> {
    let range = PortRange {
        first: 1024,
        last: 65_535,
    };
    let changes = [
        Change::new(sysctl::SOMAXCONN, Goal::AtLeast(65_535), 4096),
        Change::new(
            sysctl::PORTS_RESERVED,
            Goal::PortReserved(7007),
            PortList::default(),
        ),
        Change::new(sysctl::PORT_RANGE, Goal::PortsFrom(range), "32768 60999"),
    ];
    changes.into_iter().flatten().collect()
}

#[test]
fn values_are_changed_told_and_restored() {
    let machine = Machine::new("restored");
    let tuning = Tuning::apply_at(machine.place(), &changes()).unwrap();
    assert_eq!(machine.values(), TUNED);
    assert!(machine.has_state());
    assert_eq!(
        tuning.told(),
        [
            "net.core.somaxconn from 4096 to 65535",
            "net.ipv4.ip_local_reserved_ports from nothing to 7007",
            "net.ipv4.ip_local_port_range from 32768 60999 to 1024 65535",
        ]
    );
    tuning.restore().unwrap();
    assert_eq!(machine.values(), BEFORE);
    assert!(!machine.has_state());
}

#[test]
fn a_panic_restores() {
    let machine = Machine::new("panic");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _tuning = Tuning::apply_at(machine.place(), &changes()).unwrap();
        assert_eq!(machine.values(), BEFORE, "meant to fail");
    }));
    panicked.unwrap_err();
    assert_eq!(machine.values(), BEFORE);
    assert!(!machine.has_state());
}

#[test]
fn what_a_killed_run_left_is_restored_at_the_next_start_and_told() {
    let machine = Machine::new("killed");
    std::mem::forget(Tuning::apply_at(machine.place(), &changes()).unwrap());
    assert_eq!(machine.values(), TUNED);
    let told = recover_at(&machine.place()).unwrap();
    assert_eq!(
        told[0],
        "net.core.somaxconn back to 4096, which a killed run had changed"
    );
    assert_eq!(
        (told.len(), machine.values().as_slice()),
        (3, BEFORE.map(str::to_owned).as_slice())
    );
    assert!(!machine.has_state());
    assert_eq!(recover_at(&machine.place()).unwrap(), Vec::<String>::new());
}

#[test]
fn a_killed_run_that_nobody_has_waited_for_is_not_alive() {
    let machine = Machine::new("zombie");
    machine.start_process(std::process::id(), 'S', 77);
    std::mem::forget(Tuning::apply_at(machine.place(), &changes()).unwrap());
    machine.start_process(std::process::id(), 'Z', 77);
    assert_eq!(recover_at(&machine.place()).unwrap().len(), 3);
    assert_eq!(machine.values(), BEFORE);
}

#[test]
fn what_root_may_not_change_is_left_out_if_the_run_can_do_without() {
    let machine = Machine::new("optional");
    let tracker = machine.0.join("proc/sys/net/netfilter/nf_conntrack_max");
    fs::create_dir_all(tracker.parent().unwrap()).unwrap();
    // One that nobody may write, of this machine.
    std::os::unix::fs::symlink("/proc/sys/kernel/ngroups_max", tracker).unwrap();
    let place = Place {
        is_root: true,
        ..machine.place()
    };
    let optional = Change::new(sysctl::CONNTRACK_MAX, Goal::AtLeast(1_000_000), 65_536).unwrap();
    let with = |change: &Change| {
        changes()
            .into_iter()
            .chain([change.clone()])
            .collect::<Vec<_>>()
    };
    let tuning = Tuning::apply_at(place.clone(), &with(&optional)).unwrap();
    assert_eq!(
        tuning.told()[0],
        "net.netfilter.nf_conntrack_max left as it is: Permission denied (os error 13)"
    );
    assert_eq!(machine.values(), TUNED);
    drop(tuning);
    let required = optional.clone().required(true);
    let problem = Tuning::apply_at(place, &with(&required))
        .unwrap_err()
        .to_string();
    assert!(
        problem.contains("not even root may") && problem.ends_with("on the host"),
        "{problem}"
    );
    Tuning::apply_at(machine.place(), &with(&optional)).unwrap_err();
    assert_eq!(machine.values(), BEFORE);
}

#[test]
fn tuning_after_a_killed_run_saves_the_values_from_before_it() {
    let machine = Machine::new("again");
    std::mem::forget(Tuning::apply_at(machine.place(), &changes()).unwrap());
    let tuning = Tuning::apply_at(machine.place(), &changes()).unwrap();
    assert_eq!(tuning.told().len(), 6);
    drop(tuning);
    assert_eq!(machine.values(), BEFORE);
}

#[test]
fn a_run_that_goes_on_is_not_disturbed() {
    let machine = Machine::new("busy");
    machine.start_process(std::process::id(), 'S', 77);
    let tuning = Tuning::apply_at(machine.place(), &changes()[..1]).unwrap();
    assert_eq!(recover_at(&machine.place()).unwrap(), Vec::<String>::new());
    let problem = Tuning::apply_at(machine.place(), &changes())
        .unwrap_err()
        .to_string();
    assert!(
        problem.contains("has tuned this machine and not ended: wait for it"),
        "{problem}"
    );
    assert_eq!(machine.values()[0], "65535");
    drop(tuning);
    assert_eq!(machine.values(), BEFORE);
}

#[test]
fn a_value_that_is_high_enough_by_now_is_left_alone() {
    let machine = Machine::new("enough");
    machine.put("proc/sys/net/core/somaxconn", "70000\n");
    let tuning = Tuning::apply_at(machine.place(), &changes()[..1]).unwrap();
    assert!(tuning.told().is_empty() && !machine.has_state());
    drop(tuning);
    assert_eq!(machine.values()[0], "70000");
}

#[test]
fn a_sysctl_that_is_missing_leaves_everything_as_it_was() {
    let machine = Machine::new("missing");
    fs::remove_file(machine.0.join("proc/sys/net/ipv4/ip_local_port_range")).unwrap();
    let problem = Tuning::apply_at(machine.place(), &changes())
        .unwrap_err()
        .to_string();
    assert!(
        problem
            .starts_with("cannot set net.ipv4.ip_local_port_range, this kernel has no such sysctl"),
        "{problem}"
    );
    assert_eq!(get(&machine.place(), sysctl::SOMAXCONN).unwrap(), "4096");
    assert!(!machine.has_state());
}

#[test]
fn a_state_file_that_makes_no_sense_is_neither_used_nor_removed() {
    let machine = Machine::new("nonsense");
    machine.put(
        "run/state",
        "process 1 started 2\nkernel.core_pattern = |/bin/sh\n",
    );
    let problem = Tuning::apply_at(machine.place(), &changes())
        .unwrap_err()
        .to_string();
    assert!(
        problem.contains("it is not as a run writes it: look at `cat"),
        "{problem}"
    );
    assert!(machine.has_state());
    assert_eq!(machine.values(), BEFORE);
}

#[test]
fn what_cannot_be_put_back_is_named_and_kept_for_the_next_start() {
    let machine = Machine::new("stuck");
    let tuning = Tuning::apply_at(machine.place(), &changes()).unwrap();
    fs::remove_file(machine.0.join("proc/sys/net/ipv4/ip_local_port_range")).unwrap();
    let problem = tuning.restore().unwrap_err().to_string();
    assert!(
        problem.contains("run `sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"` as root"),
        "{problem}"
    );
    assert_eq!(get(&machine.place(), sysctl::SOMAXCONN).unwrap(), "4096");
    assert!(machine.has_state());
}

#[test]
fn a_refusal_names_the_commands() {
    let place = Machine::new("refused").place();
    let denied = refused(
        &place,
        &changes(),
        sysctl::SOMAXCONN,
        &io::Error::from(ErrorKind::PermissionDenied),
    );
    assert_eq!(
        denied.to_string(),
        "cannot set net.core.somaxconn, only root may: start as root, or run without --tune, after `sysctl -w \
         net.core.somaxconn=65535 net.ipv4.ip_local_reserved_ports=7007 net.ipv4.ip_local_port_range=\"1024 65535\"` as root"
    );
    let container = refused(
        &place,
        &changes(),
        sysctl::SOMAXCONN,
        &io::Error::from(ErrorKind::ReadOnlyFilesystem),
    )
    .to_string();
    assert!(
        container.contains("/proc/sys is read-only") && container.ends_with("on the host"),
        "{container}"
    );
}

/// As root: net.ipv4.tcp_max_syn_backlog of this machine by one and a reserved port, for an
/// instant; else the refusal.
#[test]
fn this_machine_is_tuned_and_restored_by_root_and_by_nobody_else() {
    let root = Path::new("/");
    let machine = Machine::new("real");
    let place = Place {
        root: root.to_owned(),
        state: machine.place().state,
        is_root: false,
    };
    let values = || [sysctl::SYN_BACKLOG, sysctl::PORTS_RESERVED].map(|name| get(&place, name));
    let (Ok(backlog), Ok(reserved)) = (
        get(&place, sysctl::SYN_BACKLOG),
        get(&place, sysctl::PORTS_RESERVED),
    ) else {
        return; // a kernel without them
    };
    let higher = backlog.parse::<u64>().unwrap() + 1;
    let changes = [
        Change::new(sysctl::SYN_BACKLOG, Goal::AtLeast(higher), &backlog),
        Change::new(sysctl::PORTS_RESERVED, Goal::PortReserved(1), &reserved),
    ];
    let changes: Vec<Change> = changes.into_iter().flatten().collect();
    match Tuning::apply_at(place.clone(), &changes) {
        Ok(tuning) => {
            assert_eq!(
                get(&place, sysctl::SYN_BACKLOG).unwrap(),
                higher.to_string()
            );
            assert!(
                get(&place, sysctl::PORTS_RESERVED)
                    .unwrap()
                    .starts_with('1')
            );
            tuning.restore().unwrap();
        }
        Err(problem) => assert!(
            problem
                .to_string()
                .contains("`sysctl -w net.ipv4.tcp_max_syn_backlog="),
            "{problem}"
        ),
    }
    assert_eq!(values().map(Result::unwrap), [backlog, reserved]);
    assert!(!machine.has_state());
}
