//! A server's months in a minute: what is resident beside what is live, again and again.
//!
//! Every subject has a process of its own, whose size the system tells, and lives through the very
//! same life: see [`life`].

mod houses;
mod life;

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::groups::idle::rss;
use crate::harness::Row;
use crate::peers::mallocs::{TCMALLOC, preload_tcmalloc};
use crate::report::table::Live;
use crate::stats::Spread;
pub(crate) use houses::{InPlace, Returns, three};
use houses::{Objects, Pools};
use life::{House, Life};

/// Allocations of the whole life, and of a look.
const ALLOCATIONS: [u64; 2] = [100_000_000, 5_000_000];
/// Times that it is looked at while the server is at work.
pub(crate) const POINTS: usize = 10;
/// At the end, when nothing is asked any more.
pub(crate) const END: &str = "at the end, idle";
/// The same, after whoever has a call for it was told to give back what is free.
pub(crate) const TRIMMED: &str = "at the end, idle, told to give back";
/// The whole life.
pub(crate) const TIME: &str = "the whole life";
const ABOUT: &str = "process";

const TRIMS: &str = "glibc malloc, malloc_trim each hour";
/// Here years go by in a second: what allocators give back after some time, they give back at once.
const AT_ONCE: [(&str, &str); 2] =
    [("MIMALLOC_PURGE_DELAY", "0"), ("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")];

/// Those compared; ours first.
pub(crate) const SUBJECTS: [&str; 7] =
    ["cenote", "glibc malloc", TRIMS, "jemalloc", "mimalloc 2", "mimalloc 3", TCMALLOC];

/// The case of a moment while the server is at work.
pub(crate) fn point(at: usize) -> String {
    format!("after {at} of {POINTS} parts")
}

/// What is there at one moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Moment {
    /// Bytes that the server asked for and has not given back.
    live: usize,
    /// Bytes of the process more than before its first allocation.
    resident: usize,
}

/// What a process tells.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Told {
    moments: Vec<Moment>,
    seconds: f64,
    allocations: u64,
}

/// The child's part.
pub(crate) fn child(subject: &str, quick: bool) -> Result<()> {
    let told = match subject {
        "cenote" => live(Pools::new(), quick)?,
        "mimalloc 3" => live(Objects(houses::three()), quick)?,
        #[cfg(has_mimalloc2)]
        "mimalloc 2" => live(Objects(houses::two()), quick)?,
        #[cfg(feature = "jemalloc")]
        "jemalloc" => live(Objects(houses::Jemalloc), quick)?,
        TRIMS => live(Objects(houses::InPlace::trimmed()), quick)?,
        TCMALLOC => live(Objects(houses::InPlace::tcmalloc()?), quick)?,
        _ => live(Objects(houses::Glibc), quick)?,
    };
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}

fn live<H: House>(house: H, quick: bool) -> Result<Told> {
    let allocations = ALLOCATIONS[usize::from(quick)];
    // The server's own tables, which are no matter of who allocates.
    let mut life = Life::new(house, allocations);
    let before = rss()?;
    let mut moments = Vec::with_capacity(POINTS + 2);
    let mut look = |live: usize| -> Result<()> {
        moments.push(Moment { live, resident: rss()?.saturating_sub(before) });
        Ok(())
    };
    let begun = Instant::now();
    for part in 1..=POINTS {
        life.run(allocations * part as u64 / POINTS as u64);
        look(life.live_bytes())?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    life.fall_idle();
    look(life.live_bytes())?;
    life.house().give_back();
    look(life.live_bytes())?;
    Ok(Told { moments, seconds, allocations: life.allocations() })
}

/// The parent's part: a row for each subject and moment.
pub(crate) fn rows(quick: bool, live: &Live) -> Result<Vec<Row>> {
    let mut told = Vec::new();
    for (at, subject) in SUBJECTS.into_iter().enumerate() {
        live.step(at + 1, SUBJECTS.len(), subject);
        told.push((subject, ask(subject, quick)?));
    }
    let mut cases: Vec<String> = (1..=POINTS).map(point).collect();
    cases.extend([END, TRIMMED].map(str::to_owned));
    let row = |case: &str, subject: &str, missing: Option<&str>| Row {
        group: "months".into(),
        case: case.into(),
        subject: subject.into(),
        unit: ABOUT.into(),
        note: missing.unwrap_or_default().into(),
        ..Row::default()
    };
    let mut rows = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        for (subject, told) in &told {
            let mut row = row(case, subject, told.as_ref().err().copied());
            if let Ok(told) = told {
                let moment = told.moments.get(at).context("a moment less")?;
                (row.held, row.live) = (Some(moment.resident), Some(moment.live));
            }
            rows.push(row);
        }
    }
    let per = |told: &Told| told.seconds * 1e9 / told.allocations as f64;
    let ours = told.iter().find_map(|(_, told)| Some(per(told.as_ref().ok()?)));
    for (subject, told) in &told {
        let mut row = row(TIME, subject, told.as_ref().err().copied());
        row.unit = "allocation".into();
        if let (Ok(told), Some(ours)) = (told, ours) {
            row.ns = Some(Spread { median: per(told), mad: 0.0 });
            row.ratio = Some(Spread { median: per(told) / ours, mad: 0.0 });
        }
        rows.push(row);
    }
    Ok(rows)
}

/// What the process of a subject tells, or why there is none.
fn ask(subject: &str, quick: bool) -> Result<Result<Told, &'static str>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--months-subject", subject]).envs(AT_ONCE);
    if quick {
        command.arg("--quick");
    }
    match subject {
        TCMALLOC => {
            if let Err(why) = preload_tcmalloc(&mut command) {
                return Ok(Err(why));
            }
        }
        "mimalloc 2" if !cfg!(has_mimalloc2) => return Ok(Err("not built")),
        "jemalloc" if !cfg!(feature = "jemalloc") => return Ok(Err("not built")),
        _ => {}
    }
    let out = command.output()?;
    ensure!(out.status.success(), "months, {subject}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(Ok(serde_json::from_slice(&out.stdout)?))
}

/// Resident by live bytes, as they are drawn and judged.
pub(crate) fn ratio(row: &Row) -> Option<f64> {
    Some(row.held? as f64 / row.live? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_house_lives_through_the_same_life() {
        fn end<H: House>(house: H) -> (u64, usize, u64) {
            // Bursts alone are two million.
            let mut life = Life::new(house, 4_000_000);
            life.run(4_000_000);
            let live = life.live_bytes();
            life.fall_idle();
            assert!(life.live_bytes() < live, "nothing fell idle");
            (life.allocations(), life.live_bytes(), life.seen())
        }
        let ours = end(Pools::new());
        assert!(ours.0 >= 4_000_000 && ours.1 > 1 << 20, "{ours:?}");
        assert_eq!(ours, end(Objects(houses::Glibc)));
        assert_eq!(ours, end(Objects(houses::three())));
    }
}
