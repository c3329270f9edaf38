//! Blocks as valgrind's memory pools: so that it knows each object, says where it was allocated
//! when something is wrong near it, and tells which are leaked. Of an object that is freed it says where
//! the block is from that it was in, as a "recently re-allocated block": it looks for blocks of `malloc`'s
//! that are in use before it looks for what is freed (3.19). Where that was freed it says of
//! objects that are allocations of their own (`passthrough`).
//!
//! A memory pool of valgrind's is one *block*, not one pool: a pool's value may be moved, and an
//! object that is freed leads to its block, not to its pool. What else is in a block, its header,
//! is an object as well, so that what a header points to is found when leaks are looked for; but
//! of another memory pool: valgrind forbids the gaps on both sides of an object, and there is none between
//! a header and the first object.
//!
//! Here is written down which blocks there are, so that pools need say no more than an object's
//! address. Valgrind wants no memory to be part of two objects. So where a block lies in an object,
//! since one pool stands on another, that object is none as long as the block is there.
//!
//! A process that valgrind does not run looks at one byte, and does nothing.

use super::marks::at;
use super::valgrind::{self, Mempool};
use alloc::collections::BTreeMap;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where a block begins, with all bits turned over: valgrind is not to take this table for what
/// refers to a block; and how many blocks it lies in, likewise, so that of those that begin at an
/// address the innermost comes first.
type Key = (usize, usize);

struct Block {
    start: NonNull<u8>,
    /// Its size, and which of its bytes are for objects.
    size: usize,
    from: usize,
    to: usize,
    gap: usize,
    /// For objects, and for what else there is.
    objects: Mempool,
    rest: Mempool,
    /// The block that it lies in.
    outer: Option<Key>,
}

// SAFETY: its address is only used in requests to valgrind.
unsafe impl Send for Block {}

impl Block {
    fn free(&self, start: usize) {
        self.objects.free(start);
        if start < self.start.addr().get() + self.from + self.gap {
            self.allow_rest();
        }
    }

    fn alloc(&self, start: usize, size: usize) {
        self.objects.alloc(start, size);
        if start < self.start.addr().get() + self.from + self.gap {
            self.allow_rest();
        }
    }

    /// The header may be touched: valgrind forbids a gap before the first object as well.
    fn allow_rest(&self) {
        valgrind::allow_written(self.start, self.from);
        valgrind::allow_written(at(self.start, self.to), self.size - self.to);
    }
}

struct Blocks(BTreeMap<Key, Block>);

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks(BTreeMap::new()));

