//! `[listener.tls]`: its files at the start, by a reload and by themselves; names, tickets, clients'
//! certificates.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::process::Signal;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use tests::{BOUND, Exit, Launch, Line, Server, cargo, connect, needs, skip, within};

/// A directory of certificates, gone with the value.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tls-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// With a certificate for `a.test` in `server.crt` and `server.key`.
    fn with_server() -> Self {
        let files = Self::new();
        files.issue("server", &["a.test"]);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// Writes `NAME.crt` and `NAME.key`: a certificate for these names.
    fn issue(&self, name: &str, names: &[&str]) {
        self.issue_until(name, names, 2090);
    }

    /// One that ends with the second of January of that year.
    fn issue_until(&self, name: &str, names: &[&str], year: i32) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(year, 1, 2);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.write(&format!("{name}.crt"), certificate.pem());
        let file = format!("{name}.key");
        self.write(&file, key.serialize_pem());
        fs::set_permissions(self.path(&file), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(&format!("{name}.crt"))).unwrap()
    }

    /// The table of TLS with `server.crt` and `server.key`, and these keys; DIR is the directory.
    fn table(&self, keys: &str) -> String {
        let files = "[listener.tls]\ncertificate = 'DIR/server.crt'\nkey = 'DIR/server.key'\n";
        format!("{files}{keys}").replace("DIR", &self.0.display().to_string())
    }

    /// The echo server with a settings file of that table.
    fn launch(&self, keys: &str) -> Launch {
        self.write("echo.toml", self.table(keys));
        Launch::echo().argument(self.path("echo.toml").to_str().unwrap())
    }

    /// A client that trusts these certificates, each for itself.
    fn client(&self, names: &[&str]) -> Arc<ClientConfig> {
        self.client_with(names, None)
    }

    /// The same, with a certificate to show.
    fn client_with(&self, names: &[&str], own: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for name in names {
            roots.add(self.certificate(name)).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{own}.key"))).unwrap();
                builder
                    .with_client_auth_cert(vec![self.certificate(own)], key)
                    .unwrap()
            }
        };
        Arc::new(config)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A connection over which something was echoed.
type Shaken = StreamOwned<ClientConnection, std::net::TcpStream>;

/// Shakes hands with the server as `name`, and has something echoed: behind it the tickets have
/// come.
fn shake(addr: SocketAddr, client: &Arc<ClientConfig>, name: &str) -> Result<Shaken, String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut stream = StreamOwned::new(connection, connect(addr).unwrap());
    echo(&mut stream).map_err(|error| error.to_string())?;
    Ok(stream)
}

fn echo(stream: &mut Shaken) -> std::io::Result<()> {
    stream.write_all(b"hello")?;
    let mut echoed = [0; 5];
    stream.read_exact(&mut echoed)?;
    assert_eq!(&echoed, b"hello");
    Ok(())
}

fn kind(addr: SocketAddr, client: &Arc<ClientConfig>) -> HandshakeKind {
    let shaken = shake(addr, client, "a.test").unwrap();
    shaken.conn.handshake_kind().unwrap()
}

/// The certificate that the server shows to `name`.
fn shown(addr: SocketAddr, client: &Arc<ClientConfig>, name: &str) -> CertificateDer<'static> {
    // A session of its own: one that is resumed shows what it has shown.
    let shaken = shake(addr, &fresh(client), name).unwrap();
    shaken.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

