//! Large objects: memory of their own from nginx's functions, and a record in the pool for each.
//!
//! The list in the pool's head holds the records of the objects that are live, and no others.
//! While there are few, one that is to be freed is looked for there. From the ninth on there is
//! an index by address, so that freeing takes the same time however many are live. A freed
//! object's record takes over what the list's first one stood for, and the first one is unlinked
//! and used for the next large object: so the list needs no way back, and records are never lost.

use crate::abi::{self, ALIGNMENT, LargeRecord};
use crate::block::{Live, SYSTEM};
use crate::{log, pool};
use core::cell::Cell;
use core::ffi::c_void;
use core::hash::{BuildHasherDefault, Hasher};
use core::ptr::{self, NonNull};
use std::collections::HashMap;

/// Up to so many are looked for in the list.
const FEW: u32 = 8;

/// Which record is the object's at an address.
pub(crate) type Index = HashMap<usize, NonNull<LargeRecord>, BuildHasherDefault<ByAddress>>;

/// Spreads addresses over all bits. They are the allocator's, so nobody can choose them badly.
#[derive(Default)]
pub(crate) struct ByAddress(u64);

impl Hasher for ByAddress {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, address: usize) {
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A large object of `size` bytes, or null.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn alloc(pool: Live, size: usize) -> *mut u8 {
    // At least a byte, since a C library may give null for none.
    // SAFETY: the log is the pool's.
    let object = unsafe { abi::ngx_alloc(size.max(1), pool.head().log.get()) };
    keep(pool, object)
}

/// A large object of `size` bytes at a multiple of `alignment`, or null.
pub(crate) fn aligned(pool: Live, size: usize, alignment: usize) -> *mut u8 {
    // SAFETY: the log is the pool's.
    let object = unsafe { abi::ngx_memalign(alignment, size.max(1), pool.head().log.get()) };
    keep(pool, object)
}

/// Makes the pool the owner of an object; null where there is none, or no memory for its record.
fn keep(pool: Live, object: *mut c_void) -> *mut u8 {
    if object.is_null() {
        return pool::refused(pool);
    }
    let Some(record) = record(pool) else {
        // SAFETY: nobody has seen it.
        unsafe { abi::free(object) };
        return pool::refused(pool);
    };
    let (head, extra) = (pool.head(), pool.extra());
    // SAFETY: a record of this pool that stands for nothing.
    let entry = unsafe { record.as_ref() };
    entry.alloc.set(object);
    entry.next.set(head.large.get());
    head.large.set(record.as_ptr());
    if !note(pool, object, record) {
        head.large.set(entry.next.get());
        spare(pool, record);
        // SAFETY: nobody has seen it.
        unsafe { abi::free(object) };
        return pool::refused(pool);
    }
    // SAFETY: it was just taken.
    let bytes = unsafe { abi::usable_size(object) };
    extra.large.set(extra.large.get() + 1);
    extra.more.set(extra.more.get() + bytes);
    SYSTEM.took(bytes);
    if let Some(creator) = extra.creator.get() {
        creator.took_large(bytes);
    }
    object.cast()
}

/// A record that stands for nothing: a freed object's, or a new one.
fn record(pool: Live) -> Option<NonNull<LargeRecord>> {
    let extra = pool.extra();
    if let Some(record) = NonNull::new(extra.spare.get()) {
        // SAFETY: a record of this pool.
        extra.spare.set(unsafe { record.as_ref() }.next.get());
        return Some(record);
    }
    let memory = if extra.passthrough.get() {
        // SAFETY: the log is the pool's. `free_all` frees it.
        unsafe { abi::ngx_alloc(size_of::<LargeRecord>(), pool.head().log.get()) }.cast()
    } else {
        pool::small(pool, size_of::<LargeRecord>(), ALIGNMENT)
    };
    let record = NonNull::new(memory.cast::<LargeRecord>())?;
    let empty = LargeRecord { next: Cell::new(ptr::null_mut()), alloc: Cell::new(ptr::null_mut()) };
    // SAFETY: memory of this size and alignment, just taken.
    unsafe { record.write(empty) };
    Some(record)
}

/// Sets a record aside.
fn spare(pool: Live, record: NonNull<LargeRecord>) {
    let extra = pool.extra();
    // SAFETY: a record of this pool.
    let entry = unsafe { record.as_ref() };
    entry.alloc.set(ptr::null_mut());
    entry.next.set(extra.spare.get());
    extra.spare.set(record.as_ptr());
}

/// The index, if there is one.
///
/// Only one such reference is in use at a time.
#[expect(clippy::mut_from_ref, reason = "the index is behind a pointer, and the pool one thread's")]
fn index(pool: &Live) -> Option<&mut Index> {
    // SAFETY: null, or made by `note` for this pool; one thread uses it, one reference at a time.
    unsafe { pool.extra().index.get().as_mut() }
}

/// Enters the newest object in the index, where there is one or is to be one. `false` where there
/// is no memory for that.
fn note(pool: Live, object: *mut c_void, record: NonNull<LargeRecord>) -> bool {
    let extra = pool.extra();
    if extra.index.get().is_null() && extra.large.get() < FEW {
        return true;
    }
    let log = pool.head().log.get();
    if extra.index.get().is_null() {
        // SAFETY: the log is the pool's.
        let made = unsafe { abi::ngx_alloc(size_of::<Index>(), log) }.cast::<Index>();
        if made.is_null() {
            return false;
        }
        // SAFETY: memory of this size; what `malloc` gives is aligned for it.
        unsafe { made.write(Index::default()) };
        extra.index.set(made);
    }
    let Some(index) = index(&pool) else { return false };
    if index.try_reserve(FEW as usize + 1).is_err() {
        log::memory_failed(log, size_of::<usize>() * index.capacity());
        return false;
    }
    if index.is_empty() {
        for (object, record) in records(&pool) {
            index.insert(object.addr(), record);
        }
    } else {
        index.insert(object.addr(), record);
    }
    true
}

/// The objects that are live, with their records, the newest first.
pub(crate) fn records(pool: &Live) -> impl Iterator<Item = (*mut c_void, NonNull<LargeRecord>)> {
    let mut next = pool.head().large.get();
    core::iter::from_fn(move || {
        let record = NonNull::new(next)?;
        // SAFETY: a record of this pool.
        let entry = unsafe { record.as_ref() };
        next = entry.next.get();
        Some((entry.alloc.get(), record))
    })
}

/// Frees the large object at this address; `false` where there is none, and nothing changed.
pub(crate) fn free(pool: Live, object: *mut c_void) -> bool {
    let found = match index(&pool) {
        Some(index) => index.remove(&object.addr()),
        None => records(&pool).find(|(other, _)| *other == object).map(|(_, record)| record),
    };
    let (head, extra) = (pool.head(), pool.extra());
    let (Some(record), Some(first)) = (found, NonNull::new(head.large.get())) else {
        return false;
    };
    // SAFETY: a record of this pool.
    let entry = unsafe { record.as_ref() };
    // SAFETY: likewise.
    let newest = unsafe { first.as_ref() };
    let object = entry.alloc.get();
    log::debug_address(head.log.get(), c"free: %p", object);
    if record != first {
        entry.alloc.set(newest.alloc.get());
        if let Some(index) = index(&pool) {
            // There is room, since it is there already.
            index.insert(newest.alloc.get().addr(), record);
        }
    }
    head.large.set(newest.next.get());
    spare(pool, first);
    // SAFETY: a live object of the pool.
    let bytes = unsafe { abi::usable_size(object) };
    // SAFETY: its record stands for it no more.
    unsafe { abi::free(object) };
    extra.large.set(extra.large.get() - 1);
    extra.more.set(extra.more.get() - bytes);
    SYSTEM.gave(bytes);
    if let Some(creator) = extra.creator.get() {
        creator.freed_large(bytes);
    }
    true
}

/// Frees all of them, at the pool's end or reset. Figures are the caller's.
#[inline(always)]
pub(crate) fn free_all(pool: Live) {
    if !pool.head().large.get().is_null() || !pool.extra().spare.get().is_null() {
        free_all_cold(pool);
    }
}

#[inline(never)]
extern "C" fn free_all_cold(pool: Live) {
    let (head, extra) = (pool.head(), pool.extra());
    let made = extra.index.replace(ptr::null_mut());
    if !made.is_null() {
        // SAFETY: `note` made it, and nobody else has it.
        unsafe { ptr::drop_in_place(made) };
        // SAFETY: from `ngx_alloc`.
        unsafe { abi::free(made.cast()) };
    }
    let own_records = extra.passthrough.get();
    for list in [&head.large, &extra.spare] {
        let mut next = list.replace(ptr::null_mut());
        while let Some(record) = NonNull::new(next) {
            // SAFETY: a record of this pool.
            let entry = unsafe { record.as_ref() };
            next = entry.next.get();
            let object = entry.alloc.get();
            if !object.is_null() {
                // SAFETY: the pool's own object.
                SYSTEM.gave(unsafe { abi::usable_size(object) });
                // SAFETY: likewise; its record goes, too.
                unsafe { abi::free(object) };
            }
            if own_records {
                // SAFETY: `record` took it from `ngx_alloc`, and it is on no list now.
                unsafe { abi::free(record.as_ptr().cast()) };
            }
        }
    }
}
