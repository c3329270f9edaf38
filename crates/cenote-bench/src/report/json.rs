//! The rows as JSON, and rows of former runs, so that a group can be measured again by itself and
//! the page still has all of them.
//!
//! What is kept must be comparable: the same machine and compilers, the same versions of the peers,
//! the same sources of what is measured. Anything else is refused, with the reason.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::ran::Ran;
use crate::groups::GROUPS;
use crate::harness::Row;
use crate::stats::Spread;

/// What a file holds: `{"machine": [...], "groups": [...], "rows": [...]}`.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    /// `[what, as found]`, as the page has it.
    machine: Vec<(String, String)>,
    /// When and how each group was measured.
    groups: Vec<Ran>,
    /// A row for each subject of each case.
    rows: Vec<Line>,
}

/// A [`Row`], flat.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Line {
    group: String,
    case: String,
    subject: String,
    unit: String,
    ns: Option<f64>,
    ns_mad: Option<f64>,
    ns_10th_percentile: Option<f64>,
    /// The medians of the first and of the second time, where they differ by more than their spreads.
    ns_twice: Option<[f64; 2]>,
    ratio: Option<f64>,
    ratio_mad: Option<f64>,
    instructions: Option<f64>,
    held_bytes: Option<usize>,
    live_bytes: Option<usize>,
    slow_rounds: usize,
    rounds: usize,
    note: String,
}

impl From<&Row> for Line {
    fn from(row: &Row) -> Self {
        Self {
            group: row.group.clone(),
            case: row.case.clone(),
            subject: row.subject.clone(),
            unit: row.unit.clone(),
            ns: row.ns.map(|ns| ns.median),
            ns_mad: row.ns.map(|ns| ns.mad),
            ns_10th_percentile: row.low,
            ns_twice: row.twice,
            ratio: row.ratio.map(|ratio| ratio.median),
            ratio_mad: row.ratio.map(|ratio| ratio.mad),
            instructions: row.instructions,
            held_bytes: row.held,
            live_bytes: row.live,
            slow_rounds: row.slow[0],
            rounds: row.slow[1],
            note: row.note.clone(),
        }
    }
}

impl From<Line> for Row {
    fn from(line: Line) -> Self {
        let spread = |median: Option<f64>, mad: Option<f64>| {
            Some(Spread { median: median?, mad: mad.unwrap_or(0.0) })
        };
        Self {
            ns: spread(line.ns, line.ns_mad),
            low: line.ns_10th_percentile,
            twice: line.ns_twice,
            slow: [line.slow_rounds, line.rounds],
            ratio: spread(line.ratio, line.ratio_mad),
            group: line.group,
            case: line.case,
            subject: line.subject,
            unit: line.unit,
            instructions: line.instructions,
            held: line.held_bytes,
            live: line.live_bytes,
            note: line.note,
        }
    }
}

/// Rows, and how their groups were measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<Row>,
    pub(crate) groups: Vec<Ran>,
}

impl Rows {
    /// These, with those of `former` whose groups are not among them; in the order of the groups.
    pub(crate) fn over(mut self, former: Self) -> Self {
        let fresh: Vec<String> = self.groups.iter().map(|ran| ran.group.clone()).collect();
        let kept = |group: &str| !fresh.iter().any(|name| name == group);
        self.groups.extend(former.groups.into_iter().filter(|ran| kept(&ran.group)));
        self.rows.extend(former.rows.into_iter().filter(|row| kept(&row.group)));
        let place = |group: &str| GROUPS.iter().position(|one| one.name == group);
        self.groups.sort_by_key(|ran| place(&ran.group));
        self.rows.sort_by_key(|row| place(&row.group));
        self
    }
}

/// Writes rows, and what a later run needs to know to keep them.
pub(crate) fn write(file: &Path, rows: &Rows, machine: &[(&str, String)]) -> Result<()> {
    let run = Run {
        machine: machine.iter().map(|(what, found)| ((*what).to_owned(), found.clone())).collect(),
        groups: rows.groups.clone(),
        rows: rows.rows.iter().map(Line::from).collect(),
    };
    let text = serde_json::to_string_pretty(&run)?;
    std::fs::write(file, text + "\n").with_context(|| file.display().to_string())
}

/// The rows that [`write`] wrote, if they are comparable with those measured here and now.
pub(crate) fn read(file: &Path, machine: &[(&str, String)], quick: bool) -> Result<Rows> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let run: Run = serde_json::from_str(&text)
        .with_context(|| format!("{}: not written by this bench's --json", file.display()))?;
    run.comparable(machine, quick).with_context(|| format!("{}: not kept", file.display()))?;
    Ok(Rows { rows: run.rows.into_iter().map(Row::from).collect(), groups: run.groups })
}

impl Run {
    fn comparable(&self, machine: &[(&str, String)], quick: bool) -> Result<()> {
        for (what, here) in machine {
            let there = self.machine.iter().find(|(name, _)| name == what);
            let there = there.map_or("unknown", |(_, found)| found.as_str());
            ensure!(there == here, "{what}: {there} there, {here} here");
        }
        for ran in &self.groups {
            ensure!(
                ran.quick == quick,
                "{}: measured {} --quick, which this run is{}",
                ran.group,
                if ran.quick { "with" } else { "without" },
                if quick { "" } else { " not" },
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(group: &str, ns: f64) -> Row {
        Row {
            group: group.into(),
            case: "case".into(),
            subject: "cenote".into(),
            unit: "request".into(),
            ns: Some(Spread { median: ns, mad: 0.5 }),
            ratio: Some(Spread { median: 1.0, mad: 0.0 }),
            instructions: Some(12.0),
            ..Row::default()
        }
    }

    fn rows(group: &str, ns: f64) -> Rows {
        Rows { rows: vec![row(group, ns)], groups: vec![Ran::new(group, false)] }
    }

    fn file(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("cenote-bench-{}-{name}.json", std::process::id()))
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let (file, machine) = (file("rows"), [("processor", "one".to_owned())]);
        write(&file, &rows("request", 31.5), &machine).unwrap();
        let back = read(&file, &machine, false).unwrap();
        assert_eq!(back.rows[0].ns, Some(Spread { median: 31.5, mad: 0.5 }));
        assert_eq!((back.rows[0].group.as_str(), back.rows[0].held), ("request", None));
        assert_eq!(back.groups[0].group, "request");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn rows_of_another_machine_or_effort_are_refused_with_the_reason() {
        let (file, machine) = (file("machine"), [("processor", "one".to_owned())]);
        write(&file, &rows("request", 31.5), &machine).unwrap();
        let other = read(&file, &[("processor", "another".to_owned())], false).unwrap_err();
        assert!(format!("{other:#}").contains("processor: one there, another here"), "{other:#}");
        let quick = read(&file, &machine, true).unwrap_err();
        assert!(format!("{quick:#}").contains("measured without --quick"), "{quick:#}");
        let more = [machine[0].clone(), ("sources", "x".to_owned())];
        assert!(read(&file, &more, false).is_err(), "a fact that the file does not tell");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_group_that_was_measured_again_takes_the_place_of_the_former_one() {
        let mut former = rows("request", 40.0);
        former.rows.push(row("chunk", 7.0));
        former.groups.push(Ran::new("chunk", false));
        let all = rows("request", 31.5).over(former);
        let told: Vec<_> =
            all.rows.iter().map(|row| (row.group.as_str(), row.ns.unwrap().median)).collect();
        assert_eq!(told, [("request", 31.5), ("chunk", 7.0)]);
        assert_eq!(all.groups.len(), 2);
    }
}
