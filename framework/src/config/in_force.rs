//! The settings that a running server is under, whatever the type of the application's own.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::checked::Config;
use super::load::Loaded;
use super::names::APP;
use super::settings::AppSettings;

/// The framework's settings and the application's. A reload puts others into force as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InForce {
    pub(crate) config: Arc<Config>,
    pub(crate) app: App,
}

/// The section `[app]`.
#[derive(Clone)]
pub(crate) struct App {
    /// What the application has made of it.
    value: Arc<dyn Any + Send + Sync>,
    /// The same as an operator would write it; empty where TOML has no form for it.
    pub(super) written: toml::Table,
    /// What marks the files that keys name.
    pub(super) file_marks: Vec<(&'static str, String)>,
    /// What should be known of it although it can be used.
    pub(crate) warnings: Vec<String>,
    /// The keys that the application's handlers change while they serve.
    pub(super) live: &'static [&'static str],
}

impl InForce {
    /// Of a program that has settings of its own, and so no `[app]`.
    pub(crate) fn embedded(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            app: App {
                value: Arc::new(()),
                written: toml::Table::new(),
                file_marks: Vec::new(),
                warnings: Vec::new(),
                live: &[],
            },
        }
    }
}

impl<S: AppSettings> Loaded<S> {
    /// What should be known of `[app]` although it can be used.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let warnings = self.app.warnings().into_iter();
        let told = warnings.map(|(key, what)| format!("{APP}.{key}: {what}"));
        told.collect()
    }

    /// These settings with those of the application both as they are and without their type.
    pub(crate) fn into_force(self) -> (InForce, Arc<S>) {
        let written = toml::Table::try_from(&self.app).unwrap_or_default();
        let warnings = self.warnings();
        let file_marks = self.app.file_marks();
        let value = Arc::new(self.app);
        let app = App {
            value: Arc::clone(&value) as Arc<dyn Any + Send + Sync>,
            written,
            file_marks,
            warnings,
            live: S::LIVE,
        };
        let config = Arc::new(self.config);
        (InForce { config, app }, value)
    }
}

impl App {
    /// The settings, if they are of that type.
    pub(crate) fn get<S: AppSettings>(&self) -> Option<&S> {
        self.value.downcast_ref()
    }
}

/// As an operator sees it: by what is written, and in which files.
impl PartialEq for App {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written && self.file_marks == other.file_marks
    }
}

impl fmt::Debug for App {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "App({})", self.written)
    }
}
