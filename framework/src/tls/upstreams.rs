//! The TLS of the settings' upstreams as their files have it: read, judged, and made what their pools
//! shake hands by.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Config, UpstreamTls, upstream_tls_section};

use super::acceptance::UpstreamClients;
use super::client::{ClientTls, Parts};
use super::client_roots;
use super::problem::FileProblem;
use super::reading::{Leaf, Reading, version};

/// The TLS of one upstream.
pub(super) struct LoadedUpstream {
    settings: Arc<UpstreamTls>,
    /// The certificate that it is shown.
    pub(super) leaf: Option<Leaf>,
    warnings: Vec<String>,
    client: ClientTls,
    roots: LoadedRoots,
    /// A digest of all its files.
    files: [u8; 32],
}

/// Those who vouch for it.
struct LoadedRoots {
    /// None: the program has them itself.
    file: Option<PathBuf>,
    /// A line for the log on the file.
    news: Option<String>,
    digest: [u8; 32],
}

impl LoadedUpstream {
    /// Reads every file of the upstream of that name: these are its settings.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files.
    pub(super) fn read(name: &str, settings: &Arc<UpstreamTls>) -> Result<Self, Vec<FileProblem>> {
        let mut reading = Reading::of(upstream_tls_section(name), "upstreams");
        let roots_file = client_roots::file(&settings.ca)
            .map_err(|fault| reading.refuse("ca", fault))
            .unwrap_or_default();
        let roots = match &roots_file {
            Some(path) => {
                let parse = |bytes: &[u8]| client_roots::in_file(&settings.ca, bytes);
                reading.authorities(path, "ca", parse)
            }
            None => Some(client_roots::web()),
        };
        let digest = reading.files();
        let own = match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => reading.pair(certificate, key),
            _ => None,
        };
        let (own, leaf) = own.unzip();
        let Some(roots) = roots.filter(|_| reading.problems.is_empty()) else {
            return Err(reading.problems);
        };
        let news = roots_file.as_ref().map(|path| {
            let (told, count) = (reading.told(path, "ca"), roots.len());
            format!("{told} vouches for the upstream; certificates in it: {count}")
        });
        let loaded_roots = LoadedRoots {
            file: roots_file,
            news,
            digest,
        };
        let protocols = settings.alpn.iter();
        let parts = Parts {
            provider: Arc::clone(&reading.provider),
            versions: settings.versions.iter().map(version).collect(),
            roots,
            own,
            alpn: protocols.map(|name| name.clone().into_bytes()).collect(),
            server_name: settings.server_name.clone(),
            resumes: settings.tickets,
        };
        let client = parts.whole().map_err(|fault| {
            reading.refuse("server_name", fault);
            std::mem::take(&mut reading.problems)
        })?;
        Ok(Self {
            settings: Arc::clone(settings),
            leaf,
            files: reading.files(),
            warnings: reading.warnings,
            client,
            roots: loaded_roots,
        })
    }

    /// What should be known of the files although they can be used; `now` is in seconds since 1970.
    pub(super) fn warnings_at(&self, now: i64) -> Vec<String> {
        let of_time = self.leaf.iter().filter_map(|leaf| leaf.warning(now));
        self.warnings.iter().cloned().chain(of_time).collect()
    }

    /// Whether nothing is different from what was read before.
    fn is_as(&self, before: &Self) -> bool {
        self.settings == before.settings
            && self.roots.file == before.roots.file
            && self.files == before.files
    }

    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let Self {
            settings, roots, ..
        } = self;
        let files = [&roots.file, &settings.certificate, &settings.key];
        files.into_iter().flatten().cloned()
    }
}

/// Without its keys.
impl fmt::Debug for LoadedUpstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LoadedUpstream({:?})", self.settings)
    }
}

/// That of all upstreams that have it, by their names.
#[derive(Debug, Default)]
pub(super) struct Upstreams(BTreeMap<String, Arc<LoadedUpstream>>);

