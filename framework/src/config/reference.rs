//! Every key, explained: the text of docs/settings.md.

use super::checked::Config;
use super::entry::{Entry, Section};
use super::explained::{sections, wrap};
use super::names::placed;
use super::section_names::LISTENER;
use super::settings::AppSettings;

/// Longest line, in characters.
const WIDTH: usize = 100;

/// All settings of the application `S`, as Markdown.
pub(crate) fn reference<S: AppSettings>() -> String {
    let named = [Config::named_section(), Config::upstream_tls_section()];
    let sections = sections::<S>().into_iter().chain(named);
    let texts: Vec<String> = sections.map(|section| of_section(&section)).collect();
    let listener = Config::listener_section();
    let listener = titled(
        &format!("[[{LISTENER}]]"),
        &format!("{LISTENER}.NAME"),
        &listener,
    );
    format!("{}{}{listener}", introduction(S::NAME), texts.concat())
}

fn introduction(name: &str) -> String {
    let paragraphs = [
        "# Settings".to_owned(),
        format!(
            "`{name} --print-reference` prints this page: every key with what it does, which values it takes, and its \
            default. All sections but `[app]` are the same for every Corelane server."
        ),
        format!(
            "A server runs without a settings file. Values come from the defaults, then from the file, then from each \
            `--set section.key=VALUE` in order; the last one wins. VALUE is a TOML value, so a text needs quotes that \
            the shell leaves alone: `--set 'timeouts.idle=\"off\"'`. `{name} --print-example` prints a file to start \
            from. `--check` shows everything that is wrong with the settings, each with file, line, column and the \
            expected value. `--print-config` prints the values in use, as a settings file. A running server reads its \
            file again when it is sent SIGHUP."
        ),
        "A duration is a whole number and a unit: `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"2h\"`, `\"1d\"`.".to_owned(),
    ];
    paragraphs.map(|text| paragraph(&text)).join("\n")
}

fn of_section(section: &Section) -> String {
    let name = placed(section.name);
    titled(&format!("[{name}]"), name, section)
}

/// Under `title`; `name` is what stands before each key.
fn titled(title: &str, name: &str, section: &Section) -> String {
    let about: Vec<String> = section.about.iter().map(|text| paragraph(text)).collect();
    let keys = section.entries.iter().map(|entry| of_key(name, entry));
    let keys: Vec<String> = keys.collect();
    format!("\n## {title}\n\n{}{}", about.join("\n"), keys.concat())
}

fn of_key(section: &str, entry: &Entry) -> String {
    let about = entry.about.iter().map(|text| paragraph(text));
    let about: Vec<String> = about.collect();
    format!(
        "\n### {section}.{}\n\n{}\n{}",
        entry.key,
        about.join("\n"),
        facts(entry)
    )
}

fn facts(entry: &Entry) -> String {
    let value = match entry.expected.as_str() {
        "" => String::new(),
        expected => item(&format!("Value: {expected}.")),
    };
    let default = match entry.default.as_str() {
        _ if entry.required => "Default: none, it must be set.".to_owned(),
        "" => "Default: not set.".to_owned(),
        default => format!("Default: `{default}`"),
    };
    let change = if entry.live {
        "Change: by a reload."
    } else {
        "Change: needs a restart."
    };
    format!("{value}{}{}", item(&default), item(change))
}

fn item(text: &str) -> String {
    let lines = wrap(text, WIDTH - "- ".len());
    format!("- {}\n", lines.join("\n  "))
}

fn paragraph(text: &str) -> String {
    format!("{}\n", wrap(text, WIDTH).join("\n"))
}
