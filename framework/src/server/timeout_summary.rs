//! What is said at the start of peers that fall silent: within what time each kind is found.

use std::time::Duration;

use crate::config::{Config, Keepalive, Socket, format_duration};

/// Logs the bounds that the settings come to. Each may pass by three ticks (375 ms), by which
/// deadlines are late at most.
pub(crate) fn log(config: &Config) {
    let (timeouts, sockets) = (&config.timeouts, sockets(config));
    let user_timeouts = sockets.iter().map(|socket| socket.user_timeout);
    tracing::info!(
        proxy_header = or_off(proxy_header(config)),
        first_byte = or_off(timeouts.first_byte),
        read = or_off(timeouts.read),
        request = or_off(timeouts.request),
        write = or_off(timeouts.write),
        idle = or_off(timeouts.idle),
        lifetime = or_off(timeouts.lifetime),
        vanished_while_idle = or_off(vanished_while_idle(config, &sockets)),
        vanished_while_sent_to = vanished_while_sent_to(longest(user_timeouts)),
        "a silent peer is found within"
    );
}

fn or_off(time: Option<Duration>) -> String {
    time.map_or_else(|| "off".to_owned(), format_duration)
}

/// The longest of all listeners.
fn proxy_header(config: &Config) -> Option<Duration> {
    let listeners = config.listeners().into_iter();
    let proxied = listeners.filter(|listener| listener.queue.proxy.is_some());
    proxied.map(|listener| listener.queue.proxy_timeout).max()
}

/// Options of each listener that has some, else those of connections that shards open.
fn sockets(config: &Config) -> Vec<Socket> {
    let listeners = config.listeners().into_iter();
    let of_tcp = listeners.filter(|listener| !listener.is_unix());
    let sockets: Vec<Socket> = of_tcp.map(|listener| listener.socket).collect();
    if sockets.is_empty() {
        vec![config.socket.clone()]
    } else {
        sockets
    }
}

/// None of these is the longest.
fn longest(mut times: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    times.try_fold(Duration::ZERO, |longest, time| Some(longest.max(time?)))
}

/// A peer that is gone without a word, with nothing on its way to it: keepalive, or the idle
/// timeout where that is shorter.
fn vanished_while_idle(config: &Config, sockets: &[Socket]) -> Option<Duration> {
    longest(sockets.iter().map(|socket| {
        let keepalive = socket.keepalive();
        let probed = keepalive.map(|keepalive| probed(&keepalive, socket.user_timeout));
        probed.into_iter().chain(config.timeouts.idle).min()
    }))
}

/// TCP_USER_TIMEOUT overrides the number of probes: the first one that is due past it and was not
/// answered ends the connection (tcp(7)).
fn probed(keepalive: &Keepalive, user_timeout: Option<Duration>) -> Duration {
    let probes = match user_timeout {
        None => keepalive.count,
        Some(timeout) => {
            let beyond = timeout
                .saturating_sub(keepalive.idle)
                .as_millis()
                .div_ceil(keepalive.interval.as_millis().max(1));
            u32::try_from(beyond).unwrap_or(u32::MAX).max(1)
        }
    };
    keepalive
        .idle
        .saturating_add(keepalive.interval.saturating_mul(probes))
}

/// One that is gone with data on its way. The write timeout counts too, but only once the kernel
/// has no room left for output.
fn vanished_while_sent_to(user_timeout: Option<Duration>) -> String {
    user_timeout.map_or_else(
        || "the kernel's retries (net.ipv4.tcp_retries2)".to_owned(),
        format_duration,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn probes_are_counted_or_overridden_by_the_user_timeout() {
        let keepalive = Keepalive {
            idle: seconds(60),
            interval: seconds(10),
            count: 6,
        };
        assert_eq!(probed(&keepalive, None), seconds(120));
        assert_eq!(probed(&keepalive, Some(seconds(120))), seconds(120));
        assert_eq!(
            probed(&keepalive, Some(seconds(30))),
            seconds(70),
            "one probe must have been lost"
        );
        assert_eq!(probed(&keepalive, Some(seconds(121))), seconds(130));
    }

    #[test]
    fn the_idle_timeout_may_be_the_shorter_one() {
        let mut config = Config::default();
        assert_eq!(
            vanished_while_idle(&config, &sockets(&config)),
            Some(seconds(120))
        );
        config.timeouts.idle = Some(seconds(30));
        assert_eq!(
            vanished_while_idle(&config, &sockets(&config)),
            Some(seconds(30))
        );
        (config.timeouts.idle, config.socket.keepalive) = (None, false);
        assert_eq!(vanished_while_idle(&config, &sockets(&config)), None);
    }
}
