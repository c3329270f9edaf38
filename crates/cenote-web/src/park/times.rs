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

/// [`Times`] in 16 bytes, for what is parked: since when it is idle, exactly, and from there on in
/// [`TICK`]s. All of it relative to when its lot was made.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    /// Nanoseconds from then to when it became idle: an `i64`, in halves, for its alignment.
    quiet: [u32; 2],
    /// How old it was then.
    age: u32,
    /// How long after it it is closed, and in the lowest two bits why. [`NEVER`]: never, or in
    /// four months and more.
    closes: u32,
}

const _: () = assert!(size_of::<Packed>() == 16 && align_of::<Packed>() == 4);
/// Two bits that no bound has.
const NEVER: u32 = u32::MAX;
const HEAD: u32 = Bound::Head as u32;
const LIFETIME: u32 = Bound::Lifetime as u32;

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
        let closes = closed.map_or(NEVER, |(at, bound)| {
            let after = u32::try_from(ticks(at, quiet)).ok().and_then(|ticks| ticks.checked_mul(4));
            after.map_or(NEVER, |after| after | bound as u32)
        });
        let age = u32::try_from(ticks(quiet, born)).unwrap_or(u32::MAX);
        let quiet = (after - before).cast_unsigned();
        Self { quiet: [(quiet >> 32) as u32, quiet as u32], age, closes }
    }

    /// Nanoseconds from when its lot was made to when it became idle.
    pub(super) fn quiet(self) -> i64 {
        let [high, low] = self.quiet.map(u64::from);
        (high << 32 | low).cast_signed()
    }

    fn quiet_at(self, begun: Instant) -> Instant {
        let quiet = self.quiet();
        let nanos = Duration::from_nanos(quiet.unsigned_abs());
        let quiet = if quiet < 0 { begun.checked_sub(nanos) } else { begun.checked_add(nanos) };
        quiet.unwrap_or(begun)
    }

    /// When it is closed, and why.
    pub(super) fn closed(self, begun: Instant) -> Option<(Instant, Bound)> {
        let closes = (self.closes != NEVER).then_some(self.closes)?;
        let bound = match closes % 4 {
            HEAD => Bound::Head,
            LIFETIME => Bound::Lifetime,
            _ => Bound::Idle,
        };
        Some((self.quiet_at(begun).checked_add(TICK * (closes / 4))?, bound))
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
            for bound in [Bound::Head, Bound::Idle, Bound::Lifetime] {
                let closed = closes.map(|after| (quiet + after, bound));
                let packed = Packed::of(Times { born: quiet - age, quiet, closed }, begun);
                let times = packed.unpacked(begun);
                assert_eq!(times.quiet, quiet);
                // A connection that has not said anything yet is told by that.
                assert_eq!(times.born == quiet, age.is_zero());
                let old = quiet - times.born;
                assert!(old >= age && old < age + TICK, "{old:?} for {age:?}");
                match (times.closed, closed) {
                    (Some((at, why)), Some((wanted, _))) => {
                        assert_eq!(why, bound);
                        assert!(at >= wanted && at < wanted + TICK, "{at:?} for {wanted:?}");
                    }
                    (None, None) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        let far = Times {
            born: begun,
            quiet: begun,
            closed: Some((begun + TICK * (u32::MAX / 4 + 1), Bound::Idle)),
        };
        assert!(Packed::of(far, begun).closed(begun).is_none());
    }
}
