//! Objects of more than 1 MiB, or of a larger alignment than a page of ours: mappings of their own,
//! found in a table by address.
//!
//! The table is memory of its own, since what allocates cannot use what is allocated. (The core's
//! table takes its slots from a pool's supply.) Nothing lies beside the object, so growing can move
//! it by changing page tables alone, and an alignment of any size costs nothing but addresses.

use crate::classes::ALIGN;
use crate::lock::Lock;
use crate::sys::{self, PAGE};
use core::cell::UnsafeCell;
use core::ptr;

#[derive(Clone, Copy)]
struct Object {
    /// Null: a free slot.
    start: *mut u8,
    /// Of the mapping.
    bytes: usize,
}

/// A slot is taken at most half of the time; a search goes from slot to slot.
struct Table {
    slots: *mut Object,
    /// A power of two, or 0.
    count: usize,
    live: usize,
    bytes: usize,
}

struct Guarded(UnsafeCell<Table>);

// SAFETY: used under `LOCK` alone.
unsafe impl Sync for Guarded {}

static TABLE: Guarded =
    Guarded(UnsafeCell::new(Table { slots: ptr::null_mut(), count: 0, live: 0, bytes: 0 }));

/// Guards the table. Taken last.
pub(crate) static LOCK: Lock = Lock::new();

fn with<T>(body: impl FnOnce(&mut Table) -> T) -> T {
    LOCK.with(|| {
        // SAFETY: the lock is held, and nothing below comes here again.
        body(unsafe { &mut *TABLE.0.get() })
    })
}

impl Table {
    fn slots(&mut self) -> &mut [Object] {
        if self.slots.is_null() {
            return &mut [];
        }
        // SAFETY: a mapping of so many slots, zeros at first; nobody else refers to it.
        unsafe { core::slice::from_raw_parts_mut(self.slots, self.count) }
    }

    fn first(&self, start: *mut u8) -> usize {
        let mixed = (start.addr() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        mixed as usize & self.count.wrapping_sub(1)
    }

    /// The slot of the object that begins here.
    fn find(&mut self, start: *mut u8) -> Option<usize> {
        let (mut at, last) = (self.first(start), self.count.wrapping_sub(1));
        loop {
            let slot = self.slots().get(at)?;
            if slot.start.is_null() {
                return None;
            }
            if slot.start == start {
                return Some(at);
            }
            at = (at + 1) & last;
        }
    }

    /// Makes room for one more; `false`: no memory.
    fn reserve(&mut self) -> bool {
        if (self.live + 1) * 2 <= self.count {
            return true;
        }
        let count = (self.count * 2).max(PAGE / size_of::<Object>());
        let slots = sys::map(count * size_of::<Object>()).cast::<Object>();
        if slots.is_null() {
            return false;
        }
        let mut old = Self { slots, count, live: 0, bytes: 0 };
        core::mem::swap(self, &mut old);
        for object in old.slots().iter().filter(|object| !object.start.is_null()) {
            self.put(*object);
        }
        if !old.slots.is_null() {
            // SAFETY: the old slots, of which nothing is used any more.
            unsafe { sys::unmap(old.slots.cast(), old.count * size_of::<Object>()) };
        }
        true
    }

    /// There is room.
    fn put(&mut self, object: Object) {
        let (mut at, last) = (self.first(object.start), self.count.wrapping_sub(1));
        while self.slots().get(at).is_some_and(|slot| !slot.start.is_null()) {
            at = (at + 1) & last;
        }
        if let Some(slot) = self.slots().get_mut(at) {
            *slot = object;
        }
        self.live += 1;
        self.bytes += object.bytes;
    }

    /// Takes out what begins here; what follows moves up, so that searches need no marks.
    fn remove(&mut self, start: *mut u8) -> Option<Object> {
        let (mut hole, last) = (self.find(start)?, self.count - 1);
        let object = self.slots()[hole];
        let mut at = hole;
        loop {
            at = (at + 1) & last;
            let other = self.slots()[at];
            if other.start.is_null() {
                break;
            }
            let home = self.first(other.start);
            // It may move to the hole unless its home lies behind that.
            if at.wrapping_sub(home) & last >= at.wrapping_sub(hole) & last {
                self.slots()[hole] = other;
                hole = at;
            }
        }
        self.slots()[hole] = Object { start: ptr::null_mut(), bytes: 0 };
        self.live -= 1;
        self.bytes -= object.bytes;
        Some(object)
    }
}

/// Bytes of the mapping for an object of so many.
fn mapping(size: usize) -> Option<usize> {
    cenote::size::total(size.max(ALIGN), 0, 0, PAGE)
}

/// An object of zeros; null if there is no memory.
pub(crate) fn alloc(size: usize, align: usize) -> *mut u8 {
    let Some(bytes) = mapping(size) else { return ptr::null_mut() };
    let start = if align <= PAGE { sys::map(bytes) } else { sys::map_aligned(bytes, align, 0) };
    if start.is_null() {
        return start;
    }
    let kept = with(|table| {
        let room = table.reserve();
        if room {
            table.put(Object { start, bytes });
        }
        room
    });
    if kept {
        return start;
    }
    // SAFETY: just mapped, and nobody has seen it.
    unsafe { sys::unmap(start, bytes) };
    ptr::null_mut()
}

/// Frees the object that begins at this address; `false` if there is none.
pub(crate) fn free(start: *mut u8) -> bool {
    let Some(object) = with(|table| table.remove(start)) else { return false };
    // SAFETY: the object's own mapping, and its user's word that nobody uses it.
    unsafe { sys::unmap(object.start, object.bytes) };
    true
}

/// The bytes that the object at this address may use.
pub(crate) fn usable(start: *mut u8) -> Option<usize> {
    with(|table| {
        let at = table.find(start)?;
        Some(table.slots()[at].bytes)
    })
}

/// The object that an address is in, if it does not begin there.
pub(crate) fn around(address: usize) -> bool {
    with(|table| {
        table.slots().iter().any(|object| {
            !object.start.is_null() && address.wrapping_sub(object.start.addr()) < object.bytes
        })
    })
}

/// Objects of this kind, and their bytes.
pub(crate) fn count_and_bytes() -> (usize, usize) {
    with(|table| (table.live, table.bytes))
}

/// Makes the object another number of bytes, moving it if it may; null, and nothing changed, if that
/// cannot be.
pub(crate) fn resize(start: *mut u8, size: usize, may_move: bool) -> *mut u8 {
    let Some(bytes) = mapping(size) else { return ptr::null_mut() };
    with(|table| {
        let Some(at) = table.find(start) else { return ptr::null_mut() };
        let old = table.slots()[at].bytes;
        if old == bytes {
            return start;
        }
        // Under the lock, since another thread may map at once what this leaves.
        // SAFETY: the object's own mapping.
        let moved = unsafe { sys::remap(start, old, bytes, may_move) };
        if !moved.is_null() {
            table.remove(start);
            table.put(Object { start: moved, bytes });
        }
        moved
    })
}
