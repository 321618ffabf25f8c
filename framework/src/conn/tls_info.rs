//! What is known of a TLS session.

use std::fmt;

use rustls::{HandshakeKind, ProtocolVersion};

use crate::conn::connection::Conn;
use crate::shard::conns::tls::session::Session;

/// A TLS session, as its handshake has agreed on it: see [`Conn::tls`](crate::Conn::tls).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The protocol's version.
    pub version: TlsVersion,
    /// The cipher suite, by its name in the registry of IANA: `TLS13_AES_128_GCM_SHA256`, say.
    pub cipher_suite: String,
    /// The protocol of the application that both ends know (ALPN, RFC 7301); none if one of them
    /// named none.
    pub alpn: Option<Vec<u8>>,
    /// By which name the client has asked for the server (SNI, RFC 6066, 3), in small letters; none
    /// if it has not, and of a connection that the shard opened.
    pub server_name: Option<String>,
    /// What the peer has shown of itself, its own certificate first, each as DER (RFC 5280). Empty
    /// where it was not asked, or has none. Whoever is named there was found to be trusted.
    pub peer_certificates: Vec<Vec<u8>>,
    /// It goes on from an earlier session, without certificates being shown anew.
    pub is_resumed: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        })
    }
}

impl Conn {
    /// What the TLS session of the connection has agreed on; none where it has none: of a listener
    /// without `[listener.tls]`, of a [`Connector`](crate::Connector) without
    /// [`tls`](crate::Connector::tls), and once the connection is gone. Made anew each time: whoever
    /// needs it often keeps it.
    ///
    /// ```
    /// use corelane::{Conn, Error};
    ///
    /// async fn serve(conn: &mut Conn) -> Result<(), Error> {
    ///     let greeting = match conn.tls() {
    ///         Some(tls) => format!("hello by TLS {} ({})\n", tls.version, tls.cipher_suite),
    ///         None => "hello, everybody\n".to_owned(),
    ///     };
    ///     conn.write(&greeting).await
    /// }
    /// # let _ = serve;
    /// ```
    pub fn tls(&self) -> Option<TlsInfo> {
        self.handle.with(|conn| conn.session().map(info)).flatten()
    }
}

fn info(session: &Session) -> TlsInfo {
    let common = session.common();
    let certificates = common.peer_certificates().unwrap_or_default();
    let suite = common.negotiated_cipher_suite();
    TlsInfo {
        version: match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
            _ => TlsVersion::V1_3,
        },
        cipher_suite: suite.map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        alpn: common.alpn_protocol().map(<[u8]>::to_vec),
        server_name: session.server_name().map(str::to_owned),
        peer_certificates: certificates.iter().map(|one| one.to_vec()).collect(),
        is_resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}
