//! `[listener.tls]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::choices::{Flag, FlagOr};
use crate::config::declare::section;
use crate::config::lists::{TextList, WordList};
use crate::config::numbers::Whole;
use crate::config::paths::{FileOrOff, Files};
use crate::config::times::Times;

use super::timeouts::TIMEOUT;
use super::units::{hours, secs};

/// They are all read at each reload.
const FILES: Files = Files { count_max: 64 };
/// A name has a byte for its length (RFC 7301, 3.1).
pub(super) const PROTOCOLS: TextList = TextList {
    of: "names of protocols",
    bytes_max: 255,
    count_max: 16,
};
pub(super) const VERSIONS: WordList<TlsVersion> =
    WordList(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]);
const HANDSHAKES: Whole = Whole::of("handshakes", 1, 1024);
// No ticket is good for longer than seven days (RFC 8446, 4.6.1), and one lives for twice this.
const KEY_LIFETIME: Times = Times::from(secs(1), hours(84)).in_whole_seconds();

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    V1_2,
    V1_3,
}

section! {
    /// TLS for all connections of the listener: a client that does not begin with a handshake is
    /// closed. The table turns it on; without it connections are plain. In a file with
    /// `[[listener]]` it stands behind the table of the listener that it is for, and on the command
    /// line it goes by that one's name: `--set listener.NAME.tls.alpn=[]`.
    ///
    /// The server reads the files again with its settings, and by itself when one of them changes.
    /// If any of them is wrong then, all stay as they were and the log says why. Needs a program
    /// that was built with the feature `tls`.
    struct Tls {
        /// File of the server's certificate in PEM, and behind it those between it and its root. A
        /// list of files is for a server of several names: a client that names one of a certificate
        /// (SNI) gets that certificate, of several of one name the first of a kind that it knows.
        /// Whoever names none of them, or nothing, gets the first.
        shipped certificate: Vec<PathBuf> = FILES, vec![PathBuf::from("/etc/tls/server.crt")], live;

        /// File of the certificate's private key in PEM: PKCS#8, SEC1 or PKCS#1, without a
        /// passphrase. A list has the key of each certificate, in the same order. Only the server's
        /// user should be able to read it.
        shipped key: Vec<PathBuf> = FILES, vec![PathBuf::from("/etc/tls/server.key")], live;

        /// File of the certificates, in PEM, of those who vouch for clients. With it a client is
        /// asked for a certificate, and one that none of them vouches for is refused.
        documented client_ca: Option<PathBuf> = FileOrOff, None, live;

        /// Whether a client without a certificate is refused. `"auto"` refuses it where one is asked
        /// for, which is with `client_ca`. With `false` the handler sees whether there is one.
        documented client_required: Option<bool> = FlagOr("auto"), None, live;

        /// Protocols that the server speaks, the one it likes best first, like
        /// `["h2", "http/1.1"]` (ALPN). A client that names others only is refused. With an empty
        /// list nothing is negotiated.
        documented alpn: Vec<String> = PROTOCOLS, Vec::new(), live;

        /// Versions of TLS that it speaks.
        documented versions: Vec<TlsVersion> = VERSIONS, vec![TlsVersion::V1_2, TlsVersion::V1_3], live;

        /// Time from the accept, or from the end of a PROXY header, to the end of the handshake.
        documented handshake_timeout: Duration = TIMEOUT, secs(10), live;

        /// Handshakes that a shard computes in one turn of its loop. Whoever comes beyond that waits
        /// for the next turn: a storm of new clients does not stop those who are connected.
        documented handshakes_per_turn_max: u32 = HANDSHAKES, 4, live;

        /// Whether a client gets tickets, by which it spares itself and the server most of the next
        /// handshake.
        documented tickets: bool = Flag, true, live;

        /// After how long new tickets are under a new key. The key before is good for as long again.
        documented ticket_key_lifetime: Duration = KEY_LIFETIME, hours(12), live;

        /// File in which the server keeps the keys of its tickets, so that they are good after a
        /// restart too. It is the server's own: it makes it, and writes it anew with each new key, so
        /// its directory must be one that the server may write to. Whoever can read it can read what
        /// clients say by TLS 1.2 with tickets. With `"off"` the keys end with the process.
        documented ticket_key_file: Option<PathBuf> = FileOrOff, None, live;
    }
}

#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "nobody is asked for one")
)]
impl Tls {
    /// Whether a client that is asked for a certificate must have one.
    pub(crate) fn requires_certificate(&self) -> bool {
        self.client_required.unwrap_or(true)
    }
}
