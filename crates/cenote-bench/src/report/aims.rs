//! What we want to reach, and whether this run did.

use crate::groups::{
    accounts, c, chunk, codegen, counted, idle, large, months, request, threads, trace,
};
use crate::harness::Row;
use crate::stats::Spread;
use crate::{
    end_to_end::{self, parked},
    fast_path,
};

/// One aim, judged.
pub(crate) struct Aim {
    pub(crate) figure: String,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    /// Nothing where this run did not measure it.
    pub(crate) reached: Option<bool>,
    /// Whether it lies nearer to the aim than the rounds lie to each other: another run may judge
    /// otherwise.
    pub(crate) close: bool,
}

/// Finds figures among a run's rows.
pub(crate) struct Rows<'a>(pub(crate) &'a [Row]);

impl Rows<'_> {
    pub(crate) fn find(&self, group: &str, case: &str, subject: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.group == group && row.case == case && row.subject == subject)
    }

    /// A subject's time over that of the case's first.
    fn ratio(&self, group: &str, case: &str, subject: &str) -> Option<Spread> {
        self.find(group, case, subject)?.ratio
    }

    /// The smallest ratio in a group among subjects that `takes` picks, and whose it is.
    fn least(&self, group: &str, takes: impl Fn(&Row) -> bool) -> Option<(Spread, String)> {
        self.0
            .iter()
            .filter(|row| row.group == group && !row.subject.starts_with("cenote") && takes(row))
            .filter_map(|row| Some((row.ratio?, format!("{}: {}", row.case, row.subject))))
            .min_by(|one, other| one.0.median.total_cmp(&other.0.median))
    }
}

/// One figure over another, and how far off it may be by the spread of both.
fn over(one: Spread, other: Spread) -> Spread {
    let median = one.median / other.median;
    Spread { median, mad: median * (one.mad / one.median + other.mad / other.median) }
}

/// A figure that comes out the same each time, such as a number of instructions.
pub(super) fn exact(number: f64) -> Spread {
    Spread { median: number, mad: 0.0 }
}

/// The arenas in Rust.
fn arena(row: &Row) -> bool {
    ["bumpalo", "bump-scope", "multitude", "oxc_allocator", "blink-alloc", "typed-arena"]
        .iter()
        .any(|name| row.subject.starts_with(name))
}

/// The general allocators that a pool of chunks is compared with.
fn rival(subject: &str) -> bool {
    ["mimalloc 2", "mimalloc 3", "jemalloc"].contains(&subject)
}

/// With as many digits as mean something beside its spread.
fn told(number: Spread) -> String {
    if number.mad == 0.0 {
        return format!("{:.3}", number.median).trim_end_matches('0').trim_end_matches('.').into();
    }
    let digits = if number.mad < 0.005 { 3 } else { 2 };
    format!("{:.digits$} ±{:.digits$}", number.median, number.mad)
}

fn judged(figure: &str, wanted: f64, measured: Option<Spread>, least: bool) -> Aim {
    Aim {
        figure: figure.into(),
        wanted: format!("at {} {wanted}", if least { "least" } else { "most" }),
        measured: measured.map_or_else(|| "not measured".into(), told),
        reached: measured
            .map(|number| if least { number.median >= wanted } else { number.median <= wanted }),
        close: measured.is_some_and(|number| (number.median - wanted).abs() < number.mad),
    }
}

pub(super) fn at_least(figure: &str, wanted: f64, measured: Option<Spread>) -> Aim {
    judged(figure, wanted, measured, true)
}

pub(super) fn at_most(figure: &str, wanted: f64, measured: Option<Spread>) -> Aim {
    judged(figure, wanted, measured, false)
}

/// The smallest of a group, which is the one that has to be large enough.
pub(super) fn each(figure: &str, wanted: f64, measured: Option<(Spread, String)>) -> Aim {
    let mut aim = at_least(figure, wanted, measured.as_ref().map(|(number, _)| *number));
    if let Some((number, whose)) = measured {
        aim.measured = format!("{} at the least ({whose})", told(number));
    }
    aim
}

