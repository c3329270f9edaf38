//! docs/PERFORMANCE.md and its charts.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::aims::{self, Aim, Rows};
use super::chart::{self, Bar, Line};
use super::json;
use super::notes;
use super::processors::{self, Processor};
use super::ran::{Ran, Time};
use super::table::{digits, twice};
use crate::groups::{GROUPS, months};
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
    let lines = life(rows);
    if !lines.is_empty() {
        let svg = chart::lines(LIFE, "resident by live bytes; lower is better", &lines);
        std::fs::write(charts.join("months.svg"), svg)?;
    }
    let processor = machine.iter().find(|(what, _)| *what == "processor");
    let processor = processor.map_or("unknown", |(_, found)| found.as_str());
    let aims = aims::judge(&Rows(rows));
    let times = all.groups.iter().flat_map(|ran| &ran.times);
    let when = times.map(|time| time.when.as_str()).next().unwrap_or_default();
    let this = Processor::new(processor, when, &aims);
    let text = text(all, machine, quick, &aims, &processors::others(docs, processor));
    if !quick {
        // One folder deeper.
        this.write(docs, &text.replace("](charts/", "](../charts/"))?;
    }
    let page = docs.join("PERFORMANCE.md");
    std::fs::write(&page, text).with_context(|| page.display().to_string())
}

fn of<'a>(rows: &'a [Row], group: &'a str, case: &'a str) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |row| row.group == group && row.case == case)
}

/// The curve's title.
const LIFE: &str = "A server's months: how much more is resident than is live";

/// A line for each subject that lived through a server's months.
fn life(rows: &[Row]) -> Vec<Line> {
    let points: Vec<String> =
        (1..=months::POINTS).map(months::point).chain([months::END.to_owned()]).collect();
    let line = |subject: &&str| {
        let at = |case: &String| {
            months::ratio(of(rows, "months", case).find(|row| row.subject == **subject)?)
        };
        let values: Option<Vec<f64>> = points.iter().map(at).collect();
        Some(Line { label: (*subject).into(), values: values?, ours: *subject == "cenote" })
    };
    months::SUBJECTS.iter().filter_map(line).collect()
}

fn bar(row: &Row, bytes: bool) -> Option<Bar> {
    let value = if bytes { row.held? as f64 } else { row.ns?.median };
    Some(Bar { label: row.subject.clone(), value, ours: row.subject == "cenote" })
}

fn text(
    all: &json::Rows,
    machine: &[(&str, String)],
    quick: bool,
    aims: &[Aim],
    others: &[Processor],
) -> String {
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
            .replace("SAMPLES", &crate::groups::global::ROUNDS[usize::from(quick)].to_string())
            .replace("MILLISECONDS", &effort.sample.as_millis().to_string())
    );
    runs(&mut page, &all.groups);
    aims_table(&mut page, aims, others);
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
         after. The machine's own speed is that of two loops, each step of which waits for the one before, in\n\
         nanoseconds for a step: an addition; and a word that is read, added to and written.\n\n\
         | group | when | load | machine's speed | slow rounds | commit |\n|---|---|---|---|---|---|\n",
    );
    for Ran { group, times, commit, probe, slow: [slow, rounds], .. } in groups {
        let each = |of: fn(&Time) -> String| times.iter().map(of).collect::<Vec<_>>().join("; ");
        let when = each(|time| time.when.clone());
        let load = each(|time| format!("{} to {}", time.load[0], time.load[1]));
        let speed = probe.map_or(String::new(), |it| format!("{:.2}; {:.2}", it.add, it.forward));
        let slow = if *rounds == 0 { String::new() } else { format!("{slow} of {rounds}") };
        let _ = writeln!(page, "| {group} | {when} | {load} | {speed} | {slow} | {commit} |");
    }
}

