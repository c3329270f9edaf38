//! A group's run: the same cases in several processes, one after the other, and their rounds put
//! together.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::groups::Group;
use crate::harness::{self, Effort, Rounds};
use crate::report::table::Live;

/// Between its turns every subject is idle, and a general allocator that gives memory back when idle
/// would fault it in again in each: they are told to keep what they have.
pub(crate) const KEEP: [(&str, &str); 3] = [
    ("MIMALLOC_PURGE_DELAY", "-1"),
    ("_RJEM_MALLOC_CONF", "dirty_decay_ms:-1,muzzy_decay_ms:-1"),
    (
        "GLIBC_TUNABLES",
        "glibc.malloc.trim_threshold=1073741824:glibc.malloc.mmap_threshold=33554432:glibc.malloc.top_pad=1048576",
    ),
];

/// The child's part: every case, a line for each.
pub(crate) fn child(group: &Group, effort: Effort) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for case in (group.cases)() {
        serde_json::to_writer(&mut out, &harness::measure(case, effort))?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

/// The parent's part.
pub(crate) fn group(group: &Group, quick: bool, live: &Live) -> Result<Vec<Rounds>> {
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    let exe = executable(group, live)?;
    let cases = (group.cases)().len();
    let mut all: Vec<Rounds> = Vec::new();
    for process in 0..effort.processes {
        let mut command = Command::new(&exe);
        command.args(["--measure-group", group.name]).stdout(Stdio::piped());
        if quick {
            command.arg("--quick");
        }
        command.envs(KEEP);
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        for (at, line) in lines.enumerate() {
            let rounds: Rounds = serde_json::from_str(&line?)?;
            live.step(process * cases + at + 1, effort.processes * cases, &rounds.case);
            if process == 0 {
                all.push(rounds);
            } else {
                all.get_mut(at).context("a case that the first process did not have")?.add(rounds);
            }
        }
        ensure!(child.wait()?.success(), "the process that measures {} failed", group.name);
    }
    Ok(all)
}

/// The program that measures a group: this one, or the same built with link-time optimisation.
pub(crate) fn executable(group: &Group, live: &Live) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    if !group.lto {
        return Ok(this);
    }
    live.doing("building the bench with link-time optimisation");
    let folder = this.ancestors().nth(2).context("a folder")?.join("cenote-bench/lto");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    build.args(["build", "--release", "--locked", "-p", "cenote-bench", "--bin", "cenote-bench"]);
    build.env("CARGO_PROFILE_RELEASE_LTO", "fat").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    build.arg("--target-dir").arg(&folder).current_dir(env!("CARGO_MANIFEST_DIR"));
    let out = build.output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "the build with link-time optimisation: {}", said.trim());
    Ok(folder.join("release/cenote-bench"))
}
