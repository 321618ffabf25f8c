//! What an application says of itself.

/// The application's own `[app]` section, and its identity.
///
/// Derive `Serialize` and `Deserialize`, with `#[serde(default)]` on the type so that every key may
/// be left out. Values are printed (`--print-config`) and logged (a reload): a secret belongs in a
/// file of its own, whose path is the setting.
pub trait AppSettings:
    serde::Serialize + serde::de::DeserializeOwned + Default + Send + Sync + 'static
{
    /// The program's name as it stands in `--help`, `--version` and messages.
    const NAME: &'static str;
    /// One line for `--help`.
    const ABOUT: &'static str;
    /// Default of `server.listen`, for example `"127.0.0.1:7007"`.
    const LISTEN: &'static str;
    /// The application's own defaults of the framework's keys, as a settings file has them: what
    /// an operator writes is over them. A mistake in them refuses every start.
    ///
    /// ```
    /// # #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// # struct ChatSettings {}
    /// impl corelane::AppSettings for ChatSettings {
    ///     const NAME: &'static str = "chat";
    ///     const ABOUT: &'static str = "Passes on what people say";
    ///     const LISTEN: &'static str = "127.0.0.1:7008";
    ///     const DEFAULTS: &'static str = "
    ///         [timeouts]
    ///         idle = '1h'
    ///     ";
    /// }
    /// ```
    const DEFAULTS: &'static str = "";
    /// Upstreams that the application asks, as (name of the section `[upstream.NAME]`, what the
    /// application does with it): for `--print-example` and `--print-reference`. None of them is
    /// demanded: a factory that cannot do without one gives an error, which a start tells and
    /// `--check` does not.
    const UPSTREAMS: &'static [(&'static str, &'static str)] = &[];

    /// Keys of `[app]` that a reload may change while the server runs: those that the handler's
    /// [`on_reload`](crate::Handler::on_reload) puts into force. The others need a restart, as all
    /// do unless it says otherwise.
    const LIVE: &'static [&'static str] = &[];

    /// What is wrong with the values themselves, as (key within `[app]`, what is wrong). Empty:
    /// nothing.
    fn check(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What an operator should know of the values although they can be used, as (key within `[app]`,
    /// what is to be known): `--check` and `--doctor` tell it, and the log of a start and of a reload
    /// that brings it.
    fn warnings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// A mark for each file that a key names and that was read along with it, as (key, mark): a reload
    /// that finds another mark under a [live](Self::LIVE) key tells the handlers, as if the key itself
    /// had changed. Marks come to be in the log, so they tell nothing of a secret.
    ///
    /// ```
    /// # #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// # struct WordsSettings { file: String, #[serde(skip)] words: String }
    /// # impl corelane::AppSettings for WordsSettings {
    /// #     const NAME: &'static str = "words";
    /// #     const ABOUT: &'static str = "";
    /// #     const LISTEN: &'static str = "127.0.0.1:7007";
    /// const LIVE: &'static [&'static str] = &["file"];
    ///
    /// fn file_marks(&self) -> Vec<(&'static str, String)> {
    ///     vec![("file", format!("{} bytes", self.words.len()))]
    /// }
    /// # }
    /// ```
    fn file_marks(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What each key of `[app]` does and which values it takes, for `--print-example` and
    /// `--print-reference`: (key, sentences, type and range such as `"a whole number of bytes from
    /// 64 to 1048576"`).
    fn explain() -> Vec<(&'static str, String, String)> {
        Vec::new()
    }
}
