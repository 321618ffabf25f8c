//! A server that sends and receives at the same time, for the tests of full duplex. The first line
//! of a connection says how, and how many bytes each way: `split write_first 1048576`. It sends
//! [`FROM_SERVER`] and checks what it receives against [`FROM_CLIENT`].

use std::io::ErrorKind;
use std::process::ExitCode;

use corelane::{AppSettings, Conn, Error, Handler, ReadHalf, WriteHalf};
use futures_lite::future::try_zip;
use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tests::duplex::{FROM_CLIENT, FROM_SERVER, PIECE, Pattern};

/// Longest first line.
const LINE_MAX: usize = 128;

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DuplexSettings {}

impl AppSettings for DuplexSettings {
    const NAME: &'static str = "duplex";
    const ABOUT: &'static str = "Sends and receives at the same time";
    const LISTEN: &'static str = "127.0.0.1:7012";
}

struct Duplex;

impl Handler for Duplex {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let Some(line) = conn.read_line(LINE_MAX).await? else {
            return Ok(());
        };
        let words = str::from_utf8(&line).map_err(Error::handler)?.to_owned();
        drop(line);
        let Some((how, bytes)) = words.rsplit_once(' ') else {
            return Err(Error::Protocol("HOW BYTES"));
        };
        let bytes: u64 = bytes.parse().map_err(Error::handler)?;
        match how {
            "split write_first" => {
                let (mut reader, mut writer) = conn.split();
                try_zip(write(&mut writer, bytes), read(&mut reader, bytes)).await?;
            }
            "split read_first" => {
                let (mut reader, mut writer) = conn.split();
                try_zip(read(&mut reader, bytes), write(&mut writer, bytes)).await?;
            }
            "streams write_first" => {
                let (mut reader, mut writer) = futures_lite::io::split(conn);
                try_zip(
                    write_stream(&mut writer, bytes),
                    read_stream(&mut reader, bytes),
                )
                .await
                .map_err(Error::handler)?;
            }
            "streams read_first" => {
                let (mut reader, mut writer) = futures_lite::io::split(conn);
                try_zip(
                    read_stream(&mut reader, bytes),
                    write_stream(&mut writer, bytes),
                )
                .await
                .map_err(Error::handler)?;
            }
            _ => {
                return Err(Error::Protocol(
                    "split or streams, write_first or read_first",
                ));
            }
        }
        Ok(())
    }
}

async fn write(writer: &mut WriteHalf<'_>, bytes: u64) -> Result<(), Error> {
    let mut pattern = Pattern::new(FROM_SERVER);
    let mut left = bytes;
    while left > 0 {
        let piece = pattern.next(left.min(PIECE));
        writer.write(piece).await?;
        left -= piece.len() as u64;
    }
    writer.close().await
}

async fn read(reader: &mut ReadHalf<'_>, bytes: u64) -> Result<(), Error> {
    let mut pattern = Pattern::new(FROM_CLIENT);
    while let Some(chunk) = reader.read().await? {
        pattern.check(&chunk).map_err(Error::handler)?;
    }
    pattern.check_length(bytes).map_err(Error::handler)
}

async fn write_stream(writer: &mut (impl AsyncWrite + Unpin), bytes: u64) -> std::io::Result<()> {
    let mut pattern = Pattern::new(FROM_SERVER);
    let mut left = bytes;
    while left > 0 {
        let piece = pattern.next(left.min(PIECE));
        writer.write_all(piece).await?;
        left -= piece.len() as u64;
    }
    writer.close().await
}

async fn read_stream(reader: &mut (impl AsyncRead + Unpin), bytes: u64) -> std::io::Result<()> {
    let invalid = |error| std::io::Error::new(ErrorKind::InvalidData, error);
    let mut pattern = Pattern::new(FROM_CLIENT);
    let mut buffer = vec![0; PIECE as usize];
    loop {
        let length = reader.read(&mut buffer).await?;
        if length == 0 {
            return pattern.check_length(bytes).map_err(invalid);
        }
        pattern.check(&buffer[..length]).map_err(invalid)?;
    }
}

fn main() -> ExitCode {
    corelane::run(|_shard, _settings: &DuplexSettings| Duplex)
}
