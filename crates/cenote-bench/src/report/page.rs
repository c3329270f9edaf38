//! docs/PERFORMANCE.md and its charts.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::aims::{self, Aim, Rows};
use super::chart::{self, Bar};
use super::json;
use super::notes;
use super::ran::Ran;
use super::table::digits;
use crate::groups::GROUPS;
use crate::harness::{Effort, Row};

/// Charts: file, group, case, what the title says, and whether bytes are drawn instead of time.
const CHARTS: [(&str, &str, &str, &str, bool); 5] = [
    (
        "request",
        "request",
        crate::groups::request::MAKE,
        "A request's life: make a pool, 40 allocations, drop",
        false,
    ),
    (
        "reset",
        "request",
        crate::groups::request::RESET,
        "The same 40 allocations in a pool that is reset",
        false,
    ),
    (
        "trace",
        "trace",
        "HTTP/2, 48 requests",
        "What nginx asked of its pools for 48 HTTP/2 requests",
        false,
    ),
    (
        "chunk",
        "chunk",
        "16 to 256 B, 4,096 live",
        "Free one object, allocate another: 4,096 live",
        false,
    ),
    (
        "idle",
        "idle",
        crate::groups::idle::IDLE,
        "Bytes of the process for each of 100,000 idle connections",
        true,
    ),
];

/// Writes the page and the charts into `docs`.
pub(crate) fn write(
    docs: &Path,
    all: &json::Rows,
    machine: &[(&str, String)],
    quick: bool,
) -> Result<()> {
    let rows = &all.rows;
    let charts = docs.join("charts");
    std::fs::create_dir_all(&charts).with_context(|| charts.display().to_string())?;
    for (file, group, case, title, bytes) in CHARTS {
        let bars: Vec<Bar> = of(rows, group, case).filter_map(|row| bar(row, bytes)).collect();
        if bars.is_empty() {
            continue;
        }
        let (note, unit) = if bytes {
            ("shorter is better; RSS", " B")
        } else {
            ("shorter is better; median over all rounds", " ns")
        };
        std::fs::write(charts.join(format!("{file}.svg")), chart::bars(title, note, unit, bars))?;
    }
    let page = docs.join("PERFORMANCE.md");
    std::fs::write(&page, text(all, machine, quick)).with_context(|| page.display().to_string())
}

fn of<'a>(rows: &'a [Row], group: &'a str, case: &'a str) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |row| row.group == group && row.case == case)
}

fn bar(row: &Row, bytes: bool) -> Option<Bar> {
    let value = if bytes { row.held? as f64 } else { row.ns?.median };
    Some(Bar { label: row.subject.clone(), value, ours: row.subject == "cenote" })
}

fn text(all: &json::Rows, machine: &[(&str, String)], quick: bool) -> String {
    let rows = &all.rows;
    let mut page = String::from(INTRODUCTION);
    if quick {
        page.push_str("\n**This is from `--quick`: a look, not a measurement.**\n");
    }
    page.push_str("\n## Machine and compilers\n\n| | |\n|---|---|\n");
    for (what, found) in machine {
        let _ = writeln!(page, "| {what} | {found} |");
    }
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    let _ = write!(
        page,
        "{}",
        METHOD
            .replace("PROCESSES", &effort.processes.to_string())
            .replace("ROUNDS", &effort.rounds.to_string())
            .replace("MILLISECONDS", &effort.sample.as_millis().to_string())
    );
    runs(&mut page, &all.groups);
    aims_table(&mut page, &aims::judge(&Rows(rows)));
    losses(&mut page, rows);
    for group in GROUPS {
        let _ = write!(page, "\n## {}\n\n{}\n", group.name, group.about);
        group_tables(&mut page, rows, group.name);
    }
    page
}

/// When each group was measured, and beside how much else.
fn runs(page: &mut String, groups: &[Ran]) {
    page.push_str(
        "\n## When\n\nGroups may be measured one by one (`--only GROUP --keep FILE`), on the same machine and of the\n\
         same sources; this page puts them together. The load is the average of the last minute, before and\n\
         after.\n\n| group | when | load | commit |\n|---|---|---|---|\n",
    );
    for Ran { group, when, commit, load: [before, after], .. } in groups {
        let _ = writeln!(page, "| {group} | {when} | {before} to {after} | {commit} |");
    }
}

fn aims_table(page: &mut String, aims: &[Aim]) {
    page.push_str("\n## Aims\n\n| figure | aim | measured | reached |\n|---|---|---|---|\n");
    for aim in aims {
        let reached = match (aim.reached, aim.close) {
            (Some(true), false) => "yes",
            (Some(true), true) => "yes, by less than the spread",
            (Some(false), false) => "**no**",
            (Some(false), true) => "**no**, by less than the spread",
            (None, _) => "-",
        };
        let _ =
            writeln!(page, "| {} | {} | {} | {reached} |", aim.figure, aim.wanted, aim.measured);
    }
    let open: Vec<_> = aims
        .iter()
        .filter(|aim| aim.reached == Some(false))
        .filter_map(|aim| notes::why(&aim.figure).map(|why| (aim, why)))
        .collect();
    if !open.is_empty() {
        page.push_str("\nWhat holds back those not reached:\n\n");
        for (aim, why) in open {
            let _ = writeln!(page, "- **{}**: {why}", aim.figure);
        }
    }
}

