//! From a table of values to a type, with everything in it that does not fit.

use std::ops::Range;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable as Table, DeValue};

use super::problem::{Fault, PROBLEMS_MAX, cut};

/// Deserialise a table, striking out and reporting each value that does not fit. What was struck
/// out, and all of it if the type cannot say what does not fit, has its default.
pub(super) fn deserialise<T>(mut table: Table<'_>, name: &str, faults: &mut Vec<Fault>) -> T
where
    T: DeserializeOwned + Default,
{
    for _ in 0..PROBLEMS_MAX {
        let value = Spanned::new(0..0, DeValue::Table(table.clone()));
        let error = match T::deserialize(value.into_deserializer()) {
            Ok(settings) => return settings,
            Err(error) => error,
        };
        let span = error.span().filter(|span| span.end > 0);
        let mut path = name.to_owned();
        let struck = span
            .as_ref()
            .is_some_and(|span| strike(&mut table, span, &mut path));
        faults.push(Fault {
            at: span.map(|span| span.start),
            key: path,
            what: error.message().to_owned(),
            help: None,
        });
        if !struck {
            break;
        }
    }
    T::default()
}

/// Take out the innermost key whose name or value holds `span`, and add its name to `path`.
fn strike(table: &mut Table<'_>, span: &Range<usize>, path: &mut String) -> bool {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let length = path.len();
    for (key, value) in table.iter_mut() {
        append(path, key.get_ref());
        if let DeValue::Table(inner) = value.get_mut()
            && strike(inner, span, path)
        {
            return true;
        }
        if holds(key.span()) || holds(value.span()) {
            let key = key.get_ref().clone();
            table.remove(key.as_ref());
            return true;
        }
        path.truncate(length);
    }
    false
}

fn append(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(&cut(key));
}
