//! `[upstream.NAME.tls]`.

use std::path::PathBuf;

use crate::config::choices::Flag;
use crate::config::declare::section;
use crate::config::paths::{FileOrOff, FileOrRoots, Roots};
use crate::config::server_name::ServerNameOr;

use super::tls::{PROTOCOLS, TlsVersion, VERSIONS};

section! {
    /// TLS for all connections to the upstream: each begins with a handshake, which is part of the
    /// connect and of its `connect_timeout`. The table turns it on, even an empty one; without it
    /// connections are plain. An upstream whose certificate is not of `server_name`, or that nobody
    /// in `ca` vouches for, is not asked: there is no way to turn that off.
    ///
    /// The server reads the files again with its settings, and by itself when one of them changes.
    /// If any of them is wrong then, all stay as they were and the log says why. Needs a program
    /// that was built with the feature `tls`.
    struct UpstreamTls {
        /// File of the certificates, in PEM, of those who vouch for the upstream, and nobody else: an
        /// authority's, or the upstream's own. `"web"` are those whom browsers trust (Mozilla's, as
        /// they were when the program was built), `"system"` those whom the machine trusts
        /// (`SSL_CERT_FILE`, or the distribution's bundle).
        shipped ca: Roots = FileOrRoots, Roots::Web, live;

        /// The name that the upstream's certificate must have, and by which it is asked for (SNI).
        /// With `"auto"` that is the IP address in `addr`, which few certificates have.
        shipped server_name: Option<String> = ServerNameOr("auto"), None, live;

        /// File of the certificate that an upstream is shown if it asks for one, in PEM, and behind
        /// it those between it and its root.
        documented certificate: Option<PathBuf> = FileOrOff, None, live;

        /// File of the certificate's private key in PEM: PKCS#8, SEC1 or PKCS#1, without a
        /// passphrase. Only the server's user should be able to read it.
        documented key: Option<PathBuf> = FileOrOff, None, live;

        /// Protocols that the upstream may choose from, the best first, like `["http/1.1"]` (ALPN).
        /// With an empty list nothing is negotiated.
        documented alpn: Vec<String> = PROTOCOLS, Vec::new(), live;

        /// Versions of TLS that are spoken with it.
        documented versions: Vec<TlsVersion> = VERSIONS, vec![TlsVersion::V1_2, TlsVersion::V1_3], live;

        /// Whether a connection goes on from the session of one before it, where the upstream gives
        /// tickets: that spares both ends most of the handshake.
        documented tickets: bool = Flag, true, live;
    }
}