/// Every row in which another is faster than ours by more than the noise.
fn losses(page: &mut String, rows: &[Row]) {
    let mut lost: Vec<(&Row, f64)> = rows
        .iter()
        // What is in brackets is no rival, but a part of the work.
        .filter(|row| !row.subject.starts_with("cenote") && !row.subject.starts_with('('))
        .filter_map(|row| Some((row, row.ratio?)))
        .filter(|(_, ratio)| ratio.median + ratio.mad < 1.0)
        .map(|(row, ratio)| (row, ratio.median))
        .collect();
    lost.sort_by(|one, other| one.1.total_cmp(&other.1));
    page.push_str("\n## Where another is faster\n\n");
    if lost.is_empty() {
        page.push_str("Nowhere in this run, beyond the noise.\n");
        return;
    }
    page.push_str("| group | case | faster | its time / ours |\n|---|---|---|---|\n");
    for (row, ratio) in lost {
        let _ = writeln!(page, "| {} | {} | {} | {ratio:.2} |", row.group, row.case, row.subject);
    }
}

fn group_tables(page: &mut String, rows: &[Row], group: &str) {
    for (file, of_group, _, title, _) in CHARTS {
        if of_group == group && rows.iter().any(|row| row.group == group) {
            let _ = write!(page, "\n![{title}](charts/{file}.svg)\n");
        }
    }
    let mut cases: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| row.group == group) {
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
    }
    for case in cases {
        let all: Vec<&Row> = of(rows, group, case).collect();
        let unit = all.first().map_or("", |row| row.unit.as_str());
        let timed = all.iter().any(|row| row.ns.is_some() || row.instructions.is_some());
        let _ = write!(page, "\n**{case}**, per {unit}\n\n");
        if timed {
            page.push_str(
                "| | ns | ± | / cenote | instructions | held B |\n|---|---:|---:|---:|---:|---:|\n",
            );
        } else {
            page.push_str("| | B | |\n|---|---:|---|\n");
        }
        for row in all {
            let name = if row.subject.starts_with("cenote") {
                format!("**{}**", row.subject)
            } else {
                row.subject.clone()
            };
            let held = row.held.map_or(String::new(), |held| held.to_string());
            let instructions = row.instructions.map_or(String::new(), digits);
            let line = match (timed, row.ns, row.ratio) {
                (true, Some(ns), Some(ratio)) => format!(
                    "{} | {} | {:.2} | {instructions} | {held}",
                    digits(ns.median),
                    digits(ns.mad),
                    ratio.median,
                ),
                (true, ..) => format!("{} | | | {instructions} | ", row.note),
                (false, ..) => format!("{held} | {}", row.note),
            };
            let _ = writeln!(page, "| {name} | {line} |");
        }
    }
}

const INTRODUCTION: &str = "# Performance

Written by `cargo run --release -p cenote-bench`, which runs all of this: cenote beside everything that
one would pick instead. Rows where cenote loses are here too. Another machine gives other figures, and
mostly the same ratios; run it on yours.
";

const METHOD: &str = "
## How it is measured

- Each case is run in PROCESSES processes, one after the other, ROUNDS rounds in each. A round is one
  sample of each subject, MILLISECONDS ms long, starting with another subject every time; so a noisy
  machine hits all alike. Figures are medians over all rounds, ± is the median distance from the median,
  and ratios are taken within a round before their median is.
- The clock is the processor time of the thread, but in `threads`, where it is the wall's.
- Each sample is preceded by an eighth of it that is not timed. Since every subject is idle between its
  turns, the general allocators are told not to give memory back meanwhile (`MIMALLOC_PURGE_DELAY=-1`,
  jemalloc's decay off, glibc's trim threshold 1 GiB), but not in `idle` and `end-to-end`.
- All subjects do the same work: the same table of sizes, which the compiler cannot see; each object's
  first bytes are written, and the compiler must believe that they are read. For Rust arenas the size is
  known at run time and the alignment (8) at compile time, which is what a caller of nginx's `ngx_palloc`
  has. C peers run in C loops of their own file, so that their calls are calls, as they are in C programs;
  Rust peers are inlined as far as they let themselves, and so is what cenote's C header has inline.
- Each peer is asked by its fastest call that does the work: `mi_malloc` rather than the aligned one,
  jemalloc's sized free, a slice of words for multitude, which has no call for a layout.
- In `grow`, loops are so short that their place in the program decides: each subject's are compiled at
  four places, 16 bytes apart, and a sample is a quarter of the work at each.
- Instructions are callgrind's, for the same batches when warm. snmalloc does not run under valgrind.
- `held B` is what the subject says that it holds while one unit is alive.
";
