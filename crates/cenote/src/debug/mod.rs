//! Levels at which misuse of memory is looked for, at run time, in any build.
//!
//! The compiler keeps safe Rust from misusing a pool; unsafe code and C can. With a level on,
//! such mistakes are noticed where they are made, or at the latest when the pool is reset or
//! dropped, and reported through [`misuse`](crate::misuse). For a whole process, without
//! building it anew:
//!
//! ```sh
//! CENOTE_DEBUG=poison,canary ./server
//! ```
//!
//! or for one pool, whatever the process does, by its builder's `levels`:
//!
//! ```
//! use cenote::Pool;
//! use cenote::debug::Levels;
//! let pool = Pool::builder().levels(Levels::POISON | Levels::CANARY).build()?;
//! let bytes = pool.alloc_slice_copy(b"watched");
//! assert_eq!(pool.levels().to_string(), "poison,canary");
//! # let _ = bytes;
//! # Ok::<(), cenote::ConfigError>(())
//! ```
//!
//! | level | what it does | what it finds |
//! |---|---|---|
//! | `passthrough` | each object is an allocation of its own, past the caches, and freed when it is freed | with a sanitizer or valgrind: everything they find in `malloc` |
//! | `poison` | new memory is filled with `0xa5`, freed memory with `0x5a` | use of what was never written, or is freed |
//! | `canary` | 16 bytes behind each object, looked at when it is freed, and at the end | writing beyond an object |
//! | `guard` | a page that cannot be touched behind objects of 4 KiB and more (Unix) | touching what is beyond: the process stops at that instruction |
//! | `quarantine` | freed objects are kept for a while, filled with `0x5a`, and looked at before they go | writing to what is freed, freeing twice |
//!
//! Every level includes `passthrough`, since what is looked for is a matter of single objects.
//! So with a level on, [`Pool`](crate::Pool), [`CountedPool`](crate::CountedPool),
//! [`ChunkPool`](crate::ChunkPool) and [`SharedPool`](crate::SharedPool) have no blocks (the last
//! has one, for its own state): every object is a large one, found by its address. The account is
//! charged for what each takes, so figures differ, and a limit is reached earlier or later. With
//! `quarantine` a reset keeps objects like a free does, until the next one; a pool that is dropped
//! gives all back, so what is done to its objects afterwards no level sees, but a checker does.
//!
//! All blocks of a [`Buddy`](crate::Buddy) have to lie in its region. So in one `passthrough` and
//! `guard` change nothing, the canary is what of a block was not asked for (512 bytes at most), and
//! one that was asked for as a whole has none. What is in quarantine counts as in use until it is
//! needed.
//!
//! # Checkers
//!
//! AddressSanitizer, in builds with `--cfg cenote_asan`, and valgrind, in builds with the feature
//! `valgrind`, see into pools at no level: which bytes of a block are objects, with a gap of 16
//! bytes behind each in such builds, so that writing beyond one is found. To valgrind each block
//! is a memory pool, so that it tells which object an address is near, and where that was
//! allocated. Of an address in a freed object it tells where the pool's block was allocated; with
//! `passthrough` besides, where the object was, and where it was freed. It counts an object as lost that nothing refers to, also where its pool is still
//! there: drop pools before the process ends.
//!
//! # Cost
//!
//! With no level on, an allocation and a free have the same instructions as they would have
//! without this module: a pool that is watched has no window and no free chunks, so that each
//! call takes the slow path, and only that knows of levels. A pool's first block costs a look
//! at one byte.

mod apart;
mod marks;
#[cfg(feature = "valgrind")]
mod mempools;
#[cfg(feature = "valgrind")]
mod valgrind;
mod watch;

pub(crate) use apart::*;
pub(crate) use marks::*;
pub(crate) use watch::{Plan, Watch};

use core::fmt;
use core::ops::{BitOr, BitOrAssign};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Whether this build tells a checker of each object: then nothing may place one behind its back.
#[doc(hidden)]
pub const MARKED: bool = cfg!(any(cenote_asan, feature = "valgrind"));

/// A set of levels; see [the module](self).
///
/// ```
/// use cenote::debug::Levels;
/// let levels: Levels = "poison, guard".parse()?;
/// assert_eq!(levels, Levels::POISON | Levels::GUARD);
/// assert_eq!(levels.to_string(), "poison,guard");
/// assert!("poisson".parse::<Levels>().is_err());
/// # Ok::<(), cenote::debug::UnknownLevel>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Levels(u8);

const NAMES: [(&str, Levels); 5] = [
    ("poison", Levels::POISON),
    ("canary", Levels::CANARY),
    ("passthrough", Levels::PASSTHROUGH),
    ("guard", Levels::GUARD),
    ("quarantine", Levels::QUARANTINE),
];

impl Levels {
    /// Nothing is looked for.
    pub const NONE: Self = Self(0);
    /// New and freed memory is filled.
    pub const POISON: Self = Self(1);
    /// Bytes behind each object are looked at.
    pub const CANARY: Self = Self(2);
    /// Each object is an allocation of its own.
    pub const PASSTHROUGH: Self = Self(4);
    /// A page that cannot be touched is behind objects of 4 KiB and more.
    pub const GUARD: Self = Self(8);
    /// What is freed is kept for a while.
    pub const QUARANTINE: Self = Self(16);
    /// All of them.
    pub const ALL: Self = Self(31);

