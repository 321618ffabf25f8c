//! The documents, held to the code: their length, and whatever they name.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Words of a document at most, as `wc -w` counts.
const WORDS_MAX: [(&str, usize); 4] = [
    ("README.md", 900),
    ("ARCHITECTURE.md", 2500),
    ("SECURITY.md", 700),
    ("CONTRIBUTING.md", 500),
];
/// A change for a user is a line.
const CHANGE_WORDS_MAX: usize = 40;
/// Where a path in backticks begins, if it is one of the repository.
const FOLDERS: [&str; 10] = [
    ".ci",
    ".github",
    "apps",
    "configs",
    "deploy",
    "docs",
    "framework",
    "fuzz",
    "loadtest",
    "tests",
];
/// A name of so many words is a test's, a setting's or a constant's, and stands in some source.
const LONG_NAME_WORDS: usize = 4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Files with one of these endings, as paths from the root.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut pending) = (Vec::new(), vec![root()]);
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && name != ".git" && name != "node_modules" {
                    pending.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
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

/// A document: its lines outside code blocks, each with its number, and those inside.
struct Document {
    path: PathBuf,
    prose: Vec<(usize, String)>,
    blocks: Vec<String>,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = read(&path);
        let (mut prose, mut blocks, mut in_block) = (Vec::new(), Vec::new(), false);
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
            } else if !in_block {
                prose.push((index + 1, line.to_owned()));
            } else {
                blocks.push(line.to_owned());
            }
        }
        assert!(!in_block, "{}: a code block has no end", path.display());
        Self {
            path,
            prose,
            blocks,
        }
    }

    /// What stands in backticks, with where. It may go on over the end of a line.
    fn spans(&self) -> Vec<(String, String)> {
        let (mut spans, mut open) = (Vec::new(), None::<String>);
        for (number, line) in &self.prose {
            if line.is_empty() {
                open = None;
            }
            let mut parts = line.split('`');
            let first = parts.next().unwrap_or_default();
            if let Some(span) = &mut open {
                *span = format!("{span} {first}");
            }
            for part in parts {
                match open.take() {
                    Some(span) => spans.push((format!("{}:{number}", self.path.display()), span)),
                    None => open = Some(part.to_owned()),
                }
            }
        }
        spans
    }

    /// Where links lead, with where they stand.
    fn links(&self) -> Vec<(String, String)> {
        let links = |(number, line): &(usize, String)| -> Vec<(String, String)> {
            let place = format!("{}:{number}", self.path.display());
            let ends = line.split("](").skip(1);
            ends.filter_map(|rest| Some((place.clone(), rest.split_once(')')?.0.to_owned())))
                .collect()
        };
        self.prose.iter().flat_map(links).collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self
            .prose
            .iter()
            .filter(|(_, line)| line.starts_with('#'))
            .map(|(_, line)| line.trim_start_matches('#').trim().to_lowercase());
        headings
            .map(|heading| {
                let kept =
                    |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
                heading
                    .chars()
                    .filter(kept)
                    .collect::<String>()
                    .replace(' ', "-")
            })
            .collect()
    }
}

fn documents() -> Vec<Document> {
    let documents: Vec<_> = files(&[".md"])
        .into_iter()
        .filter(|path| !path.starts_with("fuzz/corpus"))
        .map(Document::read)
        .collect();
    assert!(documents.len() >= 20, "the search has missed some");
    documents
}

/// Documents that speak of the code as it is: a decision and a change may name what has gone.
fn documents_of_today() -> Vec<Document> {
    let old = |path: &Path| path.starts_with("docs/decisions") || path == Path::new("CHANGELOG.md");
    documents()
        .into_iter()
        .filter(|document| !old(&document.path))
        .collect()
}

