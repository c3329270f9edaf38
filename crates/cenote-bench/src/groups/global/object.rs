//! An object of some malloc, which may go to another thread.

use crate::peers::mallocs::Malloc;
use crate::work::{Random, layout, touch};

/// An object and the bytes that it was asked for with. Whoever has it frees it, once.
#[derive(Clone, Copy)]
pub(super) struct Object {
    pub(super) start: *mut u8,
    pub(super) size: u32,
}

// SAFETY: an object is used by whoever has it, and every malloc here frees from any thread.
unsafe impl Send for Object {}

impl Object {
    #[inline(always)]
    pub(super) fn new<M: Malloc>(malloc: &M, size: usize) -> Self {
        let start = malloc.get(layout(size));
        touch(start, size as u64);
        Self { start, size: size as u32 }
    }

    /// # Safety
    /// It came from this malloc, and is freed once.
    #[inline(always)]
    pub(super) unsafe fn free<M: Malloc>(self, malloc: &M) {
        // SAFETY: the caller's promise.
        unsafe { malloc.put(self.start, layout(self.size as usize)) };
    }
}

/// Objects that end together, on whatever thread that is.
pub(super) struct Array<M: Malloc> {
    pub(super) malloc: M,
    pub(super) objects: Vec<Object>,
}

impl<M: Malloc> Array<M> {
    pub(super) fn new(malloc: M, objects: usize, mut size: impl FnMut() -> usize) -> Self {
        let objects = (0..objects).map(|_| Object::new(&malloc, size())).collect();
        Self { malloc, objects }
    }

    /// Frees the object at `at`, and puts another there.
    #[inline(always)]
    pub(super) fn replace(&mut self, at: usize, size: usize) {
        // SAFETY: it came from this malloc, and is replaced by another.
        unsafe { self.objects[at].free(&self.malloc) };
        self.objects[at] = Object::new(&self.malloc, size);
    }
}

impl<M: Malloc> Drop for Array<M> {
    fn drop(&mut self) {
        for &object in &self.objects {
            // SAFETY: it came from this malloc, and is this array's alone.
            unsafe { object.free(&self.malloc) };
        }
    }
}

/// Random numbers that differ from thread to thread, and are the same in each process.
pub(super) fn random(thread: u64) -> Random {
    let mut random = Random::new();
    for _ in 0..thread * 7 {
        random.next();
    }
    random
}

/// 16 to 256 B.
#[inline(always)]
pub(super) fn small(random: &mut Random) -> usize {
    16 + (random.next() >> 32) as usize % 241
}
