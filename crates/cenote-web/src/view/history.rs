//! What accounts held, so that a page that is opened late, and a command that is called once, can
//! look back: fifteen minutes by the second, and a day by the minute.
//!
//! It is written by the view's own thread. Its memory is an account's of its own, `history` under the
//! root, and bounded: of paths for which there is no room, nothing is kept, and how many those are is
//! told.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use cenote::{Account, Blocks, Reservation, SharedBlocks};
use serde::Serialize;

use super::State;
use super::look::Memory;
use super::memory::resident_bytes;
use super::process::Process;
use super::rows::seconds;

/// How often, how many.
const STEPS: [(Duration, usize); 2] =
    [(Duration::from_secs(1), 15 * 60), (Duration::from_secs(60), 24 * 60)];
const MOMENTS: usize = STEPS[0].1 + STEPS[1].1;
/// What a path's series takes, beside its names.
const SERIES: usize = MOMENTS * size_of::<u64>();
/// Enough for a few paths; less is of no use.
pub(super) const LEAST: usize = 256 << 10;
/// It takes no more of the root's limit than one of so many parts.
const PART_OF_LIMIT: usize = 64;
/// There was no such account.
const ABSENT: u64 = u64::MAX;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct History {
    rings: [Ring; 2],
    paths: Vec<Path>,
    /// Paths that were seen last, and for which there is no room.
    left_out: usize,
    reservation: Reservation,
}

/// A step of time: the last moments of so many, the oldest of which is written over.
#[derive(Debug)]
struct Ring {
    moments: Box<[Moment]>,
    /// How many were ever written.
    written: usize,
    /// When the next one is.
    next: Instant,
}

/// What is kept of the whole process.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    /// Seconds since 1970.
    now: f64,
    resident: Option<usize>,
    caches: usize,
    refused: u64,
}

/// The accounts of one path, from the root.
#[derive(Debug)]
struct Path {
    names: Vec<String>,
    /// What they held, at the place that the ring has for the moment.
    held: [Box<[u64]>; 2],
}

/// One moment of the past, as `/pools.json?ago=SECONDS` has it. Its fields are those of a
/// [`Look`](super::Look) of that moment, as far as they are kept.
#[derive(Debug, Serialize)]
pub(super) struct Then<'h> {
    schema: u32,
    process: &'h Process,
    now: f64,
    accounts: Vec<Held<'h>>,
    memory: Memory,
    /// Paths that there is no room for, now.
    paths_left_out: usize,
}

#[derive(Debug, Serialize)]
struct Held<'h> {
    path: &'h [String],
    held_bytes: u64,
}

/// All of it, as `/pools.json?history` has it.
#[derive(Debug, Serialize)]
pub(super) struct Whole<'h> {
    schema: u32,
    process: &'h Process,
    /// The finest first.
    steps: Vec<Step<'h>>,
    /// Paths that there is no room for.
    paths_left_out: usize,
}

/// The moments of one step, the oldest first.
#[derive(Debug, Serialize)]
struct Step<'h> {
    every_seconds: u64,
    now: Vec<f64>,
    resident_bytes: Vec<Option<usize>>,
    block_cache_bytes: Vec<usize>,
    /// Requests that were refused memory until then.
    requests_refused: Vec<u64>,
    accounts: Vec<Series<'h>>,
}

/// What the accounts of a path held at each moment; `null` where there were none.
#[derive(Debug, Serialize)]
struct Series<'h> {
    path: &'h [String],
    held_bytes: Vec<Option<u64>>,
}

impl History {
    /// An empty one, of at most so many bytes; `None` for less than [`LEAST`].
    pub(super) fn new(root: &Account, bytes: usize) -> Option<Self> {
        // Who sets a limit wants it for the work.
        let bytes = root.limit().map_or(bytes, |limit| bytes.min(limit / PART_OF_LIMIT));
        if bytes < LEAST {
            return None;
        }
        let account = root.child("history").with_limit(Some(bytes));
        let reservation = account.try_reserve(MOMENTS * size_of::<Moment>()).ok()?;
        let now = Instant::now();
        let ring = |(_, count)| Ring {
            moments: vec![Moment::default(); count].into(),
            written: 0,
            next: now,
        };
        let rings = STEPS.map(ring);
        Some(Self { rings, paths: Vec::new(), left_out: 0, reservation })
    }