/// `directory/../file` without the detour.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(normal.pop(), "{} leaves the root", path.display()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Every word of the sources, the settings, the scripts, and the guide's code blocks, which are
/// compiled.
fn words_of_the_code() -> BTreeSet<String> {
    let sources = files(&[".rs", ".toml", ".sh", "Makefile", ".yml"]);
    let this = Path::new("tests/tests/docs.rs");
    let mut texts: Vec<_> = sources
        .iter()
        .filter(|path| *path != this)
        .map(|path| read(path))
        .collect();
    texts.extend(Document::read("docs/guide.md".into()).blocks);
    let words = texts
        .iter()
        .flat_map(|text| text.split(|character| !is_word(character)));
    words.map(str::to_owned).collect()
}

/// Everything that is wrong, at once.
#[derive(Default)]
struct Breaches(Vec<String>);

impl Breaches {
    fn unless(&mut self, holds: bool, told: impl FnOnce() -> String) {
        if !holds {
            self.0.push(told());
        }
    }
}

impl Drop for Breaches {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{:#?}", self.0);
        }
    }
}

/// Names of tests, each with the stems of the files that have one of that name.
fn tests_by_name() -> BTreeMap<String, BTreeSet<String>> {
    let mut tests = BTreeMap::<String, BTreeSet<String>>::new();
    for path in files(&[".rs"]) {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        for line in read(&path).lines() {
            let line = line.trim_start();
            let name = line.strip_prefix("fn ").or(line.strip_prefix("async fn "));
            if let Some(name) = name.and_then(|name| name.split(['(', '<']).next()) {
                tests
                    .entry(name.to_owned())
                    .or_default()
                    .insert(stem.clone());
            }
        }
    }
    tests
}

#[test]
fn no_document_is_longer_than_its_bound() {
    let mut breaches = Breaches::default();
    for (name, words_max) in WORDS_MAX {
        let words = read(Path::new(name)).split_whitespace().count();
        breaches.unless(words <= words_max, || {
            format!("{name} has {words} words, {words_max} at most")
        });
    }
    for line in read(Path::new("CHANGELOG.md")).lines() {
        let words = line.split_whitespace().count();
        breaches.unless(words <= CHANGE_WORDS_MAX, || {
            format!("CHANGELOG.md: {words} words: {line}")
        });
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut breaches = Breaches::default();
    let documents = documents();
    let anchors: BTreeMap<_, _> = documents
        .iter()
        .map(|document| (document.path.clone(), document.anchors()))
        .collect();
    let mut links = 0;
    for document in &documents {
        for (place, link) in document.links() {
            if link.starts_with("http://") || link.starts_with("https://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => document.path.clone(),
                path => normal(&document.path.parent().unwrap().join(path)),
            };
            breaches.unless(root().join(&target).exists(), || {
                format!("{place}: no {}", target.display())
            });
            let has_anchor = || anchors.get(&target).is_some_and(|all| all.contains(anchor));
            breaches.unless(anchor.is_empty() || has_anchor(), || {
                format!("{place}: no #{anchor}")
            });
            links += 1;
        }
    }
    assert!(links >= 30, "the search has missed some: {links}");
}

/// The path that a span names, without what may stand behind it.
fn path_of(span: &str) -> Option<&str> {
    let first = span.split(['/', ' ']).next()?;
    let is_plain = span.contains('/') && !span.contains([' ', '*', '$', '{', '<', ':']);
    (is_plain && FOLDERS.contains(&first)).then_some(span)
}

#[test]
fn every_path_is_there() {
    let mut breaches = Breaches::default();
    let names: BTreeSet<_> = files(&[".rs", ".sh", ".toml", ".md", ".yml"])
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut paths = 0;
    for document in documents() {
        for (place, span) in document.spans() {
            if let Some(path) = path_of(&span) {
                breaches.unless(root().join(path).exists(), || format!("{place}: no {path}"));
                paths += 1;
            } else if span.ends_with(".rs") || span.ends_with(".md") {
                breaches.unless(names.contains(&span), || format!("{place}: no file {span}"));
            }
        }
    }
    assert!(paths >= 60, "the search has missed some: {paths}");
}

#[test]
fn every_promise_names_tests_that_are_there() {
    let mut breaches = Breaches::default();
    let document = Document::read("docs/threats.md".into());
    let tests = tests_by_name();
    let mut rows = 0;
    for (number, line) in &document.prose {
        let Some(cells) = line
            .strip_prefix("| ")
            .filter(|line| !line.starts_with("promise"))
        else {
            continue;
        };
        let named = cells.split('`').skip(1).step_by(2);
        let named: Vec<_> = named.filter_map(|span| span.split_once("::")).collect();
        breaches.unless(!named.is_empty(), || {
            format!("line {number}: a promise without a test")
        });
        for (file, test) in named {
            let files = tests.get(test);
            let there = files.is_some_and(|files| files.contains(file));
            breaches.unless(there, || {
                format!("line {number}: no {test} in {file}.rs, but in {files:?}")
            });
        }
        rows += 1;
    }
    assert!(rows >= 50, "the search has missed some: {rows}");
}

#[test]
fn whatever_a_document_names_is_in_the_code() {
    let mut breaches = Breaches::default();
    let words = words_of_the_code();
    for document in documents_of_today() {
        for (place, span) in document.spans() {
            let name = span.rsplit(['.', ':']).next().unwrap_or_default();
            let parts = name.split('_').filter(|part| !part.is_empty()).count();
            let is_long = parts >= LONG_NAME_WORDS && name.chars().all(is_word);
            breaches.unless(!is_long || words.contains(name), || {
                format!("{place}: nothing is named {name}")
            });
        }
    }
}

/// The key of a setting that a span begins with, if its section is one of `sections`.
fn key_of<'a>(span: &'a str, sections: &BTreeSet<&str>) -> Option<&'a str> {
    let key = span.split([' ', '=']).next()?;
    let (section, name) = key.rsplit_once('.')?;
    let is_name = !name.is_empty() && name != "rs" && name.chars().all(is_word);
    (sections.contains(section) && is_name).then_some(key)
}

