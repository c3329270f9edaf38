//! The most that was held: since the account was made, and of late.
//!
//! A peak that never falls says nothing after the first spike, so what is noticed is noticed for a
//! period, and who asks for the peak of late begins the next one when it is time. Charges and
//! credits know of no periods: they make `most` higher, which is the peak of the period that is.

use super::{Account, Node};
use crate::sync::modelled::{AtomicIsize, Ordering::*};

/// Seconds in a period at least. The peak of late is that of the period that is and of the one
/// before.
const PERIOD: u32 = 30;

/// How often is looked at what others change all the while.
const LOOKS: usize = 100;

/// The peaks of periods that are over.
pub(super) struct Before {
    /// The highest of them all.
    ever: AtomicIsize,
    /// That of the last one.
    last: AtomicIsize,
}

impl Before {
    pub(super) fn new() -> Self {
        Self { ever: AtomicIsize::new(0), last: AtomicIsize::new(0) }
    }
}

impl Node {
    /// The most that was held since the account was made.
    pub(crate) fn peak(&self) -> usize {
        self.peak_of_period().max(self.before.ever.load(Acquire)).max(0) as usize
    }

    fn peak_of_period(&self) -> isize {
        // What is charged now is noticed only when some of it is credited: this first, or it could
        // be missed in both.
        let now = self.now().unwrap_or(0);
        self.noticed().map_or(now, |(_, peak)| peak.max(now))
    }

    /// `most`, and the peak of the period that it stands for; `None` where that changes all the while.
    ///
    /// Others charge and credit `most` and `far` one after the other, in an order in which the sum is
    /// too little meanwhile; so it is, as long as `far` was the same before and after.
    fn noticed(&self) -> Option<(isize, isize)> {
        let mut far = self.far.load(Acquire);
        let mut most = self.most.load(Acquire);
        for _ in 0..LOOKS {
            let before = core::mem::replace(&mut far, self.far.load(Acquire));
            if far == before {
                return Some((most, most.wrapping_add(far)));
            }
            most = self.most.load(Acquire);
        }
        None
    }

    /// What is held now, reserves included; `None` where that changes all the while.
    fn now(&self) -> Option<isize> {
        Some(self.arrived_bytes()? + self.far.load(Relaxed))
    }

    /// The most that was held in the period that is and in the one before; in more, if nobody has
    /// asked meanwhile. `now` is the second that it is, from 1 on.
    #[cfg_attr(not(feature = "std"), allow(dead_code))]
    pub(crate) fn recent_peak(&self, now: u32) -> usize {
        let began = self.period_began.load(Acquire);
        let is_over = began == 0 || now.saturating_sub(began) >= PERIOD;
        // One of those who ask begins it.
        if is_over && self.period_began.compare_exchange(began, now, AcqRel, Relaxed).is_ok() {
            self.begin_period();
        }
        self.peak_of_period().max(self.before.last.load(Acquire)).max(0) as usize
    }

    /// Begins a period. What the account's thread notices at the same time is in what was before, or
    /// is noticed in this one: it stores what it has seen as a whole.
    fn begin_period(&self) {
        self.notice_peak();
        let Some(held) = self.arrived_bytes() else { return };
        let mut last = 0;
        for _ in 0..LOOKS {
            // First where peaks of before are, then lowered: who reads meanwhile finds it in one
            // place or in the other.
            // What is not known is not lowered: the period goes on.
            let Some((most, peak)) = self.noticed() else { return };
            self.before.ever.fetch_max(peak, AcqRel);
            last = peak.max(last);
            self.before.last.store(last, Release);
            if self.most.compare_exchange(most, held, AcqRel, Relaxed).is_ok() {
                break;
            }
        }
    }
}

impl Account {
    /// The most that was held at any one time, in bytes.
    ///
    /// Exact for what the account's own thread charges. A shared account's peak includes what
    /// threads had in reserve. It is never above the least limit on the way up, as long as no limit
    /// was lowered, and no [reservation](crate::Reservation::grow) went beyond it.
    pub fn peak(&self) -> usize {
        self.node().peak()
    }

