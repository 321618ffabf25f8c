//! A server with one topic: whoever connects is subscribed and told so by a line, and a line of
//! anybody comes to all. For `loadtest run --mode push`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use corelane::{AppSettings, Conn, Error, Full, Handler, ShardContext, Topic, sleep};

const LINE_MAX: usize = 16 << 10;
/// How soon a line is published again for which there was no room.
const PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PublisherSettings {}

impl AppSettings for PublisherSettings {
    const NAME: &'static str = "publisher";
    const ABOUT: &'static str = "Passes on every line to all who are connected";
    const LISTEN: &'static str = "127.0.0.1:7014";
    // Most of them listen for good.
    const DEFAULTS: &'static str = "[timeouts]\nfirst_byte = 'off'\nidle = 'off'\n";
}

struct Publisher(Topic);

impl Handler for Publisher {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        self.0.subscribe(conn.id()).map_err(Error::handler)?;
        conn.write("* subscribed\n").await?;
        while let Some(line) = conn.read_line(LINE_MAX).await? {
            let mut line: Arc<[u8]> = [&*line, b"\n"].concat().into();
            while let Err(Full(back)) = self.0.publish(line) {
                line = back;
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    corelane::run(|shard: &ShardContext, _settings: &PublisherSettings| {
        Publisher(shard.topic("all"))
    })
}
