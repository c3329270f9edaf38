//! Handles: what a C program holds of a pool, and what becomes of them.
//!
//! A handle is the address of a *place*, in which the pool's value lies, plus a number below
//! [`ALIGN`] that is another one each time the place is used again. The place knows the handle
//! of what is in it now (plus a constant): its *key*; so one look at the place tells whether a handle is live,
//! and one that was destroyed is noticed although something else is in its place meanwhile (until
//! the number comes round, after 512 of them). Each kind has its key at an offset of its own, so
//! that the same compare notices a handle of another kind.
//!
//! That look is allowed since places are never given back to the system: destroyed ones are
//! used again, by the same kind, first those that the thread itself destroyed last. What a
//! program keeps for this is as many places as there were handles at one time.
//!
//! Files: this one has what a handle is and how it is checked; `spare` the places that are
//! nobody's.
//!
//! Relies on: a handle is used by one thread at a time (accounts: by any), as the header says.
//! Never does: follow a handle further than to its key before that was compared.

mod spare;

use core::cell::{Cell, UnsafeCell};
use core::mem::{MaybeUninit, offset_of};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Status, fail, panicked};
use crate::misuse;
use core::alloc::Layout;

/// What places are aligned to.
const ALIGN: usize = 512;

const KINDS: usize = NAMES.len();

/// How many numbers for cleanups a place takes at a time.
const BATCH: u64 = 1 << 10;
/// Where the next batch begins.
static TICKETS: AtomicU64 = AtomicU64::new(BATCH);

/// What a key is above its handle. Nowhere else in memory stands an address with this added; the
/// plain one of a variable on the stack well may, right where its key would be.
///
/// It also stands for the layout that `include/cenote/inline.h` has of a pool's place: change it
/// whenever that changes. In builds that tell checkers of each object it is another, so that every
/// object comes by way of the library.
const ABOVE: usize = if cenote::debug::MARKED { 0x2f6d_3b96 } else { 0x2f6d_3b95 };

// What the header has, by numbers.
#[cfg(target_pointer_width = "64")]
const _: () = {
    const VALUE: usize = offset_of!(Place<cenote::Pool>, value);
    assert!(ALIGN == 512 && offset_of!(Head, keys) == 0);
    assert!(VALUE + <cenote::Pool>::WINDOW[0] == 96 && VALUE + <cenote::Pool>::WINDOW[1] == 112);
};

/// What reports call the kinds, by [`Kind::INDEX`].
const NAMES: [&str; 6] = ["pool", "counted pool", "chunk pool", "buddy", "account", "reservation"];

/// A kind of handle: implemented by its opaque type in C.
pub(crate) trait Kind: Sized {
    /// Below [`KINDS`], and no other kind's.
    const INDEX: usize;
    /// What handles of this kind stand for.
    type Value;

    /// What is done before the value is dropped, while its handle can still be used.
    fn before_end(_value: &Self::Value) {}
}

/// What a place of any kind begins with.
#[repr(C)]
struct Head {
    /// The key of what is in the place, in the entry of its kind; else zeros.
    keys: [AtomicUsize; KINDS],
    /// How often the place was used, below [`ALIGN`].
    uses: Cell<u32>,
    /// Whether the value is being reset or destroyed, and its cleanups are running.
    busy: Cell<bool>,
    /// The next number for a cleanup; a multiple of [`BATCH`]: another batch is to be had.
    tickets: Cell<u64>,
    /// The next spare place; of a spare one only.
    next: Cell<*mut Head>,
    /// The next segment; of the first place of each.
    segment: Cell<*mut Head>,
    name: Cell<Option<Box<str>>>,
}

impl Head {
    fn spare(next: *mut Head) -> Self {
        Self {
            keys: [const { AtomicUsize::new(0) }; KINDS],
            uses: Cell::new(0),
            busy: Cell::new(false),
            tickets: Cell::new(0),
            next: Cell::new(next),
            segment: Cell::new(ptr::null_mut()),
            name: Cell::new(None),
        }
    }
}

