//! What deploy/ has, run: Prometheus scrapes and evaluates, HAProxy checks and rolls, the seccomp
//! profile confines, and what nobody can run here is held to its schema.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use tests::admin::{ask, request};
use tests::{
    BOUND, Certificate, Client, Launch, Server, connect, free_address, have, needs, skip, within,
};

/// Clients that come and go in a rolling restart.
const CLIENTS: usize = 4;
/// Requests that they make between two steps, at least.
const REQUESTS_MIN: usize = 200;

// ---- files, folders, processes ----

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn deploy(path: &str) -> PathBuf {
    root().join("deploy").join(path)
}

/// A shipped file, with places of this test instead of its own.
fn adapted(path: &str, changes: &[(&str, &str)]) -> String {
    let mut text = fs::read_to_string(deploy(path)).unwrap();
    for (shipped, ours) in changes {
        assert!(text.contains(shipped), "{path} has no {shipped}");
        text = text.replace(shipped, ours);
    }
    text
}

/// A folder of a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("corelane-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program that runs beside the servers; killed on drop.
struct Beside(Child);

impl Beside {
    fn start(command: &mut Command) -> Self {
        let silent = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(silent.spawn().unwrap())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a tool says that finds nothing wrong.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// Where `make clients` puts a Python tool.
fn python_tool(name: &str) -> PathBuf {
    root().join("target/clients/python/bin").join(name)
}

// ---- metrics, alerts, dashboard ----

/// Metrics that a text names: words that begin as those of this server do.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    text.split(|letter: char| !is_name(letter))
        .filter(|word| word.starts_with("corelane_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(deploy("grafana/dashboard.json")).unwrap()).unwrap()
}

/// The dashboard's queries, with its variables filled in.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let filled_in = |target: &Value| {
        let query = target["expr"].as_str().unwrap();
        query
            .replace("$__rate_interval", "1m")
            .replace("$instance", ".+")
    };
    targets.map(filled_in).collect()
}

fn with_tls(launch: Launch, certificate: &Certificate) -> Launch {
    let [certificate, key] = certificate.settings();
    launch.set(&certificate).set(&key)
}

#[test]
fn alerts_and_dashboard_name_no_metric_that_is_not_there() {
    let server = Launch::relay(([127, 0, 0, 1], 9).into())
        .set("admin.listen=\"127.0.0.1:0\"")
        .start();
    // Some metrics are there with TLS alone.
    let certificate = Certificate::of("a.test");
    let secured = with_tls(Launch::echo(), &certificate).set("admin.listen=\"127.0.0.1:0\"");
    let secured = secured.start();
    let pages = [&server, &secured].map(|server| server.admin_get("/metrics").body);
    let samples = pages.iter().flat_map(|page| page.lines());
    let samples = samples.filter(|line| !line.starts_with('#'));
    let there: BTreeSet<String> = samples
        .filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned()))
        .collect();
    let alerts = fs::read_to_string(deploy("prometheus/alerts.yml")).unwrap();
    let named = [&alerts, &queries(&dashboard()).join("\n")].map(|text| metrics_in(text));
    for (named, least) in named.iter().zip([12, 30]) {
        assert!(
            named.len() >= least,
            "the search has missed some: {named:?}"
        );
        let missing: Vec<_> = named.difference(&there).collect();
        assert!(missing.is_empty(), "no such metric: {missing:?}");
    }
    server.stop();
}

#[test]
fn every_alert_fires_and_rests_as_its_tests_say_and_has_its_row_in_the_runbook() {
    needs!("promtool");
    run(Command::new("promtool")
        .args(["check", "config"])
        .arg(deploy("prometheus/prometheus.yml")));
    run(Command::new("promtool")
        .args(["test", "rules"])
        .arg(deploy("prometheus/alerts_test.yml")));
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let alerts = read(&deploy("prometheus/alerts.yml"));
    let tried = read(&deploy("prometheus/alerts_test.yml"));
    let runbook = read(&root().join("docs/clusters.md"));
    let names = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for name in names {
        for kind in ["fires", "rests"] {
            let test = format!("- name: {name} {kind}\n");
            assert!(tried.contains(&test), "{name} is not tried: {kind}");
        }
        let row = format!("| `{name}` |");
        assert!(runbook.contains(&row), "docs/clusters.md: no {name}");
    }
}

