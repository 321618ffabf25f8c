//! The file that outlives a killed run, whatever has become of it.

use proptest::prelude::*;

use super::state::State;
use super::sysctl;
use crate::proptests::{cases, text};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_state_file_is_read_as_it_was_written_or_not_at_all(pid: u32, started: u64, values in proptest::collection::vec("[0-9 \t,=-]{0,12}", 0..4), damage in text(), at: prop::sample::Index) {
        let names = [sysctl::NR_OPEN, sysctl::PORT_RANGE, sysctl::TCP_MEM, sysctl::SOMAXCONN];
        let lines: String = names.iter().zip(&values).map(|(name, old)| format!("{name} = {old}\n")).collect();
        let file = format!("process {pid} started {started}\n{lines}");
        let state = State::parse(&file).expect("as it was written");
        prop_assert_eq!(state.to_string(), &*file);
        prop_assert_eq!(state.saved.len(), values.len());
        let mut damaged = file;
        damaged.insert_str(at.index(damaged.len()), &damage);
        if let Some(state) = State::parse(&damaged) {
            prop_assert_eq!(State::parse(&state.to_string()), Some(state));
        }
    }
}
