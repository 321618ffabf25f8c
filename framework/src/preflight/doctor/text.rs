//! The report as people read it: plain text, in columns.

use std::fmt;

use crate::preflight::doctor::Report;
use crate::preflight::doctor::forecast::Memory;
use crate::preflight::doctor::resource::{Resource, State};
use crate::preflight::memory::SOCKET_BYTES;

const MIB: u64 = 1024 * 1024;

/// What no look at one machine tells.
const NOT_KNOWN: [&str; 5] = [
    "what handlers allocate themselves: it is not in the memory above",
    "what lies in the kernel's socket buffers: peers that do not read fill them, up to \
     net.ipv4.tcp_mem for all sockets of the machine",
    "what other processes of this user have locked, and what others will take of memory and files",
    "firewalls and address translation elsewhere; from one client address an address of this server \
     has at most some 64 000 connections to a port, by default 28 232",
    "how many requests a second the cores serve: measure that (docs/loadtest.md)",
];

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (connections, shards, cores) = (self.connections, self.shards, &self.cores);
        let origin = if self.is_asked {
            "limits.connections_max"
        } else {
            "derived"
        };
        let shards_noun = if shards == 1 { "shard" } else { "shards" };
        writeln!(
            out,
            "Linux {}, {shards} {shards_noun} on {cores}, {connections} connections ({origin})\n",
            self.release
        )?;
        table(out, &rows(&self.resources))?;
        self.remedies(out)?;
        self.forecast(out)?;
        self.memory(out)?;
        list(out, "Note", &self.notes)?;
        list(out, "Not known here", &NOT_KNOWN.map(str::to_owned))
    }
}

impl Report {
    fn remedies(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedies = self.resources.iter().filter_map(|resource| {
            let remedy = resource.remedy.as_ref()?;
            Some(format!("{}: {remedy}", resource.name))
        });
        list(out, "To mend", &remedies.collect::<Vec<_>>())
    }

    fn forecast(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forecast = &self.forecast;
        let also = if self.resources.iter().any(Resource::is_missing) {
            ", once what is short above is mended"
        } else {
            ""
        };
        writeln!(
            out,
            "\nForecast: {} connections with these settings{also}. What binds, first what binds first:\n",
            forecast.connections
        )?;
        let rows = forecast.by_resource.iter();
        let rows =
            rows.map(|(resource, carries)| [String::new(), carries.to_string(), resource.clone()]);
        table(out, &rows.collect::<Vec<_>>())
    }

    fn memory(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nMemory in MiB:\n")?;
        let row = |name: &str, of: fn(&Memory) -> u64, how: &str| {
            let [now, then] = self.memory.map(|at| of(&at).div_ceil(MIB).to_string());
            [String::new(), name.to_owned(), now, then, how.to_owned()]
        };
        let [now, then] = self.memory.map(|at| format!("at {}", at.connections));
        let rows = [
            [String::new(), String::new(), now, then, String::new()],
            row(
                "process, nobody speaks",
                |at| at.at_rest,
                "program, shards, connections",
            ),
            row(
                "process, at most",
                |at| at.at_most,
                "as `--check` adds it up",
            ),
            row("sockets in the kernel", |at| at.sockets, "estimated"),
            row("all, at most", |at| at.at_most + at.sockets, ""),
        ];
        table(out, &rows)?;
        writeln!(
            out,
            "\nA socket is estimated at {SOCKET_BYTES} bytes: 3.1 to 3.8 KB as measured, and 256 bytes for the poll\n\
             of a peer that is silent. One that speaks often has a receive of 858 instead."
        )
    }
}

fn rows(resources: &[Resource]) -> Vec<[String; 6]> {
    let head = ["", "resource", "needs", "there is", "left", "limit"].map(str::to_owned);
    let row = |resource: &Resource| {
        let state = match resource.state {
            State::Enough => "ok",
            State::Short => "SHORT",
            State::Cut => "CUT",
            State::Unknown => "?",
        };
        let Resource {
            name,
            needs,
            has,
            left,
            limit,
            ..
        } = resource;
        [&state.to_owned(), name, needs, has, left, limit].map(String::clone)
    };
    let mut rows = vec![head];
    rows.extend(resources.iter().map(row));
    rows
}

/// Columns as wide as their widest cell, with two spaces between them.
fn table<const COLUMNS: usize>(
    out: &mut fmt::Formatter<'_>,
    rows: &[[String; COLUMNS]],
) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in rows {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Nothing where there is nothing.
fn list(out: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}:\n")?;
    lines.iter().try_for_each(|line| writeln!(out, "- {line}"))
}
