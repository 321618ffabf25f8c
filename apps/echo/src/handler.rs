//! What the echo service does with one connection.

use corelane::{Conn, Error, Handler};

/// RFC 862: "once a connection is established any data received is sent back. This continues until
/// the calling user terminates the connection."
pub(crate) struct Echo;

impl Handler for Echo {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        loop {
            // Not `while let`: that keeps its temporaries through the body, 40 more bytes in each idle connection.
            let Some(bytes) = conn.read().await? else { return Ok(()) };
            conn.write(bytes).await?;
        }
    }
}