/// Valgrind's list of all blocks; `None` where it does not run this process.
fn blocks() -> Option<MutexGuard<'static, Blocks>> {
    const UNKNOWN: u8 = 2;
    static HERE: AtomicU8 = AtomicU8::new(UNKNOWN);
    let mut here = HERE.load(Relaxed);
    if here == UNKNOWN {
        here = u8::from(valgrind::is_here());
        HERE.store(here, Relaxed);
    }
    // A panic of another thread here would leave the table as it was, or with one block more.
    (here == 1).then(|| BLOCKS.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Blocks {
    /// The innermost block that has this address in it.
    fn around(&self, address: usize) -> Option<(Key, &Block)> {
        let (mut key, mut block) = self.0.range((!address, 0)..).next()?;
        // That begins nearest; what ends before the address may lie in one that does not.
        while address - !key.0 >= block.size {
            let outer = block.outer?;
            key = self.0.get_key_value(&outer)?.0;
            block = &self.0[&outer];
        }
        Some((*key, block))
    }

    /// The block that an object at this address is in.
    fn of(&self, start: NonNull<u8>) -> Option<&Block> {
        self.around(start.addr().get()).map(|(_, block)| block)
    }

    /// Forgets the block that begins there, if there is one in these bytes. (What begins there may
    /// also be an object in a larger block.)
    fn remove(&mut self, start: usize, most: usize) {
        let Some((key, block)) = self.around(start) else { return };
        if !key.0 != start || block.size > most {
            return;
        }
        let (size, outer) = (block.size, block.outer);
        block.objects.destroy();
        block.rest.destroy();
        self.0.remove(&key);
        if let Some(outer) = outer.and_then(|key| self.0.get(&key)) {
            outer.alloc(start, size);
        }
    }

    /// Writes down a block; see [`made`].
    fn add(&mut self, start: NonNull<u8>, size: usize, from: usize, to: usize, gap: usize) {
        static NUMBERS: AtomicUsize = AtomicUsize::new(1);
        let address = start.addr().get();
        let around = self.around(address).map(|(key, block)| (key, block.size, block.outer));
        let outer = match around {
            // The same block again.
            Some((key, old, outer)) if !key.0 == address && old == size => {
                self.0[&key].objects.destroy();
                self.0[&key].rest.destroy();
                self.0.remove(&key);
                outer
            }
            Some((key, ..)) => {
                self.0[&key].free(address);
                Some(key)
            }
            None => None,
        };
        let depth = outer.map_or(0, |(_, depth)| !depth + 1);
        let number = NUMBERS.fetch_add(2, Relaxed);
        let (objects, rest) = (Mempool(number), Mempool(number + 1));
        objects.create(gap);
        rest.create(0);
        for (begin, end) in [(0, from), (to, size)] {
            if begin != end {
                rest.alloc(address + begin, end - begin);
            }
        }
        let block = Block { start, size, from, to, gap, objects, rest, outer };
        block.allow_rest();
        valgrind::forbid(at(start, from), to - from);
        self.0.insert((!address, !depth), block);
    }
}

/// Tells of a block, of which the bytes `from..to` are for objects, each with `gap` bytes before and
/// behind it that are nobody's. One may be made anew.
pub(super) fn made(start: NonNull<u8>, size: usize, from: usize, to: usize, gap: usize) {
    if let Some(mut blocks) = blocks() {
        blocks.add(start, size, from, to, gap);
    }
}

/// Tells that no object is in a block any more, whose `size` bytes for objects are at `start`.
pub(super) fn emptied(start: NonNull<u8>, size: usize) {
    let Some(blocks) = blocks() else { return };
    if let Some(block) = blocks.of(start) {
        // All but what is in no bytes.
        block.objects.trim(start.addr().get(), 0);
        block.allow_rest();
    }
    valgrind::forbid(start, size);
}

/// Tells that these bytes are no block any more, if they were one.
pub(super) fn gone(start: NonNull<u8>, size: usize) {
    if let Some(mut blocks) = blocks() {
        blocks.remove(start.addr().get(), size);
    }
}

pub(super) fn placed(start: NonNull<u8>, size: usize) {
    let Some(blocks) = blocks() else { return };
    match blocks.of(start) {
        Some(block) if size != 0 => block.alloc(start.addr().get(), size),
        _ => valgrind::allow(start, size),
    }
}

pub(super) fn freed(start: NonNull<u8>, size: usize) {
    let Some(blocks) = blocks() else { return };
    match blocks.of(start) {
        Some(block) => block.free(start.addr().get()),
        None => valgrind::forbid(start, size),
    }
}

pub(super) fn grown(start: NonNull<u8>, old: usize, new: usize) {
    let Some(blocks) = blocks() else { return };
    if let Some(block) = blocks.of(start) {
        block.objects.resize(start.addr().get(), new);
    }
    valgrind::allow(at(start, old), new - old);
}

pub(super) fn shrunk(start: NonNull<u8>, old: usize, new: usize) {
    let Some(blocks) = blocks() else { return };
    match blocks.of(start) {
        Some(block) if new == 0 => return block.free(start.addr().get()),
        Some(block) => block.objects.resize(start.addr().get(), new),
        None => {}
    }
    valgrind::forbid(at(start, new), old - new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::alloc::Layout;

    #[test]
    fn a_block_is_known_from_when_it_is_made_to_when_it_is_gone_by_start_and_size() {
        let layout = Layout::from_size_align(1 << 16, 4096).unwrap();
        // SAFETY: the layout has bytes.
        let memory = NonNull::new(unsafe { alloc::alloc::alloc(layout) }).expect("memory");
        let mut blocks = Blocks(BTreeMap::new());
        let known = |blocks: &Blocks, offset| {
            let block = blocks.of(at(memory, offset))?;
            Some((block.start.addr().get() - memory.addr().get(), block.size))
        };
        let add = |blocks: &mut Blocks, offset, size| {
            blocks.add(at(memory, offset), size, 32, size, 16);
        };
        let start = memory.addr().get();
        add(&mut blocks, 0, 1 << 16);
        // Two that lie in it, one of which has another where it begins.
        add(&mut blocks, 4096, 8192);
        add(&mut blocks, 4096, 1024);
        add(&mut blocks, 32768, 4096);
        assert_eq!(known(&blocks, 4096 + 100), Some((4096, 1024)));
        assert_eq!(known(&blocks, 4096 + 1024), Some((4096, 8192)));
        assert_eq!(known(&blocks, 32768 + 4095), Some((32768, 4096)));
        assert_eq!(known(&blocks, 32768 + 4096), Some((0, 1 << 16)));
        // One that is made anew is one still.
        add(&mut blocks, 4096, 1024);
        assert_eq!(blocks.0.len(), 4);
        // What is freed where a block begins, and is smaller, is an object in a larger one.
        blocks.remove(start + 4096, 512);
        assert_eq!(known(&blocks, 4096), Some((4096, 1024)));
        blocks.remove(start + 4096, 1024);
        assert_eq!(known(&blocks, 4096), Some((4096, 8192)));
        blocks.remove(start + 4096 + 32, 8192);
        assert_eq!(known(&blocks, 4096), Some((4096, 8192)), "nothing begins there");
        blocks.remove(start + 4096, 8192);
        assert_eq!(known(&blocks, 4096), Some((0, 1 << 16)));
        blocks.remove(start + 32768, 4096);
        blocks.remove(start, 1 << 16);
        assert!(blocks.0.is_empty());
        // SAFETY: allocated above with this layout; no pool knows of it.
        unsafe { alloc::alloc::dealloc(memory.as_ptr(), layout) };
    }
}