#[test]
fn every_setting_is_in_the_reference() {
    let reference = read(Path::new("docs/settings.md"));
    let headings = reference
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    let keys: BTreeSet<&str> = headings.collect();
    let sections: BTreeSet<&str> = keys
        .iter()
        .filter_map(|key| Some(key.rsplit_once('.')?.0))
        .collect();
    let (mut breaches, mut named) = (Breaches::default(), 0);
    for document in documents_of_today() {
        for (place, span) in document.spans() {
            if let Some(key) = key_of(&span, &sections) {
                breaches.unless(keys.contains(key), || format!("{place}: no setting {key}"));
                named += 1;
            }
        }
    }
    assert!(named >= 80, "the search has missed some: {named}");
}

/// A type or a function of one, as `Conn::read`: its words.
fn words_of_a_type(span: &str) -> Option<Vec<&str>> {
    let mut words = span.split("::");
    let first = words.clone().next()?;
    let is_camel = first.starts_with(|letter: char| letter.is_ascii_uppercase())
        && first.contains(|letter: char| letter.is_ascii_lowercase());
    let is_plain = words.all(|word| !word.is_empty() && word.chars().all(is_word));
    (is_camel && is_plain).then(|| span.split("::").collect())
}

#[test]
fn every_type_is_in_the_code() {
    let mut breaches = Breaches::default();
    let code = words_of_the_code();
    let mut types = 0;
    for document in documents_of_today() {
        for (place, span) in document.spans() {
            for word in words_of_a_type(&span).into_iter().flatten() {
                breaches.unless(code.contains(word), || {
                    format!("{place}: nothing is named {word} ({span})")
                });
                types += 1;
            }
        }
    }
    assert!(types >= 40, "the search has missed some: {types}");
}