/// All aims, in the order of the groups.
pub(crate) fn judge(rows: &Rows<'_>) -> Vec<Aim> {
    let request = |subject| rows.ratio("request", request::MAKE, subject);
    let reset = |subject| rows.ratio("request", request::RESET, subject);
    let few: Vec<&str> = chunk::CASES.iter().filter(|case| case.1).map(|case| case.0).collect();
    let mut aims = vec![
        at_least("request: nginx's C / cenote", 3.5, request("nginx")),
        at_least(
            "request: oxc_allocator with_capacity(4096) / cenote",
            1.6,
            request("oxc_allocator with_capacity(4096)"),
        ),
        at_least(
            "request: bumpalo with_capacity(4096) / cenote",
            1.75,
            request("bumpalo with_capacity(4096)"),
        ),
        at_least(
            "request: mimalloc one by one / cenote",
            5.0,
            best(rows, "request", request::MAKE, |name| {
                name.starts_with("mimalloc") && name.ends_with("one by one")
            }),
        ),
        at_least(
            "request in an `Rc`: oxc_allocator with_capacity(4096) / cenote",
            1.3,
            rows.ratio("codegen", codegen::RC, "oxc_allocator with_capacity(4096)"),
        ),
        each("codegen: best Rust arena / cenote, every shape", 1.0, rows.least("codegen", arena)),
        each(
            "codegen, built with LTO: best Rust arena / cenote, every shape",
            1.0,
            rows.least("codegen-lto", arena),
        ),
        at_least("request, reset: oxc_allocator / cenote", 1.0, reset("oxc_allocator")),
        at_least("request, reset: bumpalo / cenote", 1.2, reset("bumpalo")),
        each("request-full: best Rust arena / cenote", 1.15, rows.least("request-full", arena)),
        each(
            "workloads: best Rust arena / cenote, every case",
            1.0,
            rows.least("workloads", arena),
        ),
        each("trace: each arena / cenote", 1.0, rows.least("trace", arena)),
        each("trace: nginx's C / cenote", 2.0, rows.least("trace", |row| row.subject == "nginx")),
        each("trace: the same, without the replay itself", 2.0, without_replay(rows)),
        each("values: best Rust arena / cenote, every case", 1.0, rows.least("values", arena)),
        each("grow: best Rust arena / cenote, every case", 1.0, rows.least("grow", arena)),
    ];
    aims.extend(fast_paths());
    aims.extend([
        each(
            "chunk: best of mimalloc and jemalloc / ChunkPool, 4,096 live or fewer",
            1.0,
            rows.least("chunk", |row| rival(&row.subject) && few.contains(&row.case.as_str())),
        ),
        each(
            "chunk: best of mimalloc and jemalloc / ChunkPool, more live",
            0.9,
            rows.least("chunk", |row| rival(&row.subject) && !few.contains(&row.case.as_str())),
        ),
        at_least(
            "counted, oldest first: mimalloc / cenote",
            1.1,
            best(rows, "counted", counted::OLDEST, |name| name.starts_with("mimalloc")),
        ),
        at_least(
            "counted, any of the window: mimalloc / cenote",
            1.0,
            best(rows, "counted", counted::ANY, |name| name.starts_with("mimalloc")),
        ),
        at_most("large: free with 10,000 live / with 10 live", 2.0, large_growth(rows)),
        at_least(
            "c: nginx's C / cenote through C, request",
            2.0,
            rows.ratio("c", c::REQUEST, "nginx"),
        ),
    ]);
    let names = rows.ratio("c", c::REQUEST, "cenote under nginx's names");
    let nginx = rows.ratio("c", c::REQUEST, "nginx");
    aims.push(at_least(
        "c: nginx's C / cenote under nginx's names, request",
        1.7,
        nginx.zip(names).map(|(nginx, names)| over(nginx, names)),
    ));
    aims.extend(
        idle::figures(rows.0)
            .map(|(figure, measured, most)| at_most(figure, most, measured.map(exact))),
    );
    let said = idle::said(rows.0);
    let mut most = at_most(
        "idle: resident / what our pools say they hold, live and after half went",
        1.1,
        said.as_ref().map(|(ratio, _)| exact(*ratio)),
    );
    if let Some((_, whose)) = said {
        most.measured = format!("{} at the most ({whose})", most.measured);
    }
    aims.push(most);
    aims.push(at_least(
        "threads: requests on 2 / on 1",
        1.9,
        rows.ratio("threads", threads::SCALING, "cenote, 1 thread"),
    ));
    aims.push(each(
        "threads: best Rust arena / cenote on 1 thread",
        1.45,
        rows.least("threads", |row| arena(row) && row.case == threads::ONE),
    ));
    aims.push(each(
        "threads: best Rust arena / cenote, made here and dropped there",
        1.0,
        rows.least("threads", |row| arena(row) && row.case == threads::ACROSS),
    ));
    aims.extend(lives(rows));
    for (case, subject, most) in [
        (parked::SMALL, parked::PARKED, 600.0),
        (parked::UPLOAD, parked::PARKED, 600.0),
        (parked::BURST, parked::PARKED, 900.0),
        (parked::SMALL, end_to_end::SERVE, 600.0),
    ] {
        let held = rows.find("parked", case, subject).and_then(|row| row.held);
        let of = subject.trim_start_matches("cenote (").trim_end_matches(')');
        aims.push(at_most(
            &format!("parked: B of a connection, {case} ({of})"),
            most,
            held.map(|held| exact(held as f64)),
        ));
    }
    aims.push(at_most(
        "accounts: four levels / none, request",
        1.12,
        rows.ratio("accounts", accounts::CASE, accounts::FOUR),
    ));
    aims.extend(super::global::aims(rows));
    aims.extend(servers(rows));
    aims
}

