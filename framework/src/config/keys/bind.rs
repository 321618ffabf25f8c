//! The keys of `[[listener]]` that no other section has.

use std::net::{Ipv4Addr, SocketAddr};

use crate::config::choices::Flag;
use crate::config::declare::section;
use crate::config::endpoint::{Endpoint, ListenEndpoint};
use crate::config::file_mode::FileMode;
use crate::config::listener_name::ListenerName;

section! {
    /// One of several listeners. Each table `[[listener]]` is one, up to 16, and they stand in the
    /// place of `server.listen` and `[listener]`: a file has either these tables or those.
    ///
    /// A table takes every key of `[listener]`, with the same default, and a table of TLS
    /// (`[listener.tls]`) behind it. It takes the keys of
    /// `[socket]` and, of `[limits]`, `refuse_with`, `connections_per_address_max`,
    /// `address_prefix_v6`, `accepts_per_second_max` and `accepts_burst_max`: what it leaves out is as
    /// in those sections. Each listener counts addresses and accepts for itself. Limits on
    /// connections, `on_full` and `reclaim` are for all listeners together.
    ///
    /// A Unix socket takes no key of `[socket]`: these are options of TCP. It takes no
    /// `proxy_trusted` either, for whoever may open its file is trusted.
    ///
    /// On the command line a listener goes by its name: `--set listener.NAME.backlog=64`.
    struct Bind {
        /// What logs, metrics and the handler call it. Names differ. The default is its number, from
        /// 1. A socket that the service manager passes is for the listener that is called like its
        /// `FileDescriptorName=`.
        documented name: String = ListenerName, String::new();

        /// Where it listens. With port 0 the kernel chooses a port. `[::]` stands for every address,
        /// those of IPv4 included, unless `v6_only` is set. At a Unix socket's path a file that
        /// nobody listens on any more is replaced, and the server takes its own away when it ends.
        documented listen: Endpoint = ListenEndpoint, Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 7007)));

        /// Whether an IPv6 address leaves the clients of IPv4 to another listener.
        documented v6_only: bool = Flag, false;

        /// Permissions of a Unix socket's file. Who may write to it may connect.
        documented mode: u32 = FileMode, 0o600;
    }
}
