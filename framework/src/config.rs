//! Settings: where they come from, and the checked form on which the server runs.
//!
//! Every key is declared once, in the table in `keys`; `declare` has its form. An operator's text
//! goes through three stages: `document` reads it and remembers where every value stood, `raw` holds
//! what was written, of whatever type, and `check` turns that into a [`Config`] or into the list of
//! everything wrong with it. Only a [`Config`] reaches the server. `print`, `example` and
//! `reference` are the way back: the values in use, a file to start from, and docs/settings.md. A
//! running server has its settings in `in_force`; `change` tells what others would change.

mod addresses;
mod change;
mod check;
mod checked;
mod checker;
mod choices;
mod declare;
mod defaults;
mod deserialise;
mod document;
mod duration;
mod endpoint;
mod entry;
mod example;
mod explained;
mod file_mode;
mod in_force;
mod keys;
mod kind;
mod listener_name;
mod listeners;
mod listeners_check;
mod lists;
mod load;
mod names;
mod nearest;
mod networks;
mod numbers;
mod paths;
mod print;
mod probe;
mod problem;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod proptests;
mod raw;
mod reference;
mod section_names;
mod server_name;
mod settings;
#[cfg(test)]
mod tests;
mod times;
mod unknown;
mod value;

pub use self::change::SettingChange;
pub(crate) use self::checked::Config;
#[cfg(test)]
pub(crate) use self::checked::live_keys;
pub(crate) use self::duration::{format as format_duration, parse as parse_duration};
pub use self::endpoint::Endpoint;
pub(crate) use self::example::example;
pub(crate) use self::in_force::{App, InForce};
pub(crate) use self::keys::{
    Buffers, CONNECTIONS_MAX, Clients, Keepalive, Limits, Log, LogFormat, Mailbox, OnFull,
    SHARD_CONNECTIONS_MAX, Socket, Steer, Upstream,
};
#[cfg(test)]
pub(crate) use self::keys::{Server, Timeouts};
#[cfg(feature = "tls")]
pub(crate) use self::keys::{Tls, TlsVersion, UpstreamTls};
#[cfg(any(test, fuzzing, feature = "testing"))]
pub(crate) use self::listener_name::ONLY;
pub(crate) use self::listeners::ListenerSettings;
pub(crate) use self::load::{load, load_again, load_from};
pub(crate) use self::networks::Network;
#[cfg(feature = "tls")]
pub(crate) use self::paths::Roots;
pub(crate) use self::problem::Problem;
pub(crate) use self::reference::reference;
#[cfg(feature = "tls")]
pub(crate) use self::section_names::upstream_tls_section;
pub use self::settings::AppSettings;