/// Where a value lies as long as its handle is live.
#[repr(C, align(512))]
pub(crate) struct Place<T> {
    head: Head,
    value: UnsafeCell<MaybeUninit<T>>,
}

const _: () = assert!(align_of::<Place<u8>>() == ALIGN);
const _: () = assert!(offset_of!(Place<u8>, head) == 0);

impl<T> Place<T> {
    /// The value of the handle by which this place was found.
    #[inline(always)]
    pub(crate) fn value(&self) -> &T {
        // SAFETY: the cell's memory is in place for ever.
        let value = unsafe { &*self.value.get() };
        // SAFETY: the key was compared: the handle is live, so its value was written, and it is
        // dropped only by the thread that uses the handle.
        unsafe { value.assume_init_ref() }
    }

    /// The name that was given when it was made.
    pub(crate) fn name(&self) -> Option<String> {
        let name = self.head.name.take();
        let copy = name.as_deref().map(str::to_owned);
        self.head.name.set(name);
        copy
    }

    /// A number for a cleanup, which no other had or will have in this process. Not 0.
    ///
    /// Numbers are had for all places together, a batch at a time. A place that is used again goes on
    /// with its batch; so a batch goes for as many cleanups, or for a place that stays for good, and
    /// with a thousand million cleanups a second there are enough of them for centuries.
    pub(crate) fn ticket(&self) -> u64 {
        let next = self.head.tickets.get();
        let ticket = match next % BATCH {
            0 => TICKETS.fetch_add(BATCH, Ordering::Relaxed),
            _ => next,
        };
        self.head.tickets.set(ticket + 1);
        ticket
    }

    /// Calls `f` as the only one who resets or destroys what is here; [`Status::Busy`] where that
    /// is under way.
    #[inline(always)]
    pub(crate) fn alone(&self, f: impl FnOnce() -> Status) -> Status {
        if self.head.busy.replace(true) {
            return refuse_busy();
        }
        let status = f();
        self.head.busy.set(false);
        status
    }

    /// Calls `f`, during which what is here can be neither reset nor destroyed.
    pub(crate) fn held<R>(&self, f: impl FnOnce() -> R) -> R {
        let before = self.head.busy.replace(true);
        let result = f();
        self.head.busy.set(before);
        result
    }

    /// The value, for who resets it.
    ///
    /// # Safety
    /// The handle is live, nobody has a reference to the value, and nobody takes one as long as
    /// this one is used.
    #[allow(clippy::mut_from_ref, reason = "the caller's promise")]
    pub(crate) unsafe fn value_mut(&self) -> &mut T {
        // SAFETY: the caller's promise.
        let value = unsafe { &mut *self.value.get() };
        // SAFETY: written, as in `value`.
        unsafe { value.assume_init_mut() }
    }
}

#[cold]
fn refuse_busy() -> Status {
    let message = "cenote: a cleanup cannot reset or destroy the pool that it is called for";
    fail(Status::Busy, format_args!("{message}"))
}

/// The place of a handle that is live, and of this kind.
///
/// # Safety
/// `handle` is null; or it came from this library, whatever became of it; or there is memory at
/// its address that may be read.
#[inline(always)]
pub(crate) unsafe fn live<'p, K: Kind>(handle: *const K) -> Option<&'p Place<K::Value>> {
    if handle.is_null() {
        return None;
    }
    let place = place_of(handle.cast());
    // SAFETY: the caller's promise; it is not null.
    if unsafe { key(place, K::INDEX) } != handle.addr().wrapping_add(ABOVE) {
        return None;
    }
    // SAFETY: only places of this kind have that key, and places stay for ever.
    Some(unsafe { &*place.cast() })
}

/// The key at a place if what is there is of the kind of this index; or anything, if it is none.
///
/// # Safety
/// `place` is the place of a handle as for [`live`], which is not null.
#[inline(always)]
unsafe fn key(place: *const u8, index: usize) -> usize {
    let at = place.wrapping_byte_add(offset_of!(Head, keys) + index * size_of::<usize>());
    // SAFETY: the caller's promise: a place's key; or there is memory at the address, and since
    // systems give memory in pages of a multiple of 512 bytes, it reaches from `ALIGN` to
    // `ALIGN`.
    let key = unsafe { AtomicUsize::from_ptr(at.cast_mut().cast()) };
    key.load(Ordering::Relaxed)
}

