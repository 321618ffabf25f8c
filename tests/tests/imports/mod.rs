//! Who imports whom among the files of a crate: `use` items and paths that begin with `crate`,
//! `super` or `self`. Code for tests alone (`#[cfg(test)]`, `#[cfg(any(test, ..))]`) does not count,
//! nor does documentation.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, UseTree};

/// A module by its path: `["shard", "conns"]`; the crate's root is empty.
type Module = Vec<String>;

/// The files of a crate, each with those that it imports. Names are paths below `src`, without
/// `.rs`.
pub(crate) struct Imports {
    by_file: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// Of the library whose root is `src/lib.rs`.
    pub(crate) fn of(src: &Path) -> Self {
        let mut modules = BTreeMap::new();
        collect(src, &src.join("lib.rs"), &Module::new(), &mut modules);
        let names: BTreeMap<&Module, String> = modules
            .iter()
            .map(|(module, (path, _))| (module, name(src, path)))
            .collect();
        let imports_of = |module: &Module, file: &File| -> BTreeSet<String> {
            let mut finder = Finder {
                module: module.clone(),
                found: BTreeSet::new(),
            };
            finder.visit_file(file);
            let own = &names[module];
            let resolve = |path: &Module| names[longest(path, &names)].clone();
            let found = finder.found.iter().map(resolve);
            found.filter(|target| target != own).collect()
        };
        let by_file = modules
            .iter()
            .map(|(module, (_, file))| (names[module].clone(), imports_of(module, file)))
            .collect();
        Self { by_file }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.by_file.keys().map(String::as_str)
    }

    /// Each import as (importing file, imported file).
    pub(crate) fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_file.iter().flat_map(|(from, targets)| {
            targets
                .iter()
                .map(move |target| (from.as_str(), target.as_str()))
        })
    }

    /// Files that import each other round about, or lie between two such circles: those that are
    /// left when files that import none of the others, or that none of them imports, are taken
    /// away, again and again.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut left: BTreeSet<(&str, &str)> = self.edges().collect();
        loop {
            let importing: BTreeSet<&str> = left.iter().map(|(from, _)| *from).collect();
            let imported: BTreeSet<&str> = left.iter().map(|(_, target)| *target).collect();
            let before = left.len();
            left.retain(|(from, target)| imported.contains(from) && importing.contains(target));
            if left.len() == before {
                break;
            }
        }
        let told = left
            .iter()
            .map(|(from, target)| format!("{from} imports {target}"));
        told.collect()
    }
}

fn name(src: &Path, path: &Path) -> String {
    let path = path.strip_prefix(src).unwrap().with_extension("");
    path.to_str().unwrap().to_owned()
}

/// The module that a path lies in: the longest beginning of it that is one.
fn longest<'m>(path: &Module, modules: &BTreeMap<&'m Module, String>) -> &'m Module {
    let lengths = (0..=path.len()).rev();
    let found = lengths.map(|length| &path[..length]).find_map(|beginning| {
        let key = modules.keys().find(|module| module.as_slice() == beginning);
        key.copied()
    });
    found.unwrap()
}

/// Reads `path`, the file of `module`, and those of the modules that it declares.
fn collect(
    src: &Path,
    path: &Path,
    module: &Module,
    modules: &mut BTreeMap<Module, (PathBuf, File)>,
) {
    let text = fs::read_to_string(path).unwrap();
    let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for item in &file.items {
        if let Item::Mod(declared) = item
            && declared.content.is_none()
            && !is_for_tests(&declared.attrs)
        {
            let mut inner = module.clone();
            inner.push(declared.ident.to_string());
            let stem = src.join(inner.join("/"));
            let candidates = [stem.with_extension("rs"), stem.join("mod.rs")];
            let found = candidates.iter().find(|candidate| candidate.exists());
            let found = found.unwrap_or_else(|| panic!("no file of {inner:?}"));
            collect(src, found, &inner, modules);
        }
    }
    modules.insert(module.clone(), (path.to_owned(), file));
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let tokens = match &attribute.meta {
            syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
            _ => return false,
        };
        let words: Vec<&str> = tokens.split(|c: char| !c.is_alphanumeric()).collect();
        let is_shipped = words.contains(&"not") || words.contains(&"feature");
        !is_shipped && (words.contains(&"test") || words.contains(&"fuzzing"))
    })
}

/// Collects the paths that a file names, from the root of the crate.
struct Finder {
    module: Module,
    found: BTreeSet<Module>,
}

impl Finder {
    /// The path from the root, if it is one of ours.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut absolute = match first.as_str() {
            "crate" => Module::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().checked_sub(1)?].to_vec(),
            _ => return None,
        };
        for segment in rest {
            match segment.as_str() {
                "super" => drop(absolute.pop()),
                segment => absolute.push(segment.to_owned()),
            }
        }
        Some(absolute)
    }

    fn add(&mut self, path: &[String]) {
        if let Some(absolute) = self.absolute(path) {
            self.found.insert(absolute);
        } else if let Some(first) = path.first() {
            // A module of this one, named without `self`: it is found if there is such a file.
            let mut child = self.module.clone();
            child.extend(path.iter().cloned());
            if first.chars().all(|c| c.is_lowercase() || c == '_') {
                self.found.insert(child);
            }
        }
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(path.ident.to_string()), &path.tree),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(before, tree);
                }
            }
            UseTree::Name(name) if name.ident == "self" => self.add(before),
            UseTree::Name(name) => self.add(&with(name.ident.to_string())),
            UseTree::Rename(rename) => self.add(&with(rename.ident.to_string())),
            UseTree::Glob(_) => self.add(before),
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter();
        let segments: Vec<String> = segments.map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }
}
