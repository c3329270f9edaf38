//! Instructions per unit: the bench runs itself under callgrind, once for each group.
//!
//! Everything measured runs below one function. callgrind counts only inside it, and writes its
//! sums each time that it returns; the child tells in which order.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};

use crate::groups::Group;
use crate::harness;

/// Units in a counted batch.
const UNITS: u64 = 256;
/// Units in the batch before it, which is to find everything warm.
const WARM: u64 = 512;

static COUNTING: AtomicBool = AtomicBool::new(false);

/// Whether this process runs under callgrind, where preparations had better be short.
pub(crate) fn counting() -> bool {
    COUNTING.load(Ordering::Relaxed)
}

/// By case and subject.
pub(crate) type Counts = HashMap<(String, String), f64>;

/// Whether there is a valgrind.
pub(crate) fn available() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|out| out.status.success())
}

/// The child's part: each subject's work twice, and a line for the second.
pub(crate) fn child(group: &Group) {
    COUNTING.store(true, Ordering::Relaxed);
    for case in (group.cases)().into_iter().filter(|case| case.counted) {
        let (warm, units) = ((WARM / case.weight).max(1), (UNITS / case.weight).max(1));
        for subject in (case.subjects)() {
            if let Some(mut batch) = subject.batch {
                batch(warm);
                let before = harness::measured();
                batch(units);
                println!(
                    "{}\t{}\t{before}\t{}\t{units}",
                    case.name,
                    subject.name,
                    harness::measured()
                );
            }
        }
    }
}

/// The parent's part.
pub(crate) fn group(group: &Group, exe: &Path, scratch: &Path) -> Result<Counts> {
    let folder = scratch.join(group.name);
    std::fs::create_dir_all(&folder)?;
    let out = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--collect-atstart=no",
            "--combine-dumps=no",
            "--error-exitcode=0",
        ])
        .arg("--toggle-collect=cenote_bench_measured")
        .arg("--dump-after=cenote_bench_measured")
        .arg(format!("--callgrind-out-file={}", folder.join("out").display()))
        .arg(exe)
        .args(["--count-group", group.name])
        // Otherwise it steps aside, for the sake of those who look for errors.
        .env("CENOTE_MALLOC", "pass:0")
        .stderr(Stdio::piped())
        .output()?;
    ensure!(out.status.success(), "valgrind: {}", String::from_utf8_lossy(&out.stderr));
    let mut counts = Counts::new();
    for line in String::from_utf8(out.stdout)?.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [case, subject, before, after, units] = fields[..] else {
            bail!("a line of the child: {line}")
        };
        let mut total = 0.0;
        // Sums are numbered from 1.
        for number in before.parse::<usize>()? + 1..=after.parse()? {
            total += sum(&folder.join(format!("out.{number}")))?;
        }
        counts.insert((case.to_owned(), subject.to_owned()), total / units.parse::<f64>()?);
    }
    Ok(counts)
}

/// The instructions that one dump tells.
pub(crate) fn sum(dump: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(dump).with_context(|| dump.display().to_string())?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: ")))
        .context("no sum in a dump")?;
    Ok(total.trim().parse()?)
}