impl Upstreams {
    /// Reads all files; what has not changed is the same as `before`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub(super) fn read(config: &Config, before: Option<&Self>) -> Result<Self, Vec<FileProblem>> {
        let (mut all, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, settings) in &config.upstream_tls {
            let before = before.and_then(|before| before.0.get(name));
            match LoadedUpstream::read(name, settings) {
                Ok(loaded) => {
                    let same = before.filter(|before| loaded.is_as(before)).cloned();
                    all.insert(name.clone(), same.unwrap_or_else(|| Arc::new(loaded)));
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(Self(all))
        } else {
            Err(problems)
        }
    }

    /// What the shards' pools shake hands by.
    pub(super) fn clients(&self) -> UpstreamClients {
        let all = self.0.iter();
        let clients = all.map(|(name, loaded)| (name.clone(), loaded.client.clone()));
        Arc::new(clients.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is the same for all of them.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&before.0);
        self.0.len() == before.0.len()
            && pairs.all(|(now, before)| now.0 == before.0 && Arc::ptr_eq(now.1, before.1))
    }

    /// When the certificate expires that each of them is shown, in seconds since 1970.
    pub(super) fn expiries(&self) -> Vec<(String, Option<i64>)> {
        let all = self.0.iter();
        let shown = |loaded: &LoadedUpstream| Some(loaded.leaf.as_ref()?.not_after);
        all.map(|(name, loaded)| (name.clone(), shown(loaded)))
            .collect()
    }

    /// The certificates that are shown.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        self.0.values().filter_map(|loaded| loaded.leaf.as_ref())
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.0.values().flat_map(|loaded| loaded.paths())
    }

    /// A line for each file of which something else is in force than `before`; and what should be
    /// known of them at `now`, in seconds since 1970.
    pub(super) fn news(&self, before: &Self, now: i64) -> (Vec<String>, Vec<String>) {
        let (mut news, mut warnings) = (Vec::new(), Vec::new());
        for (name, loaded) in &self.0 {
            let old = before.0.get(name);
            if old.is_some_and(|old| Arc::ptr_eq(old, loaded)) {
                continue;
            }
            let shown = loaded.leaf.as_ref();
            let old_shown = old.and_then(|old| old.leaf.as_ref());
            let is_new =
                |leaf: &&Leaf| old_shown.is_none_or(|old| old.certificate != leaf.certificate);
            if let Some(leaf) = shown.filter(is_new) {
                news.push(leaf.news());
            }
            let roots = &loaded.roots;
            let is_new = old.is_none_or(|old| {
                (&old.roots.file, old.roots.digest) != (&roots.file, roots.digest)
            });
            if is_new {
                news.extend(roots.news.clone());
            }
            warnings.extend(loaded.warnings_at(now));
        }
        (news, warnings)
    }
}

