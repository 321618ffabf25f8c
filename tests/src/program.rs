//! Where the binaries under test are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// A binary of this workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `apps/echo`
    Echo,
    /// `apps/ping`
    Ping,
    /// `apps/chat`
    Chat,
    /// `apps/gateway`
    Gateway,
    /// `apps/top`
    Top,
    /// `tests/src/bin/hostile.rs`
    Hostile,
    /// `tests/src/bin/relay.rs`
    Relay,
    /// `tests/src/bin/worker.rs`
    Worker,
    /// `tests/src/bin/pusher.rs`
    Pusher,
    /// `tests/src/bin/proxy.rs`
    Proxy,
    /// `tests/src/bin/duplex.rs`
    Duplex,
    /// `tests/src/bin/web.rs`
    Web,
    /// `tests/src/bin/sockets.rs`
    Sockets,
    /// `tests/src/bin/faulty.rs`, the only one with failpoints
    Faulty,
    /// `tests/src/bin/soak`
    Soak,
    /// `loadtest`
    Loadtest,
    /// `loadtest/baselines/tokio_proxy`
    TokioProxy,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Program::Echo => "echo",
            Program::Ping => "ping",
            Program::Chat => "chat",
            Program::Gateway => "gateway",
            Program::Top => "top",
            Program::Hostile => "hostile",
            Program::Relay => "relay",
            Program::Worker => "worker",
            Program::Pusher => "pusher",
            Program::Proxy => "proxy",
            Program::Duplex => "duplex",
            Program::Web => "web",
            Program::Sockets => "sockets",
            Program::Faulty => "faulty",
            Program::Soak => "soak",
            Program::Loadtest => "loadtest",
            Program::TokioProxy => "baseline_tokio_proxy",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Program::Echo
            | Program::Ping
            | Program::Chat
            | Program::Gateway
            | Program::Top
            | Program::Loadtest
            | Program::TokioProxy => self.name(),
            Program::Hostile
            | Program::Relay
            | Program::Worker
            | Program::Pusher
            | Program::Proxy
            | Program::Duplex
            | Program::Web
            | Program::Sockets
            | Program::Faulty
            | Program::Soak => "tests",
        }
    }

    /// The binary, built first if it is not there. It is sought in `CORELANE_TESTS_BIN`, else where
    /// the test itself was built; `faulty`, which nobody ships and no test measures, only there.
    ///
    /// # Panics
    /// When it cannot be built.
    #[must_use]
    pub fn path(self) -> PathBuf {
        static BUILDING: Mutex<()> = Mutex::new(());
        let given = env::var_os("CORELANE_TESTS_BIN").filter(|_| self != Program::Faulty);
        let profile = given.map_or_else(profile_directory, PathBuf::from);
        let path = profile.join(self.name());
        let _one_at_a_time = BUILDING.lock();
        if !path.exists() {
            self.build(&profile);
        }
        assert!(path.exists(), "no {} after building it", path.display());
        path
    }

    fn build(self, directory: &Path) {
        let mut cargo = cargo();
        cargo
            .args(["build", "--package", self.package(), "--bin", self.name()])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if self == Program::Faulty {
            cargo.args(["--features", "failpoints"]);
        }
        for profile in ["release", "tests"] {
            if directory.ends_with(profile) {
                cargo.args(["--profile", profile]);
            }
        }
        let status = cargo.status().expect("cargo runs");
        assert!(status.success(), "cannot build {self:?}");
    }
}

/// A cargo that has not what the one that runs the tests has said to them: build scripts ask for the
/// like (ring's for CARGO_MANIFEST_DIR) and would run again for it, with all that depends on them.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let told = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in told {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// `target/release`, say: binaries lie in it, and test executables in its directory `deps`.
fn profile_directory() -> PathBuf {
    let executable = env::current_exe().expect("the test knows its own path");
    let directory = executable
        .parent()
        .expect("an executable lies in a directory");
    let profile = if directory.ends_with("deps") {
        directory.parent()
    } else {
        Some(directory)
    };
    profile
        .expect("deps lies in the profile directory")
        .to_owned()
}
