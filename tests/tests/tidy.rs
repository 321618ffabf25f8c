//! The rules that a machine can keep, kept.
#![allow(clippy::unwrap_used)]

mod imports;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;
use tests::{Launch, Program};

const FILE_LINES_MAX: usize = 800;
const MAIN_LINES_MAX: usize = 40;

/// The framework's layers, from the bottom: a file imports only from files of layers below its own,
/// and of its own layer without going round. Each entry is the beginning of a file's path below
/// framework/src; the longest that fits counts.
const LAYERS: [&[&str]; 34] = [
    &[
        "close_reason",
        "id",
        "time",
        "escape",
        "affinity",
        "cgroup",
        "meminfo",
        "start_error",
        "sync",
        "step",
        "proxy",
    ],
    &["upstream_error"],
    &["error"],
    &["panics", "metrics", "failpoint", "codec"],
    &["blocking"],
    &["config", "arguments"],
    &["log", "settings"],
    &["tls"],
    &["ring"],
    &["net", "runtime"],
    &["shard/policy"],
    &["shard/task", "shard/commands"],
    &["shard/conns"],
    &["shard/state"],
    &["shard/core"],
    &[
        "shard/listener",
        "shard/admission",
        "shard/connects",
        "shard/overload",
        "shard/rates",
        "shard/reload",
        "shard/drain",
        "shard/held_back",
        "shard/surveys",
    ],
    &["shard/handle"],
    &["shard/futures"],
    &["shard/mail"],
    &["shard/task_poller"],
    &["shard/hooks"],
    &["shard/event_loop"],
    &["shard/run"],
    &["shard"],
    &["conn"],
    &["http", "hyper"],
    &["websocket"],
    &["upstream"],
    &["handler"],
    &["service"],
    &["preflight"],
    &["server", "client", "testing"],
    &["app"],
    &["lib"],
];

/// Close reasons that no test can bring about from outside, and why.
const NOT_CAUSABLE: [(&str, &str); 1] = [(
    "socket_error",
    "stands for the errors of a socket that nobody expects",
)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every Rust file of ours below `directory`, as a path from the root.
fn sources(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(directory)];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    pending.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The lines of a file that are code, without comments at their ends, each with its number.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = read(path);
    let lines = text.lines().enumerate().map(|(index, line)| {
        let code = line.split("//").next().unwrap_or_default();
        (index + 1, code.to_owned())
    });
    lines.collect()
}

fn has_word(code: &str, word: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.split(|character: char| !is_word(character))
        .any(|found| found == word)
}

/// Files that break a rule, as `path:line`, for the message.
fn breaches(breaks: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(".") {
        for (number, code) in code(&path) {
            if breaks(&path, &code) {
                found.push(format!("{}:{number}", path.display()));
            }
        }
    }
    found
}

fn this_file(path: &Path) -> bool {
    path == Path::new("tests/tests/tidy.rs")
}