    /// When it is to be written next.
    pub(super) fn next(&self) -> Instant {
        self.rings[0].next
    }

    /// Notes what `held` says, for each path from the root, parents first.
    fn note(&mut self, at: Instant, moment: Moment, held: Vec<(Vec<String>, u64)>) {
        if at >= self.rings[1].next {
            self.sweep();
        }
        self.left_out = 0;
        let mut now = vec![ABSENT; self.paths.len()];
        for (names, bytes) in held {
            match self.paths.iter().position(|path| path.names == names) {
                Some(known) => now[known] = bytes,
                None if self.begin(names) => now.push(bytes),
                None => self.left_out += 1,
            }
        }
        for (step, ring) in self.rings.iter_mut().enumerate() {
            if at < ring.next {
                continue;
            }
            let every = STEPS[step].0;
            // Where some were missed, since a look took long, none are made up.
            ring.next = (ring.next + every).max(at + every / 2);
            let place = ring.written % ring.moments.len();
            ring.moments[place] = moment;
            ring.written += 1;
            for (path, bytes) in self.paths.iter_mut().zip(&now) {
                path.held[step][place] = *bytes;
            }
        }
    }

    /// Forgets the paths of which no moment is left, so that others have room.
    fn sweep(&mut self) {
        let reservation = &mut self.reservation;
        self.paths.retain(|path| {
            let known = path.held.iter().flatten().any(|&held| held != ABSENT);
            if !known {
                reservation.shrink(bytes_of(&path.names));
            }
            known
        });
    }

    /// Begins a path, if there is room for it.
    fn begin(&mut self, names: Vec<String>) -> bool {
        let bytes = bytes_of(&names);
        // Asked in vain each second, an account would count refusals, and tell of them.
        let room = |account: &Account| {
            account.limit().is_none_or(|limit| account.held().saturating_add(bytes) <= limit)
        };
        let mut accounts =
            std::iter::successors(Some(self.reservation.account()), |account| account.parent());
        let began = accounts.all(room) && self.reservation.try_grow(bytes).is_ok();
        if began {
            let held = STEPS.map(|(_, count)| vec![ABSENT; count].into());
            self.paths.push(Path { names, held });
        }
        began
    }

    /// The newest moment that is at least so long ago, in the finest step that has one.
    fn find(&self, ago: f64, now: f64) -> Option<(usize, usize)> {
        self.rings.iter().enumerate().find_map(|(step, ring)| {
            let found = ring.places().rev().find(|&place| ring.moments[place].now <= now - ago)?;
            Some((step, found))
        })
    }
}

/// What a path takes.
fn bytes_of(names: &[String]) -> usize {
    SERIES + names.iter().map(|name| name.len() + 32).sum::<usize>()
}

impl Ring {
    /// The places of its moments, the oldest first.
    fn places(&self) -> impl DoubleEndedIterator<Item = usize> {
        let (written, room) = (self.written, self.moments.len());
        (written.saturating_sub(room)..written).map(move |number| number % room)
    }
}

impl State {
    /// Writes the history, if there is one and it is time; when to look again.
    pub(super) fn remember(&self) -> Option<Instant> {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let history = history.as_mut()?;
        let at = Instant::now();
        if at >= history.next() {
            let moment = Moment {
                now: seconds(std::time::UNIX_EPOCH.elapsed().unwrap_or_default()),
                resident: resident_bytes(),
                caches: Blocks::cached_by_all() + SharedBlocks::depot_bytes(),
                refused: crate::requests_refused(),
            };
            history.note(at, moment, self.held_by_path());
        }
        Some(history.next())
    }

