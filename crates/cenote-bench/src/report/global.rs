//! What we want of the allocator for all of a process.
//!
//! The rival is in each case the better of mimalloc 2 and 3.

use super::aims::{Aim, Rows, at_least, at_most, each, exact};
use crate::groups::global as group;
use crate::harness::Row;
use crate::stats::Spread;

const NAME: &str = "global";

/// The aims, in the order of the cases.
pub(super) fn aims(rows: &Rows<'_>) -> Vec<Aim> {
    let mut aims = Vec::new();
    for (case, least) in [
        (group::FEW, 1.2),
        (group::MANY, 1.2),
        (group::NEWEST, 1.4),
        (group::PAGES, 1.5),
        (group::SWAP, 1.0),
        (group::HANDED, 1.0),
        (group::JSON, 1.0),
        (group::VECTORS, 1.0),
        (group::COME_AND_GO, 1.0),
    ] {
        let measured = best(rows, case, mimalloc);
        aims.push(at_least(
            &format!("global: better mimalloc / cenote-global, {case}"),
            least,
            measured.map(|(ratio, _)| ratio),
        ));
        if case == group::PAGES {
            aims.push(at_least(
                &format!("global: tcmalloc / cenote-global, {case}"),
                1.0,
                rows.find(NAME, case, "tcmalloc").and_then(|row| row.ratio),
            ));
        }
    }
    aims.push(at_least(
        "global: better mimalloc / cenote-global, geometric mean of all cases",
        1.15,
        mean(group::case_names().map(|case| Some(best(rows, case, mimalloc)?.0))),
    ));
    aims.push(at_least(
        "global: best of all / cenote-global, geometric mean of all cases",
        1.0,
        mean(group::case_names().map(|case| Some(best(rows, case, |_| true)?.0))),
    ));
    aims.push(each(
        "global: best of all / cenote-global, every case",
        1.0,
        group::case_names()
            .filter_map(|case| best(rows, case, |_| true))
            .min_by(|one, other| one.0.median.total_cmp(&other.0.median)),
    ));
    aims.push(at_most(
        "global: peak resident, cenote-global / better mimalloc, geometric mean of all cases",
        1.0,
        mean(group::case_names().map(|case| peak(rows, case))),
    ));
    aims.push(at_most(
        "global: instructions to free and allocate, 16 to 256 B, 4,096 live, less the loop",
        70.0,
        instructions(rows).map(exact),
    ));
    aims
}

fn mimalloc(row: &Row) -> bool {
    row.subject.starts_with("mimalloc")
}

/// Others' rows of a case, without what is no rival.
fn others<'a>(rows: &'a Rows<'_>, case: &'a str) -> impl Iterator<Item = &'a Row> {
    let of_case = rows.0.iter().filter(move |row| row.group == NAME && row.case == case);
    of_case.filter(|row| row.subject != group::OURS && !row.subject.starts_with('('))
}

/// The least time over ours, and whose.
fn best(rows: &Rows<'_>, case: &str, takes: impl Fn(&Row) -> bool) -> Option<(Spread, String)> {
    others(rows, case)
        .filter(|row| takes(row))
        .filter_map(|row| Some((row.ratio?, format!("{case}: {}", row.subject))))
        .min_by(|one, other| one.0.median.total_cmp(&other.0.median))
}

/// Our peak over the better mimalloc's.
fn peak(rows: &Rows<'_>, case: &str) -> Option<Spread> {
    let ours = rows.find(NAME, case, group::OURS)?.held?;
    let theirs = others(rows, case).filter(|row| mimalloc(row)).filter_map(|row| row.held).min()?;
    Some(exact(ours as f64 / theirs as f64))
}

fn instructions(rows: &Rows<'_>) -> Option<f64> {
    let of = |subject| rows.find(NAME, group::FEW, subject)?.instructions;
    Some(of(group::OURS)? - of(group::LOOP)?)
}

/// The geometric mean, if all were measured. Its spread is as if the cases' were independent.
fn mean(all: impl Iterator<Item = Option<Spread>>) -> Option<Spread> {
    let all: Vec<Spread> = all.collect::<Option<_>>()?;
    let many = all.len().max(1) as f64;
    let median = (all.iter().map(|one| one.median.ln()).sum::<f64>() / many).exp();
    let square: f64 = all.iter().map(|one| (one.mad / one.median).powi(2)).sum();
    Some(Spread { median, mad: median * square.sqrt() / many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: &str, subject: &str, ratio: f64, held: usize) -> Row {
        Row {
            group: NAME.into(),
            case: case.into(),
            subject: subject.into(),
            ratio: Some(exact(ratio)),
            held: Some(held),
            ..Row::default()
        }
    }

    #[test]
    fn the_rival_is_the_better_mimalloc_of_each_case_and_the_loop_is_none() {
        let rows: Vec<Row> = group::case_names()
            .flat_map(|case| {
                let (two, three) = if case == group::FEW { (4.0, 8.0) } else { (2.0, 1.0) };
                [
                    row(case, group::OURS, 1.0, 100),
                    row(case, "mimalloc 2", two, 200),
                    row(case, "mimalloc 3", three, 50),
                    row(case, group::LOOP, 0.1, 1),
                ]
            })
            .collect();
        let aims = aims(&Rows(&rows));
        let measured = |end: &str| {
            let aim = aims.iter().find(|aim| aim.figure.ends_with(end)).unwrap();
            (aim.measured.as_str(), aim.reached)
        };
        assert_eq!(measured("cenote-global, 16 to 256 B, 4,096 live"), ("4", Some(true)));
        assert_eq!(measured("cenote-global, growing vectors"), ("1", Some(true)));
        // The fourteenth root of four.
        assert_eq!(measured("mimalloc / cenote-global, geometric mean of all cases").0, "1.104");
        assert_eq!(measured("better mimalloc, geometric mean of all cases"), ("2", Some(false)));
        assert_eq!(measured("less the loop"), ("not measured", None));
    }

    #[test]
    fn a_case_that_is_missing_leaves_no_mean() {
        assert_eq!(mean([Some(exact(2.0)), None].into_iter()), None);
        assert_eq!(mean([Some(exact(2.0)), Some(exact(8.0))].into_iter()), Some(exact(4.0)));
    }
}
