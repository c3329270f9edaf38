//! A group's run: the same cases in several processes, one after the other, and their rounds put
//! together.

use std::io::{BufRead, BufReader, Write};
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
    let cases = (group.cases)().len();
    let mut all: Vec<Rounds> = Vec::new();
    for process in 0..effort.processes {
        let mut command = Command::new(std::env::current_exe()?);
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