/// The same client without the sessions that it could resume.
fn fresh(client: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(client);
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// Waits until new connections are shown that certificate.
fn wait_until_shown(addr: SocketAddr, client: &Arc<ClientConfig>, new: &CertificateDer<'_>) {
    within(2 * BOUND, "the new certificate", || {
        (shown(addr, client, "a.test") == *new).then_some(())
    });
}

#[track_caller]
fn assert_refused(exit: &Exit, told: &[&str]) {
    assert_eq!(exit.code, Some(2), "{exit:?}");
    for text in told {
        assert!(
            exit.stderr.contains(text),
            "no `{text}` in\n{}",
            exit.stderr
        );
    }
}

#[test]
fn each_bad_file_refuses_the_start_with_its_remedy() {
    let files = Files::with_server();
    files.issue("other", &["b.test"]);
    files.write("empty.pem", "");
    files.write("damaged", "corelane ticket keys 1\n12 34\n");
    fs::create_dir(files.path("directory")).unwrap();
    for (keys, told) in [
        (
            "certificate = 'DIR/none.crt'\nkey = 'DIR/server.key'\n",
            [
                "none.crt (listener.tls.certificate), it does not exist: ",
                "put it there, or name another file",
            ],
        ),
        (
            "certificate = 'DIR/server.crt'\nkey = 'DIR/other.key'\n",
            [
                "other.key (listener.tls.key), it is not the key of the certificate: ",
                "name the key that the certificate was issued for",
            ],
        ),
        (
            "certificate = 'DIR/directory'\nkey = 'DIR/empty.pem'\n",
            [
                "directory (listener.tls.certificate), it is no regular file: ",
                "name a file here",
            ],
        ),
        (
            "certificate = 'DIR/server.key'\nkey = 'DIR/server.crt'\n",
            [
                "server.key (listener.tls.certificate), it has a key, and no certificate: ",
                "name the certificate's file here",
            ],
        ),
        (
            "certificate = 'DIR/server.crt'\nkey = 'DIR/server.key'\nclient_ca = 'DIR/empty.pem'\n",
            [
                "empty.pem (listener.tls.client_ca), it has no certificate in PEM: ",
                "name the certificate's file",
            ],
        ),
        (
            "certificate = 'DIR/server.crt'\nkey = 'DIR/server.key'\nticket_key_file = 'DIR/damaged'\n",
            [
                "damaged (listener.tls.ticket_key_file), it is damaged, or no file of ticket keys: ",
                "remove it, and the server makes a new one",
            ],
        ),
        (
            "certificate = 'DIR/server.crt'\nkey = 'DIR/server.key'\nticket_key_file = 'DIR/none/keys'\n",
            [
                "none is not to be written to: ",
                "StateDirectory= in the unit",
            ],
        ),
    ] {
        let table =
            format!("[listener.tls]\n{keys}").replace("DIR", &files.0.display().to_string());
        files.write("echo.toml", table);
        let launch = || Launch::echo().argument(files.path("echo.toml").to_str().unwrap());
        assert_refused(&launch().run(), &told);
        assert_refused(&launch().argument("--check").run(), &told);
        let examined = launch().argument("--doctor").run();
        assert_eq!(examined.code, Some(2), "{}", examined.stdout);
        let is_row = |line: &str| line.starts_with("SHORT  listener.tls ");
        assert!(examined.stdout.lines().any(is_row), "{}", examined.stdout);
        assert!(
            told.iter().all(|text| examined.stdout.contains(text)),
            "{}",
            examined.stdout
        );
    }
}

#[test]
fn all_bad_files_of_all_listeners_are_told_at_once() {
    let files = Files::with_server();
    let listeners = "[[listener]]\nname = 'one'\nlisten = '127.0.0.1:0'\n[listener.tls]\n\
         certificate = 'DIR/none.crt'\nkey = 'DIR/none.key'\n\
         [[listener]]\nname = 'two'\nlisten = '127.0.0.1:0'\n[listener.tls]\n\
         certificate = ['DIR/server.crt', 'DIR/server.crt']\nkey = ['DIR/server.key', 'DIR/gone.key']\n";
    files.write(
        "echo.toml",
        listeners.replace("DIR", &files.0.display().to_string()),
    );
    let exit = Launch::echo_with(&files.path("echo.toml")).run();
    let told = [
        "none.crt (listener.one.tls.certificate)",
        "none.key (listener.one.tls.key)",
        "gone.key (listener.two.tls.key)",
    ];
    assert_refused(&exit, &told);
}

#[test]
fn a_key_that_cannot_be_used_says_what_makes_one_that_can() {
    needs!("openssl");
    let files = Files::new();
    let openssl = |arguments: &str| {
        let arguments = arguments.replace("DIR", &files.0.display().to_string());
        let made = Command::new("openssl")
            .args(arguments.split(' '))
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{arguments}: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    };
    files.write(
        "openssl.cnf",
        "[req]\ndistinguished_name = dn\n[dn]\n[v3]\nsubjectAltName = DNS:a.test\n",
    );
    let certify = "req -x509 -config DIR/openssl.cnf -extensions v3 -key DIR/server.key \
         -out DIR/server.crt -days 9 -subj /CN=a.test";
    for make in [
        "genrsa -traditional -out DIR/server.key 2048",
        "genpkey -algorithm RSA -out DIR/server.key",
        "ecparam -name prime256v1 -genkey -out DIR/server.key",
        "ecparam -name secp384r1 -genkey -noout -out DIR/server.key",
        "genpkey -algorithm ED25519 -out DIR/server.key",
    ] {
        openssl(make);
        openssl(certify);
        let server = files.launch("").start();
        let client = files.client(&["server"]);
        assert_eq!(
            shown(server.addr(), &client, "a.test"),
            files.certificate("server"),
            "{make}"
        );
    }
    openssl("ecparam -name secp521r1 -genkey -noout -out DIR/server.key");
    openssl(certify);
    assert_refused(
        &files.launch("").run(),
        &["of a kind that is not known here: make one of RSA"],
    );
    openssl("genpkey -algorithm RSA -out DIR/server.key -aes-128-cbc -pass pass:secret");
    let told = [
        "it needs a passphrase",
        "run `openssl pkey -in FILE -out FILE.plain`",
    ];
    assert_refused(&files.launch("").run(), &told);
}

#[test]
fn an_expired_certificate_and_a_key_for_all_are_warned_of_and_serve() {
    let files = Files::new();
    files.issue_until("server", &["a.test"], 2002);
    fs::set_permissions(files.path("server.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = [
        "server.crt (listener.tls.certificate) expired on 2002-01-02",
        "server.key (listener.tls.key) is for any user of this machine to read",
    ];
    let exit = files.launch("").argument("--check").run();
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(
        told.iter().all(|text| exit
            .stderr
            .contains(&format!("echo: warning: {}/{text}", files.0.display()))),
        "{}",
        exit.stderr
    );
    let examined = files.launch("").argument("--doctor").run();
    let is_row = |line: &str| line.starts_with("ok ") && line.contains(" listener.tls ");
    assert!(examined.stdout.lines().any(is_row), "{}", examined.stdout);
    assert!(
        told.iter().all(|text| examined.stdout.contains(text)),
        "{}",
        examined.stdout
    );
    let server = files.launch("").start();
    for text in told {
        server.wait_for_line(0, BOUND, text, |line| line.message().contains(text));
    }
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_says() {
    let files = Files::with_server();
    files.issue("wild", &["*.b.test"]);
    files.issue("exact", &["x.b.test", "c.test"]);
    let text = "[listener.tls]\n\
         certificate = ['DIR/server.crt', 'DIR/wild.crt', 'DIR/exact.crt']\n\
         key = ['DIR/server.key', 'DIR/wild.key', 'DIR/exact.key']\n";
    files.write(
        "echo.toml",
        text.replace("DIR", &files.0.display().to_string()),
    );
    let server = Launch::echo()
        .argument(files.path("echo.toml").to_str().unwrap())
        .start();
    let client = files.client(&["server", "wild", "exact"]);
    for (name, expected) in [
        ("a.test", "server"),
        ("y.b.test", "wild"),
        ("x.b.test", "exact"),
        ("C.test", "exact"),
    ] {
        assert_eq!(
            shown(server.addr(), &client, name),
            files.certificate(expected),
            "{name}"
        );
    }
    let refused = shake(server.addr(), &client, "y.y.b.test").unwrap_err();
    assert!(
        refused.contains("only valid for DnsName(\"a.test\")"),
        "it was shown the first: {refused}"
    );
}

#[test]
fn a_reload_brings_other_files_and_a_wrong_one_nothing() {
    let files = Files::with_server();
    files.issue("other", &["a.test"]);
    let server = files.launch("").set("admin.listen=\"127.0.0.1:0\"").start();
    let addr = server.addr();
    let client = files.client(&["server", "other"]);
    assert_eq!(shown(addr, &client, "a.test"), files.certificate("server"));
    let mut before = shake(addr, &client, "a.test").unwrap();

    let reload = |text: String, outcome: &str| {
        let from = server.log().lines().len();
        files.write("echo.toml", text);
        server.signal(Signal::HUP);
        server.wait_for_line(from, BOUND, outcome, |line| line.message() == outcome)
    };
    let wrong = files.table("").replace("server.crt", "other.crt");
    let line = reload(wrong, "reload refused");
    let problem = line.field("problem").unwrap();
    assert!(
        problem.contains("server.key (listener.tls.key), it is not the key"),
        "{problem}"
    );
    assert_eq!(shown(addr, &client, "a.test"), files.certificate("server"));
    let count = |outcome: &str| {
        server.metric(&format!(
            "corelane_tls_reloads_total{{outcome=\"{outcome}\"}}"
        ))
    };
    assert_eq!([count("failed"), count("changed")], [1.0, 0.0]);

    let right = files.table("").replace("server.", "other.");
    reload(right, "reloaded");
    assert_eq!(shown(addr, &client, "a.test"), files.certificate("other"));
    assert_eq!([count("failed"), count("changed")], [1.0, 1.0]);
    echo(&mut before).expect("who was connected stays");

    let line = reload(String::new(), "reload refused");
    let problem = line.field("problem").unwrap();
    assert!(
        problem.starts_with("needs a restart: listener.tls.certificate"),
        "{problem}"
    );
}

#[test]
fn files_that_change_are_in_force_by_themselves_and_bad_ones_are_not() {
    let files = Files::with_server();
    files.issue("new", &["a.test"]);
    files.issue_until("old", &["a.test"], 2003);
    let server = files.launch("").set("admin.listen=\"127.0.0.1:0\"").start();
    let addr = server.addr();
    let client = files.client(&["server", "new"]);
    let first = files.certificate("server");
    let mut before = shake(addr, &client, "a.test").unwrap();

    let replace = |by: &str, kind: &str| {
        let (from, to) = (format!("{by}.{kind}"), format!("server.{kind}"));
        fs::copy(files.path(&from), files.path("part")).unwrap();
        fs::rename(files.path("part"), files.path(&to)).unwrap();
    };
    let refused = |from: usize, why: &str| {
        let told = "files of TLS have changed, and those before stay in force";
        let is_it = |line: &Line| {
            let problem = line.field("problem").unwrap_or_default();
            line.message() == told && problem.contains(why)
        };
        server.wait_for_line(from, 2 * BOUND, why, is_it);
    };
    let from = server.log().lines().len();
    replace("new", "crt");
    refused(from, "it is not the key of the certificate");
    assert_eq!(shown(addr, &client, "a.test"), first);

    replace("new", "key");
    wait_until_shown(addr, &client, &files.certificate("new"));
    let tells = |line: &Line| line.message() == "a certificate is in force";
    let line = server.wait_for_line(from, BOUND, "a certificate is in force", tells);
    assert!(
        line.field("certificate")
            .unwrap()
            .ends_with("is for a.test until 2090-01-02")
    );
    let left = server.metric("corelane_tls_certificate_expires_seconds{listener=\"1\"}");
    assert!((1e9..3e9).contains(&left), "{left} seconds to 2090");

    let from = server.log().lines().len();
    replace("old", "crt");
    replace("old", "key");
    refused(
        from,
        "it expired on 2003-01-02: have it renewed; the certificate before stays in use",
    );
    assert_eq!(shown(addr, &client, "a.test"), files.certificate("new"));
    assert!(server.metric("corelane_tls_reloads_total{outcome=\"failed\"}") >= 2.0);
    assert_eq!(
        server.metric("corelane_tls_reloads_total{outcome=\"changed\"}"),
        1.0
    );
    echo(&mut before).expect("who was connected stays");
}

#[test]
fn a_link_that_is_replaced_is_followed_as_kubernetes_does_it() {
    let files = Files::new();
    let version = |name: &str| {
        fs::create_dir(files.path(name)).unwrap();
        files.issue(&format!("{name}/server"), &["a.test"]);
    };
    version("..1");
    symlink("..1", files.path("..data")).unwrap();
    symlink("..data/server.crt", files.path("server.crt")).unwrap();
    symlink("..data/server.key", files.path("server.key")).unwrap();
    let server = files.launch("").start();
    for (old, new) in [("..1", "..2"), ("..2", "..3")] {
        version(new);
        let client = files.client(&["server", &format!("{new}/server")]);
        symlink(new, files.path("..data_tmp")).unwrap();
        fs::rename(files.path("..data_tmp"), files.path("..data")).unwrap();
        fs::remove_dir_all(files.path(old)).unwrap();
        wait_until_shown(server.addr(), &client, &files.certificate("server"));
    }
}

#[test]
fn tickets_are_good_after_a_restart_where_their_keys_are_kept() {
    let files = Files::with_server();
    let client = files.client(&["server"]);
    let first = files.launch("").start();
    assert_eq!(kind(first.addr(), &client), HandshakeKind::Full);
    assert_eq!(kind(first.addr(), &client), HandshakeKind::Resumed);
    first.stop();
    let forgets = files.launch("").start();
    assert_eq!(kind(forgets.addr(), &client), HandshakeKind::Full);
    forgets.stop();

    let keeps = || files.launch("ticket_key_file = 'DIR/tickets'\n").start();
    let mut server = keeps();
    let mode = fs::metadata(files.path("tickets"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(kind(server.addr(), &client), HandshakeKind::Full);
    server.restart();
    assert_eq!(
        kind(server.addr(), &client),
        HandshakeKind::Resumed,
        "by the next process"
    );
    server.stop();
    let server = keeps();
    assert_eq!(
        kind(server.addr(), &client),
        HandshakeKind::Resumed,
        "after a restart"
    );
    let log = server.log().text();
    let secret = fs::read_to_string(files.path("tickets")).unwrap();
    let secret = secret.split_whitespace().last().unwrap().to_owned();
    assert!(!log.contains(&secret));
}

#[test]
fn a_file_of_ticket_keys_that_cannot_be_written_leaves_nothing_behind() {
    let files = Files::with_server();
    let names = || {
        let entries = fs::read_dir(&files.0).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let launch = files.launch("ticket_key_file = 'DIR/tickets'\n");
    let before = names();
    let exit = launch.after("ulimit -f 0").run();
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(exit.stderr.contains("File too large"), "{exit:?}");
    assert_eq!(names(), before);
}

#[test]
fn keys_of_tickets_are_renewed_while_the_server_serves() {
    let files = Files::with_server();
    let server = files
        .launch("ticket_key_file = 'DIR/tickets'\nticket_key_lifetime = '1s'\n")
        .start();
    let keys = || fs::read_to_string(files.path("tickets")).unwrap();
    let first = keys().lines().nth(1).unwrap().to_owned();
    within(2 * BOUND, "the first key to be gone", || {
        (!keys().contains(&first)).then_some(())
    });
    assert_eq!(
        kind(server.addr(), &files.client(&["server"])),
        HandshakeKind::Full
    );
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let files = Files::with_server();
    files.issue("known", &["c.test"]);
    files.issue("unknown", &["d.test"]);
    let trusts = ["server"];
    let [none, known, unknown] =
        [None, Some("known"), Some("unknown")].map(|own| files.client_with(&trusts, own));
    let may_come = |server: &Server, client| shake(server.addr(), client, "a.test").is_ok();
    let server = files.launch("client_ca = 'DIR/known.crt'\n").start();
    assert!(may_come(&server, &known));
    assert!(!may_come(&server, &none) && !may_come(&server, &unknown));
    let server = files
        .launch("client_ca = 'DIR/known.crt'\nclient_required = false\n")
        .start();
    assert!(may_come(&server, &known) && may_come(&server, &none));
    assert!(!may_come(&server, &unknown));
}

#[test]
fn under_the_seccomp_profile_certificates_and_ticket_keys_are_renewed() {
    needs!("python3");
    if !Path::new("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").exists() {
        skip!("needs the numbers of x86-64's system calls: linux-libc-dev");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let script = root.join("tests/clients/under_seccomp.py");
    let profile = root.join("deploy/kubernetes/seccomp/corelane.json");
    let [script, profile] = [&script, &profile].map(|path| path.to_str().unwrap());
    let files = Files::with_server();
    let keys = "ticket_key_file = 'DIR/tickets'\nticket_key_lifetime = '1s'\n";
    let confined = files.launch(keys).under(&["python3", script, profile]);
    let server = confined.start();
    let tickets = || fs::read_to_string(files.path("tickets")).unwrap();
    let first = tickets();
    within(2 * BOUND, "another key of tickets", || {
        (tickets() != first).then_some(())
    });
    files.issue("new", &["a.test"]);
    let client = files.client(&["server", "new"]);
    for kind in ["key", "crt"] {
        let [from, to] = ["new", "server"].map(|name| files.path(&format!("{name}.{kind}")));
        fs::copy(from, to).unwrap();
    }
    wait_until_shown(server.addr(), &client, &files.certificate("new"));
    let lines = server.log().lines();
    assert!(
        !lines
            .iter()
            .any(|line| line.message().contains("not noticed"))
    );
    server.stop();
}

/// The packages that a build of the framework needs, with these features.
fn packages(features: &str) -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../framework/Cargo.toml");
    let tree = cargo()
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", "--features", features, "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let text = String::from_utf8(tree.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn without_the_feature_nothing_of_it_is_built() {
    let of_tls = [
        "ring",
        "rustls",
        "rustls-pki-types",
        "rustls-webpki",
        "untrusted",
        "webpki-roots",
    ];
    let has = |packages: &[String], name: &str| packages.iter().any(|package| package == name);
    let (without, with) = (packages("http,websocket-deflate,testing"), packages("tls"));
    assert!(has(&without, "rustix"), "{without:?}");
    for name in of_tls {
        assert!(
            !has(&without, name),
            "{name} is built without the feature tls"
        );
        assert!(
            has(&with, name),
            "the search finds nothing where there is something: {name}"
        );
    }
}
