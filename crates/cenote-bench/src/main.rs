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
mod probe;
mod report;
mod run;
mod session;
mod stats;
mod work;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;

use cli::Cli;
use groups::{GROUPS, Group};
use harness::Effort;
use report::json::Rows;
use session::Session;

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
    if let Some(subject) = &cli.months_subject {
        return groups::months::child(subject, cli.quick);
    }
    if !cli.global_sample.is_empty() {
        return groups::global::child(&cli.global_sample, cli.quick);
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
    let rows = Session::new(&cli, counting, &scratch.0).run(&chosen, |fresh| match &cli.json {
        // After each, so that nothing is lost where a later one fails.
        Some(file) => report::json::write(file, &fresh.over(former.clone()), &machine),
        None => Ok(()),
    })?;
    let rows = rows.over(former);
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
