//! General allocators, each in a process of its own and as it is by default: how long they take, and
//! how much memory there was at the most.
//!
//! A sample is a process: it prepares, works a fixed number of units, and tells. So each has the
//! same work whatever it takes, and the peak of one is not the others'.

mod alone;
mod json;
mod object;
mod together;

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::groups::chunk::Mix;
use crate::groups::months::InPlace;
use crate::harness::{Case, Rounds, Subject, Times, timed};
use crate::peers::mallocs::{
    Glibc, Global, Malloc, NO_TCMALLOC, Rallocator, Rusty, TCMALLOC, Visit, general,
    preload_tcmalloc, tcmalloc_library,
};
use crate::probe::Probe;
use crate::report::table::Live;

/// Ours.
pub(crate) const OURS: &str = "cenote-global";
/// The loop around the calls, which is in all instructions.
pub(crate) const LOOP: &str = "(the loop alone)";
/// The same case by the wall's clock.
const WALL: &str = ", by the wall";

pub(crate) const FEW: &str = "16 to 256 B, 4,096 live";
pub(crate) const MANY: &str = "16 to 256 B, 100,000 live";
pub(crate) const NEWEST: &str = "sixteen of 16 to 256 B, newest first";
pub(crate) const PAGES: &str = "1 to 16 KiB, 1,024 live";
pub(crate) const SWAP: &str = "two threads swap arrays";
pub(crate) const HANDED: &str = "producer and consumer";
pub(crate) const JSON: &str = "a JSON document parsed and dropped";
pub(crate) const VECTORS: &str = "growing vectors";
pub(crate) const COME_AND_GO: &str = "threads that come and go";
const LARSON: &str = "as larson";
const XMALLOC: &str = "as xmalloc";
const MSTRESS: &str = "as mstress";
const SCRATCH: &str = "as cache-scratch";
const CFRAC: &str = "as cfrac";

/// Rounds of each of the two times, and of a look.
pub(crate) const ROUNDS: [usize; 2] = [4, 2];
/// A look is at so many times fewer units.
const LOOK: u64 = 8;

/// What is done.
#[derive(Clone, Copy)]
enum Kernel {
    Churn(Mix),
    Newest,
    Vectors,
    Cfrac,
    Json,
    Swap,
    Handed,
    ComeAndGo,
    Larson,
    Xmalloc,
    Mstress,
    Scratch,
}

/// A kernel with its name, and how much of it is some 40 ms of work.
struct Work {
    name: &'static str,
    unit: &'static str,
    kernel: Kernel,
    units: u64,
}

const fn churn(low: u64, high: u64, live: usize) -> Kernel {
    Kernel::Churn(Mix { low, high, live })
}

const fn work(name: &'static str, unit: &'static str, kernel: Kernel, units: u64) -> Work {
    Work { name, unit, kernel, units }
}

/// All of it.
static ALL: [Work; 14] = [
    work(FEW, PAIR, churn(16, 256, 4_096), 6_000_000),
    work(MANY, PAIR, churn(16, 256, 100_000), 1_500_000),
    work(NEWEST, PAIR, Kernel::Newest, 8_000_000),
    work(PAGES, PAIR, churn(1_024, 16_384, 1_024), 1_000_000),
    work(SWAP, PAIR, Kernel::Swap, 2_500_000),
    work(HANDED, PAIR, Kernel::Handed, 1_500_000),
    work(JSON, "document", Kernel::Json, 40),
    work(VECTORS, "growth", Kernel::Vectors, 24_000),
    work(COME_AND_GO, "thread", Kernel::ComeAndGo, 1_200),
    work(LARSON, PAIR, Kernel::Larson, 2_000_000),
    work(XMALLOC, PAIR, Kernel::Xmalloc, 1_200_000),
    work(MSTRESS, "object", Kernel::Mstress, 1_200_000),
    work(SCRATCH, "object", Kernel::Scratch, 500_000),
    work(CFRAC, PAIR, Kernel::Cfrac, 8_000_000),
];
const PAIR: &str = "free and allocate";

impl Kernel {
    /// Whether several threads are at work, so that the wall's clock is another matter.
    const fn threaded(self) -> bool {
        matches!(
            self,
            Self::Swap
                | Self::Handed
                | Self::ComeAndGo
                | Self::Larson
                | Self::Xmalloc
                | Self::Mstress
                | Self::Scratch
        )
    }

