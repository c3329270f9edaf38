//! Rounds: every subject of a case does the same work, in turn, again and again.
//!
//! A case holds its subjects; one sample of a subject is a batch long enough to be timed; a round
//! is one sample of each, starting with another subject every time, so that a noisy machine hits
//! all alike. Figures are medians over rounds, and ratios are taken within a round.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::probe::Probe;
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
    pub(crate) name: String,
    /// What one unit is, as the table calls it: "request", "object".
    pub(crate) unit: &'static str,
    /// Made only when the case is run, since some hold a hundred thousand objects.
    pub(crate) subjects: Box<dyn FnOnce() -> Vec<Subject>>,
    /// Whether instructions per unit mean something (not with several threads).
    pub(crate) counted: bool,
    /// How many small units one of its units is worth, so that callgrind is not kept for long.
    pub(crate) weight: u64,
}

impl Case {
    /// A case, whose first subject is the one that others are compared with.
    pub(crate) fn new(
        name: impl Into<String>,
        unit: &'static str,
        subjects: impl FnOnce() -> Vec<Subject> + 'static,
    ) -> Self {
        Self { name: name.into(), unit, subjects: Box::new(subjects), counted: true, weight: 1 }
    }

    /// The same, whose units are as much work as `weight` small ones.
    pub(crate) fn heavy(mut self, weight: u64) -> Self {
        self.weight = weight;
        self
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
    /// Processes in which the rounds are run, one after the other: where code, stack and heap come
    /// to lie is another matter of luck, and each process draws anew.
    pub(crate) processes: usize,
    /// Rounds in each of them.
    pub(crate) rounds: usize,
    pub(crate) sample: Duration,
}

impl Effort {
    pub(crate) const FULL: Self =
        Self { processes: 5, rounds: 7, sample: Duration::from_millis(3) };
    pub(crate) const QUICK: Self =
        Self { processes: 3, rounds: 5, sample: Duration::from_millis(1) };
}

/// What one subject did in one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) group: String,
    pub(crate) case: String,
    pub(crate) subject: String,
    pub(crate) unit: String,
    /// Nanoseconds per unit over the rounds; nothing where the subject could not take part.
    pub(crate) ns: Option<Spread>,
    /// The 10th percentile of the rounds, which a busy machine moves least.
    pub(crate) low: Option<f64>,
    /// The medians of the two times that the group was measured, where they lie further from each
    /// other than both spreads reach.
    pub(crate) twice: Option<[f64; 2]>,
    /// This subject's time over that of the case's first, taken in each round.
    pub(crate) ratio: Option<Spread>,
    pub(crate) instructions: Option<f64>,
    pub(crate) held: Option<usize>,
    /// Bytes that were live meanwhile, where that is told.
    pub(crate) live: Option<usize>,
    /// Rounds in which the machine was slow, and how many there were.
    pub(crate) slow: [usize; 2],
    pub(crate) note: String,
}

/// The rounds of a case, as one process measured them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Rounds {
    pub(crate) case: String,
    pub(crate) unit: String,
    pub(crate) subjects: Vec<Times>,
    /// How fast the machine itself was, for each round; none where that was not looked at.
    pub(crate) probes: Vec<Probe>,
    /// How many of the rounds are of the first time, once there was a second.
    #[serde(default)]
    first: usize,
}

/// One subject's rounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Times {
    pub(crate) name: String,
    pub(crate) note: String,
    pub(crate) held: Option<usize>,
    /// Nanoseconds per unit, a number for each round.
    pub(crate) ns: Vec<f64>,
}

impl Rounds {
    pub(crate) fn new(case: String, unit: &str, subjects: Vec<Times>, probes: Vec<Probe>) -> Self {
        Self { case, unit: unit.into(), subjects, probes, first: 0 }
    }

    /// More rounds of the same case, from another process.
    pub(crate) fn add(&mut self, more: Self) {
        for (one, other) in self.subjects.iter_mut().zip(more.subjects) {
            one.ns.extend(other.ns);
        }
        self.probes.extend(more.probes);
    }

    /// The rounds of the second time, apart from the first.
    pub(crate) fn again(&mut self, more: Self) {
        self.first = self.subjects.iter().map(|one| one.ns.len()).max().unwrap_or(0);
        self.add(more);
    }

    /// Medians, spreads and ratios. What is slow is told by the fastest probe of all.
    pub(crate) fn rows(&self, group: &str, fastest: Probe) -> Vec<Row> {
        let ours = self.subjects.first().map_or(&[][..], |first| &first.ns);
        let slow = self.probes.iter().filter(|probe| probe.is_slow(fastest)).count();
        self.subjects
            .iter()
            .map(|subject| {
                let ratios: Vec<f64> =
                    subject.ns.iter().zip(ours).map(|(one, ours)| one / ours).collect();
                Row {
                    group: group.into(),
                    case: self.case.clone(),
                    subject: subject.name.clone(),
                    unit: self.unit.clone(),
                    ns: stats::spread(&subject.ns),
                    low: stats::percentile(&subject.ns, 10),
                    twice: self.differing(&subject.ns),
                    ratio: stats::spread(&ratios),
                    held: subject.held,
                    slow: [slow, self.probes.len()],
                    note: subject.note.clone(),
                    ..Row::default()
                }
            })
            .collect()
    }