/// What a client's pools shake hands by.
///
/// # Errors
///
/// Everything that is wrong with the files.
pub(crate) fn upstream_clients(config: &Config) -> Result<UpstreamClients, Vec<FileProblem>> {
    Upstreams::read(config, None).map(|upstreams| upstreams.clients())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::tls::scratch::{Issued, Scratch, config};

    /// The upstream `next` with these keys of its table.
    fn next(scratch: &Scratch, keys: &str) -> Config {
        let upstream = "[upstream.next]\naddr = '10.0.0.1:6380'\n[upstream.next.tls]\n";
        config(scratch, &format!("{upstream}{keys}"))
    }

    fn read(config: &Config, before: Option<&Upstreams>) -> Upstreams {
        Upstreams::read(config, before).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn with_files() -> Scratch {
        let scratch = Scratch::new();
        scratch.issue("ca", &Issued::of(&["ca.test"]));
        scratch.issue("me", &Issued::of(&["me.test"]));
        scratch
    }

    #[test]
    fn the_settings_are_those_of_the_client() {
        let scratch = with_files();
        let address = IpAddr::from([10, 0, 0, 1]);
        let bare = read(&next(&scratch, ""), None).clients();
        let client = &bare["next"];
        assert_eq!(client.server_name(address).to_str(), "10.0.0.1");
        assert!(client.config().alpn_protocols.is_empty());
        assert!(!client.config().client_auth_cert_resolver.has_certs());
        let keys = "ca = 'DIR/ca.crt'\nserver_name = 'redis.test'\ncertificate = 'DIR/me.crt'\n\
             key = 'DIR/me.key'\nalpn = ['x']\n";
        let loaded = read(&next(&scratch, keys), None);
        let client = loaded.clients()["next"].clone();
        assert_eq!(client.server_name(address).to_str(), "redis.test");
        assert_eq!(client.config().alpn_protocols, [b"x".to_vec()]);
        assert!(client.config().client_auth_cert_resolver.has_certs());
        let files: Vec<PathBuf> = loaded.paths().collect();
        assert_eq!(
            files,
            ["ca.crt", "me.crt", "me.key"].map(|name| scratch.path(name))
        );
        assert!(!format!("{loaded:?}").contains("BEGIN"));
        let own = client.with_own_sessions();
        assert!(!own.is(&client) && client.is(&client.clone()));
        assert!(upstream_clients(&Config::default()).is_ok_and(|clients| clients.is_empty()));
    }

    #[test]
    fn every_bad_file_of_every_upstream_is_told_with_its_key_at_once() {
        let scratch = with_files();
        scratch.issue("other", &Issued::of(&["other.test"]));
        let config = config(
            &scratch,
            "[upstream.one]\naddr = '10.0.0.1:1'\n[upstream.one.tls]\nca = 'DIR/none.pem'\n\
             certificate = 'DIR/me.crt'\nkey = 'DIR/other.key'\n\
             [upstream.two]\naddr = '10.0.0.1:2'\n[upstream.two.tls]\nca = 'DIR/me.key'\n",
        );
        let problems = Upstreams::read(&config, None).expect_err("three are bad");
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let directory = scratch.directory().display();
        assert_eq!(
            told,
            [
                format!(
                    "cannot use {directory}/none.pem (upstream.one.tls.ca), it does not exist: put it there, or name another file here"
                ),
                format!(
                    "cannot use {directory}/other.key (upstream.one.tls.key), it is not the key of the certificate: name the key that the certificate was issued for (in lists, at the same place)"
                ),
                format!(
                    "cannot use {directory}/me.key (upstream.two.tls.ca), it has a key, and no certificate: name the certificate's file here"
                ),
            ]
        );
    }

    #[test]
    fn each_key_and_each_file_makes_another_client_and_nothing_else_does() {
        let scratch = with_files();
        scratch.issue("other", &Issued::of(&["other.test"]));
        let keys = "ca = 'DIR/ca.crt'\ncertificate = 'DIR/me.crt'\nkey = 'DIR/me.key'\n";
        let before = read(&next(&scratch, keys), None);
        let same = read(&next(&scratch, keys), Some(&before));
        assert!(same.is_as(&before));
        assert!(same.clients()["next"].is(&before.clients()["next"]));
        for key in [
            "server_name = 'x'",
            "alpn = ['x']",
            "versions = ['1.3']",
            "tickets = false",
        ] {
            let other = read(&next(&scratch, &format!("{keys}{key}\n")), Some(&before));
            assert!(!other.is_as(&before), "{key}");
            assert_eq!(other.news(&before, 0).0, Vec::<String>::new(), "{key}");
        }
        let web = "certificate = 'DIR/me.crt'\nkey = 'DIR/me.key'\n";
        let other = read(&next(&scratch, web), Some(&before));
        assert!(!other.is_as(&before) && other.news(&before, 0).0.is_empty());
        let shows = keys.replace("/me.", "/other.");
        let other = read(&next(&scratch, &shows), Some(&before));
        let news = other.news(&before, 0).0;
        assert!(!other.is_as(&before) && news.len() == 1);
        assert!(
            news[0].contains("other.crt (upstream.next.tls.certificate) is for other.test until"),
            "{news:?}"
        );
        scratch.issue("ca", &Issued::of(&["ca.test"]));
        let other = read(&next(&scratch, keys), Some(&before));
        let news = other.news(&before, 0).0;
        assert!(!other.is_as(&before) && news.len() == 1);
        assert!(
            news[0].ends_with(
                "ca.crt (upstream.next.tls.ca) vouches for the upstream; certificates in it: 1"
            ),
            "{news:?}"
        );
    }

    #[test]
    fn what_should_be_known_of_what_is_shown_is_said() {
        let scratch = Scratch::new();
        let issued = Issued::between(&["me.test"], (2001, 1, 1), (2002, 3, 4));
        scratch.issue("me", &issued);
        let config = next(&scratch, "certificate = 'DIR/me.crt'\nkey = 'DIR/me.key'\n");
        let loaded = LoadedUpstream::read("next", &config.upstream_tls["next"]);
        let warnings = loaded.expect("it can be used").warnings_at(2_000_000_000);
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].ends_with(
                "(upstream.next.tls.certificate) expired on 2002-03-04: upstreams refuse it; have it renewed"
            ),
            "{warnings:?}"
        );
    }
}
