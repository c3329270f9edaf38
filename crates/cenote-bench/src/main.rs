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
use harness::{Effort, Row};
use report::json::Rows;
use report::ran::Ran;
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
    let machine = report::machine::facts();
    let former = match &cli.keep {
        Some(file) => report::json::read(file, &machine, cli.quick)?,
        None => Rows::default(),
    };
    let mut fresh = Rows::default();
    for group in &chosen {
        let live = Live::new(group);
        let ran = Ran::begun(group.name, cli.quick);
        fresh.rows.extend(measured(group, &cli, counting, &scratch.0, &live)?);
        let ran = ran.ended();
        println!("\n  load: {} before, {} after", ran.load[0], ran.load[1]);
        fresh.groups.push(ran);
        if let Some(file) = &cli.json {
            // After each, so that nothing is lost where a later one fails.
            report::json::write(file, &fresh.clone().over(former.clone()), &machine)?;
        }
    }
    let rows = fresh.over(former);
    let whole = GROUPS.iter().all(|group| rows.groups.iter().any(|ran| ran.group == group.name));
    let docs = match &cli.docs {
        Some(docs) => Some(docs.clone()),
        None if whole && !cli.quick => {
            Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs"))
        }
        None => None,
    };
    if let Some(docs) = docs {
        report::page::write(&docs, &rows, &machine, cli.quick)?;
        println!("\nwritten: {}", docs.join("PERFORMANCE.md").display());
    }
    Ok(())
}

/// A group's rows.
fn measured(
    group: &Group,
    cli: &Cli,
    counting: bool,
    scratch: &Path,
    live: &Live,
) -> Result<Vec<Row>> {
    if group.name == "idle" {
        let rows = groups::idle::rows()?;
        live.bytes(&rows);
        return Ok(rows);
    }
    if group.name == "end-to-end" {
        return end_to_end::rows(cli.quick, counting, scratch, live);
    }
    let counts = if counting {
        live.doing("counting instructions");
        count::group(group, scratch).unwrap_or_else(|why| {
            eprintln!("SKIPPED: instructions of {}: {why:#}", group.name);
            count::Counts::new()
        })
    } else {
        count::Counts::new()
    };
    let mut all = Vec::new();
    for rounds in run::group(group, cli.quick, live)? {
        let mut rows = rounds.rows(group.name);
        for row in &mut rows {
            row.instructions = counts.get(&(row.case.clone(), row.subject.clone())).copied();
        }
        live.case(&rows);
        all.extend(rows);
    }
    Ok(all)
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
