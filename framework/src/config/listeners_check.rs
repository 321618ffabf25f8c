//! What does not go together in one listener, or in two of them.

use std::net::{IpAddr, SocketAddr};

use super::checked::Config;
use super::checker::Checker;
use super::endpoint::Endpoint;
use super::entry::Group;
use super::keys::{Bind, Socket};
use super::listeners::ListenerSettings;

/// Refuses what does not go together in one of them, or between two.
pub(super) fn contradict(config: &Config, checker: &mut Checker<'_>) {
    let listeners = config.listeners();
    for listener in &listeners {
        foreign_contradict(listener, checker);
        proxies_contradict(listener, checker);
        tls_contradicts(listener, checker);
    }
    for (index, listener) in listeners.iter().enumerate() {
        let before = listeners[..index].iter();
        if let Some(other) = before
            .clone()
            .find(|other| overlap(&other.bind, &listener.bind))
        {
            let what = format!(
                "{} is listened on by the listener {} already",
                listener.bind.listen,
                other.name()
            );
            let keys = [listener.key("listen"), other.key("listen")];
            let help =
                "choose another port or path, or v6_only where [::] is to leave IPv4 to the other";
            checker.contradiction(&[&keys[0], &keys[1]], what, help);
        }
    }
    admin_contradicts(config, &listeners, checker);
    let (count, accepts) = (listeners.len(), config.limits.accepts_in_flight_max);
    if count > accepts as usize {
        let what =
            format!("{accepts} accepts in flight leave some of {count} listeners without one");
        let listen = listeners[0].key("listen");
        let keys = ["limits.accepts_in_flight_max", listen.as_str()];
        let help = format!("set it to at least {count}");
        checker.contradiction(&keys, what, &help);
    }
    if config.several.is_empty() {
        return;
    }
    checker.refuse_written(
        "server.listen",
        "the addresses are those of [[listener]]",
        "leave server.listen out, or write it as the listen of a further [[listener]]",
    );
}

/// The admin server listens elsewhere.
fn admin_contradicts(config: &Config, listeners: &[ListenerSettings], checker: &mut Checker<'_>) {
    let admin = &config.admin;
    for (key, endpoint) in [
        ("admin.listen", &admin.listen),
        ("admin.steer_listen", &admin.steer_listen),
    ] {
        let Some(listen) = endpoint.clone().filter(|listen| !listen.takes_any_port()) else {
            continue;
        };
        let bind = Bind {
            listen,
            ..Bind::default()
        };
        if let Some(other) = listeners.iter().find(|other| overlap(&other.bind, &bind)) {
            let (listen, name) = (&bind.listen, other.name());
            let what = format!("{listen} is listened on by the listener {name} already");
            let keys = [key, &other.key("listen")];
            checker.contradiction(&keys, what, "choose another port or path for one of them");
        }
    }
}

/// Keys that mean nothing where it listens.
fn foreign_contradict(listener: &ListenerSettings, checker: &mut Checker<'_>) {
    if !listener.is_named {
        return;
    }
    if !listener.is_unix() {
        let help = "leave it out, or listen on \"unix:\" and a path";
        let what = "only a Unix socket has a file";
        checker.refuse_written(&listener.key("mode"), what, help);
        if listener.bind.v6_only && listener.bind.listen.socket_addr().is_ipv4() {
            let what = "it listens on IPv4";
            checker.refuse_written(&listener.key("v6_only"), what, "leave it out");
        }
        return;
    }
    for key in Socket::keys().into_iter().chain(["v6_only"]) {
        let what = "it is an option of TCP, and this listener is a Unix socket";
        checker.refuse_written(&listener.key(key), what, "leave it out");
    }
    let what = "whoever may open a Unix socket is trusted";
    let help = "leave it out; the socket's mode and directory say who that is";
    checker.refuse_written(&listener.key("proxy_trusted"), what, help);
}