    /// Whether none is on.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `others` are on.
    #[inline]
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Those named in a list with commas, and the first word that is no level.
    #[cfg_attr(not(feature = "std"), allow(dead_code, reason = "only processes have a list"))]
    fn named(list: &str) -> (Self, Option<&str>) {
        let (mut levels, mut unknown) = (Self::NONE, None);
        for word in list.split(',').map(str::trim) {
            match NAMES.iter().find(|(name, _)| *name == word) {
                Some((_, level)) => levels |= *level,
                None if word == "all" => levels = Self::ALL,
                None if word.is_empty() || word == "none" => {}
                None => unknown = unknown.or(Some(word)),
            }
        }
        (levels, unknown)
    }
}

impl BitOr for Levels {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Levels {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        let mut on = NAMES.iter().filter(|(_, level)| self.contains(*level));
        if let Some((first, _)) = on.next() {
            f.write_str(first)?;
        }
        on.try_for_each(|(name, _)| write!(f, ",{name}"))
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Levels({self})")
    }
}

impl core::str::FromStr for Levels {
    type Err = UnknownLevel;
    fn from_str(list: &str) -> Result<Self, UnknownLevel> {
        match Self::named(list) {
            (levels, None) => Ok(levels),
            (_, Some(_)) => Err(UnknownLevel(())),
        }
    }
}

/// A word in a list of levels that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel(());

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the levels are ")?;
        NAMES.iter().try_for_each(|(name, _)| write!(f, "{name}, "))?;
        f.write_str("all and none")
    }
}

impl core::error::Error for UnknownLevel {}

/// `CENOTE_DEBUG` was not looked at yet.
const UNKNOWN: u8 = 0x80;
/// Some level may be on: the slow way tells.
static PROCESS: AtomicU8 = AtomicU8::new(if cfg!(feature = "std") { UNKNOWN } else { 0 });

/// The levels that pools are made with now, unless their builders say otherwise.
///
/// They are those of the environment variable `CENOTE_DEBUG` (a list with commas; a word in it
/// that is no level is reported on standard error, once, and the others are on), until
/// [`set_levels`] is called. Without the `std` feature there is no environment.
#[inline(always)]
#[must_use]
pub fn levels() -> Levels {
    let levels = PROCESS.load(Relaxed);
    if levels == 0 { Levels::NONE } else { levels_cold(levels) }
}

/// Whether pools made now may have a level on: one compare.
#[inline(always)]
pub(crate) fn may_be_on() -> bool {
    PROCESS.load(Relaxed) != 0
}

#[cold]
#[inline(never)]
fn levels_cold(levels: u8) -> Levels {
    #[cfg(feature = "std")]
    if let Some(levels) = thread::levels() {
        return levels;
    }
    if levels & UNKNOWN == 0 { Levels(levels) } else { from_environment() }
}

#[cfg(feature = "std")]
fn from_environment() -> Levels {
    let list = std::env::var_os("CENOTE_DEBUG").unwrap_or_default();
    let list = list.to_string_lossy();
    let (levels, unknown) = Levels::named(&list);
    // Whoever was first to look has set it, and said what there is to say.
    let first = PROCESS.compare_exchange(UNKNOWN, levels.0, Relaxed, Relaxed).is_ok();
    if let (Some(word), true) = (unknown, first) {
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "cenote: CENOTE_DEBUG: {word} is no level: {}",
            UnknownLevel(()),
        );
    }
    Levels(PROCESS.load(Relaxed) & !UNKNOWN)
}

#[cfg(not(feature = "std"))]
fn from_environment() -> Levels {
    Levels::NONE
}

/// Sets the levels that pools are made with from now on, in the whole process. Pools with
/// anything in them stay as they are: a [`Pool`](crate::Pool), of which many are made, looks at
/// the levels when it takes its first memory, the others when they are made.
///
/// ```
/// use cenote::{Pool, debug::{self, Levels}};
/// let (watched, plain) = (Pool::new(), Pool::new());
/// debug::set_levels(Levels::CANARY);
/// watched.alloc(1);
/// debug::set_levels(Levels::NONE);
/// plain.alloc(1);
/// assert_eq!([watched, plain].map(|pool| pool.levels()), [Levels::CANARY, Levels::NONE]);
/// ```
pub fn set_levels(levels: Levels) {
    PROCESS.store(levels.0, Relaxed);
}

/// Levels for pools made on this thread, whatever the process's are: for tests that assert how
/// plain pools lay out objects. Without effect where the process has no level on.
#[cfg(feature = "std")]
#[doc(hidden)]
pub fn set_thread_levels(levels: Option<Levels>) {
    thread::set(levels);
}

/// Whether checkers' builds leave a gap behind each object that is placed on this thread: for
/// tests that assert where plain pools place objects. Without effect in other builds.
///
/// # Safety
/// Pools with objects in them are not used on threads, or at times, of which one has gaps and
/// the other has none.
#[cfg(feature = "std")]
#[doc(hidden)]
pub unsafe fn set_thread_gaps(on: bool) {
    #[cfg(any(cenote_asan, feature = "valgrind"))]
    apart::without::set(!on);
    let _ = on;
}

#[cfg(feature = "std")]
mod thread {
    use super::Levels;
    use core::cell::Cell;

    std::thread_local! {
        static LEVELS: Cell<Option<Levels>> = const { Cell::new(None) };
    }

    pub(super) fn levels() -> Option<Levels> {
        LEVELS.with(Cell::get)
    }

    pub(super) fn set(levels: Option<Levels>) {
        LEVELS.with(|cell| cell.set(levels));
    }
}
