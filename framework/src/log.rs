//! Where the log goes: standard error, as text for people or JSON for machines.

use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};

/// Sets up the process's log. A subscriber that the application has set before stays.
pub(crate) fn start(settings: &Log) {
    let builder = fmt().with_max_level(settings.level).with_writer(std::io::stderr);
    let set = match settings.format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if set.is_err() {
        tracing::debug!("the log was set up by the application");
    }
}