    /// Whether a few hundred units tell its instructions.
    const fn counted(self) -> bool {
        matches!(self, Self::Churn(_) | Self::Newest | Self::Cfrac)
    }

    /// Works so many units, with all that it takes freed at the end.
    fn run<M: Malloc + Copy + Send + Sync + 'static>(self, malloc: M, units: u64) -> Took {
        match self {
            Self::Churn(mix) => alone::churn(malloc, mix, units),
            Self::Newest => alone::newest(malloc, units),
            Self::Vectors => alone::vectors(malloc, units),
            Self::Cfrac => alone::cfrac(malloc, units),
            Self::Json => json::parse(malloc, units),
            Self::Swap => together::swap(malloc, units),
            Self::Handed => together::handed(malloc, units),
            Self::ComeAndGo => together::come_and_go(malloc, units),
            Self::Larson => together::larson(malloc, units),
            Self::Xmalloc => together::xmalloc(malloc, units),
            Self::Mstress => together::mstress(malloc, units),
            Self::Scratch => together::scratch(malloc, units),
        }
    }
}

/// A sample by both clocks: the wall's, and the processor time of all threads, those that an
/// allocator begins for itself included.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Took {
    wall: Duration,
    used: Duration,
}

/// Times `work`, below what callgrind looks at.
fn took(work: impl FnMut()) -> Took {
    let (begun, used) = (Instant::now(), processor_time_of_all());
    timed(work);
    Took { wall: begun.elapsed(), used: processor_time_of_all().saturating_sub(used) }
}

fn processor_time_of_all() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, and the answer's place is valid.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut now) };
    assert_eq!(answer, 0, "a clock of the process");
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// What a process tells.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Told {
    took: Took,
    units: u64,
    /// The most bytes that were ever resident.
    peak: usize,
}

/// A kernel that waits to be run with one of the allocators, and where to it tells.
struct Waiting {
    kernel: Kernel,
    took: Rc<Cell<Took>>,
}

impl Visit for Waiting {
    fn subject<M: Malloc + Copy + Send + Sync + 'static>(&self, name: &str, malloc: M) -> Subject {
        let (kernel, took) = (self.kernel, self.took.clone());
        Subject::new(name, move |units| {
            took.set(kernel.run(malloc, units));
            took.get().used
        })
    }
}

/// Those compared, ours first.
fn subjects(waiting: &Waiting) -> Vec<Subject> {
    let mut all = vec![waiting.subject(OURS, Global)];
    all.extend(general(waiting, ""));
    all.push(match tcmalloc_library() {
        None => Subject::missing(TCMALLOC, NO_TCMALLOC),
        Some(_) if crate::count::counting() => Subject::missing(TCMALLOC, "is preloaded"),
        // In its process it is what the C library's calls lead to.
        Some(_) => waiting.subject(TCMALLOC, Glibc),
    });
    all.push(waiting.subject("rusty_alloc", Rusty));
    all.push(if crate::count::counting() {
        Subject::missing("rallocator", "does not run under valgrind")
    } else {
        waiting.subject("rallocator", Rallocator)
    });
    if waiting.kernel.counted() {
        all.push(waiting.subject(LOOP, alone::Nothing));
    }
    all
}

/// What is counted: the same kernels in one process, which has no tcmalloc then.
pub(crate) fn cases() -> Vec<Case> {
    let counted = ALL.iter().filter(|work| work.kernel.counted());
    counted
        .map(|work| {
            let kernel = work.kernel;
            Case::new(work.name, work.unit, move || {
                subjects(&Waiting { kernel, took: Rc::default() })
            })
        })
        .collect()
}

/// The child's part: `what` is a case and a subject.
pub(crate) fn child(what: &[String], quick: bool) -> Result<()> {
    let [case, name] = what else { anyhow::bail!("a case and a subject") };
    let work = ALL.iter().find(|work| work.name == case).context("no such case")?;
    if name == TCMALLOC {
        InPlace::tcmalloc()?;
    }
    let took = Rc::new(Cell::default());
    let all = subjects(&Waiting { kernel: work.kernel, took: took.clone() });
    let subject = all.into_iter().find(|one| one.name == *name).context("no such subject")?;
    let mut batch = subject.batch.context("a subject that cannot take part")?;
    let units = if quick { work.units / LOOK } else { work.units }.max(4);
    // What comes first, such as the first thread and all first pages, is not what is compared.
    batch(units.div_ceil(8));
    batch(units);
    println!("{}", serde_json::to_string(&Told { took: took.get(), units, peak: peak()? })?);
    Ok(())
}

