//! The `[app]` section of the chat server.

use corelane::AppSettings;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChatSettings {
    pub(crate) history_lines: u8,
    pub(crate) lines_per_second: u16,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            history_lines: 10,
            lines_per_second: 5,
        }
    }
}

impl AppSettings for ChatSettings {
    const NAME: &'static str = "chat";
    const ABOUT: &'static str = "Passes on what people say in rooms";
    const LISTEN: &'static str = "127.0.0.1:7008";
    // People listen for long, and think before they speak.
    // Rooms that nobody is in stay for their history until others need the place.
    const DEFAULTS: &'static str = "[timeouts]\nfirst_byte = '5m'\nidle = '1h'\n\
        [topic]\ntopics_per_shard_max = 10_000\n";

    fn explain() -> Vec<(&'static str, String, String)> {
        let history = "Lines that each shard keeps of a room, for those who join it later.";
        let rate = "Lines and commands of one speaker in a second. Those of two seconds may come at \
            once, what exceeds that is refused. 0 sets no bound.";
        let range = |max| format!("a whole number of lines from 0 to {max}");
        vec![
            ("history_lines", history.to_owned(), range(u8::MAX.into())),
            ("lines_per_second", rate.to_owned(), range(u16::MAX)),
        ]
    }
}
