//! A build without the feature `tls`: the connections of a pool are plain.

use std::future::Pending;
use std::net::SocketAddr;
use std::time::Duration;

use crate::conn::connection::Conn;
use crate::error::Error;
use crate::tls::UpstreamClient;

pub(super) struct PoolTls;

/// There is none.
pub(super) enum Handshake {}

impl PoolTls {
    pub(super) fn of(_settings: Option<&UpstreamClient>) -> Self {
        Self
    }

    pub(super) fn renew(&self, _settings: Option<&UpstreamClient>) -> bool {
        false
    }

    pub(super) fn handshake(&self, _addr: SocketAddr, _within: Duration) -> Option<Handshake> {
        None
    }

    pub(super) fn number(&self) -> u64 {
        0
    }
}

impl Handshake {
    pub(super) fn shake(self, _connected: Result<Conn, Error>) -> Pending<Result<Conn, Error>> {
        match self {}
    }
}