/// The most bytes of this process that were ever resident.
fn peak() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: usize = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib * 1024)
}

/// The parent's part: a process for each sample, starting with another subject every round.
pub(crate) fn rounds(quick: bool, live: &Live) -> Result<Vec<Rounds>> {
    let many = ROUNDS[usize::from(quick)];
    let mut all = Vec::new();
    for (at, work) in ALL.iter().enumerate() {
        let subjects = subjects(&Waiting { kernel: work.kernel, took: Rc::default() });
        let mut told: Vec<Vec<Told>> = vec![Vec::with_capacity(many); subjects.len()];
        let mut probes = Vec::with_capacity(many);
        for round in 0..many {
            live.step(at * many + round, ALL.len() * many, work.name);
            let before = Probe::now();
            for turn in 0..subjects.len() {
                let at = (turn + round) % subjects.len();
                if subjects[at].batch.is_some() {
                    told[at].push(ask(work.name, &subjects[at].name, quick)?);
                }
            }
            probes.push(before.slower(Probe::now()));
        }
        let times = |clock: fn(&Took) -> Duration| {
            let each = subjects.iter().zip(&told).map(|(subject, told)| {
                let ns = |told: &Told| clock(&told.took).as_nanos() as f64 / told.units as f64;
                let mut peaks: Vec<usize> = told.iter().map(|told| told.peak).collect();
                peaks.sort_unstable();
                Times {
                    name: subject.name.clone(),
                    note: subject.missing.into(),
                    held: peaks.get(peaks.len() / 2).copied(),
                    ns: told.iter().map(ns).collect(),
                }
            });
            each.collect::<Vec<_>>()
        };
        let rounds = |name: String, times| Rounds::new(name, work.unit, times, probes.clone());
        all.push(rounds(work.name.into(), times(|took| took.used)));
        if work.kernel.threaded() {
            all.push(rounds(format!("{}{WALL}", work.name), times(|took| took.wall)));
        }
    }
    Ok(all)
}

/// What the process of a subject tells.
fn ask(case: &str, subject: &str, quick: bool) -> Result<Told> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--global-sample", case, subject]);
    if quick {
        command.arg("--quick");
    }
    if subject == TCMALLOC {
        preload_tcmalloc(&mut command).map_err(anyhow::Error::msg)?;
    }
    let out = command.output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "global, {case}, {subject}: {}: {said}", out.status);
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// The cases by processor time, of which means are taken.
pub(crate) fn case_names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|work| work.name)
}

#[cfg(test)]
mod tests {
    use std::alloc::Layout;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// Tells how often it was called, and what is live.
    #[derive(Clone, Copy)]
    struct Tally<'a>(&'a [AtomicUsize; 3]);

    impl Malloc for Tally<'_> {
        fn get(&self, layout: Layout) -> *mut u8 {
            self.0[0].fetch_add(1, Relaxed);
            self.0[2].fetch_add(layout.size(), Relaxed);
            Glibc.get(layout)
        }
        unsafe fn put(&self, start: *mut u8, layout: Layout) {
            self.0[1].fetch_add(1, Relaxed);
            self.0[2].fetch_sub(layout.size(), Relaxed);
            // SAFETY: the caller's promise.
            unsafe { Glibc.put(start, layout) };
        }
    }

    #[test]
    fn every_kernel_frees_all_that_it_took_by_the_size_that_it_asked_for() {
        for work in &ALL {
            let counts: &'static [AtomicUsize; 3] = Box::leak(Box::default());
            let units = (work.units / 100).max(3);
            let took = work.kernel.run(Tally(counts), units);
            let [gets, puts, live] = counts.each_ref().map(|count| count.load(Relaxed));
            assert!(gets as u64 >= units, "{}: {gets} for {units} units", work.name);
            assert_eq!((gets, live), (puts, 0), "{}", work.name);
            assert!(took.used > Duration::ZERO, "{}", work.name);
        }
    }

    #[test]
    fn every_allocator_takes_part_in_every_case() {
        for work in &ALL {
            let waiting = Waiting { kernel: work.kernel, took: Rc::default() };
            for mut subject in subjects(&waiting) {
                if let Some(batch) = &mut subject.batch {
                    assert!(batch((work.units / 400).max(2)) > Duration::ZERO, "{}", subject.name);
                }
            }
        }
    }
}
