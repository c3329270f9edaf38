//! What we want to reach, and whether this run did.

use crate::groups::{accounts, c, chunk, idle, large, request, threads};
use crate::harness::Row;
use crate::{end_to_end, fast_path};

/// One aim, judged.
pub(crate) struct Aim {
    pub(crate) figure: String,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    /// Nothing where this run did not measure it.
    pub(crate) reached: Option<bool>,
}

/// Finds figures among a run's rows.
pub(crate) struct Rows<'a>(pub(crate) &'a [Row]);

impl Rows<'_> {
    fn find(&self, group: &str, case: &str, subject: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.group == group && row.case == case && row.subject == subject)
    }

    /// A subject's time over that of the case's first.
    fn ratio(&self, group: &str, case: &str, subject: &str) -> Option<f64> {
        self.find(group, case, subject)?.ratio.map(|ratio| ratio.median)
    }

    /// The smallest ratio in a group among subjects that `takes` picks, and whose it is.
    fn least(&self, group: &str, takes: impl Fn(&Row) -> bool) -> Option<(f64, String)> {
        self.0
            .iter()
            .filter(|row| row.group == group && !row.subject.starts_with("cenote") && takes(row))
            .filter_map(|row| Some((row.ratio?.median, format!("{}: {}", row.case, row.subject))))
            .min_by(|one, other| one.0.total_cmp(&other.0))
    }
}

/// The arenas in Rust.
fn arena(row: &Row) -> bool {
    ["bumpalo", "bump-scope", "multitude", "oxc_allocator", "blink-alloc", "typed-arena"]
        .iter()
        .any(|name| row.subject.starts_with(name))
}

fn at_least(figure: &str, wanted: f64, measured: Option<f64>) -> Aim {
    Aim {
        figure: figure.into(),
        wanted: format!("at least {wanted}"),
        measured: measured.map_or_else(|| "not measured".into(), |number| format!("{number:.2}")),
        reached: measured.map(|number| number >= wanted),
    }
}

fn at_most(figure: &str, wanted: f64, measured: Option<f64>) -> Aim {
    Aim {
        wanted: format!("at most {wanted}"),
        reached: measured.map(|number| number <= wanted),
        ..at_least(figure, wanted, measured)
    }
}

/// The smallest of a group, which is the one that has to be large enough.
fn each(figure: &str, wanted: f64, measured: Option<(f64, String)>) -> Aim {
    let mut aim = at_least(figure, wanted, measured.as_ref().map(|(number, _)| *number));
    if let Some((number, whose)) = measured {
        aim.measured = format!("{number:.2} at the least ({whose})");
    }
    aim
}

/// All aims, in the order of the groups.
pub(crate) fn judge(rows: &Rows<'_>) -> Vec<Aim> {
    let request = |subject| rows.ratio("request", request::MAKE, subject);
    let reset = |subject| rows.ratio("request", request::RESET, subject);
    let few: Vec<&str> = chunk::CASES.iter().filter(|case| case.1).map(|case| case.0).collect();
    let mut aims = vec![
        at_least("request: nginx's C / cenote", 3.0, request("nginx")),
        at_least(
            "request: oxc_allocator with_capacity(4096) / cenote",
            1.25,
            request("oxc_allocator with_capacity(4096)"),
        ),
        at_least(
            "request: bumpalo with_capacity(4096) / cenote",
            1.6,
            request("bumpalo with_capacity(4096)"),
        ),
        at_least("request, reset: oxc_allocator / cenote", 0.97, reset("oxc_allocator")),
        at_least("request, reset: bumpalo / cenote", 1.6, reset("bumpalo")),
        at_least("request: mimalloc one by one / cenote", 6.0, request("mimalloc, one by one")),
        each("trace: each arena / cenote", 1.0, rows.least("trace", arena)),
        each("trace: nginx's C / cenote", 2.0, rows.least("trace", |row| row.subject == "nginx")),
        each("values: best Rust arena / cenote, every case", 0.97, rows.least("values", arena)),
        each("grow: best Rust arena / cenote, every case", 1.0, rows.least("grow", arena)),
    ];
    aims.extend(fast_paths());
    aims.extend([
        each(
            "chunk: mimalloc / ChunkPool, 4,096 live or fewer",
            1.0,
            rows.least("chunk", |row| {
                row.subject == "mimalloc" && few.contains(&row.case.as_str())
            }),
        ),
        each(
            "chunk: mimalloc / ChunkPool, more live",
            0.9,
            rows.least("chunk", |row| {
                row.subject == "mimalloc" && !few.contains(&row.case.as_str())
            }),
        ),
        at_most("large: free with 10,000 live / with 10 live", 2.0, large_growth(rows)),
        at_least(
            "c: nginx's C / cenote through C, request",
            1.4,
            rows.ratio("c", c::REQUEST, "nginx"),
        ),
        at_most(
            "accounts: four levels / none, request",
            1.15,
            rows.ratio("accounts", accounts::CASE, accounts::FOUR),
        ),
        at_least(
            "threads: requests on 2 / on 1",
            1.9,
            rows.ratio("threads", threads::SCALING, "cenote, 1 thread"),
        ),
    ]);
    // `cenote serve` has no switch for its accounts, so there is nothing to compare it with.
    aims.push(at_most("accounts: the server's requests per second, without / with", 1.01, None));
    let names = rows.ratio("c", c::REQUEST, "cenote under nginx's names");
    let nginx = rows.ratio("c", c::REQUEST, "nginx");
    aims.push(at_least(
        "c: nginx's C / cenote under nginx's names, request",
        1.4,
        nginx.zip(names).map(|(nginx, names)| nginx / names),
    ));
    aims.push(at_least(
        "end to end: requests per second, nginx with our pools / as it is",
        1.0,
        rows.ratio("end-to-end", end_to_end::NGINX, "nginx as it is"),
    ));
    for malloc in ["glibc", "mimalloc", "jemalloc"] {
        let subject = format!("Vec and String, {malloc}");
        aims.push(at_least(
            &format!("end to end: requests per second, hyper with pools / {subject}"),
            1.0,
            rows.ratio("end-to-end", end_to_end::HYPER, &subject),
        ));
    }
    aims.extend(
        idle::figures(rows.0).map(|(figure, measured, most)| at_most(figure, most, measured)),
    );
    aims
}

fn large_growth(rows: &Rows<'_>) -> Option<f64> {
    let ns =
        |case: &str| rows.find("large", case, "cenote").and_then(|row| row.ns).map(|ns| ns.median);
    Some(ns(large::CASES[3].0)? / ns(large::CASES[0].0)?)
}

fn fast_paths() -> Vec<Aim> {
    fast_path::AIMS
        .iter()
        .map(|aim| {
            let cost = match fast_path::readable() {
                Ok(()) => fast_path::cost(aim.probe).map_err(|why| format!("{why:#}")),
                Err(why) => Err(why.into()),
            };
            let branches = aim.branches.map_or(String::new(), |most| format!(", {most} branch"));
            Aim {
                figure: format!("fast path: {}", aim.name),
                wanted: format!("at most {} instructions{branches}", aim.instructions),
                measured: match &cost {
                    Ok(cost) => {
                        format!("{} instructions, {} branches", cost.instructions, cost.branches)
                    }
                    Err(why) => format!("not measured ({why})"),
                },
                reached: cost.ok().map(|cost| {
                    cost.instructions <= aim.instructions
                        && aim.branches.is_none_or(|most| cost.branches <= most)
                }),
            }
        })
        .collect()
}