/// A Prometheus of its own, with the shipped files.
struct Prometheus {
    _process: Beside,
    _folder: Folder,
    addr: SocketAddr,
}

impl Prometheus {
    /// Scrapes two servers of a machine five times a second and waits for nothing before it fires.
    fn start(targets: [SocketAddr; 2]) -> Self {
        let folder = Folder::new("prometheus");
        let [one, other] = targets.map(|target| target.to_string());
        let settings = adapted(
            "prometheus/prometheus.yml",
            &[
                ("- 127.0.0.1:9007", &format!("- {one}")),
                ("- 127.0.0.1:9008", &format!("- {other}")),
                ("15s", "200ms"),
            ],
        );
        let settings = folder.write("prometheus.yml", &settings);
        let at_once = adapted("prometheus/alerts.yml", &[("for: 1m", "for: 0s")]);
        folder.write("alerts.yml", &at_once);
        let addr = free_address();
        let process = Beside::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", settings.display()))
                .arg(format!("--web.listen-address={addr}"))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    folder.0.join("data").display()
                )),
        );
        within(3 * BOUND, "Prometheus is ready", || {
            connect(addr).ok()?;
            let answer = ask(addr, "GET /-/ready HTTP/1.0\r\n\r\n");
            (answer.status == 200).then_some(())
        });
        Self {
            _process: process,
            _folder: folder,
            addr,
        }
    }

    fn get(&self, path: &str) -> Value {
        let answer = ask(self.addr, &format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// The number of series that a query gives.
    fn series(&self, query: &str) -> usize {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={escaped}"));
        answer["data"]["result"].as_array().unwrap().len()
    }

    /// Alerts that fire, each with its server.
    fn firing(&self) -> BTreeSet<(String, String)> {
        let answer = self.get("/api/v1/alerts");
        let alerts = answer["data"]["alerts"].as_array().unwrap().iter();
        let label = |alert: &Value, name: &str| {
            let text = alert["labels"][name].as_str();
            text.unwrap_or_default().to_owned()
        };
        alerts
            .filter(|alert| alert["state"] == "firing")
            .map(|alert| (label(alert, "alertname"), label(alert, "instance")))
            .collect()
    }
}

#[test]
fn a_prometheus_scrapes_evaluates_and_answers_what_the_dashboard_asks() {
    needs!("prometheus", "promtool");
    let server = Launch::relay(([127, 0, 0, 1], 9).into())
        .set("server.shards=2")
        .set("admin.listen=\"127.0.0.1:0\"")
        .start();
    let (there, nobody) = (server.admin_addr(), free_address());
    let prometheus = Prometheus::start([there, nobody]);
    let down = |addr: SocketAddr| ("CorelaneDown".to_owned(), addr.to_string());
    within(3 * BOUND, "the one that is not there fires", || {
        let firing = prometheus.firing();
        (firing == BTreeSet::from([down(nobody)])).then_some(())
    });
    within(BOUND, "every rule has been evaluated", || {
        let answer = prometheus.get("/api/v1/rules");
        let rules = answer["data"]["groups"][0]["rules"].as_array().unwrap();
        assert!(rules.len() >= 15, "{rules:?}");
        let wrong = rules.iter().find(|rule| rule["health"] == "err");
        assert!(wrong.is_none(), "{wrong:?}");
        rules
            .iter()
            .all(|rule| rule["health"] == "ok")
            .then_some(())
    });
    for query in queries(&dashboard()) {
        let is_always_there = !query.contains('>') && !query.contains("accept_queue");
        within(BOUND, &query, || {
            let series = prometheus.series(&query);
            (series > 0 || !is_always_there).then_some(())
        });
    }
    server.stop();
    within(BOUND, "the one that has ended fires too", || {
        let firing = prometheus.firing();
        (firing.contains(&down(there)) && firing.contains(&down(nobody))).then_some(())
    });
}

#[test]
fn the_dashboard_is_as_grafanas_schema_says() {
    if !python_tool("../installed").exists() {
        skip!("needs Grafana's schema: make clients");
    }
    run(Command::new(python_tool("python"))
        .arg(root().join("tests/clients/grafana_schema.py"))
        .arg(deploy("grafana/dashboard.json")));
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
}

// ---- HAProxy ----

/// The shipped HAProxy before two servers.
struct Balancer {
    _process: Beside,
    folder: Folder,
    addr: SocketAddr,
}

/// Where a server listens, and its admin server.
#[derive(Clone, Copy)]
struct Place {
    clients: SocketAddr,
    admin: SocketAddr,
}

impl Place {
    fn free() -> Self {
        Self {
            clients: free_address(),
            admin: free_address(),
        }
    }

    fn start(self, launch: Launch) -> Server {
        launch
            .set("server.shards=2")
            .set(&format!("server.listen=\"{}\"", self.clients))
            .set(&format!("admin.listen=\"{}\"", self.admin))
            .start()
    }
}

impl Balancer {
    /// With the shipped file, other places, and checks that come ten times as often.
    fn start(name: &str, places: [Place; 2]) -> Self {
        let folder = Folder::new(name);
        let addr = free_address();
        let socket = folder.0.join("admin.sock");
        let server = |place: Place| format!("{} port {}", place.clients, place.admin.port());
        let [one, other] = places.map(server);
        let settings = adapted(
            "haproxy/haproxy.cfg",
            &[
                ("bind :7000", &format!("bind {addr}")),
                ("/run/haproxy/admin.sock", socket.to_str().unwrap()),
                ("127.0.0.1:7007 port 9007", &one),
                ("127.0.0.1:7008 port 9008", &other),
                (
                    "inter 1s fastinter 250ms downinter 500ms",
                    "inter 100ms fastinter 25ms downinter 50ms",
                ),
                ("maxconn 40000", "maxconn 1000"),
            ],
        );
        let settings = folder.write("haproxy.cfg", &settings);
        let process = Beside::start(Command::new("haproxy").arg("-db").arg("-f").arg(settings));
        within(BOUND, "HAProxy listens", || {
            UnixStream::connect(&socket).ok()?;
            connect(addr).ok()
        });
        Self {
            _process: process,
            folder,
            addr,
        }
    }

    /// What it answers to a command of its administrator.
    fn tell(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(self.folder.0.join("admin.sock")).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A column of the statistics of a server.
    fn stat(&self, server: &str, column: &str) -> String {
        let table = self.tell("show stat");
        let mut lines = table.lines().map(|line| line.split(',').collect());
        let heads: Vec<&str> = lines.next().unwrap();
        let column = heads.iter().position(|head| *head == column).unwrap();
        let row = lines.find(|row: &Vec<&str>| row.get(1) == Some(&server));
        row.unwrap()[column].to_owned()
    }

    fn wait_for(&self, server: &str, column: &str, value: &str) {
        within(
            2 * BOUND,
            &format!("{column} of {server} is {value}"),
            || (self.stat(server, column) == value).then_some(()),
        );
    }
}

/// Connections that come, ask a few times and go, until the end. Every answer must be right.
fn come_and_go(addr: SocketAddr, ended: &AtomicBool, asked: &(dyn Fn() + Sync)) {
    let message = [b'm'; 64];
    for round in (1..=8).cycle() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let mut client = Client::connect(addr);
        for _ in 0..round {
            client.ask(&message, &message);
            asked();
        }
    }
}

#[test]
fn haproxy_finds_nothing_wrong_with_its_files() {
    needs!("haproxy");
    for path in ["haproxy/haproxy.cfg", "kubernetes/admin.cfg"] {
        run(Command::new("haproxy").args(["-c", "-f"]).arg(deploy(path)));
    }
}

/// Fault 57.
#[test]
fn no_request_is_lost_when_two_servers_behind_haproxy_are_restarted_in_turn() {
    needs!("haproxy");
    let _turn = tests::alone();
    let places = [Place::free(), Place::free()];
    let mut servers = places.map(|place| place.start(Launch::echo()));
    let balancer = Balancer::start("rolling", places);
    let names = ["echo1", "echo2"];
    names
        .iter()
        .for_each(|name| balancer.wait_for(name, "check_status", "L7OK"));
    let ended = AtomicBool::new(false);
    let requests = std::sync::atomic::AtomicUsize::new(0);
    let asked = || {
        requests.fetch_add(1, Ordering::Relaxed);
    };
    let (balancer, ended) = (&balancer, &ended);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| come_and_go(balancer.addr, ended, &asked)))
            .collect();
        // Should a step below fail, the clients end all the same.
        let _end = AtEnd(ended);
        let some_requests = || {
            let before = requests.load(Ordering::Relaxed);
            within(2 * BOUND, "clients are served", || {
                (requests.load(Ordering::Relaxed) >= before + REQUESTS_MIN).then_some(())
            });
        };
        for ((name, place), server) in names.iter().zip(places).zip(&mut servers) {
            some_requests();
            balancer.tell(&format!("set server echo/{name} state drain"));
            balancer.wait_for(name, "scur", "0");
            some_requests();
            server.signal(Signal::TERM);
            assert_eq!(server.wait_exit(2 * BOUND), Some(0));
            let counts = server.counts();
            assert!(counts.accepted > 0, "{name} was not used");
            assert_eq!(counts.of("drain_cut"), 0);
            balancer.wait_for(name, "check_status", "L4CON");
            some_requests();
            *server = place.start(Launch::echo());
            balancer.wait_for(name, "check_status", "L7OK");
            balancer.tell(&format!("set server echo/{name} state ready"));
            balancer.wait_for(name, "status", "UP");
        }
        some_requests();
        ended.store(true, Ordering::Relaxed);
        let served = clients.into_iter().all(|client| client.join().is_ok());
        assert!(served, "a request failed");
    });
    for server in servers {
        assert!(server.stop().accepted > 0, "a new server was not used");
    }
}

struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Fault 57.
#[test]
fn haproxy_sees_each_state_of_a_server_and_leaves_its_connections_alone() {
    needs!("haproxy");
    let places = [Place::free(), Place::free()];
    let hostile = Launch::hostile()
        .set("limits.unready_after=\"100ms\"")
        .set("timeouts.drain=\"10s\"");
    let mut server = places[0].start(hostile);
    let balancer = Balancer::start("states", places);
    balancer.wait_for("echo2", "check_status", "L4CON"); // it has not been started
    balancer.wait_for("echo1", "check_status", "L7OK");
    let mut through = Client::connect(balancer.addr);
    through.ask(b"hello\n", b"hello\n");

    // A shard stalls.
    let mut blocked = Client::connect(places[0].clients);
    blocked.send(b"block\n");
    balancer.wait_for("echo1", "status", "DOWN");
    assert_eq!(balancer.stat("echo1", "check_code"), "503");
    balancer.wait_for("echo1", "status", "UP");
    through.ask(b"hello\n", b"hello\n");

    // The whole process stands still.
    server.signal(Signal::STOP);
    balancer.wait_for("echo1", "status", "DOWN");
    server.signal(Signal::CONT);
    balancer.wait_for("echo1", "status", "UP");
    through.ask(b"hello\n", b"hello\n");

    // It drains, for a connection that holds it up.
    let mut holder = Client::connect(places[0].clients);
    holder.send(b"hold\n");
    drop(through);
    server.signal(Signal::TERM);
    balancer.wait_for("echo1", "status", "DOWN");
    assert_eq!(balancer.stat("echo1", "check_code"), "503");

    // It has ended, and comes again.
    holder.reset();
    assert_eq!(server.wait_exit(2 * BOUND), Some(0));
    balancer.wait_for("echo1", "check_status", "L4CON");
    let again = places[0].start(Launch::hostile());
    balancer.wait_for("echo1", "status", "UP");
    Client::connect(balancer.addr).ask(b"hello\n", b"hello\n");
    again.stop();
}

