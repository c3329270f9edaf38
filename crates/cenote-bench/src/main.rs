//! Every memory pool and allocator that one would pick instead of cenote, side by side in one run.
//!
//! `cargo run --release -p cenote-bench` prints a table while it works and writes
//! `docs/PERFORMANCE.md` with its charts.

mod cli;
mod count;
mod end_to_end;
mod fast_path;
mod groups;
mod harness;
mod peers;
mod report;
mod run;
mod stats;
mod work;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;

use cli::Cli;
use groups::{GROUPS, Group};
use harness::Effort;
use report::table::Live;

fn main() -> Result<()> {
    let cli = Cli::parse();
    let named =
        |name: &String| GROUPS.iter().find(|group| group.name == name).context("no such group");
    if let Some(name) = &cli.count_group {
        count::child(named(name)?);
        return Ok(());
    }
    if let Some(name) = &cli.measure_group {
        return run::child(named(name)?, if cli.quick { Effort::QUICK } else { Effort::FULL });
    }
    if let Some(subject) = &cli.idle_subject {
        return groups::idle::child(subject);
    }
    if cli.list {
        for group in GROUPS {
            println!("{:<14} {}", group.name, group.about);
        }
        return Ok(());
    }
    let chosen = chosen(&cli.only)?;
    let scratch = Scratch::new()?;
    let counting = !cli.no_count && count::available();
    if !counting {
        eprintln!("SKIPPED: instructions per unit (no valgrind, or not asked for)");
    }
    let mut rows = Vec::new();
    for group in &chosen {
        let live = Live::new(group);
        if group.name == "idle" {
            let found = groups::idle::rows()?;
            live.bytes(&found);
            rows.extend(found);
            continue;
        }
        if group.name == "end-to-end" {
            let found = end_to_end::rows(cli.quick, &scratch.0, &live).unwrap_or_else(|why| {
                eprintln!("SKIPPED: end-to-end: {why:#}");
                Vec::new()
            });
            let (timed, held): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|row| row.ns.is_some());
            for case in timed.chunk_by(|one, other| one.case == other.case) {
                live.case(case);
            }
            live.bytes(&held);
            rows.extend(timed);
            rows.extend(held);
            continue;
        }
        let counts = if counting {
            live.doing("counting instructions");
            count::group(group, &scratch.0).unwrap_or_else(|why| {
                eprintln!("SKIPPED: instructions of {}: {why:#}", group.name);
                count::Counts::new()
            })
        } else {
            count::Counts::new()
        };
        for rounds in run::group(group, cli.quick, &live)? {
            let mut found = rounds.rows(group.name);
            for row in &mut found {
                row.instructions = counts.get(&(row.case.clone(), row.subject.clone())).copied();
            }
            live.case(&found);
            rows.extend(found);
        }
    }
    if let Some(file) = &cli.json {
        report::json::write(file, &rows)?;
    }
    let docs = match &cli.docs {
        Some(docs) => Some(docs.clone()),
        None if cli.only.is_empty() && !cli.quick => {
            Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs"))
        }
        None => None,
    };
    if let Some(docs) = docs {
        report::page::write(&docs, &rows, cli.quick)?;
        println!("\nwritten: {}", docs.join("PERFORMANCE.md").display());
    }
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<&'static Group>> {
    for name in only {
        if !GROUPS.iter().any(|group| group.name == name) {
            let all: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
            bail!("no group {name}; there are {}", all.join(", "));
        }
    }
    Ok(GROUPS
        .iter()
        .filter(|group| only.is_empty() || only.iter().any(|name| name == group.name))
        .collect())
}

/// A folder that goes when the run is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("cenote-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
