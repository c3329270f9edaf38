//! Whole servers under load: nginx as it is and with cenote's pools, and the hyper server with pools
//! and without, under three allocators. Requests per second in interleaved rounds, and what each
//! process holds after a burst of connections and after they have gone.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::harness::{Rounds, Row, Times};
use crate::report::table::Live;

pub(crate) const NGINX: &str = "nginx, requests on 64 connections";
pub(crate) const HYPER: &str = "hyper, requests on 64 connections";
const BURST: &str = "after a burst of 2,000 connections";
const GONE: &str = "after they have gone";

/// A server that may take part.
struct Server {
    case: &'static str,
    name: &'static str,
    /// The program, where it is there.
    program: PathBuf,
    kind: Kind,
    port: u16,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Nginx,
    Cenote,
    Plain,
}

/// A running server, which ends with this value.
struct Running {
    child: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(&self, scratch: &Path) -> Result<Running> {
        let site = scratch.join("site");
        let listen = format!("127.0.0.1:{}", self.port);
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Nginx => {
                let prefix = scratch.join(format!("nginx-{}", self.port));
                fs::create_dir_all(prefix.join("logs"))?;
                let file = prefix.join("nginx.conf");
                fs::write(
                    &file,
                    format!(
                        "daemon off; master_process off; error_log logs/error.log;\n\
                         events {{ worker_connections 4096; }}\n\
                         http {{ access_log off; keepalive_requests 1000000000;\n\
                         server {{ listen {listen} backlog=4096; root {}; }} }}\n",
                        site.display()
                    ),
                )?;
                command.arg("-p").arg(&prefix).arg("-c").arg(&file);
            }
            Kind::Cenote => {
                command.arg("serve").arg(&site).args(["--listen", &listen, "--workers", "1"]);
            }
            Kind::Plain => {
                command.arg(&site).arg(&listen);
            }
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut running = Running { child, port: self.port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = running.child.try_wait()? {
                bail!("{} ended: {status}", self.name);
            }
            ensure!(begun.elapsed() < Duration::from_secs(20), "{} does not answer", self.name);
            std::thread::yield_now();
        }
        Ok(running)
    }
}

impl Running {
    /// Requests per second, as wrk says.
    fn load(&self, connections: usize, seconds: u32) -> Result<f64> {
        let out = Command::new("wrk")
            .args([
                "-t1",
                &format!("-c{connections}"),
                &format!("-d{seconds}s"),
                "--timeout",
                "30s",
            ])
            .arg(format!("http://127.0.0.1:{}/index.html", self.port))
            .output()?;
        let text = String::from_utf8_lossy(&out.stdout);
        ensure!(!text.contains("Non-2xx"), "wrk was refused: {text}");
        let line = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
        Ok(line.context("wrk says no figure")?.trim().parse()?)
    }

    fn resident(&self) -> Result<usize> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).context("no Rss")?;
        Ok(line.split_whitespace().next().context("no number")?.parse::<usize>()? * 1024)
    }

    /// Open descriptors, of which a connection is one.
    fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}

/// Where programs beside this one lie, and those that are built for it.
fn target() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    Ok(exe.parent().context("a folder")?.to_owned())
}

/// Builds nginx from the source tree that the bench was built with, once: the same flags for both,
/// and for the second our add-on, which puts cenote's pools in the place of nginx's.
fn nginx(kind: &str, live: &Live) -> Result<PathBuf> {
    let folder =
        target()?.parent().context("a folder")?.join("cenote-bench").join(format!("nginx-{kind}"));
    let program = folder.join("objs/nginx");
    if program.exists() {
        return Ok(program);
    }
    live.doing(&format!("building nginx, {kind}"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let source = option_env!("CENOTE_BENCH_NGINX_SOURCE")
        .context("nginx's source was not there at the build")?;
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.parent().context("a folder")?)?;
    run(Command::new("cp").arg("-r").arg(source).arg(&folder))?;
    let mut configure = Command::new("sh");
    configure.current_dir(&folder).args([
        "auto/configure",
        "--without-pcre",
        "--without-http_rewrite_module",
    ]);
    if kind == "cenote" {
        let addon = root.canonicalize()?.join("crates/cenote-c/nginx");
        configure.arg(format!("--add-module={}", addon.display()));
    }
    run(&mut configure)?;
    run(Command::new("make").current_dir(&folder).arg("-j2"))?;
    Ok(program)
}

fn run(command: &mut Command) -> Result<()> {
    let out = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

fn servers(live: &Live) -> Result<Vec<Server>> {
    let beside = target()?;
    let mut all = Vec::new();
    // The first of a case is the one that others are compared with: ours.
    for (name, kind) in [("cenote (nginx with our pools)", "cenote"), ("nginx as it is", "stock")] {
        match nginx(kind, live) {
            Ok(program) => all.push((NGINX, name, program, Kind::Nginx)),
            Err(why) => eprintln!("SKIPPED: {name}: {why:#}"),
        }
    }
    for (name, program, kind) in [
        ("cenote (serve, with pools)", "cenote", Kind::Cenote),
        ("Vec and String, glibc", "cenote-bench-plain-glibc", Kind::Plain),
        ("Vec and String, mimalloc", "cenote-bench-plain-mimalloc", Kind::Plain),
        ("Vec and String, jemalloc", "cenote-bench-plain-jemalloc", Kind::Plain),
    ] {
        let program = beside.join(program);
        if program.exists() {
            all.push((HYPER, name, program, kind));
        } else {
            eprintln!("SKIPPED: {name}: {} is not built", program.display());
        }
    }
    Ok(all
        .into_iter()
        .zip(18_700..)
        .map(|((case, name, program, kind), port)| Server { case, name, program, kind, port })
        .collect())
}

/// The whole group. Empty where there is no wrk.
pub(crate) fn rows(quick: bool, scratch: &Path, live: &Live) -> Result<Vec<Row>> {
    if Command::new("wrk").arg("-v").output().is_err() {
        eprintln!("SKIPPED: end-to-end (no wrk)");
        return Ok(Vec::new());
    }
    let site = scratch.join("site");
    fs::create_dir_all(&site)?;
    fs::write(site.join("index.html"), "<p>a page of some length</p>\n".repeat(36))?;
    let servers = servers(live)?;
    let running: Vec<Running> =
        servers.iter().map(|server| server.start(scratch)).collect::<Result<_>>()?;
    let (rounds, seconds) = if quick { (3, 1) } else { (9, 2) };
    let mut times = vec![Vec::new(); servers.len()];
    for round in 0..rounds {
        for turn in 0..servers.len() {
            let at = (turn + round) % servers.len();
            live.step(round * servers.len() + turn + 1, rounds * servers.len(), servers[at].name);
            times[at].push(1e9 / running[at].load(64, seconds)?);
        }
    }
    let mut rows = Vec::new();
    for case in [NGINX, HYPER] {
        let subjects = servers.iter().zip(&times).filter(|(server, _)| server.case == case);
        let subjects = subjects.map(|(server, ns)| Times {
            name: server.name.into(),
            note: String::new(),
            held: None,
            ns: ns.clone(),
        });
        let rounds =
            Rounds { case: case.into(), unit: "request".into(), subjects: subjects.collect() };
        rows.extend(rounds.rows("end-to-end"));
    }
    rows.extend(bursts(&servers, &running, seconds, live)?);
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
            ns: None,
            ratio: None,
            instructions: None,
            held: Some(held),
            note: format!("{before} B before the burst"),
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