/// What is resident by what is live, at the end of a server's months.
fn lives(rows: &Rows<'_>) -> [Aim; 2] {
    let at_the_end = |subject: &str| rows.find("months", months::END, subject);
    let ours = at_the_end("cenote").and_then(months::ratio);
    let others = rows.0.iter().filter(|row| row.group == "months" && row.case == months::END);
    let least = others
        .filter(|row| row.subject != "cenote")
        .filter_map(|row| Some((months::ratio(row)?, &row.subject)))
        .min_by(|one, other| one.0.total_cmp(&other.0));
    let mut beside = at_least(
        "months: least resident of the others / cenote, at the end",
        1.0,
        least.zip(ours).map(|((theirs, _), ours)| exact(theirs / ours)),
    );
    if let Some((_, name)) = least {
        beside.measured = format!("{} ({name})", beside.measured);
    }
    [at_most("months: resident / live bytes at the end, idle", 1.15, ours.map(exact)), beside]
}

/// Of several subjects the one that is hardest to beat.
fn best(rows: &Rows<'_>, group: &str, case: &str, takes: impl Fn(&str) -> bool) -> Option<Spread> {
    let of_case = rows.0.iter().filter(|row| row.group == group && row.case == case);
    let ratios = of_case.filter(|row| takes(&row.subject)).filter_map(|row| row.ratio);
    ratios.min_by(|one, other| one.median.total_cmp(&other.median))
}

/// The whole servers, by requests per second and by instructions.
fn servers(rows: &Rows<'_>) -> Vec<Aim> {
    use end_to_end::{ACCOUNTS, EACH, FORMER, HYPER, NGINX, POOLS, SERVE, SERVING, STOCK};
    let rate = |case, subject: &str| rows.ratio("end-to-end", case, subject);
    let work = |case, subject: &str, other: &str| {
        let of = |subject: &str| rows.find("end-to-end", case, subject)?.instructions.map(exact);
        Some(over(of(subject)?, of(other)?))
    };
    let mut aims = vec![
        at_most(
            "accounts: the server's requests per second, without / with",
            1.01,
            rate(HYPER, ACCOUNTS),
        ),
        at_most(
            "accounts: the server's instructions per request, with / without",
            1.01,
            work(HYPER, ACCOUNTS, POOLS),
        ),
        at_most(
            "accounts: the same with an account for each request, requests per second",
            1.01,
            rate(HYPER, EACH),
        ),
        at_most(
            "parked: instructions of a request, cenote serve / the former build of --former",
            1.05,
            work(SERVING, SERVE, FORMER),
        ),
        at_least(
            "end to end: requests per second, nginx with our pools / as it is",
            1.0,
            rate(NGINX, STOCK),
        ),
        at_least(
            "end to end: instructions per request, nginx as it is / with our pools",
            1.0,
            work(NGINX, STOCK, end_to_end::OURS),
        ),
    ];
    for malloc in ["glibc", "mimalloc", "jemalloc"] {
        let subject = format!("Vec and String, {malloc}");
        aims.push(at_least(
            &format!("end to end: requests per second, hyper with pools / {subject}"),
            1.0,
            rate(HYPER, &subject),
        ));
    }
    aims.push(at_least(
        "end to end: instructions per request, hyper with Vec and String, glibc / with pools",
        1.0,
        work(HYPER, "Vec and String, glibc", POOLS),
    ));
    aims
}

/// nginx's time over ours, both less what the replay takes with no pool at all: the trace where
/// that is least.
fn without_replay(rows: &Rows<'_>) -> Option<(Spread, String)> {
    let cases = rows.0.iter().filter(|row| row.group == "trace" && row.subject == "nginx");
    cases
        .filter_map(|nginx| {
            let of = |subject| rows.find("trace", &nginx.case, subject)?.ns;
            let (ours, floor) = (of("cenote")?, of(trace::FLOOR)?);
            let less = |time: Spread| Spread {
                median: time.median - floor.median,
                mad: time.mad + floor.mad,
            };
            Some((over(less(nginx.ns?), less(ours)), nginx.case.clone()))
        })
        .min_by(|one, other| one.0.median.total_cmp(&other.0.median))
}

fn large_growth(rows: &Rows<'_>) -> Option<Spread> {
    let ns = |case: &str| rows.find("large", case, "cenote").and_then(|row| row.ns);
    Some(over(ns(large::CASES[3].0)?, ns(large::CASES[0].0)?))
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
                close: false,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_within_the_spread_of_the_aim_is_said_to() {
        let near = at_least("a", 1.4, Some(Spread { median: 1.41, mad: 0.05 }));
        assert_eq!((near.reached, near.close), (Some(true), true));
        let clear = at_most("b", 2.0, Some(Spread { median: 6.5, mad: 0.3 }));
        assert_eq!((clear.reached, clear.close), (Some(false), false));
        assert_eq!((clear.measured.as_str(), clear.wanted.as_str()), ("6.50 ±0.30", "at most 2"));
        assert_eq!(at_most("c", 1.01, Some(exact(1.0))).measured, "1");
    }
}
