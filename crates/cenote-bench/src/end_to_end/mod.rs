//! Whole servers under load: nginx as it is and with cenote's pools, and one hyper server with pools
//! and with `Vec` and `String`, under three allocators; and `cenote serve`, which does more.
//!
//! Requests per second in interleaved rounds, the processor time that a request took, the instructions
//! of one by callgrind, and what each process holds after a burst of connections and after they have
//! gone.

mod instructions;
pub(crate) mod parked;
mod server;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::harness::{Rounds, Row, Times};
use crate::probe::Probe;
use crate::report::table::Live;
use server::{Running, Server, servers};

pub(crate) const NGINX: &str = "nginx, requests on 64 connections";
pub(crate) const HYPER: &str = "hyper, requests on 64 connections";
pub(crate) const SERVING: &str = "cenote serve, requests on 64 connections";
const BURST: &str = "after a burst of 2,000 connections";
const GONE: &str = "after they have gone";

pub(crate) const OURS: &str = "cenote (nginx with our pools)";
pub(crate) const STOCK: &str = "nginx as it is";
pub(crate) const POOLS: &str = "cenote (the server with pools)";
pub(crate) const ACCOUNTS: &str = "cenote (the server with pools, accounts four deep)";
pub(crate) const EACH: &str = "cenote (the server with pools, and an account for each request)";
pub(crate) const GLIBC: &str = "Vec and String, glibc";
pub(crate) const SERVE: &str = "cenote (serve)";
pub(crate) const FORMER: &str = "cenote serve, the former build";

/// The cases, and who is in each. The first is ours, with which others are compared. One server may be
/// in several.
const CASES: [(&str, &[&str]); 3] = [
    (NGINX, &[OURS, STOCK]),
    (
        HYPER,
        &[POOLS, ACCOUNTS, EACH, GLIBC, "Vec and String, mimalloc", "Vec and String, jemalloc"],
    ),
    // All that `cenote serve` does beside: ranges, conditions, a log, the view, safe paths.
    (SERVING, &[SERVE, FORMER, GLIBC]),
];

/// The whole group; what cannot be measured here is told and left out.
pub(crate) fn rows(
    quick: bool,
    counting: bool,
    former: Option<&Path>,
    scratch: &Path,
    live: &Live,
) -> Result<Vec<Row>> {
    let site = scratch.join("site");
    fs::create_dir_all(&site)?;
    fs::write(site.join("index.html"), "<p>a page of some length</p>\n".repeat(36))?;
    let servers = servers(former, live);
    let mut rows = match under_load(&servers, quick, scratch, live) {
        Ok(rows) => rows,
        Err(why) => {
            eprintln!("SKIPPED: end-to-end under load: {why:#}");
            Vec::new()
        }
    };
    if counting {
        for server in &servers {
            live.doing(&format!("{}: counting instructions", server.name));
            match instructions::per_request(server, scratch) {
                Ok(count) => note(&mut rows, server, count),
                Err(why) => eprintln!("SKIPPED: instructions of {}: {why:#}", server.name),
            }
        }
    }
    let (timed, held): (Vec<_>, Vec<_>) =
        rows.iter().cloned().partition(|row: &Row| row.held.is_none());
    for case in timed.chunk_by(|one, other| one.case == other.case) {
        live.case(case);
    }
    live.bytes(&held);
    Ok(rows)
}

/// The group `parked`.
pub(crate) fn parked_rows(
    quick: bool,
    former: Option<&Path>,
    scratch: &Path,
    live: &Live,
) -> Result<Vec<Row>> {
    let site = scratch.join("site");
    fs::create_dir_all(&site)?;
    fs::write(site.join("index.html"), "hello\n")?;
    parked::rows(&server::keepers(former, live), quick, scratch, live)
}

/// Puts a count into the server's rows; makes them where it was not under load.
fn note(rows: &mut Vec<Row>, server: &Server, count: instructions::Count) {
    for (case, _) in CASES.iter().filter(|(_, names)| names.contains(&server.name)) {
        let found = rows.iter().position(|row| row.case == *case && row.subject == server.name);
        let at = found.unwrap_or_else(|| {
            let row = Row {
                group: "end-to-end".into(),
                case: (*case).into(),
                subject: server.name.into(),
                unit: "request".into(),
                note: "no wrk".into(),
                ..Row::default()
            };
            // Behind those of its case.
            let end =
                rows.iter().rposition(|row| row.case == *case).map_or(rows.len(), |at| at + 1);
            rows.insert(end, row);
            end
        });
        rows[at].instructions = Some(count.median);
        if rows[at].ns.is_some() {
            rows[at].note = format!("±{:.0} instructions", count.mad);
        }
    }
}

fn under_load(servers: &[Server], quick: bool, scratch: &Path, live: &Live) -> Result<Vec<Row>> {
    ensure!(Command::new("wrk").arg("-v").output().is_ok(), "no wrk");
    let running: Vec<Running> =
        servers.iter().map(|server| server.start(scratch, &[])).collect::<Result<_>>()?;
    let (rounds, seconds) = if quick { (3, 1) } else { (9, 2) };
    // By the wall's clock, and by the server's processor time.
    let mut times = [vec![Vec::new(); servers.len()], vec![Vec::new(); servers.len()]];
    for round in 0..rounds {
        for turn in 0..servers.len() {
            let at = (turn + round) % servers.len();
            live.step(round * servers.len() + turn + 1, rounds * servers.len(), servers[at].name);
            let [wall, used] = running[at].load(64, seconds)?;
            times[0][at].push(wall);
            times[1][at].push(used);
        }
    }
    let mut rows = Vec::new();
    for (what, times) in ["", ", processor time"].iter().zip(&times) {
        for (case, names) in CASES {
            let of = |name: &&str| {
                let at = servers.iter().position(|server| server.name == *name)?;
                let ns = times[at].clone();
                let note = servers[at].note();
                Some(Times { name: (*name).into(), note, held: None, ns })
            };
            let subjects = names.iter().filter_map(of).collect();
            let rounds = Rounds::new(format!("{case}{what}"), "request", subjects, Vec::new());
            rows.extend(rounds.rows("end-to-end", Probe::default()));
        }
    }
    rows.extend(bursts(servers, &running, seconds, live)?);
    Ok(rows)
}

fn bursts(servers: &[Server], running: &[Running], seconds: u32, live: &Live) -> Result<Vec<Row>> {
    let (mut held, mut gone) = (Vec::new(), Vec::new());
    for (server, running) in servers.iter().zip(running) {
        live.doing(&format!("{}: a burst of 2,000 connections", server.name));
        let (before, quiet) = (running.resident()?, running.descriptors()?);
        running.load(2_000, seconds)?;
        let row = |case: &str, held| Row {
            group: "end-to-end".into(),
            case: case.into(),
            subject: server.name.into(),
            unit: "process".into(),
            held: Some(held),
            note: format!("{before} B before the burst"),
            ..Row::default()
        };
        held.push(row(BURST, running.resident()?));
        let begun = Instant::now();
        while running.descriptors()? > quiet + 4 {
            ensure!(
                begun.elapsed() < Duration::from_secs(60),
                "{} keeps its connections",
                server.name
            );
            std::thread::yield_now();
        }
        // A server gives memory back while it works on.
        running.load(1, 1)?;
        gone.push(row(GONE, running.resident()?));
    }
    held.extend(gone);
    Ok(held)
}
