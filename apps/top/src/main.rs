//! Shows in a terminal what a server does, from its admin server's `/events`.

mod endpoint;
mod events;
mod history;
mod keys;
mod screen;
mod stats;
mod text;
mod view;

use std::process::ExitCode;

use clap::Parser;

use crate::endpoint::Endpoint;

/// Shows in a terminal what a server of Corelane does, each second
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where its admin server listens: unix:/PATH or ADDRESS:PORT, as in admin.listen
    admin: Endpoint,
}

fn main() -> ExitCode {
    let Arguments { admin } = Arguments::parse();
    match screen::show(&admin) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("top: {error}");
            ExitCode::FAILURE
        }
    }
}