#[inline(always)]
fn place_of(handle: *const u8) -> *const u8 {
    handle.wrapping_byte_sub(handle.addr() & (ALIGN - 1))
}

/// The place of a handle, or why there is none.
///
/// # Safety
/// As for [`live`].
#[inline(always)]
pub(crate) unsafe fn open<'p, K: Kind>(handle: *const K) -> Result<&'p Place<K::Value>, Status> {
    // SAFETY: the caller's promise.
    match unsafe { live(handle) } {
        Some(place) => Ok(place),
        // SAFETY: the caller's promise.
        None => Err(unsafe { explain(handle.cast(), K::INDEX) }),
    }
}

/// The kind of a live handle of any kind.
///
/// # Safety
/// As for [`live`].
pub(crate) unsafe fn kind_of(handle: *const u8) -> Option<usize> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: the caller's promise; it is not null.
    let is = |&index: &usize| unsafe { key(place_of(handle), index) } == handle.addr().wrapping_add(ABOVE);
    (0..KINDS).find(is)
}

/// Says what is wrong with a handle. NULL is nobody's mistake but a failure before; anything else is
/// misuse.
///
/// # Safety
/// As for [`live`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn explain(handle: *const u8, wanted: usize) -> Status {
    let wanted = NAMES.get(wanted).unwrap_or(&"handle");
    if handle.is_null() {
        return fail(Status::Handle, format_args!("cenote: the {wanted} is NULL"));
    }
    // SAFETY: the caller's promise.
    match unsafe { kind_of(handle) } {
        Some(index) => misuse::meet(
            Status::Handle,
            format_args!("cenote: {handle:p} is a {}, where a {wanted} belongs", NAMES[index]),
        ),
        None => misuse::meet(
            Status::Handle,
            format_args!("cenote: {handle:p} is no {wanted}: it was destroyed, or never was one"),
        ),
    }
}

/// Makes a handle for what `make` returns; null where that fails, or there is no memory.
#[inline]
pub(crate) fn create<K: Kind>(
    name: Option<Box<str>>,
    make: impl FnOnce() -> Result<K::Value, Status>,
) -> *mut K {
    let Some(head) = spare::take(K::INDEX, Layout::new::<Place<K::Value>>()) else {
        fail(Status::Memory, format_args!("out of memory: no {} could be made", NAMES[K::INDEX]));
        return ptr::null_mut();
    };
    // SAFETY: places stay for ever, and this one is spare.
    let place = unsafe { head.cast::<Place<K::Value>>().as_ref() };
    match make() {
        // SAFETY: the place is nobody else's, and has no value.
        Ok(value) => unsafe { place.value.get().write(MaybeUninit::new(value)) },
        Err(_) => {
            // SAFETY: taken above.
            unsafe { spare::give(K::INDEX, head) };
            return ptr::null_mut();
        }
    }
    if name.is_some() {
        place.head.name.set(name);
    }
    let uses = (place.head.uses.get() + 1) % ALIGN as u32;
    place.head.uses.set(uses);
    let handle = head.as_ptr().map_addr(|address| address | uses as usize);
    place.head.keys[K::INDEX].store(handle.addr().wrapping_add(ABOVE), Ordering::Relaxed);
    handle.cast()
}

