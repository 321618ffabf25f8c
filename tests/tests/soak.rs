//! The soak (`make soak`) at its shortest, so that it is whole when somebody needs it.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

use tests::{Program, alone};

#[test]
fn a_short_soak_leaves_nothing_behind() {
    let _turn = alone();
    let output = Command::new(Program::Soak.path())
        .arg("3")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}", output.status);
    // Both servers ended well, and had something to do.
    for server in ["echo: Counts", "ping: Counts"] {
        assert!(told.contains(server), "no {server}");
    }
}