#[test]
fn the_sidecar_passes_on_metrics_and_health_and_nothing_else() {
    needs!("haproxy");
    let server = Launch::echo().set("admin.listen=\"127.0.0.1:0\"").start();
    let (addr, admin) = (free_address(), server.admin_addr().to_string());
    let folder = Folder::new("sidecar");
    let settings = adapted(
        "kubernetes/admin.cfg",
        &[
            ("bind :9107", &format!("bind {addr}")),
            ("127.0.0.1:9007", &admin),
        ],
    );
    let settings = folder.write("admin.cfg", &settings);
    let _process = Beside::start(Command::new("haproxy").arg("-db").arg("-f").arg(settings));
    within(BOUND, "HAProxy listens", || connect(addr).ok());
    // As a kubelet names it.
    let get = |path: &str| {
        ask(
            addr,
            &request("GET", path, "").replace("localhost", "10.0.0.9:9107"),
        )
    };
    for path in ["/metrics", "/readyz", "/healthz"] {
        assert_eq!(get(path).status, 200, "{path}");
    }
    for path in ["/connections", "/connections/0.0.1", "/metrics/", "/"] {
        assert_eq!(get(path).status, 404, "{path}");
    }
    let steered = request(
        "POST",
        "/connections/close?age_min=1s",
        "X-Corelane-Steer: 1\r\n",
    );
    assert_eq!(ask(addr, &steered).status, 405);
    server.stop();
}

