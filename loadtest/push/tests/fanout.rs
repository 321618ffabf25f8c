//! The comparison of publications with processes of subscribers, which check every line.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// What the ratios are is for a quiet machine.
#[test]
fn every_line_of_both_sides_comes_to_all() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare_fanout"));
    command.args(["--connections", "300", "--shards", "3", "--rounds", "2"]);
    let output = command.output().unwrap();
    let (table, errors) = [output.stdout, output.stderr]
        .map(|text| String::from_utf8(text).unwrap())
        .into();
    assert!(output.status.success(), "{errors}");
    assert!(table.starts_with("64 bytes to 300 "), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
}
