//! Places that are nobody's: a few for each thread, the rest for all; never given back to the
//! system, since a handle to one may still be looked at.

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use super::{ALIGN, Head, KINDS};
use crate::misuse;

/// Spare places that a thread keeps for itself at most.
const KEPT: usize = 64;
/// Bytes of a segment, the allocation that places are cut from, at least.
const SEGMENT: usize = 8192;

struct Local {
    lists: [Cell<*mut Head>; KINDS],
    /// How many more may be kept; 0 before the first is, and when the thread is at its end.
    room: Cell<usize>,
    ended: Cell<bool>,
}

struct Spare {
    lists: [*mut Head; KINDS],
    /// The newest segment: keeps all of them reachable, for those who look for leaks.
    segments: *mut Head,
}

// SAFETY: spare places are nobody's, and are reached under the lock.
unsafe impl Send for Spare {}

static SPARE: Mutex<Spare> =
    Mutex::new(Spare { lists: [ptr::null_mut(); KINDS], segments: ptr::null_mut() });

std::thread_local! {
    // Without destructor, so that it is reached at once, and to the thread's very end.
    static LOCAL: Local = const {
        Local {
            lists: [const { Cell::new(ptr::null_mut()) }; KINDS],
            room: Cell::new(0),
            ended: Cell::new(false),
        }
    };
    static FAREWELL: Farewell = const { Farewell };
}

struct Farewell;

impl Drop for Farewell {
    fn drop(&mut self) {
        LOCAL.with(|local| {
            local.ended.set(true);
            local.room.set(0);
            for (kind, list) in local.lists.iter().enumerate() {
                // SAFETY: spare places, off the thread's list one by one.
                while let Some(head) = unsafe { pop(list) } {
                    // SAFETY: spare, and on no list any more.
                    unsafe { give_to_all(kind, head) };
                }
            }
        });
    }
}

/// # Safety
/// What is on the list are places.
#[inline(always)]
unsafe fn pop(list: &Cell<*mut Head>) -> Option<NonNull<Head>> {
    let head = NonNull::new(list.get())?;
    // SAFETY: places stay for ever.
    list.set(unsafe { head.as_ref() }.next.get());
    Some(head)
}

/// A place of this kind, of this layout, that is nobody's.
#[inline(always)]
pub(super) fn take(kind: usize, place: Layout) -> Option<NonNull<Head>> {
    LOCAL.with(|local| {
        // SAFETY: the thread's list of places.
        match unsafe { pop(&local.lists[kind]) } {
            Some(head) => {
                local.room.set(local.room.get() + 1);
                Some(head)
            }
            None => take_from_all(kind, place),
        }
    })
}

/// # Safety
/// A place of this kind, without a value, and on no list.
#[inline(always)]
pub(super) unsafe fn give(kind: usize, head: NonNull<Head>) {
    LOCAL.with(|local| {
        let room = local.room.get();
        if room == 0 {
            // SAFETY: the caller's promise.
            return unsafe { give_cold(kind, head) };
        }
        local.room.set(room - 1);
        // SAFETY: places stay for ever.
        unsafe { head.as_ref() }.next.set(local.lists[kind].get());
        local.lists[kind].set(head.as_ptr());
    });
}

/// The thread keeps no more, or none yet.
///
/// # Safety
/// As for [`give`].
#[cold]
#[inline(never)]
unsafe fn give_cold(kind: usize, head: NonNull<Head>) {
    LOCAL.with(|local| {
        let first = !local.ended.get() && local.lists.iter().all(|list| list.get().is_null());
        if first && FAREWELL.try_with(|_| ()).is_ok() {
            local.room.set(KEPT);
        }
    });
    // SAFETY: the caller's promise.
    unsafe { give_to_all(kind, head) };
}

/// # Safety
/// As for [`give`].
unsafe fn give_to_all(kind: usize, head: NonNull<Head>) {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: places stay for ever.
    unsafe { head.as_ref() }.next.set(spare.lists[kind]);
    spare.lists[kind] = head.as_ptr();
}

/// A place that no thread keeps, or a new one.
#[cold]
#[inline(never)]
fn take_from_all(kind: usize, place: Layout) -> Option<NonNull<Head>> {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    if spare.lists[kind].is_null() {
        if spare.segments.is_null() {
            // Nothing has been made yet.
            misuse::listen();
        }
        let number = (SEGMENT / place.size()).max(2);
        let layout = Layout::from_size_align(place.size() * number, ALIGN).ok()?;
        // SAFETY: the layout has bytes.
        let segment = NonNull::new(unsafe { std::alloc::alloc(layout) })?.cast::<Head>();
        for index in (0..number).rev() {
            // SAFETY: inside the segment.
            let head = unsafe { segment.byte_add(index * place.size()) };
            // SAFETY: just taken, and aligned so that every place in it is.
            unsafe { head.write(Head::spare(spare.lists[kind])) };
            spare.lists[kind] = head.as_ptr();
        }
        // SAFETY: just written.
        unsafe { segment.as_ref() }.segment.set(spare.segments);
        spare.segments = segment.as_ptr();
    }
    let list = Cell::new(spare.lists[kind]);
    // SAFETY: the list of spare places, under its lock.
    let head = unsafe { pop(&list) };
    spare.lists[kind] = list.get();
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;
    use crate::handle::destroy;
    use crate::handle::tests::make;

    /// A stale handle is looked at where its kind has its key, and behind a place of a small kind is
    /// the next one.
    #[test]
    fn a_place_is_used_again_but_by_its_own_kind_alone() {
        use crate::{
            cenote_chunk_create, cenote_chunk_destroy, cenote_pool_create, cenote_pool_destroy,
        };
        let place = |handle: *mut u8| super::super::place_of(handle).addr();
        // In a thread of its own, whose spare places are its own.
        let work = move || {
            let pools = [(); 3].map(|()| cenote_pool_create());
            let were = pools.map(|pool| place(pool.cast()));
            for pool in pools {
                // SAFETY: live.
                assert_eq!(unsafe { cenote_pool_destroy(pool) }, 0);
            }
            let chunks = [(); 3].map(|()| cenote_chunk_create());
            let pool = cenote_pool_create();
            for chunk in chunks {
                assert!(!were.contains(&place(chunk.cast())), "a pool's place has a chunk pool");
            }
            assert!(were.contains(&place(pool.cast())), "a pool's place was not used again");
            // SAFETY: live.
            assert_eq!(unsafe { cenote_pool_destroy(pool) }, 0);
            for chunk in chunks {
                // SAFETY: live.
                assert_eq!(unsafe { cenote_chunk_destroy(chunk) }, 0);
            }
        };
        std::thread::spawn(work).join().unwrap();
    }

    #[test]
    fn places_of_threads_that_ended_are_used_again() {
        let segments = || {
            let spare = SPARE.lock().unwrap();
            let (mut count, mut at) = (0, NonNull::new(spare.segments));
            while let Some(segment) = at {
                count += 1;
                // SAFETY: segments stay for ever.
                at = NonNull::new(unsafe { segment.as_ref() }.segment.get());
            }
            count
        };
        let work = || {
            let handles: Vec<_> = (0..100).map(make).collect();
            // SAFETY: live.
            handles
                .into_iter()
                .for_each(|handle| assert_eq!(unsafe { destroy(handle) }, Status::Ok));
        };
        std::thread::spawn(work).join().unwrap();
        let before = segments();
        for _ in 0..50 {
            std::thread::spawn(work).join().unwrap();
        }
        // The other tests of this file may be making some too.
        assert!(segments() < before + 50, "{before} segments became {}", segments());
    }
}