// ---- Kubernetes ----

/// The number behind the first `key` of a text.
fn number_after(text: &str, key: &str) -> u64 {
    let rest = text.split_once(key).unwrap_or_else(|| panic!("no {key}")).1;
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

#[test]
fn the_manifests_are_as_kubernetes_schemas_say() {
    if !python_tool("../installed").exists() {
        skip!("needs kubernetes-validate: make clients");
    }
    let manifests = fs::read_dir(deploy("kubernetes")).unwrap();
    let mut paths: Vec<_> = manifests
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .filter(|path| !path.ends_with("kustomization.yaml"))
        .collect();
    assert!(paths.len() >= 5, "{paths:?}");
    let folder = Folder::new("manifests");
    // What is applied, where there is the tool that makes it.
    if have("kubectl") {
        let whole = run(Command::new("kubectl")
            .arg("kustomize")
            .arg(deploy("kubernetes")));
        paths.push(folder.write("whole.yaml", &whole));
    }
    let validate = || {
        let mut command = Command::new(python_tool("kubernetes-validate"));
        command.arg("--strict");
        command
    };
    run(validate().args(&paths));
    let wrong = adapted("kubernetes/deployment.yaml", &[("replicas:", "replikas:")]);
    let refused = validate().arg(folder.write("wrong.yaml", &wrong)).output();
    assert!(!refused.unwrap().status.success());
}

#[test]
fn a_pod_has_time_for_its_drain_and_settings_that_are_right() {
    let settings = deploy("kubernetes/echo.toml");
    let checked = Launch::bare(tests::Program::Echo)
        .argument("--check")
        .argument(settings.to_str().unwrap())
        .run();
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let deployment = adapted("kubernetes/deployment.yaml", &[]);
    let drain = number_after(&fs::read_to_string(settings).unwrap(), "\ndrain = \"");
    let hook = number_after(&deployment, " seconds:");
    let grace = number_after(&deployment, "terminationGracePeriodSeconds:");
    // The shards have three seconds more than the drain.
    assert!(hook + drain + 3 < grace, "{hook} + {drain} + 3 >= {grace}");
}

/// The container runtime's filter of system calls, without the runtime.
fn confined(profile: &Path) -> Launch {
    let script = root().join("tests/clients/under_seccomp.py");
    let [script, profile] = [&script, profile].map(|path| path.to_str().unwrap());
    Launch::echo()
        .under(&["python3", script, profile])
        .set("admin.listen=\"127.0.0.1:0\"")
}

#[test]
fn under_the_seccomp_profile_a_server_starts_serves_and_drains() {
    needs!("python3");
    if !Path::new("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").exists() {
        skip!("needs the numbers of x86-64's system calls: linux-libc-dev");
    }
    let profile = deploy("kubernetes/seccomp/corelane.json");
    let mut server = confined(&profile).set("server.shards=2").start();
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
    for _ in 0..20 {
        server.connect().ask(b"confined", b"confined");
    }
    assert_eq!(server.admin_get("/readyz").status, 200);
    assert!(server.metric("process_open_fds") > 0.0);
    // As a kubelet's or a HEALTHCHECK's, in the same container.
    for (question, answer) in [("--probe", "ready\n"), ("--probe=live", "live\n")] {
        let admin = format!("admin.listen=\"{}\"", server.admin_addr());
        let probe = confined(&profile).set(&admin).argument(question).run();
        assert_eq!(
            (probe.code, probe.stdout.as_str()),
            (Some(0), answer),
            "{}",
            probe.stderr
        );
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(2 * BOUND), Some(0));
    server.counts().assert_balanced();

    // As a runtime's own profile, which lets nobody have a ring.
    let folder = Folder::new("seccomp");
    let mut without: Value = serde_json::from_str(&fs::read_to_string(&profile).unwrap()).unwrap();
    let names = without["syscalls"][0]["names"].as_array_mut().unwrap();
    names.retain(|name| !name.as_str().unwrap().starts_with("io_uring"));
    let refused = confined(&folder.write("without.json", &without.to_string())).run();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("io_uring"), "{}", refused.stderr);
}

