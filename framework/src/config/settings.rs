//! What an application says of itself.

/// The application's own `[app]` section, and its identity.
///
/// Derive `Serialize` and `Deserialize`, with `#[serde(default)]` on the type so that every key may
/// be left out.
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
    /// application does with it): for `--print-example` and `--print-reference`.
    const UPSTREAMS: &'static [(&'static str, &'static str)] = &[];

    /// What is wrong with the values themselves, as (key within `[app]`, what is wrong). Empty:
    /// nothing.
    fn check(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What each key of `[app]` does and which values it takes, for `--print-example` and
    /// `--print-reference`: (key, sentences, type and range such as `"a whole number of bytes from
    /// 64 to 1048576"`).
    fn explain() -> Vec<(&'static str, String, String)> {
        Vec::new()
    }
}
