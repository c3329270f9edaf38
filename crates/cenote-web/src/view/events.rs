//! What goes into the log: refused charges and bad frees, once [`install`] was called, and unusual
//! peaks, as events of `tracing` that name the account.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cenote::{Account, AllocError, misuse};
use tracing::{error, warn};

/// Events of one kind in a second; more are counted, and told with the next.
const PER_SECOND: u32 = 10;

/// Has refusals and bad frees reported as events, for the whole process: each once, on the thread
/// that it happened on, when the operation is over, so that layers of `tracing` may use pools. Refusals are
/// warnings, bad frees errors; the target of both is `cenote`. No more than ten of a kind are
/// told in a second, so that a flood of refusals does not become one of the log.
///
/// Takes the places of other hooks set by [`Account::on_refused`] and
/// [`misuse::on_misuse`].
pub fn install() {
    Account::on_refused(refused);
    misuse::on_misuse(misused);
}

fn refused(refusal: &AllocError) {
    static RATE: Rate = Rate::new();
    let Some(untold) = RATE.admit() else { return };
    let account = refusal.account();
    // The error says how much was held at that time.
    warn!(
        target: "cenote",
        account = account.map(Account::path),
        limit_bytes = account.and_then(Account::limit),
        asked_bytes = refusal.size(),
        untold,
        "a charge was refused: {refusal}",
    );
}

fn misused(misuse: &misuse::Misuse<'_>) {
    static RATE: Rate = Rate::new();
    let Some(untold) = RATE.admit() else { return };
    error!(target: "cenote", pool = misuse.pool, untold, "{}", misuse.error);
}

/// So many in a second, and how many there were between.
struct Rate {
    second: AtomicU64,
    told: AtomicU32,
    untold: AtomicU64,
}

impl Rate {
    const fn new() -> Self {
        Self { second: AtomicU64::new(0), told: AtomicU32::new(0), untold: AtomicU64::new(0) }
    }

    /// Whether this one may be told, with how many were not before it.
    fn admit(&self) -> Option<u64> {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let now = START.get_or_init(Instant::now).elapsed().as_secs() + 1;
        if self.second.swap(now, Relaxed) != now {
            self.told.store(0, Relaxed);
        }
        if self.told.fetch_add(1, Relaxed) < PER_SECOND {
            Some(self.untold.swap(0, Relaxed))
        } else {
            self.untold.fetch_add(1, Relaxed);
            None
        }
    }
}

/// Notices accounts whose peak is unusual among those before: one for each kind of account and
/// thread. It costs a few instructions for each account.
///
/// ```
/// use cenote_web::view::events::Peaks;
/// let mut peaks = Peaks::new();
/// for _ in 0..1000 {
///     assert_eq!(peaks.note(4096), None);
/// }
/// assert_eq!(peaks.note(1 << 20), Some(4096));
/// ```
#[derive(Clone, Debug)]
pub struct Peaks {
    seen: u32,
    /// Decays slowly towards what is seen; in bytes.
    usual: f64,
    told: Option<Instant>,
}

/// Before this many nothing is usual yet.
const SAMPLES: u32 = 100;
/// So many times the usual is unusual,
const TIMES: f64 = 8.0;
/// unless it is less than this.
const FLOOR: usize = 64 << 10;
/// A sample's weight in what is usual.
const WEIGHT: f64 = 1.0 / 64.0;

impl Default for Peaks {
    fn default() -> Self {
        Self::new()
    }
}

impl Peaks {
    /// Nothing is usual yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { seen: 0, usual: 0.0, told: None }
    }

    /// Notes a peak in bytes. If it is at least 64 KiB and eight times what was usual over the
    /// last hundreds, tells what that was.
    pub fn note(&mut self, peak: usize) -> Option<usize> {
        let bytes = peak as f64;
        let unusual = self.seen >= SAMPLES && peak >= FLOOR && bytes > TIMES * self.usual;
        let usual = self.usual as usize;
        self.seen = self.seen.saturating_add(1);
        // The first ones weigh as much as there are of them.
        let weight = WEIGHT.max(1.0 / f64::from(self.seen));
        self.usual += (bytes - self.usual) * weight;
        unusual.then_some(usual)
    }

    /// Notes the peak of an account that is about to close; an unusual one is a warning, once a
    /// second at most.
    pub fn close(&mut self, account: &Account) {
        let peak = account.peak();
        if let Some(usual) = self.note(peak)
            && self.told.is_none_or(|told| told.elapsed() >= Duration::from_secs(1))
        {
            self.told = Some(Instant::now());
            warn!(
                target: "cenote",
                account = account.path(),
                peak_bytes = peak,
                usual_bytes = usual,
                "an unusual peak",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_drops_and_counted() {
        let rate = Rate::new();
        let told = (0..1000).filter(|_| rate.admit().is_some()).count();
        // Two seconds at most.
        assert!((10..=20).contains(&told), "{told}");
        rate.second.store(0, Relaxed);
        let untold = rate.admit().expect("a new second");
        assert!(untold >= 900, "{untold}");
    }

    #[test]
    fn a_peak_is_unusual_only_among_many_and_only_if_large() {
        let mut peaks = Peaks::new();
        assert_eq!(peaks.note(100 << 20), None, "the first of all");
        let mut peaks = Peaks::new();
        assert!((0..1000).all(|_| peaks.note(1024).is_none()));
        assert_eq!(peaks.note(32 << 10), None, "small");
        assert!(peaks.note(10 << 20).is_some());
        // What comes again and again is usual soon.
        let again = (0..1000).filter(|_| peaks.note(10 << 20).is_some()).count();
        assert!(again < 100, "{again}");
    }
}
