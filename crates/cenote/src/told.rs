//! Who is told of refusals and of misuse, and when: never in the middle of an operation.
//!
//! What is told about these is code of the program's, set by safe calls. It may use any pool, so
//! it is not to run while one is half-way through something: the window that an allocation has
//! saved would be another one by then. So what is to be told is *noted* where it is found, in a
//! small place of the thread's own, without allocating; and *told* when the outermost operation of
//! the thread is over, whatever way that ends.
//!
//! Which operation is the outermost is known without a count where a pool's source runs no code of
//! the program's (see [`BlockSource::is_plain`](crate::BlockSource)): then there is no other around
//! it, and what it was refused is told as the error leaves it ([`Mode::refuse`](crate::error::Mode)).
//! All others are counted, by [`Inside`]. Besides, a supply counts each call of a source by
//! [`Nested`], so that an operation that forgot to be counted tells late, not in the middle.
//!
//! A refusal is noted only where nobody has another way: what a pool asks of the one that it stands
//! on, and what it then takes less of, is nobody's refusal. That follows from what the errors are:
//! values, that say of themselves whether they were told.
//!
//! Without `std` there are no threads to be told apart: the place is the process's, and whoever
//! ends the last operation that is counted tells for all.

use crate::AllocError;
use crate::misuse::{BadFree, Misuse, OnBadFree};
use core::cell::Cell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is to be told.
enum Note {
    Refused(AllocError),
    Misused { pool: &'static str, error: BadFree, abort: bool },
}

impl Note {
    fn aborts(&self) -> bool {
        matches!(self, Note::Misused { abort: true, .. })
    }
}

/// How many notes there is room for.
const ROOM: u32 = 16;

/// Which notes are being told just now. What a hook causes is told when it has returned; what
/// is caused by telling that is only counted, or it might go on for ever.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Telling {
    Nothing,
    First,
    Caused,
}

/// A thread's notes, and what it is in the middle of.
struct Place {
    /// Operations, and calls of sources, that the thread is inside of.
    depth: Cell<u32>,
    /// Notes that are to be told: so many from `first` on, round about.
    count: Cell<u32>,
    first: Cell<u32>,
    /// Whether refusals are nobody's; see [`quietly`].
    hush: Cell<u32>,
    /// Refusals so far, for [`refusals`].
    refusals: Cell<u64>,
    telling: Cell<Telling>,
    notes: [Cell<MaybeUninit<Note>>; ROOM as usize],
}

impl Place {
    const fn new() -> Self {
        Self {
            depth: Cell::new(0),
            count: Cell::new(0),
            first: Cell::new(0),
            hush: Cell::new(0),
            refusals: Cell::new(0),
            telling: Cell::new(Telling::Nothing),
            notes: [const { Cell::new(MaybeUninit::uninit()) }; ROOM as usize],
        }
    }

    fn slot(&self, place: u32) -> &Cell<MaybeUninit<Note>> {
        &self.notes[(place % ROOM) as usize]
    }

    /// Keeps a note, if there is room. One that ends the process always has it. What is not kept
    /// comes back.
    fn push(&self, note: Note) -> Option<Note> {
        let count = self.count.get();
        let full = count == ROOM || self.telling.get() == Telling::Caused;
        if full && !note.aborts() {
            return Some(note);
        }
        let end = self.first.get() + count;
        if count < ROOM {
            self.slot(end).set(MaybeUninit::new(note));
            self.count.set(count + 1);
            return None;
        }
        let last = self.slot(end - 1).replace(MaybeUninit::new(note));
        // SAFETY: the place is full, so the last slot had a note, which was taken out.
        Some(unsafe { last.assume_init() })
    }

    fn pop(&self) -> Option<Note> {
        let count = self.count.get().checked_sub(1)?;
        let first = self.first.get();
        let note = self.slot(first).replace(MaybeUninit::uninit());
        self.count.set(count);
        self.first.set((first + 1) % ROOM);
        // SAFETY: there was one, and the first is in this slot; it was taken out.
        Some(unsafe { note.assume_init() })
    }
}

/// As [`thread`](crate::thread)'s, it has no destructor, so that it is there to the thread's very
/// end. Nothing is noted for longer than an operation takes.
#[cfg(feature = "std")]
mod imp {
    use super::Place;

    std::thread_local! {
        static PLACE: Place = const { Place::new() };
    }

    #[inline(always)]
    pub(super) fn with<R>(f: impl FnOnce(&Place) -> R) -> R {
        PLACE.with(f)
    }
}

#[cfg(not(feature = "std"))]
mod imp {
    use super::Place;
    use crate::sync::Lock;

    static PLACE: Lock<Place> = Lock::new(Place::new());

    /// No code of the program's runs in `f`.
    pub(super) fn with<R>(f: impl FnOnce(&Place) -> R) -> R {
        f(&PLACE.lock())
    }
}

use imp::with;