#[test]
fn unsafe_stays_in_the_ring_and_the_raw_baselines() {
    let allowed = |path: &Path| {
        let name = path.to_string_lossy();
        [
            "framework/src/ring.rs",
            "framework/src/ring/",
            "loadtest/baselines/raw_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    };
    let found =
        breaches(|path, code| has_word(code, "unsafe") && !allowed(path) && !this_file(path));
    assert!(found.is_empty(), "unsafe outside the ring: {found:#?}");
}

#[test]
fn every_unsafe_block_gives_its_reason() {
    for path in sources("framework/src") {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !has_word(code, "unsafe") || code.contains("unsafe fn") {
                continue;
            }
            let above = &lines[index.saturating_sub(8)..index];
            let reasoned = above.iter().any(|line| line.contains("SAFETY:"));
            assert!(
                reasoned,
                "{}:{}: no SAFETY comment",
                path.display(),
                index + 1
            );
        }
    }
}

#[test]
fn glommio_is_named_only_in_the_runtime() {
    // Its baseline is glommio itself, to be measured against.
    let allowed = |path: &Path| {
        path == Path::new("framework/src/runtime.rs")
            || path.starts_with("loadtest/baselines/glommio")
    };
    let found = breaches(|path, code| {
        let names_it = code.contains("glommio::") || code.contains("use glommio");
        names_it && !allowed(path) && !this_file(path)
    });
    assert!(found.is_empty(), "glommio outside the runtime: {found:#?}");
    for package in [
        "apps/echo",
        "apps/ping",
        "apps/chat",
        "apps/gateway",
        "apps/top",
        "loadtest",
        "tests",
    ] {
        let manifest = read(&Path::new(package).join("Cargo.toml"));
        assert!(
            !manifest.contains("glommio"),
            "{package} depends on glommio"
        );
    }
}

/// The layer of a file, and how much of its path says so.
fn layer_of(file: &str) -> Option<usize> {
    let fits = |prefix: &str| {
        let rest = file.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let layers = LAYERS.iter().enumerate();
    let fitting = layers.flat_map(|(layer, prefixes)| {
        let prefixes = prefixes.iter().filter(|prefix| fits(prefix));
        prefixes.map(move |prefix| (prefix.len(), layer))
    });
    fitting.max().map(|(_, layer)| layer)
}

#[test]
fn a_file_imports_only_from_layers_below_its_own() {
    let imports = Imports::of(&root().join("framework/src"));
    assert!(imports.files().count() > 80, "the crate was not found");
    let homeless: Vec<&str> = imports
        .files()
        .filter(|file| layer_of(file).is_none())
        .collect();
    assert!(homeless.is_empty(), "in no layer: {homeless:?}");
    let upward: Vec<String> = imports
        .edges()
        .filter(|(from, target)| layer_of(target) > layer_of(from))
        .map(|(from, target)| format!("{from} imports {target}"))
        .collect();
    assert!(upward.is_empty(), "upward: {upward:#?}");
}

#[test]
fn imports_of_every_form_are_found() {
    let src = Path::new(env!("CARGO_TARGET_TMPDIR")).join("imports");
    fs::create_dir_all(src.join("upper")).unwrap();
    let write = |file: &str, text: &str| fs::write(src.join(file), text).unwrap();
    write("lib.rs", "mod lower; mod upper; #[cfg(test)] mod unseen;");
    write(
        "lower.rs",
        "use super::upper::{self, inner::X}; /// [`crate::unseen`]\nfn f() {}",
    );
    write("upper.rs", "mod inner; use inner::X;");
    write(
        "upper/inner.rs",
        "fn f() -> crate::lower::Y {} #[cfg(test)] mod tests { use crate::upper::Z; }",
    );
    let imports = Imports::of(&src);
    let found: Vec<(&str, &str)> = imports.edges().collect();
    assert_eq!(
        found,
        [
            ("lower", "upper"),
            ("lower", "upper/inner"),
            ("upper", "upper/inner"),
            ("upper/inner", "lower"),
        ]
    );
    assert_eq!(imports.circles().len(), 4, "{:?}", imports.circles());
}

#[test]
fn no_files_import_each_other_round_about() {
    for krate in ["framework", "loadtest", "loadtest/compare"] {
        let circles = Imports::of(&root().join(krate).join("src")).circles();
        assert!(circles.is_empty(), "{krate}: {circles:#?}");
    }
}

#[test]
fn each_state_of_a_connection_is_changed_in_one_file() {
    for (state, writer) in [
        ("phase", "lifecycle.rs"),
        ("origin", "lifecycle.rs"),
        ("reason", "lifecycle.rs"),
        ("recv", "recv.rs"),
        ("peer_state", "recv.rs"),
        ("send", "send.rs"),
        ("frame_deadline", "timeouts.rs"),
    ] {
        let change = format!("slot.{state} =");
        let is_change = |code: &str| code.contains(&change) && !code.contains("==");
        let writes = |path: &PathBuf| code(path).iter().any(|(_, code)| is_change(code));
        let writers: Vec<PathBuf> = sources("framework/src")
            .into_iter()
            .filter(writes)
            .collect();
        let own = Path::new("framework/src/shard/conns").join(writer);
        let models = Path::new("framework/src/shard/conns/table_model.rs");
        let others: Vec<&PathBuf> = writers.iter().filter(|path| *path != models).collect();
        assert_eq!(others, [&own], "who changes {state}");
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: Vec<_> = sources(".")
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .collect();
    assert!(
        long.is_empty(),
        "longer than {FILE_LINES_MAX} lines: {long:#?}"
    );
}

#[test]
fn the_main_files_of_the_apps_are_short() {
    for app in ["echo", "ping", "chat", "gateway", "top"] {
        let lines = read(&PathBuf::from(format!("apps/{app}/src/main.rs")))
            .lines()
            .count();
        assert!(
            lines < MAIN_LINES_MAX,
            "apps/{app}/src/main.rs has {lines} lines"
        );
    }
}

/// The words of the framework's close reasons, from where they are written.
fn close_reasons() -> BTreeSet<String> {
    let source = read(Path::new("framework/src/close_reason.rs"));
    let words = source.lines().filter_map(|line| {
        let word = line.trim().strip_prefix("Self::")?.split_once(" => \"")?.1;
        Some(word.split_once('"')?.0.to_owned())
    });
    words.collect()
}

#[test]
fn every_close_reason_is_reached_by_some_test() {
    let reasons = close_reasons();
    assert!(reasons.len() >= 15, "{reasons:?}");
    let tests: String = sources("tests/tests")
        .iter()
        .filter(|path| !this_file(path))
        .map(|path| read(path))
        .collect();
    for reason in reasons {
        let excused = NOT_CAUSABLE.iter().any(|(name, _)| *name == reason);
        let named = tests.contains(&format!("\"{reason}\""));
        assert!(named || excused, "no test names the close reason {reason}");
        assert!(
            !(named && excused),
            "{reason} is tested, so it needs no excuse"
        );
    }
}

#[test]
fn no_shipped_server_has_failpoints() {
    let has_them = |program: Program| {
        let binary = fs::read(program.path()).unwrap();
        let variable = b"CORELANE_FAILPOINTS";
        binary
            .windows(variable.len())
            .any(|bytes| bytes == variable)
    };
    assert!(
        has_them(Program::Faulty),
        "the search finds nothing where there is something"
    );
    for shipped in [Program::Echo, Program::Ping, Program::Chat] {
        assert!(
            !has_them(shipped),
            "{shipped:?} was built with failpoints: build it without, and `make faulty` by itself"
        );
    }
}

/// Every key of the settings, with its section.
fn keys(settings: &toml::Table) -> Vec<(String, String)> {
    let sections = settings.iter();
    let sections = sections.filter_map(|(section, value)| Some((section, value.as_table()?)));
    sections
        .flat_map(|(section, table)| keys_within(section, table))
        .collect()
}

fn keys_within(section: &str, table: &toml::Table) -> Vec<(String, String)> {
    let keys = table
        .iter()
        .flat_map(|(key, value)| match value.as_table() {
            Some(inner) => keys_within(&format!("{section}.{key}"), inner),
            None => vec![(section.to_owned(), key.clone())],
        });
    keys.collect()
}

/// The text that docs/settings.md has on a key: what stands under its heading.
fn explanation<'r>(reference: &'r str, key: &str) -> Option<&'r str> {
    let (_, behind) = reference.split_once(&format!("\n### {key}\n\n"))?;
    behind.split("\n#").next()
}

/// With `upstream.next` and its TLS, so that the keys of such sections are among them.
fn printed_keys(program: Program) -> Vec<(String, String)> {
    let printed = Launch::bare(program)
        .set("upstream.next.addr=\"127.0.0.1:6379\"")
        .set("upstream.next.tls={}")
        .argument("--print-config")
        .run();
    keys(&printed.stdout.parse().unwrap())
}

#[test]
fn every_setting_is_explained_in_the_reference() {
    let reference = read(Path::new("docs/settings.md"));
    for program in [Program::Echo, Program::Ping] {
        let keys = printed_keys(program);
        assert!(keys.len() > 50, "{keys:?}");
        for (section, key) in keys {
            let name = format!("{}.{key}", section.replace(".next", ".NAME"));
            let text = explanation(&reference, &name);
            let text = text.unwrap_or_else(|| panic!("docs/settings.md lacks {name}"));
            let (about, facts) = text.split_once("\n- ").unwrap_or_default();
            assert!(about.trim().ends_with('.'), "{name}: {text}");
            assert!(facts.contains("Default: "), "{name}: {text}");
        }
    }
}

#[test]
fn every_key_of_the_shipped_files_exists_and_is_explained_there() {
    let shipped = [
        (Program::Echo, "echo.toml"),
        (Program::Echo, "c1m.toml"),
        (Program::Echo, "loadtest.toml"),
        (Program::Ping, "ping.toml"),
        (Program::Chat, "chat.toml"),
        (Program::Gateway, "gateway.toml"),
    ];
    assert_eq!(
        fs::read_dir(root().join("configs")).unwrap().count(),
        shipped.len()
    );
    for (program, name) in shipped {
        let path = root().join("configs").join(name);
        let checked = Launch::bare(program)
            .argument(path.to_str().unwrap())
            .argument("--check")
            .run();
        assert_eq!(checked.code, Some(0), "configs/{name}: {}", checked.stderr);
        let file = fs::read_to_string(path).unwrap();
        let mut above = "";
        for line in file.lines() {
            let is_setting = line.contains(" = ") && !line.starts_with('#');
            // Keys of one paragraph share the comment that opens it.
            if is_setting {
                assert!(above.starts_with('#'), "configs/{name}: {line}");
            } else {
                above = line;
            }
        }
    }
}

#[test]
fn the_generated_files_are_as_make_configs_writes_them() {
    for (program, option, name) in [
        (Program::Echo, "--print-example", "configs/echo.toml"),
        (Program::Ping, "--print-example", "configs/ping.toml"),
        (Program::Chat, "--print-example", "configs/chat.toml"),
        (Program::Gateway, "--print-example", "configs/gateway.toml"),
        (Program::Ping, "--print-reference", "docs/settings.md"),
    ] {
        let printed = Launch::bare(program).argument(option).run();
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (ours, written) = (read(Path::new(name)), printed.stdout);
        let differs = lines(&ours)
            .into_iter()
            .zip(lines(&written))
            .find(|(ours, written)| ours != written);
        assert!(
            ours == written,
            "{name} is not as the table of keys has it: run `make configs`. First: {differs:?}"
        );
    }
}

#[test]
fn no_file_names_a_directory_of_somebodys_machine() {
    let found = breaches(|path, code| {
        let private = ["home", "root", "work"]
            .iter()
            .any(|directory| code.contains(&format!("/{directory}/")));
        private && !this_file(path)
    });
    assert!(found.is_empty(), "paths of one machine: {found:#?}");
}
