//! A build without the feature `tls`: the connections of a pool are plain.

use crate::tls::UpstreamClient;

pub(super) struct PoolTls;

impl PoolTls {
    pub(super) fn of(_settings: Option<&UpstreamClient>) -> Self {
        Self
    }

    pub(super) fn renew(&self, _settings: Option<&UpstreamClient>) -> bool {
        false
    }

    pub(super) fn number(&self) -> u64 {
        0
    }
}