/// Ends a handle, and what it stands for. NULL is fine.
///
/// # Safety
/// As for [`live`]; and nobody uses what it stands for any more.
#[inline]
pub(crate) unsafe fn destroy<K: Kind>(handle: *mut K) -> Status {
    if handle.is_null() {
        return Status::Ok;
    }
    // SAFETY: the caller's promise.
    let place = match unsafe { open(handle.cast_const()) } {
        Ok(place) => place,
        Err(status) => return status,
    };
    let mut ended = false;
    let status = place.alone(|| {
        ended = true;
        // By shared references, since cleanups use the handle.
        let ran = catch_unwind(AssertUnwindSafe(|| K::before_end(place.value())));
        place.head.keys[K::INDEX].store(0, Ordering::Relaxed);
        // SAFETY: the handle was live until now, and nobody reaches its value any more.
        let value: *mut K::Value = unsafe { place.value_mut() };
        // Nothing is left to be called in here, so nothing that could panic.
        // SAFETY: as above; it is not dropped again, since the key is gone.
        unsafe { value.drop_in_place() };
        match ran {
            Ok(()) => Status::Ok,
            Err(payload) => panicked(payload),
        }
    });
    if ended {
        drop(place.head.name.take());
        if let Some(head) = NonNull::new(place_of(handle.cast_const().cast()).cast_mut().cast()) {
            // SAFETY: its value was dropped.
            unsafe { spare::give(K::INDEX, head) };
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kind for these tests alone, at the index of accounts.
    pub(super) struct Number;

    impl Kind for Number {
        const INDEX: usize = 4;
        type Value = u64;
    }

    pub(super) fn make(number: u64) -> *mut Number {
        create::<Number>(None, || Ok(number))
    }

    fn is_live(handle: *mut Number) -> bool {
        // SAFETY: these tests use handles that were made.
        unsafe { live(handle.cast_const()) }.is_some()
    }

    #[test]
    fn a_destroyed_handle_is_noticed_although_its_place_is_used_again() {
        let first = make(1);
        assert!(is_live(first));
        let mut seen = vec![first.addr()];
        let mut handle = first;
        for number in 2..500 {
            // SAFETY: live, and not used afterwards but to be looked at.
            assert_eq!(unsafe { destroy(handle) }, Status::Ok);
            assert!(!is_live(handle));
            handle = make(number);
            assert!(is_live(handle) && !is_live(first));
            seen.push(handle.addr());
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 499, "a handle came twice");
        // SAFETY: live.
        unsafe { destroy(handle) };
    }

    #[test]
    fn no_number_of_a_cleanup_comes_again_while_the_process_lives() {
        let handles = [make(1), make(2)];
        // SAFETY: live.
        let places = handles.map(|handle| unsafe { live(handle.cast_const()) }.expect("live"));
        let first = places.map(Place::ticket);
        // More than a number of 26 bits can count: it would come again.
        let mut again = 0;
        for _ in 0..(1 << 26) + 10 {
            again += u32::from(places[0].ticket() == first[0]);
        }
        assert_eq!(again, 0, "{} came twice", first[0]);
        let mut seen: Vec<_> = (0..10_000).map(|round| places[round % 2].ticket()).collect();
        seen.extend(first);
        for handle in handles {
            // SAFETY: live, and not used afterwards.
            assert_eq!(unsafe { destroy(handle) }, Status::Ok);
        }
        for _ in 0..100 {
            let handle = make(3);
            // SAFETY: live.
            seen.push(unsafe { live(handle.cast_const()) }.expect("live").ticket());
            // SAFETY: live, and not used afterwards.
            assert_eq!(unsafe { destroy(handle) }, Status::Ok);
        }
        let numbers = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() == numbers && seen[0] > 0, "a number came twice");
    }

    #[test]
    fn a_handle_of_another_kind_or_inside_a_place_is_none() {
        struct Other;
        impl Kind for Other {
            const INDEX: usize = 0;
            type Value = u64;
        }
        let handle = make(7);
        let other = handle.cast_const().cast::<Other>();
        // SAFETY: a handle of this library.
        assert!(unsafe { live(other) }.is_none());
        // SAFETY: in the memory of a place.
        assert!(unsafe { live(handle.cast_const().wrapping_byte_add(1)) }.is_none());
        // SAFETY: a handle of this library.
        assert_eq!(unsafe { kind_of(other.cast()) }, Some(4));
        // SAFETY: live.
        assert_eq!(unsafe { destroy(handle) }, Status::Ok);
        // SAFETY: it was a handle of this library.
        assert_eq!(unsafe { kind_of(other.cast()) }, None);
    }
}
