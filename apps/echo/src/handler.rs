//! What the echo service does with one connection.

use corelane::{Conn, Error, Handler};

/// RFC 862: "once a connection is established any data received is sent back. This continues until
/// the calling user terminates the connection."
pub(crate) struct Echo;

impl Handler for Echo {
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` keeps its arguments twice: 16 more bytes in each idle connection"
    )]
    fn serve(&self, conn: &mut Conn) -> impl Future<Output = Result<(), Error>> {
        async move {
            loop {
                // Not `while let`: that keeps its temporaries through the body, 40 more bytes.
                let Some(bytes) = conn.read().await? else {
                    return Ok(());
                };
                conn.write(bytes).await?;
            }
        }
    }
}
