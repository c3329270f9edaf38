//! The servers that take part: how each is built, started and looked at.

use std::ffi::OsString;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::report::table::Live;

/// A server that takes part.
pub(super) struct Server {
    pub(super) name: &'static str,
    program: PathBuf,
    kind: Kind,
    port: u16,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Nginx,
    Cenote,
    /// The bench's own, with the memory that it is told.
    Plain(&'static str),
    /// A service of axum's, and who serves it.
    Service(&'static str),
}

/// A running server, which ends with this value.
pub(super) struct Running {
    child: Child,
    pub(super) port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it, below the program and arguments of `under` if there are any; when this returns, it
    /// answers.
    pub(super) fn start(&self, scratch: &Path, under: &[OsString]) -> Result<Running> {
        let site = scratch.join("site");
        let listen = format!("127.0.0.1:{}", self.port);
        let mut command = match under {
            [] => Command::new(&self.program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        match self.kind {
            Kind::Nginx => {
                let prefix = scratch.join(format!("nginx-{}", self.port));
                fs::create_dir_all(prefix.join("logs"))?;
                let file = prefix.join("nginx.conf");
                fs::write(
                    &file,
                    format!(
                        "daemon off; master_process off; error_log logs/error.log;\n\
                         events {{ worker_connections 12000; }}\n\
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
            Kind::Plain(memory) => {
                command.arg(&site).arg(&listen).arg(memory);
            }
            Kind::Service(by) => {
                command.arg(&listen).arg(by);
            }
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut running = Running { child, port: self.port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = running.child.try_wait()? {
                bail!("{} ended: {status}", self.name);
            }
            ensure!(begun.elapsed() < Duration::from_secs(60), "{} does not answer", self.name);
            std::thread::yield_now();
        }
        Ok(running)
    }
}

impl Server {
    /// Which program it is, where its name does not tell.
    pub(super) fn note(&self) -> String {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        if self.name == super::FORMER { program.into_owned() } else { String::new() }
    }

    /// `cenote serve` has files alone; nginx reads a body that it has no use for.
    pub(super) fn takes_uploads(&self) -> bool {
        self.kind != Kind::Cenote
    }
}

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// One answer to wrk: nanoseconds per request by the wall's clock, and of the server's processor
    /// time.
    pub(super) fn load(&self, connections: usize, seconds: u32) -> Result<[f64; 2]> {
        let before = self.processor_time()?;
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
        let used = self.processor_time()? - before;
        let text = String::from_utf8_lossy(&out.stdout);
        ensure!(!text.contains("Non-2xx"), "wrk was refused: {text}");
        let figure = |line: &str| -> Option<f64> { line.split_whitespace().next()?.parse().ok() };
        let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
        let count = text.lines().find(|line| line.contains(" requests in "));
        let rate = rate.and_then(figure).context("wrk says no figure")?;
        let count = count.and_then(figure).context("wrk says no number of requests")?;
        Ok([1e9 / rate, used / count])
    }

    /// Nanoseconds for which its threads had a processor.
    fn processor_time(&self) -> Result<f64> {
        let mut sum = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            sum += text.split(' ').next().context("no time")?.parse::<f64>()?;
        }
        Ok(sum)
    }

    pub(super) fn resident(&self) -> Result<usize> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).context("no Rss")?;
        Ok(line.split_whitespace().next().context("no number")?.parse::<usize>()? * 1024)
    }

    /// Open descriptors, of which a connection is one.
    pub(super) fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}

/// Where programs beside this one lie, and those that are built for it.
fn target() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    Ok(exe.parent().context("a folder")?.to_owned())
}

/// Has cargo build what is measured beside this program, as the sources are now: `cargo run` builds this
/// program alone.
fn build(live: &Live) -> Result<()> {
    live.doing("building the servers");
    let folder = target()?;
    let folder = folder.parent().context("a folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let build = |what: &[&str]| {
        let mut command = Command::new(&cargo);
        command.args(["build", "--release", "--locked"]).args(what);
        run(command.arg("--target-dir").arg(folder).current_dir(root()))
    };
    build(&["-p", "cenote-cli", "-p", "cenote-nginx"])?;
    let plain = ["glibc", "mimalloc", "jemalloc"].map(|it| format!("cenote-bench-plain-{it}"));
    let [glibc, mimalloc, jemalloc] = &plain;
    let own = [glibc, mimalloc, jemalloc, "cenote-bench-service"];
    let bins: Vec<&str> = own.iter().flat_map(|name| ["--bin", *name]).collect();
    build(&[&["-p", "cenote-bench"], &bins[..]].concat())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Builds nginx from the source tree that the bench was built with: the same flags for both, and for
/// the second our add-on, which puts cenote's pools in the place of nginx's. What was built before is
/// linked anew where the pools have changed.
fn nginx(kind: &str, live: &Live) -> Result<PathBuf> {
    let beside = target()?;
    let pools = beside.join("libcenote_nginx.a");
    let folder =
        beside.parent().context("a folder")?.join("cenote-bench").join(format!("nginx-{kind}"));
    live.doing(&format!("building nginx, {kind}"));
    let made = fs::read_to_string(folder.join("objs/Makefile"));
    let of_pools = |text: &String| text.contains(&pools.display().to_string());
    if !made.as_ref().is_ok_and(|text| kind == "stock" || of_pools(text)) {
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
            let addon = root().canonicalize()?.join("crates/cenote-c/nginx");
            configure.env("CENOTE_NGINX_LIB", &pools);
            configure.arg(format!("--add-module={}", addon.display()));
        }
        run(&mut configure)?;
    }
    run(Command::new("make").current_dir(&folder).arg("-j2"))?;
    Ok(folder.join("objs/nginx"))
}

fn run(command: &mut Command) -> Result<()> {
    let out = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

/// All that take part under load and are there; what is missing is told.
pub(super) fn servers(former: Option<&Path>, live: &Live) -> Vec<Server> {
    there(
        live,
        former,
        &[
            (super::POOLS, "cenote-bench-plain-glibc", Kind::Plain("pools")),
            (super::ACCOUNTS, "cenote-bench-plain-glibc", Kind::Plain("accounts")),
            (super::EACH, "cenote-bench-plain-glibc", Kind::Plain("accounts-each")),
            (super::GLIBC, "cenote-bench-plain-glibc", Kind::Plain("vec")),
            ("Vec and String, mimalloc", "cenote-bench-plain-mimalloc", Kind::Plain("vec")),
            ("Vec and String, jemalloc", "cenote-bench-plain-jemalloc", Kind::Plain("vec")),
            (super::SERVE, "cenote", Kind::Cenote),
        ],
    )
}

/// Those whose idle connections are compared.
pub(super) fn keepers(former: Option<&Path>, live: &Live) -> Vec<Server> {
    there(
        live,
        former,
        &[
            (super::parked::PARKED, "cenote-bench-service", Kind::Service("cenote")),
            (super::parked::AXUM, "cenote-bench-service", Kind::Service("axum")),
            (super::SERVE, "cenote", Kind::Cenote),
        ],
    )
}

/// nginx both ways, these, and `cenote serve` of another build.
fn there(live: &Live, former: Option<&Path>, named: &[(&'static str, &str, Kind)]) -> Vec<Server> {
    if let Err(why) = build(live) {
        eprintln!("SKIPPED: building the servers anew, so those that are there take part: {why:#}");
    }
    let mut all = Vec::new();
    for (name, kind) in [(super::OURS, "cenote"), (super::STOCK, "stock")] {
        match nginx(kind, live) {
            Ok(program) => all.push((name, program, Kind::Nginx)),
            Err(why) => eprintln!("SKIPPED: {name}: {why:#}"),
        }
    }
    let named = named.iter().map(|&(name, program, kind)| (name, Path::new(program), kind));
    let former = former.map(|program| (super::FORMER, program, Kind::Cenote));
    for (name, program, kind) in named.chain(former) {
        match target() {
            Ok(beside) if beside.join(program).exists() => {
                all.push((name, beside.join(program), kind));
            }
            _ => eprintln!(
                "SKIPPED: {name}: {} is not built (cargo build --release)",
                program.display()
            ),
        }
    }
    all.into_iter()
        .zip(18_700..)
        .map(|((name, program, kind), port)| Server { name, program, kind, port })
        .collect()
}