    /// The most that was held at any one time in the last half a minute to a minute, in bytes: a
    /// [`peak`](Account::peak) that falls again. Where nobody asked for so long, it is of the time
    /// since somebody did, or since the account was made.
    ///
    /// Costs whoever asks a look at the clock, and those who charge nothing. A snapshot asks, and so
    /// do the view and its metrics.
    ///
    /// ```
    /// use cenote::{Account, Pool};
    /// let account = Account::root("process").child("request");
    /// let pool = Pool::on(&account);
    /// pool.alloc_str("held");
    /// assert_eq!((account.recent_peak(), account.peak()), (account.held(), account.held()));
    /// ```
    #[cfg(feature = "std")]
    pub fn recent_peak(&self) -> usize {
        self.node().recent_peak(now())
    }
}

/// The second that it is, from 1 on; the last one that can be told, after 136 years.
#[cfg(feature = "std")]
fn now() -> u32 {
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let began = BEGAN.get_or_init(std::time::Instant::now);
    u32::try_from(1 + began.elapsed().as_secs()).unwrap_or(u32::MAX)
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use crate::sync::modelled::AtomicBool;

    /// Makes the account hold that many bytes more for a moment.
    fn spike(account: &Account, bytes: usize) {
        assert!(account.node().charge(bytes).is_ok());
        account.node().give_back(bytes);
    }

    fn accounts() -> [Account; 3] {
        let root = Account::root("root");
        let (own, shared) = (root.child("own"), root.shared_child("shared"));
        // Bound to this thread, as by a pool.
        drop(crate::Pool::on(&own));
        for account in [&root, &shared] {
            account.set_limit(Some(1 << 20));
        }
        [root, own, shared]
    }

    #[test]
    fn the_peak_of_late_falls_two_periods_after_a_spike_and_the_other_never() {
        for account in accounts() {
            let late = |second| account.node().recent_peak(second);
            spike(&account, 600_000);
            let spiked = account.peak();
            assert!((600_000..700_000).contains(&spiked), "{spiked}");
            // However late in what was before the first question it came.
            assert_eq!((late(100), late(129)), (spiked, spiked));
            let low = late(130);
            assert!(low < 100_000, "{low}");
            spike(&account, 300_000);
            for second in [131, 159, 160, 161, 189] {
                assert!((300_000..400_000).contains(&late(second)), "{second}");
            }
            assert!(late(190) < 100_000);
            assert_eq!(account.peak(), spiked);
            // By one whose clock was read a moment earlier.
            assert!(late(150) < 100_000);
            // Nobody asked for long.
            spike(&account, 200_000);
            assert!(late(10_000) >= 200_000 && late(10_029) >= 200_000 && late(10_030) < 100_000);
        }
    }

    #[test]
    fn what_is_held_all_the_while_is_in_every_period() {
        let [root, own, _] = accounts();
        for account in [root, own] {
            assert!(account.node().charge(500_000).is_ok());
            for period in 1..10 {
                assert!(account.node().recent_peak(period * PERIOD) >= 500_000);
            }
            account.node().give_back(500_000);
            assert!(account.node().recent_peak(10 * PERIOD) >= 500_000);
            assert!(account.node().recent_peak(11 * PERIOD) < 100_000);
        }
    }

    #[test]
    fn no_peak_gets_lost_though_periods_begin_all_the_while() {
        let [root, own, shared] = accounts();
        for account in [&root, &own, &shared] {
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut second = 1;
                    while !over.load(Relaxed) {
                        second += PERIOD;
                        let late = account.node().recent_peak(second);
                        assert!(late <= account.peak(), "{late}");
                    }
                });
                let mut highest = 0;
                for round in 0..20_000 {
                    let bytes = 1 + round * 7919 % 500_000;
                    highest = highest.max(bytes);
                    spike(account, bytes);
                    assert!(account.peak() >= highest, "{} {highest}", account.peak());
                }
                over.store(true, Relaxed);
            });
        }
    }
}