/// This run's, and beside them what was measured on other processors.
fn aims_table(page: &mut String, aims: &[Aim], others: &[Processor]) {
    page.push_str("\n## Aims\n\n");
    for other in others {
        let _ = writeln!(
            page,
            "On the {} they were measured on {}: [its page](performance/{}.md).\n",
            other.processor,
            other.when,
            other.file()
        );
    }
    let names: String = others.iter().map(|other| format!(" {} |", other.processor)).collect();
    let _ = writeln!(page, "| figure | aim | measured | reached |{names}");
    let _ = writeln!(page, "|---|---|---|---|{}", "---|".repeat(others.len()));
    for aim in aims {
        let reached = match (aim.reached, aim.close) {
            (Some(true), false) => "yes",
            (Some(true), true) => "yes, by less than the spread",
            (Some(false), false) => "**no**",
            (Some(false), true) => "**no**, by less than the spread",
            (None, _) => "-",
        };
        let there: String =
            others.iter().map(|other| format!(" {} |", other.told(&aim.figure))).collect();
        let Aim { figure, wanted, measured, .. } = aim;
        let _ = writeln!(page, "| {figure} | {wanted} | {measured} | {reached} |{there}");
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
    if group == "months" && rows.iter().any(|row| row.group == group) {
        let _ = write!(page, "\n![{LIFE}](charts/months.svg)\n");
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
        let slow = all.first().map_or([0, 0], |row| row.slow);
        let timed = all.iter().any(|row| row.ns.is_some() || row.instructions.is_some());
        let live = all.iter().any(|row| row.live.is_some());
        let _ = write!(page, "\n**{case}**, per {unit}\n\n");
        if timed {
            let held = if group == "global" { "peak B" } else { "held B" };
            let _ = writeln!(
                page,
                "| | ns | ± | 10 % | / cenote | instructions | {held} |\n|---|---:|---:|---:|---:|---:|---:|",
            );
        } else if live {
            page.push_str("| | resident B | of B | ratio | |\n|---|---:|---:|---:|---|\n");
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
                    "{}{} | {} | {} | {:.2} | {instructions} | {held}",
                    digits(ns.median),
                    twice(row).map_or(String::new(), |both| format!(" ({both})")),
                    digits(ns.mad),
                    row.low.map_or(String::new(), digits),
                    ratio.median,
                ),
                (true, ..) => format!("{} | | | | {instructions} | ", row.note),
                (false, ..) if live => format!(
                    "{held} | {} | {} | {}",
                    row.live.map_or(String::new(), |live| live.to_string()),
                    months::ratio(row).map_or(String::new(), |ratio| format!("{ratio:.2}")),
                    row.note
                ),
                (false, ..) => format!("{held} | {}", row.note),
            };
            let _ = writeln!(page, "| {name} | {line} |");
        }
        if let [slow, rounds] = slow
            && slow > 0
        {
            let _ = write!(page, "\nThe machine was slow in {slow} of {rounds} rounds.\n");
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
  10 % is what a tenth of the rounds did not exceed, and ratios are taken within a round before their
  median is.
- All groups are measured, and then all of them again; figures are over both times. Where the medians of
  the two differ by more than both spreads, they are in brackets: \"first, then second\". `idle`,
  `months`, `parked` and `end-to-end` are measured once.
- Before and after each round two loops tell how fast the machine itself is. A round is slow where one of
  them took a quarter more than it did at its fastest, such as when a neighbour works on the same core;
  how many there were is said below a case. They count like the others: ratios are taken within them.
- The clock is the processor time of the thread; in `threads` it is the wall's, and where a case says so
  the processor time of all threads.
- Each sample is preceded by an eighth of it that is not timed. Since every subject is idle between its
  turns, the general allocators are told not to give memory back meanwhile (`MIMALLOC_PURGE_DELAY=-1`,
  jemalloc's decay off, glibc's trim threshold 1 GiB), but not in `idle`, `global` and `end-to-end`.
- In `global` each sample is a process of its own, some 40 ms of work after an eighth of it that is not
  timed; SAMPLES rounds each time, starting with another allocator in every one. The clock is the
  processor time of all its threads, an allocator's own included. tcmalloc is preloaded; the others are
  called by their own names. `peak B` is the most that the process ever had resident (VmHWM), in the
  middle one of the rounds of the first time; the bench's own 6 MB and its tables are in it. For
  instructions `cenote-global` stays as it is under valgrind (`CENOTE_MALLOC=pass:0`), and the loop alone
  is a row; some hundred units are too few for jemalloc, whose rare slow ways are in them or not.
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
