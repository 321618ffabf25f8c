//! Whom the load tester trusts to be the server, by TLS.

use std::path::Path;

use corelane::{ClientTls, ClientTlsBuilder};

use super::args::RunArguments;
use crate::error::Error;

/// What a server by HTTP/1.1, or WebSocket, is told that it speaks (ALPN).
const HTTP: &str = "http/1.1";

/// What the connections of `run` shake hands by; none without TLS.
pub(super) fn client(run: &RunArguments) -> Result<Option<ClientTls>, Error> {
    if !run.has_tls() {
        return Ok(None);
    }
    let mut builder = ClientTls::builder().server_name(server_name(run));
    if let Some(path) = &run.tls_ca {
        builder = builder.roots_of_file(path);
    }
    if run.protocol.is_framed() {
        builder = builder.alpn([HTTP]);
    }
    if run.tls_full {
        builder = builder.without_resumption();
    }
    built(builder).map(Some)
}

/// Trusts who has a certificate of the file, at whichever address.
///
/// # Errors
/// When the file cannot be used.
pub fn trusting(path: &Path) -> Result<ClientTls, Error> {
    built(ClientTls::builder().roots_of_file(path))
}

fn built(builder: ClientTlsBuilder) -> Result<ClientTls, Error> {
    let built = builder.build();
    built.map_err(|error| Error::Refused(format!("TLS: {error}")))
}

/// The host of HOST:PORT, an IPv6 address without its brackets, unless another one is named. Of many
/// addresses over which the connections are spread, the one that was typed.
fn server_name(run: &RunArguments) -> &str {
    let host = run
        .target
        .rsplit_once(':')
        .map_or(&*run.target, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    run.tls_name.as_deref().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::args::parsed;

    #[test]
    fn the_server_is_who_was_typed_or_named() {
        let named = |options: &[&str], target: &str| {
            let mut run = parsed(options.iter().copied()).expect("these options are right");
            run.target = target.to_owned();
            server_name(&run).to_owned()
        };
        assert_eq!(named(&["--tls"], "a.test:443"), "a.test");
        assert_eq!(named(&["--tls"], "[::1]:443"), "::1");
        assert_eq!(named(&["--tls"], "127.0.0.1:443"), "127.0.0.1");
        assert_eq!(
            named(&["--tls", "--tls-name", "b.test"], "a.test:443"),
            "b.test"
        );
    }

    #[test]
    fn without_an_option_there_is_no_tls_and_a_file_that_is_none_is_told() {
        let of = |options: &[&str]| {
            client(&parsed(options.iter().copied()).expect("these options are right"))
        };
        assert!(of(&[]).is_ok_and(|tls| tls.is_none()));
        assert!(of(&["--tls"]).is_ok_and(|tls| tls.is_some()));
        let refused = of(&["--tls-ca", "/nonexistent/ca.pem"]).err();
        let refused = refused.expect("there is no such file").to_string();
        assert!(refused.contains("/nonexistent/ca.pem"), "{refused}");
    }
}