static UNTOLD_REFUSALS: AtomicU64 = AtomicU64::new(0);
static UNTOLD_MISUSE: AtomicU64 = AtomicU64::new(0);

/// How many refusals, and cases of misuse, were not told for want of room.
pub(crate) fn untold() -> (u64, u64) {
    (UNTOLD_REFUSALS.load(Relaxed), UNTOLD_MISUSE.load(Relaxed))
}

/// As long as there is one, the thread is inside an operation: what is found is told when the
/// outermost goes.
#[must_use]
pub(crate) struct Inside(bool);

/// Begins an operation, if `counted`: where nothing of the program's can run inside of it, it
/// need not be.
#[inline(always)]
pub(crate) fn inside(counted: bool) -> Inside {
    if counted {
        with(|place| place.depth.set(place.depth.get() + 1));
    }
    Inside(counted)
}

impl Drop for Inside {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0 {
            with(|place| place.depth.set(place.depth.get() - 1));
            now();
        }
    }
}

/// The same for a call of a source, after which the operation goes on: nothing is told at its end.
#[must_use]
pub(crate) struct Nested(bool);

#[inline(always)]
pub(crate) fn nested(counted: bool) -> Nested {
    core::mem::forget(inside(counted));
    Nested(counted)
}

impl Drop for Nested {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0 {
            with(|place| place.depth.set(place.depth.get() - 1));
        }
    }
}

/// A refusal reaches a caller who has no other way: it is counted, and noted to be told. Once,
/// however many callers pass it on.
#[cold]
#[inline(never)]
pub(crate) fn refused(error: &mut AllocError) {
    let Some((account, asked)) = error.untold() else { return };
    if with(|place| place.hush.get() != 0) {
        return;
    }
    account.node().count_refusal(asked.node());
    // It may be the last handle, and to close an account is no part of telling.
    drop(asked);
    with(|place| place.refusals.set(place.refusals.get() + 1));
    if crate::account::refusals_are_told() {
        note(Note::Refused(error.clone()));
        now();
    }
}

/// How many refusals reached a caller on the calling thread so far.
pub(crate) fn refusals() -> u64 {
    with(|place| place.refusals.get())
}

/// Misuse was found, and is to be told when the operation is over.
#[cold]
#[inline(never)]
pub(crate) fn misused(pool: &'static str, error: BadFree, policy: OnBadFree) {
    if policy != OnBadFree::Return {
        note(Note::Misused { pool, error, abort: policy == OnBadFree::Abort });
    }
}

fn note(note: Note) {
    if let Some(untold) = with(|place| place.push(note)) {
        match untold {
            Note::Refused(_) => UNTOLD_REFUSALS.fetch_add(1, Relaxed),
            Note::Misused { .. } => UNTOLD_MISUSE.fetch_add(1, Relaxed),
        };
    }
}

/// Tells what was noted, unless the thread is inside an operation.
#[inline(always)]
pub(crate) fn now() {
    if with(|place| place.count.get() != 0) {
        tell_all();
    }
}

#[cold]
#[inline(never)]
fn tell_all() {
    let may = with(|place| {
        let may = place.depth.get() == 0 && place.telling.get() == Telling::Nothing;
        if may {
            place.telling.set(Telling::First);
        }
        may
    });
    if !may {
        return;
    }
    let _end = EndOfTelling;
    for telling in [Telling::First, Telling::Caused] {
        let count = with(|place| {
            place.telling.set(telling);
            place.count.get()
        });
        (0..count).for_each(|_| tell_one());
    }
    // What may have come besides ends the process.
    while with(|place| place.count.get() != 0) {
        tell_one();
    }
}

/// Also where a hook unwinds, without `std`.
struct EndOfTelling;

impl Drop for EndOfTelling {
    fn drop(&mut self) {
        with(|place| place.telling.set(Telling::Nothing));
    }
}

fn tell_one() {
    let Some(note) = with(Place::pop) else { return };
    crate::cleanup::quietly(|| match &note {
        Note::Refused(error) => crate::account::tell_refusal(error),
        Note::Misused { pool, error, .. } => {
            crate::misuse::report(&Misuse { pool, error: *error });
        }
    });
    if let Note::Misused { pool, error, abort: true } = note {
        crate::misuse::abort(pool, error);
    }
}

/// Calls `f`, in which what an account refuses is neither counted nor told: for callers who have
/// another way. Without `std`, where it cannot be said whose refusals those are, they are.
pub(crate) fn quietly<T>(f: impl FnOnce() -> T) -> T {
    #[cfg(feature = "std")]
    let _hushed = {
        with(|place| place.hush.set(place.hush.get() + 1));
        Hushed
    };
    f()
}

#[cfg(feature = "std")]
struct Hushed;

#[cfg(feature = "std")]
impl Drop for Hushed {
    fn drop(&mut self) {
        with(|place| place.hush.set(place.hush.get() - 1));
    }
}
