//! Rounds: every subject of a case does the same work, in turn, again and again.
//!
//! A case holds its subjects; one sample of a subject is a batch long enough to be timed; a round
//! is one sample of each, starting with another subject every time, so that a noisy machine hits
//! all alike. Figures are medians over rounds, and ratios are taken within a round.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::stats::{self, Spread};

/// A batch of work, `units` of it, and how long it took.
pub(crate) type Batch = Box<dyn FnMut(u64) -> Duration>;

/// One of those compared in a case.
pub(crate) struct Subject {
    pub(crate) name: String,
    /// The batch; nothing where the subject cannot take part.
    pub(crate) batch: Option<Batch>,
    /// Why there is none, for the table.
    pub(crate) missing: &'static str,
    /// Bytes that the subject holds while one unit is alive, where it can tell.
    pub(crate) held: Option<usize>,
}

impl Subject {
    /// A subject that takes part.
    pub(crate) fn new(name: &str, batch: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self { name: name.into(), batch: Some(Box::new(batch)), missing: "", held: None }
    }

    /// A subject that this machine cannot run, which the table says aloud.
    pub(crate) fn missing(name: &str, why: &'static str) -> Self {
        Self { name: name.into(), batch: None, missing: why, held: None }
    }

    /// The same, holding `bytes` while a unit is alive.
    pub(crate) fn holding(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.held = bytes.into();
        self
    }
}

/// One piece of work, done by several subjects.
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    /// What one unit is, as the table calls it: "request", "object".
    pub(crate) unit: &'static str,
    /// Made only when the case is run, since some hold a hundred thousand objects.
    pub(crate) subjects: Box<dyn FnOnce() -> Vec<Subject>>,
    /// Whether instructions per unit mean something (not with several threads).
    pub(crate) counted: bool,
}

impl Case {
    /// A case of `group`, whose first subject is the one that others are compared with.
    pub(crate) fn new(
        group: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        subjects: impl FnOnce() -> Vec<Subject> + 'static,
    ) -> Self {
        Self { group, name: name.into(), unit, subjects: Box::new(subjects), counted: true }
    }

    /// The same, without instructions.
    pub(crate) fn uncounted(mut self) -> Self {
        self.counted = false;
        self
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) sample: Duration,
}

impl Effort {
    pub(crate) const FULL: Self = Self { rounds: 41, sample: Duration::from_millis(4) };
    pub(crate) const QUICK: Self = Self { rounds: 9, sample: Duration::from_millis(1) };
}

/// What one subject did in one case.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) case: String,
    pub(crate) subject: String,
    pub(crate) unit: &'static str,
    /// Nanoseconds per unit over the rounds; nothing where the subject could not take part.
    pub(crate) ns: Option<Spread>,
    /// This subject's time over that of the case's first, taken in each round.
    pub(crate) ratio: Option<Spread>,
    pub(crate) instructions: Option<f64>,
    pub(crate) held: Option<usize>,
    pub(crate) note: String,
}

/// Times `work`. Everything measured runs below this one function, which is how callgrind is told
/// what to count; so a batch calls it once.
pub(crate) fn timed(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    cenote_bench_measured(&mut work);
    start.elapsed()
}

/// Named for callgrind's `--toggle-collect`.
#[unsafe(no_mangle)]
#[inline(never)]
fn cenote_bench_measured(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

/// Units that fill a sample.
fn calibrate(batch: &mut Batch, sample: Duration) -> u64 {
    let mut units = 1_u64;
    loop {
        let took = batch(units);
        if took >= sample / 2 || units > 1 << 40 {
            let wanted = units as f64 * sample.as_secs_f64() / took.as_secs_f64().max(1e-9);
            return (wanted as u64).max(1);
        }
        units *= if took < sample / 20 { 8 } else { 2 };
    }
}

/// Runs a case; `progress` is told each round.
pub(crate) fn measure(case: Case, effort: Effort, mut progress: impl FnMut(usize)) -> Vec<Row> {
    let (group, name, unit) = (case.group, case.name, case.unit);
    let mut subjects = (case.subjects)();
    let units: Vec<u64> = subjects
        .iter_mut()
        .map(|one| one.batch.as_mut().map_or(0, |batch| calibrate(batch, effort.sample)))
        .collect();
    let mut times = vec![Vec::with_capacity(effort.rounds); subjects.len()];
    for round in 0..effort.rounds {
        for turn in 0..subjects.len() {
            let at = (turn + round) % subjects.len();
            if let Some(batch) = &mut subjects[at].batch {
                let took = batch(units[at]);
                times[at].push(took.as_nanos() as f64 / units[at] as f64);
            }
        }
        progress(round + 1);
    }
    subjects
        .into_iter()
        .zip(&times)
        .map(|(subject, ns)| {
            let ratios: Vec<f64> = ns.iter().zip(&times[0]).map(|(one, ours)| one / ours).collect();
            Row {
                group,
                case: name.clone(),
                subject: subject.name,
                unit,
                ns: stats::spread(ns),
                ratio: stats::spread(&ratios),
                instructions: None,
                held: subject.held,
                note: subject.missing.into(),
            }
        })
        .collect()
}
