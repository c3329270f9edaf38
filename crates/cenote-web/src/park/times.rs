//! Since when a connection is there and idle, and when it is closed: as such, and as what is parked
//! keeps of it.

use std::time::Duration;

use tokio::time::Instant;

use super::Bound;

/// Finer than parked connections are looked at.
const TICK: Duration = Duration::from_millis(10);

/// Since when a connection is there, and idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) born: Instant,
    pub(super) quiet: Instant,
    /// When it is closed if nothing comes, and why.
    pub(super) closed: Option<(Instant, Bound)>,
}

/// [`Times`] in fewer bytes, for what is parked: since when it is idle, exactly, and from there on in
/// [`TICK`]s. All of it relative to when its lot was made.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    /// Nanoseconds from then to when it became idle.
    pub(super) quiet: i64,
    /// How old it was then.
    age: u32,
    /// How long after it it is closed. The largest: never, or in sixteen months and more.
    closes: u32,
    bound: Bound,
}

impl Packed {
    pub(super) fn of(times: Times, begun: Instant) -> Self {
        let Times { born, quiet, closed } = times;
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let after = nanos(quiet.saturating_duration_since(begun));
        let before = nanos(begun.saturating_duration_since(quiet));
        // Whether it is there since when it is idle must not be lost: rounded up.
        let ticks = |to: Instant, from: Instant| {
            to.saturating_duration_since(from).as_nanos().div_ceil(TICK.as_nanos())
        };
        let (closes, bound) = closed.map_or((u32::MAX, Bound::Idle), |(at, bound)| {
            (u32::try_from(ticks(at, quiet)).unwrap_or(u32::MAX), bound)
        });
        let age = u32::try_from(ticks(quiet, born)).unwrap_or(u32::MAX);
        Self { quiet: after - before, age, closes, bound }
    }

    fn quiet_at(self, begun: Instant) -> Instant {
        let nanos = Duration::from_nanos(self.quiet.unsigned_abs());
        let quiet =
            if self.quiet < 0 { begun.checked_sub(nanos) } else { begun.checked_add(nanos) };
        quiet.unwrap_or(begun)
    }

    /// When it is closed, and why.
    pub(super) fn closed(self, begun: Instant) -> Option<(Instant, Bound)> {
        let closes = (self.closes != u32::MAX).then_some(self.closes)?;
        Some((self.quiet_at(begun).checked_add(TICK * closes)?, self.bound))
    }

    pub(super) fn unpacked(self, begun: Instant) -> Times {
        let quiet = self.quiet_at(begun);
        let born = quiet.checked_sub(TICK * self.age).unwrap_or(quiet);
        Times { born, quiet, closed: self.closed(begun) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_times_are_late_by_a_tick_at_most_and_keep_what_is_never_so() {
        let begun = Instant::now() + Duration::from_secs(1000);
        let ms = Duration::from_millis;
        for (quiet, age, closes) in [
            (begun, ms(0), Some(ms(0))),
            (begun + ms(1), ms(1), Some(ms(30_001))),
            (begun - ms(5003), ms(77), None),
            (begun + Duration::from_nanos(7), Duration::from_nanos(1), Some(ms(10))),
            (begun + Duration::from_secs(400 << 20), ms(86_400_000), Some(ms(3_600_000))),
        ] {
            let closed = closes.map(|after| (quiet + after, Bound::Lifetime));
            let packed = Packed::of(Times { born: quiet - age, quiet, closed }, begun);
            let times = packed.unpacked(begun);
            assert_eq!(times.quiet, quiet);
            // A connection that has not said anything yet is told by that.
            assert_eq!(times.born == quiet, age.is_zero());
            let old = quiet - times.born;
            assert!(old >= age && old < age + TICK, "{old:?} for {age:?}");
            match (times.closed, closed) {
                (Some((at, Bound::Lifetime)), Some((wanted, _))) => {
                    assert!(at >= wanted && at < wanted + TICK, "{at:?} for {wanted:?}");
                }
                (None, None) => {}
                other => panic!("{other:?}"),
            }
        }
        let far = Times {
            born: begun,
            quiet: begun,
            closed: Some((begun + TICK * u32::MAX, Bound::Idle)),
        };
        assert!(Packed::of(far, begun).closed(begun).is_none());
    }
}
