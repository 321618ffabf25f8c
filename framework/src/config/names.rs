//! The names of sections and keys, and what to say to someone who misspelt one.

use super::checked::Config;
use super::nearest::nearest;
use super::probe::known_keys;
use super::section_names::{
    LISTENER, NAMED, TLS, TLS_SECTION, is_listener, is_tls, is_upstream, is_upstream_tls,
    tls_section,
};
use super::settings::AppSettings;

/// The application's own section.
pub(super) const APP: &str = "app";

/// Every section and its keys; `None` where any key is taken. [`NAMED`] is among them, with the
/// keys of each section in it.
pub(super) struct Known(Vec<(&'static str, Option<Vec<&'static str>>)>);

impl Known {
    /// The framework's sections, and `[app]` with the keys of `S`.
    pub(super) fn of<S: AppSettings>() -> Self {
        let ours = Config::keys().into_iter();
        let ours = ours.map(|(section, keys)| (section, Some(keys)));
        let app = known_keys::<S>().map(<[_]>::to_vec);
        Self(ours.chain([(APP, app)]).collect())
    }

    /// The keys of a `[[listener]]`.
    pub(super) fn listener_keys() -> Vec<&'static str> {
        Config::listener_keys()
    }

    /// The keys of a listener's table of TLS.
    pub(super) fn tls_keys() -> Vec<&'static str> {
        Config::tls_keys()
    }

    /// The keys of an upstream's.
    pub(super) fn upstream_tls_keys() -> Vec<&'static str> {
        Config::upstream_tls_keys()
    }

    /// `None`: no such section. `Some(None)`: a section that takes any key.
    pub(super) fn keys_of(&self, section: &str) -> Option<Option<&[&'static str]>> {
        let (_, keys) = self.0.iter().find(|(name, _)| *name == section)?;
        Some(keys.as_deref())
    }

    /// What to say to someone who wrote a section that does not exist, or a key outside of any
    /// section.
    pub(super) fn nearest_section(&self, written: &str) -> Option<String> {
        let sections = self.0.iter().map(|(name, _)| *name);
        if let Some(near) = nearest(written, sections.clone()) {
            return Some(format!("did you mean [{}]?", placed(near)));
        }
        let elsewhere = self
            .owner_of(written)
            .map(|owner| format!("did you mean {}.{written}?", placed(owner)));
        elsewhere.or_else(|| Some(format!("the sections are {}", list(sections.map(placed)))))
    }

    /// What to say to someone who wrote a key that `section` does not have; a section in [`NAMED`]
    /// goes by both names, and so does a `[[listener]]`.
    pub(super) fn nearest_key(&self, section: &str, written: &str) -> String {
        let kind = section.split('.').next().unwrap_or_default();
        let (of_listener, of_tls) = (Self::listener_keys(), Self::tls_keys());
        let of_upstream_tls = Self::upstream_tls_keys();
        let keys = if is_listener(section) {
            &of_listener
        } else if is_tls(section) {
            &of_tls
        } else if is_upstream_tls(section) {
            &of_upstream_tls
        } else {
            self.keys_of(kind).flatten().unwrap_or_default()
        };
        if section == LISTENER && written == "listen" {
            return "write a table [[listener]] for each listener, or server.listen for one"
                .to_owned();
        }
        if is_upstream(section) && of_upstream_tls.contains(&written) {
            return format!("did you mean {}.{written}?", tls_section(section));
        }
        if let Some(owner) = self.owner_of(written) {
            return format!("did you mean {}.{written}?", placed(owner));
        }
        let has_tls = section == LISTENER || is_listener(section) || is_upstream(section);
        let names = keys.iter().copied().chain(has_tls.then_some(TLS));
        if let Some(near) = nearest(written, names.clone()) {
            return format!("did you mean {section}.{near}?");
        }
        match keys.len() {
            0 => format!("[{section}] has no keys"),
            _ => format!("the keys of [{section}] are {}", list(names)),
        }
    }

    fn owner_of(&self, key: &str) -> Option<&'static str> {
        let has_it = |keys: &Option<Vec<&str>>| keys.as_ref().is_some_and(|k| k.contains(&key));
        let owner = self.0.iter().find(|(_, keys)| has_it(keys));
        let of_tls = || Self::tls_keys().contains(&key).then_some(TLS_SECTION);
        owner.map(|(owner, _)| *owner).or_else(of_tls)
    }
}

/// A section as an operator would write it.
pub(super) fn placed(section: &str) -> &str {
    if section == NAMED {
        "upstream.NAME"
    } else {
        section
    }
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
