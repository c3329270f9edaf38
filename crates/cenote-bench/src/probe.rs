//! How fast the machine itself is at the moment: two loops that depend on nothing else. A neighbour
//! on the same core, or another clock rate, shows in them as in everything measured beside them.

use serde::{Deserialize, Serialize};

use crate::harness::untold;

/// Steps of each loop: some ten microseconds.
const STEPS: u64 = 20_000;
/// A round is slow where a step took so many times what the fastest one took.
const SLOW: f64 = 1.25;

/// Nanoseconds for a step.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Probe {
    /// An addition that waits for the one before: a cycle.
    pub(crate) add: f64,
    /// A load that waits for the store before it, at the same address: what the core makes of a
    /// pool's own words, which an allocation reads and the next one reads again.
    pub(crate) forward: f64,
}

impl Probe {
    /// Looks now.
    pub(crate) fn now() -> Self {
        let per_step = |work: fn()| untold(work).as_nanos() as f64 / STEPS as f64;
        Self { add: per_step(additions), forward: per_step(forwards) }
    }

    /// The slower of both, each loop for itself.
    pub(crate) fn slower(self, other: Self) -> Self {
        Self { add: self.add.max(other.add), forward: self.forward.max(other.forward) }
    }

    /// The faster of both.
    pub(crate) fn faster(self, other: Self) -> Self {
        Self { add: self.add.min(other.add), forward: self.forward.min(other.forward) }
    }

    /// Whether the machine was slow, told by how fast it has been.
    pub(crate) fn is_slow(self, fastest: Self) -> bool {
        self.add > fastest.add * SLOW || self.forward > fastest.forward * SLOW
    }
}

fn additions() {
    let mut sum = 0_u64;
    for _ in 0..STEPS {
        sum = sum.wrapping_add(3);
        // SAFETY: no instruction at all; the compiler cannot put additions together.
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) sum, options(nomem, nostack, preserves_flags));
        }
    }
}

fn forwards() {
    let mut word = 0_u64;
    let word = &raw mut word;
    for _ in 0..STEPS {
        // SAFETY: the word is alive and nobody else's.
        let now = unsafe { word.read_volatile() };
        // SAFETY: as above.
        unsafe { word.write_volatile(now.wrapping_add(3)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_loops_take_their_steps() {
        // Whatever the machine, a step is more than a tenth of a cycle and less than a microsecond.
        let probe = Probe::now();
        for step in [probe.add, probe.forward] {
            assert!(step > 0.01 && step < 1_000.0, "{probe:?}");
        }
    }
}
