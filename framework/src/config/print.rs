//! Checked settings as a file: `--print-config`.

use super::checked::Config;
use super::entry::Written;
use super::load::Loaded;
use super::names::APP;
use super::section_names::{LISTENER, TLS_SECTION, is_listener, is_tls};
use super::settings::AppSettings;

impl<S: AppSettings> Loaded<S> {
    /// These settings as a file that [`load`](super::load::load) reads back to the same settings,
    /// every key named.
    pub(crate) fn to_toml(&self) -> String {
        let ours = written(&self.config);
        match toml::Table::try_from(&self.app) {
            Ok(app) if app.is_empty() => ours,
            Ok(app) => format!(
                "{ours}\n{}",
                toml::Table::from_iter([(APP.to_owned(), app.into())])
            ),
            // An application's settings may hold what TOML cannot, for example a unit type: nothing
            // could set it either.
            Err(error) => format!(
                "{ours}\n# [app] cannot be written as TOML: {}\n",
                error.to_string().escape_debug()
            ),
        }
    }
}

fn written(config: &Config) -> String {
    let sections = config.write();
    let texts: Vec<String> = sections.iter().map(section).collect();
    texts.join("\n")
}

fn section((name, keys): &Written) -> String {
    let lines = keys
        .iter()
        .map(|(key, value)| format!("{key} = {}\n", value.to_toml()));
    let header = if is_listener(name) {
        format!("[[{LISTENER}]]")
    } else if is_tls(name) {
        format!("[{TLS_SECTION}]") // of a [[listener]] it belongs to the one before
    } else {
        format!("[{name}]")
    };
    format!("{header}\n{}", lines.collect::<String>())
}
