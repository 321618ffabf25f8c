//! From files and arguments to checked settings, or to everything that is wrong with them.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable as Table, DeValue};

use super::check;
use super::checked::Config;
use super::defaults;
use super::deserialise::deserialise;
use super::document;
use super::names::{APP, Known};
use super::problem::{Fault, Problem, Sources};
use super::raw::Raw;
use super::settings::AppSettings;
use super::unknown::strike_unknown;

/// The settings a program runs on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Loaded<S> {
    /// The framework's own.
    pub config: Config,
    /// The application's, from `[app]`.
    pub app: S,
}

/// Read the settings: the built-in defaults, then the application's, then the file, then each `--set section.key=VALUE` in
/// order.
///
/// # Errors
/// Everything that is wrong with them, in the order in which it was written.
pub(crate) fn load<S: AppSettings>(
    file: Option<&Path>,
    sets: &[String],
) -> Result<Loaded<S>, Vec<Problem>> {
    let read = file.map(|path| Ok((path.display().to_string(), document::read_file(path)?)));
    let read = read.transpose().map_err(|problem| vec![problem])?;
    of_file(read, sets)
}

/// As [`load`], while the server runs: whatever the path leads to by now, it keeps nobody waiting.
///
/// # Errors
/// As for [`load`], and when it is no file that can be read a second time.
pub(crate) fn load_again<S: AppSettings>(
    file: &Path,
    sets: &[String],
) -> Result<Loaded<S>, Vec<Problem>> {
    let text = document::read_again(file).map_err(|problem| vec![problem])?;
    of_file(Some((file.display().to_string(), text)), sets)
}

/// The settings of a file, by its name and text.
fn of_file<S: AppSettings>(
    file: Option<(String, String)>,
    sets: &[String],
) -> Result<Loaded<S>, Vec<Problem>> {
    let file = file
        .as_ref()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let text = file.map(|(_, text)| text);
    let sets = [&*defaults::below(text, S::DEFAULTS), sets].concat();
    load_from(file, &sets)
}

/// [`load`], with the file's name and text.
pub(crate) fn load_from<S: AppSettings>(
    file: Option<(&str, &str)>,
    sets: &[String],
) -> Result<Loaded<S>, Vec<Problem>> {
    let sources = Sources::new(file, sets);
    let mut faults = Vec::new();
    let readable = document::blank_mistakes(file.map_or("", |(_, text)| text), &mut faults);
    let loaded = read::<S>(&sources, &readable, &mut faults);
    if faults.is_empty() {
        Ok(loaded)
    } else {
        Err(sources.resolve(faults))
    }
}

fn read<'i, S: AppSettings>(
    sources: &Sources<'i>,
    readable: &'i str,
    faults: &mut Vec<Fault>,
) -> Loaded<S> {
    let written = document::parse(sources, readable, faults);
    let mut written = strike_unknown(written, &Known::of::<S>(), faults);
    let app = app(&written, faults);
    written.remove(APP);
    let raw = Raw::of(written, faults);
    let listen = S::LISTEN
        .parse()
        .expect("AppSettings::LISTEN is an IP address and a port");
    Loaded {
        config: check::check(&raw, listen, faults),
        app,
    }
}

fn app<S: AppSettings>(written: &Table<'_>, faults: &mut Vec<Fault>) -> S {
    let table = written.get(APP).and_then(|app| app.get_ref().as_table());
    let app: S = table.map_or_else(S::default, |table| deserialise(table.clone(), APP, faults));
    let check = app.check().into_iter().map(|(key, what)| {
        let table = table.and_then(|table| table_within(table, key));
        let at = match table {
            Some((_, value)) => Some(value.span().start),
            None => document::place_of(written, APP, key),
        };
        let within = table.map_or_else(String::new, |(name, _)| format!("{name}."));
        Fault {
            at,
            key: format!("{APP}.{within}{key}"),
            what,
            help: None,
        }
    });
    faults.extend(check);
    app
}

/// The table within `[app]` that has `key`, and its value there, where `[app]` itself has none and no
/// other table has: of bounds that are a section of their own (`[app.http]`) `check` tells their own
/// names.
fn table_within<'t, 'd>(
    app: &'t Table<'d>,
    key: &str,
) -> Option<(&'t str, &'t Spanned<DeValue<'d>>)> {
    if app.contains_key(key) {
        return None;
    }
    let mut found = app.iter().filter_map(|(name, table)| {
        let value = table.get_ref().as_table()?.get(key)?;
        Some((&**name.get_ref(), value))
    });
    found.next().filter(|_| found.next().is_none())
}