    /// How many seconds it goes back; `None`: there is none.
    pub(super) fn remembered(&self) -> Option<f64> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let history = history.as_ref()?;
        let now = seconds(std::time::UNIX_EPOCH.elapsed().unwrap_or_default());
        let oldest = |ring: &Ring| Some(now - ring.moments[ring.places().next()?].now);
        Some(history.rings.iter().filter_map(oldest).fold(0.0, f64::max))
    }

    /// What was `ago` seconds ago; `None` if it is not known any more, or not yet.
    pub(super) fn then<T>(&self, ago: f64, told: impl FnOnce(&Then<'_>) -> T) -> Option<T> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let history = history.as_ref()?;
        let now = seconds(std::time::UNIX_EPOCH.elapsed().unwrap_or_default());
        let (step, place) = history.find(ago, now)?;
        let moment = &history.rings[step].moments[place];
        let accounts: Vec<_> = (history.paths.iter())
            .map(|path| Held { path: &path.names, held_bytes: path.held[step][place] })
            .filter(|held| held.held_bytes != ABSENT)
            .collect();
        let pools = accounts.first().map_or(0, |root| root.held_bytes as usize);
        let memory = self.memory(moment.resident, pools, moment.caches);
        let process = &self.process;
        let (now, paths_left_out) = (moment.now, history.left_out);
        Some(told(&Then { schema: 1, process, now, accounts, memory, paths_left_out }))
    }

    /// All that is known; `None` without a history.
    pub(super) fn whole<T>(&self, told: impl FnOnce(&Whole<'_>) -> T) -> Option<T> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let history = history.as_ref()?;
        let step = |step: usize| {
            let ring = &history.rings[step];
            let of = |path: &Path| -> Vec<_> {
                let held = |place| Some(path.held[step][place]).filter(|&held| held != ABSENT);
                ring.places().map(held).collect()
            };
            let moments = || ring.places().map(|place| &ring.moments[place]);
            Step {
                every_seconds: STEPS[step].0.as_secs(),
                now: moments().map(|moment| moment.now).collect(),
                resident_bytes: moments().map(|moment| moment.resident).collect(),
                block_cache_bytes: moments().map(|moment| moment.caches).collect(),
                requests_refused: moments().map(|moment| moment.refused).collect(),
                accounts: (history.paths.iter())
                    .map(|path| Series { path: &path.names, held_bytes: of(path) })
                    .filter(|series| series.held_bytes.iter().any(Option::is_some))
                    .collect(),
            }
        };
        let steps = (0..STEPS.len()).map(step).collect();
        let (process, paths_left_out) = (&self.process, history.left_out);
        Some(told(&Whole { schema: 1, process, steps, paths_left_out }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(now: f64) -> Moment {
        Moment { now, resident: Some(7), caches: 0, refused: 0 }
    }

    fn held(paths: &[(&[&str], u64)]) -> Vec<(Vec<String>, u64)> {
        let names = |path: &[&str]| path.iter().map(|&name| name.to_owned()).collect();
        paths.iter().map(|&(path, bytes)| (names(path), bytes)).collect()
    }

    /// What a path held so long before second `now`, and in which step that was found.
    fn found(history: &History, path: &[&str], ago: u64, now: u64) -> Option<(usize, u64)> {
        let (step, place) = history.find(ago as f64, now as f64)?;
        let path = history.paths.iter().find(|known| known.names == path)?;
        Some((step, path.held[step][place]))
    }

    #[test]
    fn each_second_of_a_quarter_of_an_hour_and_each_minute_of_a_day_is_kept() {
        let root = Account::root("process");
        let mut history = History::new(&root, 1 << 20).expect("room");
        let begun = history.next();
        const DAYS: u64 = 2 * 24 * 60 * 60;
        for second in 0..=DAYS {
            let at = begun + Duration::from_secs(second);
            let mut now = held(&[(&["process"], second)]);
            if second % 3000 > 2000 {
                now.extend(held(&[(&["process", "now-and-then"], 1)]));
            }
            history.note(at, moment(second as f64), now);
            assert_eq!(history.next(), at + Duration::from_secs(1));
        }
        for ago in [0, 1, 60, 899] {
            assert_eq!(found(&history, &["process"], ago, DAYS), Some((0, DAYS - ago)), "{ago}");
        }
        for ago in [900, 3600, 86_000] {
            let (step, then) = found(&history, &["process"], ago, DAYS).expect("it is kept");
            assert_eq!((step, then), (1, (DAYS - ago) / 60 * 60), "{ago}");
        }
        assert_eq!(found(&history, &["process"], 86_401, DAYS), None);
        // 172,800 is 1,800 into its three thousand.
        let other = ["process", "now-and-then"];
        assert_eq!(found(&history, &other, 0, DAYS), Some((0, ABSENT)));
        assert_eq!(found(&history, &other, 2000, DAYS), Some((1, 1)));
    }

    #[test]
    fn what_has_no_room_is_left_out_and_all_that_is_kept_is_charged() {
        let root = Account::root("process");
        assert!(History::new(&root, LEAST - 1).is_none());
        let limited = Account::root("process").with_limit(Some(300 << 10));
        assert!(History::new(&limited, 1 << 20).is_none());
        assert_eq!(limited.held(), 0);
        let limited = Account::root("process").with_limit(Some(64 << 20));
        let mut history = History::new(&limited, 1 << 20).expect("room");
        // The others have taken all.
        let rest = limited.try_reserve((64 << 20) - limited.held() - SERIES).expect("room");
        history.note(history.next(), moment(1.0), held(&[(&["p"], 1)]));
        assert_eq!((history.left_out, limited.refused()), (1, 0));
        drop(rest);
        history.note(history.next(), moment(2.0), held(&[(&["p"], 1)]));
        assert_eq!(history.left_out, 0);
        // With their names there is room for one less.
        let bytes = MOMENTS * size_of::<Moment>() + 10 * SERIES;
        let mut history = History::new(&root, bytes).expect("room");
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        let all: Vec<_> = names.iter().map(|name| [name.as_str()]).collect();
        let all: Vec<(&[&str], u64)> = all.iter().map(|path| (&path[..], 1)).collect();
        for second in 0..3_u32 {
            history.note(history.next(), moment(second.into()), held(&all));
            assert_eq!((history.paths.len(), history.left_out), (9, 3));
        }
        assert!(root.held() > 9 * SERIES && root.held() <= bytes);
        // Nor has anybody been refused anything.
        assert_eq!(history.reservation.account().refused() + root.refused(), 0);
        history.note(history.next(), moment(3.0), held(&all[..2]));
        assert_eq!(history.left_out, 0);
        drop(history);
        assert_eq!(root.held(), 0);
    }

    #[test]
    fn a_path_of_which_nothing_is_left_makes_room() {
        let root = Account::root("process");
        let mut history = History::new(&root, LEAST).expect("room");
        let before = root.held();
        let begun = history.next();
        let minute = |history: &mut History, minute: u64, name: &str| {
            let now = held(&[(&["p"], 1), (&["p", name], minute)]);
            let at = begun + Duration::from_secs(60 * minute);
            history.note(at, moment(60.0 * minute as f64), now);
        };
        // A name a minute, more than there is room for.
        let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        for (n, name) in names.iter().enumerate() {
            minute(&mut history, n as u64, name);
        }
        assert_eq!(history.left_out, 1);
        let room = history.paths.len();
        assert!((3..20).contains(&room), "{room}");
        // A day later they are forgotten, and others have their room.
        for n in 20..1500 {
            minute(&mut history, n, "late");
        }
        assert_eq!((history.left_out, history.paths.len()), (0, 2));
        let paths = history.paths.iter().map(|path| bytes_of(&path.names)).sum::<usize>();
        assert_eq!(root.held(), before + paths);
    }

    #[test]
    fn moments_that_were_missed_are_not_made_up() {
        let root = Account::root("process");
        let mut history = History::new(&root, 1 << 20).expect("room");
        let begun = history.next();
        for second in [0_u64, 1, 2, 30, 31] {
            history.note(
                begun + Duration::from_secs(second),
                moment(second as f64),
                held(&[(&["p"], second)]),
            );
        }
        assert_eq!(history.rings[0].written, 5);
        assert_eq!(found(&history, &["p"], 5, 31), Some((0, 2)));
        // Asked too early, nothing is written.
        history.note(begun + Duration::from_millis(31_100), moment(31.1), held(&[(&["p"], 9)]));
        assert_eq!(history.rings[0].written, 5);
        assert_eq!(found(&history, &["p"], 60, 31), None);
    }
}