/// The words of the command that stands behind `key` in a text, as a list in JSON.
fn command_after(text: &str, key: &str) -> Vec<String> {
    let rest = text.split_once(key).unwrap_or_else(|| panic!("no {key}")).1;
    let list = &rest[rest.find('[').unwrap()..=rest.find(']').unwrap()];
    serde_json::from_str(list).unwrap()
}

/// With the settings as they are shipped, on ports of this test.
#[test]
fn the_shipped_probes_find_a_server_with_the_shipped_settings() {
    let folder = Folder::new("probes");
    let deployment = adapted("kubernetes/deployment.yaml", &[]);
    let image = adapted("container/Containerfile", &[]);
    let of_pod = |probe: &str| ("kubernetes/echo.toml", command_after(&deployment, probe));
    let probes = [
        of_pod("startupProbe:"),
        of_pod("readinessProbe:"),
        of_pod("livenessProbe:"),
        (
            "container/settings.toml",
            command_after(&image, "\nHEALTHCHECK"),
        ),
    ];
    for (shipped, command) in probes {
        let admin = free_address().to_string();
        let settings = adapted(
            shipped,
            &[("0.0.0.0:7007", "127.0.0.1:0"), ("127.0.0.1:9007", &admin)],
        );
        let settings = folder.write("settings.toml", &settings);
        let [program, file, question] = &command[..] else {
            panic!("{command:?}");
        };
        assert_eq!(program, "/usr/local/bin/server", "as the image has it");
        assert!(
            file.starts_with("/etc/corelane/") && image.contains(program.as_str()),
            "{file}"
        );
        let bare = || {
            Launch::bare(tests::Program::Echo)
                .argument(settings.to_str().unwrap())
                .set("limits.connections_max=1000") // of a machine with few descriptors
        };
        let gone = bare().argument(question).run();
        assert_eq!(gone.code, Some(1), "{}", gone.stderr);
        let server = bare().start();
        within(BOUND, "the probe says yes", || {
            (bare().argument(question).run().code == Some(0)).then_some(())
        });
        server.stop();
    }
}

#[test]
fn the_image_ends_as_the_server_wants_to_and_runs_as_nobody() {
    let file = adapted("container/Containerfile", &[]);
    for line in ["STOPSIGNAL SIGTERM", "USER 65532:65532", "EXPOSE 7007"] {
        assert!(file.lines().any(|given| given == line), "no {line}");
    }
    let minimum = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let rust = number_after(&minimum, "rust-version = \"1.");
    assert!(
        file.contains(&format!("FROM rust:1.{rust}-")),
        "not the Rust of Cargo.toml"
    );
}