    /// The medians of both times, if the spreads of both do not explain how far they are apart.
    fn differing(&self, ns: &[f64]) -> Option<[f64; 2]> {
        let (first, second) = ns.split_at_checked(self.first)?;
        let (first, second) = (stats::spread(first)?, stats::spread(second)?);
        let apart = (first.median - second.median).abs();
        (apart > first.mad + second.mad).then_some([first.median, second.median])
    }
}

/// Times `work`. Everything measured runs below this one function, which is how callgrind is told
/// what to count.
///
/// The clock is this thread's processor time, which stands still while another process has the
/// processor.
pub(crate) fn timed(mut work: impl FnMut()) -> Duration {
    let start = processor_time();
    cenote_bench_measured(&mut work);
    processor_time().saturating_sub(start)
}

/// Times what is not to be counted: it does not run below what callgrind looks at.
pub(crate) fn untold(work: impl FnOnce()) -> Duration {
    let start = processor_time();
    work();
    processor_time().saturating_sub(start)
}

/// The processor time of this thread so far, in user and kernel mode.
pub(crate) fn processor_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, and the answer's place is valid.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    assert_eq!(answer, 0, "a clock of the thread");
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Named for callgrind's `--toggle-collect`.
#[unsafe(no_mangle)]
#[inline(never)]
fn cenote_bench_measured(work: &mut dyn FnMut()) {
    work();
    black_box(());
    MEASURED.fetch_add(1, Ordering::Relaxed);
}

static MEASURED: AtomicUsize = AtomicUsize::new(0);

/// How often something was timed so far; callgrind wrote as many sums.
pub(crate) fn measured() -> usize {
    MEASURED.load(Ordering::Relaxed)
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

/// Runs a case.
pub(crate) fn measure(case: Case, effort: Effort) -> Rounds {
    let mut subjects = (case.subjects)();
    let units: Vec<u64> = subjects
        .iter_mut()
        .map(|one| one.batch.as_mut().map_or(0, |batch| calibrate(batch, effort.sample)))
        .collect();
    let mut times = vec![Vec::with_capacity(effort.rounds); subjects.len()];
    let mut probes = Vec::with_capacity(effort.rounds);
    for round in 0..effort.rounds {
        let before = Probe::now();
        for turn in 0..subjects.len() {
            let at = (turn + round) % subjects.len();
            if let Some(batch) = &mut subjects[at].batch {
                // Whoever was before has cooled the caches, and some allocators give memory back
                // when they have been idle.
                batch(units[at].div_ceil(8));
                let took = batch(units[at]);
                times[at].push(took.as_nanos() as f64 / units[at] as f64);
            }
        }
        probes.push(before.slower(Probe::now()));
    }
    let subjects = subjects
        .into_iter()
        .zip(times)
        .map(|(one, ns)| Times { name: one.name, note: one.missing.into(), held: one.held, ns })
        .collect();
    Rounds::new(case.name, case.unit, subjects, probes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let times = |name: &str, ns: &[f64]| Times {
            name: name.into(),
            note: String::new(),
            held: None,
            ns: ns.into(),
        };
        // The machine was three times slower in the second round, for both.
        let subjects =
            vec![times("ours", &[10.0, 30.0, 10.0]), times("theirs", &[20.0, 60.0, 20.0])];
        let rounds = Rounds::new("case".into(), "unit", subjects, Vec::new());
        let rows = rounds.rows("group", Probe::default());
        assert_eq!(rows[1].ratio, Some(Spread { median: 2.0, mad: 0.0 }));
        assert_eq!(rows[1].low, Some(20.0));
    }

    #[test]
    fn both_times_are_told_only_where_their_spreads_do_not_reach_each_other() {
        let round = |ns: &[f64]| {
            let one = Times { name: "one".into(), note: String::new(), held: None, ns: ns.into() };
            Rounds::new("case".into(), "unit", vec![one], vec![])
        };
        let twice = |first: &[f64], second: &[f64]| {
            let mut rounds = round(first);
            rounds.again(round(second));
            rounds.rows("group", Probe::default())[0].twice
        };
        assert_eq!(twice(&[10.0, 11.0, 12.0], &[11.0, 12.0, 13.0]), None);
        assert_eq!(twice(&[10.0, 11.0, 12.0], &[20.0, 21.0, 22.0]), Some([11.0, 21.0]));
        assert_eq!(round(&[10.0, 30.0]).rows("group", Probe::default())[0].twice, None);
    }

    #[test]
    fn a_round_of_a_halved_core_is_told_from_the_fastest() {
        let fast = Probe { add: 0.3, forward: 1.0 };
        assert!(!Probe { add: 0.31, forward: 1.1 }.is_slow(fast));
        assert!(Probe { add: 0.6, forward: 1.0 }.is_slow(fast));
        assert!(Probe { add: 0.3, forward: 2.0 }.is_slow(fast));
    }

    #[test]
    fn a_round_runs_every_subject() {
        let calls = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = calls.clone();
        let case = Case::new("case", "unit", move || {
            (0..3)
                .map(|_| {
                    let seen = seen.clone();
                    Subject::new("one", move |units| {
                        seen.set(seen.get() + 1);
                        Duration::from_millis(units)
                    })
                })
                .collect()
        });
        let rounds =
            measure(case, Effort { processes: 1, rounds: 4, sample: Duration::from_millis(1) });
        assert!(rounds.subjects.iter().all(|one| one.ns == [1e6; 4]));
        // Each was calibrated by one batch, and warmed in each round.
        assert_eq!(calls.get(), 3 + 2 * 12);
    }
}