/// Whether PROXY headers are read against whose they may be.
fn proxies_contradict(listener: &ListenerSettings, checker: &mut Checker<'_>) {
    if listener.is_unix() {
        return;
    }
    let (queue, keys) = (
        &listener.queue,
        [listener.key("proxy_trusted"), listener.key("proxy")],
    );
    let [trusted_key, proxy_key] = &keys;
    match queue.proxy {
        Some(versions) if queue.proxy_trusted.is_empty() => {
            let what = format!(
                "with {proxy_key} \"{}\" every connection is refused, for nobody is trusted",
                versions.word()
            );
            let help = "name the networks of the proxies, like [\"10.0.0.0/8\"]";
            checker.contradiction(&[trusted_key, proxy_key], what, help);
        }
        None if !queue.proxy_trusted.is_empty() => {
            let what = format!("nobody's PROXY header is read, for {proxy_key} is \"off\"");
            let help = format!("set {proxy_key} to \"v1\", \"v2\" or \"any\", or trust nobody");
            checker.contradiction(&[trusted_key, proxy_key], what, &help);
        }
        _ => {}
    }
}

/// What its TLS asks for against the rest of it, and against this program.
fn tls_contradicts(listener: &ListenerSettings, checker: &mut Checker<'_>) {
    let Some(tls) = &listener.tls else {
        return;
    };
    if is_without_tls(&listener.tls_section(), checker) {
        return;
    }
    let key = |key: &str| listener.tls_key(key);
    let (certificates, keys) = (tls.certificate.len(), tls.key.len());
    if certificates != keys {
        let what = format!("certificates: {certificates}, keys: {keys}");
        let help = "name the key of each certificate, in the same order";
        checker.contradiction(&[&key("key"), &key("certificate")], what, help);
    }
    if tls.client_ca.is_none() && tls.client_required.is_some() {
        let what = "no client is asked for a certificate, for client_ca is \"off\"".to_owned();
        let help = "leave it out, or name the file of those who vouch for clients in client_ca";
        let keys = [key("client_required"), key("client_ca")];
        checker.contradiction(&[&keys[0], &keys[1]], what, help);
    }
    if !tls.tickets && tls.ticket_key_file.is_some() {
        let what = "there are no tickets to keep keys of".to_owned();
        let help = "leave ticket_key_file out, or set tickets to true";
        checker.contradiction(&[&key("ticket_key_file"), &key("tickets")], what, help);
    }
}

/// Whether this program has no TLS; then its table `section` is refused.
pub(super) fn is_without_tls(section: &str, checker: &mut Checker<'_>) -> bool {
    let is_without = cfg!(not(feature = "tls"));
    if is_without {
        let what = "this program was built without TLS".to_owned();
        let help = "build it with the feature tls of corelane, or leave the table out";
        checker.refuse_section(section, what, help);
    }
    is_without
}

/// Whether the kernel would refuse the second for the first.
fn overlap(one: &Bind, other: &Bind) -> bool {
    match (&one.listen, &other.listen) {
        (Endpoint::Unix(path), Endpoint::Unix(other)) => path == other,
        (Endpoint::Tcp(address), Endpoint::Tcp(with)) => {
            let is_same_port = address.port() == with.port() && address.port() != 0;
            is_same_port && (covers(one, address, with) || covers(other, with, address))
        }
        _ => false,
    }
}

/// Whether who listens on `address` gets clients of `other`.
fn covers(bind: &Bind, address: &SocketAddr, other: &SocketAddr) -> bool {
    let takes_both = address.is_ipv6() && !bind.v6_only;
    match (address.ip().to_canonical(), other.ip().to_canonical()) {
        (ip, other) if ip == other => true,
        (IpAddr::V6(ip), IpAddr::V4(_)) => ip.is_unspecified() && takes_both,
        (ip, other) => ip.is_unspecified() && ip.is_ipv4() == other.is_ipv4(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(listen: &str, v6_only: bool) -> Bind {
        let listen = Endpoint::Tcp(listen.parse().expect("an address"));
        Bind {
            listen,
            v6_only,
            ..Bind::default()
        }
    }

    #[test]
    fn two_addresses_overlap_if_one_takes_the_clients_of_the_other() {
        for (one, other, overlaps) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("[::ffff:0.0.0.0]:80", "127.0.0.1:80", true),
            ("[::]:80", "[::ffff:127.0.0.1]:80", true),
        ] {
            let pair = (bind(one, false), bind(other, false));
            assert_eq!(overlap(&pair.0, &pair.1), overlaps, "{one} {other}");
            assert_eq!(overlap(&pair.1, &pair.0), overlaps, "{other} {one}");
        }
        let of_v6 = bind("[::]:80", true);
        assert!(!overlap(&of_v6, &bind("0.0.0.0:80", false)));
        assert!(overlap(&of_v6, &bind("[::1]:80", true)));
    }
}
