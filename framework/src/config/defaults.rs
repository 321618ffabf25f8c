//! An application's own defaults of the framework's keys: below the operator's file, above ours.

use toml::{Table, Value};

/// The keys of `defaults` that `file` does not name, each as `section.key=VALUE`. What comes behind
/// them in the order of the sets is over them.
///
/// # Panics
///
/// When `defaults` is not TOML: a mistake of the application's author.
pub(super) fn below(file: Option<&str>, defaults: &str) -> Vec<String> {
    let defaults: Table = defaults
        .parse()
        .expect("AppSettings::DEFAULTS is TOML, as in a settings file");
    // A file that is not TOML is refused, whatever is put below it.
    let file = file.and_then(|text| text.parse().ok()).unwrap_or_default();
    let mut sets = Vec::new();
    collect("", &defaults, &file, &mut sets);
    sets
}

fn collect(section: &str, defaults: &Table, written: &Table, sets: &mut Vec<String>) {
    for (key, value) in defaults {
        let path = format!("{section}{}", quoted(key));
        match (value, written.get(key)) {
            (Value::Table(below), None) => {
                collect(&format!("{path}."), below, &Table::new(), sets);
            }
            (Value::Table(below), Some(Value::Table(written))) => {
                collect(&format!("{path}."), below, written, sets);
            }
            (value, None) => sets.push(format!("{path}={value}")),
            (_, Some(_)) => {}
        }
    }
}

/// A key as TOML takes it; an operator may give an upstream any name.
fn quoted(key: &str) -> String {
    let is_bare = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        Value::from(key).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::keys::Timeouts;
    use super::super::load::{Loaded, load};
    use super::super::problem::Problem;
    use super::super::settings::AppSettings;

    #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
    struct Patient {}

    impl AppSettings for Patient {
        const NAME: &'static str = "patient";
        const ABOUT: &'static str = "";
        const LISTEN: &'static str = "127.0.0.1:0";
        const DEFAULTS: &'static str = r#"
            [timeouts]
            idle = "10m"
            read = "20s"
            [server]
            shards = 3
            [upstream.store]
            addr = "127.0.0.1:6379"
            connections_max = 7
        "#;
    }

    fn loaded(file: &str, sets: &[&str]) -> Result<Loaded<Patient>, Vec<Problem>> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let name = format!("corelane-defaults-{}-{}", std::process::id(), file.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, file).expect("a place for a file");
        let loaded = load(Some(&path), &sets);
        std::fs::remove_file(&path).expect("it was written");
        loaded
    }

    #[test]
    fn they_are_above_ours_and_below_the_operators() {
        let file = "[timeouts]\nidle = \"1m\"\n[upstream.store]\nconnections_max = 9\n";
        let config = loaded(file, &["server.shards=2"]).expect("fine").config;
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(config.timeouts.idle, seconds(60), "the file's");
        assert_eq!(config.timeouts.read, seconds(20), "the application's");
        assert_eq!(config.server.shards, 2, "the argument's");
        assert_eq!(config.upstreams["store"].connections_max, 9);
        let bare = load::<Patient>(None, &[]).expect("fine").config;
        assert_ne!(Timeouts::default().read, seconds(20));
        assert_eq!((bare.server.shards, bare.timeouts.idle), (3, seconds(600)));
        assert_eq!(bare.upstreams["store"].connections_max, 7);
    }

    #[test]
    fn the_printed_settings_read_back_the_same_over_them() {
        let first = loaded("[timeouts]\nread = \"off\"\n", &[]).expect("fine");
        let again = loaded(&first.to_toml(), &[]).expect("what was printed is fine");
        assert_eq!(again.config, first.config);
    }
}
