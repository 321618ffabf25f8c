//! What connections that a shard opens shake hands by.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

/// Whom a client trusts, and what it shows of itself. A clone is the same.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    pub(crate) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Whom its server is to be: the name that was set, or the address that is connected to.
    pub(crate) fn server_name(&self, address: IpAddr) -> ServerName<'static> {
        let set = self.server_name.clone();
        set.unwrap_or(ServerName::IpAddress(address.into()))
    }

    #[cfg(test)]
    pub(crate) fn of(config: Arc<ClientConfig>, server_name: Option<ServerName<'static>>) -> Self {
        Self {
            config,
            server_name,
        }
    }
}
