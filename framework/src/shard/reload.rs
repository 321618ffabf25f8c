//! Settings that change while the shard serves. What a key marked `live` in
//! `framework/src/config/keys` needs is done here and in
//! [`conns::reload`](crate::shard::conns::reload), but for what stands above the shard: pools and
//! mailboxes, of which [`Hooks::reloaded`](crate::shard::hooks::Hooks::reloaded) tells.

use crate::config::{Config, InForce};
use crate::id::ListenerIndex;
use crate::shard::core::Core;
use crate::tls::TlsInForce;

impl Core {
    /// From this turn on the shard is under these settings, and shakes hands by this.
    pub(crate) fn renew(&mut self, settings: Option<InForce>, tls: Option<TlsInForce>) {
        if let Some(settings) = settings {
            self.reload(settings);
        }
        if let Some(tls) = tls {
            self.conns.shared.tls.renew(&tls.acceptances);
            self.tls_renewed = Some(tls.upstreams);
        }
    }

    /// From this turn on the shard is under these settings.
    pub(crate) fn reload(&mut self, settings: InForce) {
        let config = &settings.config;
        let (limits, timeouts) = (&config.limits, &config.timeouts);
        self.renew_admissions(config);
        self.acceptor
            .back_off
            .set_pauses(timeouts.accept_pause_min, timeouts.accept_pause_max);
        self.wait_policy
            .set_batch_max(limits.gather_completions_max);
        self.conns.reload(config);
        self.reloaded = Some(settings);
    }

    /// Tables may stand in another order by now: listeners are known by their names.
    fn renew_admissions(&mut self, config: &Config) {
        let (on_full, clock) = (config.limits.admission.on_full, self.conns.shared.clock);
        let entrances = self.conns.shared.entrances.all().iter();
        let known = (0..).map(ListenerIndex).zip(entrances);
        let listeners = config.listeners();
        for (index, entrance) in known {
            let settings = listeners
                .iter()
                .find(|listener| listener.name() == &*entrance.name);
            if let (Some(settings), Some(admission)) =
                (settings, self.admissions.get_mut(index.place()))
            {
                let admitted = self.conns.admitted(index);
                admission.renew(on_full, &settings.clients, admitted, clock);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use crate::config::{Config, InForce, live_keys};
    use crate::id::{ListenerIndex, SlotIndex};
    use crate::settings::Settings;
    use crate::shard::conns::interest::Interest;
    use crate::shard::core::Core;
    use crate::shard::policy::bounds::MemoryShare;
    use crate::shard::sim::stand_in::stand_in_shard;
    use crate::time::{TICK, Tick};

    /// Live keys that no shard's core applies: the control thread and the mailbox do, and whoever
    /// probes.
    const ELSEWHERE: [&str; 7] = [
        "admin.probe_timeout",
        "timeouts.restart",
        "limits.watchdog",
        "limits.unready_after",
        "mailbox.messages_per_turn_max",
        "log.level",
        "log.stats_interval",
    ];
    /// With every policy on.
    const BEFORE: &str = "
        timeouts.request = '5s'
        limits.receive_rate_min = 5
        limits.send_rate_min = 5
        limits.connections_per_address_max = 5
        limits.accepts_per_second_max = 5
    ";
    const SHARE: MemoryShare = MemoryShare {
        unread_max: 7,
        unsent_max: 8,
    };

    /// All in which the settings of a core show.
    fn shown(core: &mut Core) -> String {
        let shared = &mut core.conns.shared;
        let rates = (shared.min_rate.sweep.rate, shared.requests.sweep.rate);
        shared.requests.reset(SlotIndex(0));
        let request = shared.requests.heard(SlotIndex(0), 1, Tick(0));
        let shown = format!(
            "{:?}",
            (
                (rates, request, &shared.bounds, &shared.log),
                &shared.topics,
                (&core.acceptor.back_off, &core.wait_policy),
                &core.admissions,
            )
        );
        // When a bucket was filled is a time, and the last that is told of it.
        let (before, filled) = shown.split_once("filled: ").expect("there is a bucket");
        let (_, behind) = filled.split_once('}').expect("it ends");
        format!("{before}{behind}")
    }

    /// A shard has a thread of its own.
    fn on_a_thread(act: impl FnOnce() -> String + Send + 'static) -> String {
        std::thread::spawn(act).join().expect("it does not panic")
    }

    /// Other settings, in that key alone.
    fn with_another(key: &str) -> Config {
        let before = Settings::from_toml(BEFORE);
        let values = [
            "'700ms'", "'7s'", "'1h'", "3", "'refuse'", "'no'", "1048576",
        ];
        let mut others = values.iter().filter_map(|value| {
            let set = format!("{key}={value}");
            before.clone().set_toml(set).load().ok()
        });
        others.next().unwrap_or_else(|| panic!("{key}: none fits"))
    }

    #[test]
    fn every_key_that_is_said_to_change_does() {
        let before = Settings::from_toml(BEFORE).load().expect("it is fine");
        let at_start =
            |config: Config| on_a_thread(move || shown(&mut stand_in_shard(config, SHARE).core()));
        let old = at_start(before.clone());
        for key in live_keys() {
            if ELSEWHERE.contains(&key.as_str()) {
                continue;
            }
            let (before, after) = (before.clone(), with_another(&key));
            let new = at_start(after.clone());
            assert_ne!(new, old, "{key}: nothing shows it");
            let reloaded = on_a_thread(move || {
                let shard = stand_in_shard(before, SHARE);
                let mut core = shard.core();
                core.reload(InForce::embedded(after));
                shown(&mut core)
            });
            assert_eq!(reloaded, new, "{key}");
        }
    }

    #[test]
    fn a_deadline_of_the_settings_before_ends_nobody() {
        let mut config = Config::default();
        config.timeouts.lifetime = Some(Duration::from_secs(10));
        let shard = stand_in_shard(config.clone(), SHARE);
        let peer = ([127, 0, 0, 1], 1).into();
        shard.core().open(SlotIndex(0), peer, ListenerIndex(0));
        let key = shard.core().conns.table.occupant(SlotIndex(0));
        let key = key.expect("it was opened");
        {
            let core = &mut *shard.core();
            let mut conn = core.conns.get(key).expect("it lives");
            conn.begin_poll();
            conn.wait(Interest::Input, Waker::noop());
            core.conns.after_poll();
        }
        shard.turn(TICK);
        config.timeouts.lifetime = None;
        config.timeouts.first_byte = None;
        shard.commands.renew(Some(InForce::embedded(config)), None);
        for tick in 2..2000 {
            shard.turn(TICK * tick);
        }
        let mut core = shard.core();
        let bounds = core.conns.shared.bounds;
        assert_eq!((bounds.unread_max, bounds.unsent_max), (7, 8));
        assert!(core.reloaded.is_some(), "the handler is to be told");
        let conn = core.conns.get(key).expect("it lives");
        assert!(conn.is_open());
    }
}