#[test]
fn every_make_target_is_there() {
    let mut breaches = Breaches::default();
    let makefile = read(Path::new("Makefile"));
    let targets: BTreeSet<_> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', ' ', '.', '#']) && !line.contains(":="))
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    let mut named = 0;
    for document in documents() {
        let in_blocks = document.blocks.iter().map(String::as_str);
        let in_spans = document.spans();
        let in_spans = in_spans.iter().map(|(_, span)| span.as_str());
        for command in in_blocks.chain(in_spans) {
            let Some(target) = command.strip_prefix("make ") else {
                continue;
            };
            let target = target.split_whitespace().next().unwrap_or_default();
            breaches.unless(targets.contains(target), || {
                format!("{}: no `make {target}`", document.path.display())
            });
            named += 1;
        }
    }
    assert!(named >= 30, "the search has missed some: {named}");
}

#[test]
fn every_figure_has_its_command_and_its_machine() {
    let text = read(Path::new("docs/benchmarks.md"));
    let sections = text.split("\n## ").skip(1);
    let mut with_figures = 0;
    for section in sections {
        let heading = section.lines().next().unwrap();
        let has = |start: &str| section.lines().any(|line| line.starts_with(start));
        assert!(has("| ") || has("```"), "{heading}: no figures");
        assert!(has("Command: `"), "{heading}: no command");
        assert!(has("Machine: "), "{heading}: no machine");
        with_figures += 1;
    }
    assert!(
        with_figures >= 5,
        "the search has missed some: {with_figures}"
    );
    let head = text.split("\n## ").next().unwrap();
    let is_free = !head.contains(|letter: char| letter.is_ascii_digit());
    assert!(is_free, "a figure before the first section has no command");
}

/// The figures of a line of a table, its first cell without.
fn figures(line: &str) -> Vec<&str> {
    let cells = line.trim_matches('|').split('|').map(str::trim).skip(1);
    cells
        .filter(|cell| cell.starts_with(|letter: char| letter.is_ascii_digit()))
        .collect()
}

#[test]
fn the_readmes_figures_are_those_of_the_benchmarks() {
    let benchmarks = read(Path::new("docs/benchmarks.md"));
    let rows: Vec<_> = benchmarks.lines().map(figures).collect();
    let readme = read(Path::new("README.md"));
    let table = readme.lines().filter(|line| line.starts_with("| "));
    let table: Vec<_> = table.map(|line| (line, figures(line))).collect();
    let with_figures: Vec<_> = table.iter().filter(|(_, row)| !row.is_empty()).collect();
    assert!(with_figures.len() >= 4, "README.md has lost its table");
    for (line, row) in with_figures {
        let is_there = rows.iter().any(|known| known.ends_with(row));
        assert!(is_there, "README.md: not in docs/benchmarks.md: {line}");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest: toml::Table = read(Path::new("Cargo.toml")).parse().unwrap();
    let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
    let text = read(Path::new("ARCHITECTURE.md"));
    let list = text.split("## Dependencies").nth(1).unwrap();
    let rows = list
        .lines()
        .filter_map(|line| line.strip_prefix("- ")?.split(": ").next());
    let explained: BTreeSet<_> = rows
        .flat_map(|cell| cell.split([',', ' ', '(']))
        .map(str::trim)
        .collect();
    for (name, dependency) in dependencies {
        let is_ours = dependency.get("path").is_some();
        assert!(
            is_ours || explained.contains(name.as_str()),
            "ARCHITECTURE.md: why {name}?"
        );
    }
    for name in explained
        .iter()
        .filter(|name| !name.is_empty() && !name.starts_with('-') && !name.contains(['`', ')']))
    {
        let is_used = dependencies.contains_key(*name) || *name == "crate";
        assert!(
            is_used,
            "ARCHITECTURE.md explains {name}, which nothing depends on"
        );
    }
}

#[test]
fn one_phrase_says_what_to_install() {
    let readme = read(Path::new("README.md"));
    assert_eq!(readme.matches("`apt-get install ").count(), 1);
}
