//! Runs over a source that counts, on one thread and on several.

use super::*;
use crate::{AllocError, Faulty, System};
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use proptest::prelude::*;
use std::sync::mpsc::channel;
use std::thread;
use std::vec::Vec;

/// The system, and how much of it is out.
#[derive(Default)]
struct Counting {
    runs: AtomicUsize,
    bytes: AtomicUsize,
    /// How many were ever asked for.
    taken: AtomicUsize,
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl BlockSource for Counting {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.runs.fetch_add(1, Relaxed);
        self.taken.fetch_add(1, Relaxed);
        self.bytes.fetch_add(layout.size(), Relaxed);
        System.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        self.runs.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

fn size_of_shelf(shelf: usize) -> usize {
    Sizes::of(shelf).block()
}

type Tested<'a> = Runs<&'a Counting>;

/// A block with a mark of its own in its first and last bytes.
struct Block {
    shelf: usize,
    start: NonNull<u8>,
    mark: u64,
}

// SAFETY: a block is who has it's, on whatever thread.
unsafe impl Send for Block {}

impl Block {
    fn take(runs: &Tested<'_>, shelf: usize, mark: u64) -> Self {
        let start = runs.take(shelf).unwrap();
        assert!(start.addr().get().is_multiple_of(Sizes::of(shelf).align));
        let block = Self { shelf, start, mark };
        for end in block.ends() {
            // SAFETY: the block is larger than twice that, and this test's.
            unsafe { end.write_unaligned(mark) };
        }
        block
    }

    fn ends(&self) -> [*mut u64; 2] {
        let first = self.start.as_ptr().cast::<u64>();
        [first, first.wrapping_byte_add(size_of_shelf(self.shelf) - 8)]
    }

    fn give(self, runs: &Tested<'_>) {
        for end in self.ends() {
            // SAFETY: written when it was taken.
            assert_eq!(unsafe { end.read_unaligned() }, self.mark);
        }
        // SAFETY: taken from there, and not used any more.
        assert!(unsafe { runs.give(self.shelf, self.start) });
    }
}

#[test]
fn a_shelf_is_for_the_sizes_of_classes_up_to_64_kib() {
    let shelf = |size, align| shelf_of(Layout::from_size_align(size, align).unwrap());
    assert_eq!(shelf(256, 256), Some(0));
    assert_eq!(shelf(4096, 4096), Some(4));
    assert_eq!(shelf(65536, 65536), Some(8));
    assert_eq!((shelf(256, 16), shelf(4096, 16)), (Some(0), Some(4)));
    // Those in between: quarters of the power of two below.
    let between = [20, 24, 28, 40, 48, 56].map(|kib| shelf(kib << 10, 16));
    assert_eq!(between, [9, 10, 11, 12, 13, 14].map(Some));
    for shelf in 0..SHELVES {
        let sizes = Sizes::of(shelf);
        let layout = Layout::from_size_align(sizes.block(), sizes.align).unwrap();
        assert_eq!(shelf_of(layout), Some(shelf), "{layout:?}");
    }
    let others = [(0, 1), (128, 128), (4096, 8192), (12288, 4096), (21 << 10, 16), (80 << 10, 16)];
    for (size, align) in others {
        assert_eq!(shelf(size, align), None, "{size} {align}");
    }
    assert_eq!((shelf(1 << 17, 1 << 17), shelf(20 << 10, 8192)), (None, None));
}

#[test]
fn a_run_has_room_for_all_its_blocks_wherever_it_lies() {
    for shelf in 0..SHELVES {
        let sizes = Sizes::of(shelf);
        let room = sizes.layout().size() - size_of::<Run>();
        for from in (0..2 * sizes.block()).step_by(16) {
            let first = (from + size_of::<Run>()).next_multiple_of(sizes.align);
            assert!(first + sizes.span() <= from + size_of::<Run>() + room);
        }
        assert_eq!(sizes.all().count_ones() as usize, sizes.blocks);
        // All blocks are as aligned as the first.
        assert_eq!(sizes.block() % sizes.align, 0);
    }
}

#[test]
fn blocks_share_runs_and_a_run_goes_back_with_its_last_block_unless_no_other_has_a_free_one() {
    let source = Counting::default();
    let runs = Runs::new(&source);
    for shelf in 0..SHELVES {
        let in_run = Sizes::of(shelf).blocks;
        let mut blocks: Vec<_> =
            (0..2 * in_run).map(|n| Block::take(&runs, shelf, n as u64)).collect();
        assert_eq!(source.runs.load(Relaxed), 2);
        let last = blocks.pop().unwrap();
        // The first run is empty when the second one still has no free block.
        blocks.drain(..in_run).for_each(|block| block.give(&runs));
        assert_eq!(source.runs.load(Relaxed), 2);
        blocks.drain(..).for_each(|block| block.give(&runs));
        last.give(&runs);
        assert_eq!(source.runs.load(Relaxed), 1);
        // Again and again, and no run is asked for.
        for _ in 0..3 {
            let all: Vec<_> = (0..in_run).map(|n| Block::take(&runs, shelf, n as u64)).collect();
            all.into_iter().for_each(|block| block.give(&runs));
            assert_eq!((source.runs.load(Relaxed), source.taken.load(Relaxed)), (1, 2));
        }
        runs.trim();
        assert_eq!((source.runs.load(Relaxed), runs.dirty()), (0, 0));
        source.taken.store(0, Relaxed);
    }
    assert_eq!(source.bytes.load(Relaxed), 0);
}

#[test]
fn what_waits_is_bounded_and_trim_leaves_nothing() {
    let source = Counting::default();
    let runs = Runs::new(&source);
    for shelf in 0..SHELVES {
        let size = size_of_shelf(shelf);
        // Every second one stays, so that no run goes back.
        let count = 6 * DIRTY / size;
        let blocks: Vec<_> = (0..count).map(|n| Block::take(&runs, shelf, n as u64)).collect();
        let (mut stay, mut go) = (Vec::new(), Vec::new());
        for (number, block) in blocks.into_iter().enumerate() {
            if number % 2 == 0 { stay.push(block) } else { go.push(block) }
        }
        let before = source.runs.load(Relaxed);
        for block in go {
            block.give(&runs);
            assert!(runs.dirty() <= DIRTY);
        }
        let waits = runs.dirty();
        assert!(waits > 0);
        assert_eq!(runs.trim(), waits);
        assert_eq!(runs.dirty(), 0);
        // They are as good as new.
        go = (0..count / 2).map(|n| Block::take(&runs, shelf, n as u64)).collect();
        assert_eq!(source.runs.load(Relaxed), before);
        go.into_iter().chain(stay).for_each(|block| block.give(&runs));
        // For whoever wants one next.
        assert_eq!(source.runs.load(Relaxed), 1);
        runs.trim();
        assert_eq!(source.runs.load(Relaxed), 0);
    }
}

#[test]
fn where_no_run_is_to_be_had_nothing_is_and_a_foreign_block_is_in_none() {
    let source = Faulty::new(System);
    source.fail_after(0, true);
    assert!(Runs::new(&source).take(4).is_none());
    let layout = Layout::from_size_align(4096, 4096).unwrap();
    let foreign = System.acquire(layout).unwrap();
    let counting = Counting::default();
    let runs = Runs::new(&counting);
    let block = Block::take(&runs, 4, 1);
    // SAFETY: it is nobody's, and in no run.
    assert!(!unsafe { runs.give(4, foreign) });
    block.give(&runs);
    // The empty run has stayed until now.
    runs.trim();
    assert_eq!(counting.runs.load(Relaxed), 0);
    // SAFETY: taken so above.
    unsafe { System.release(foreign, layout) };
}

/// A source that looks whether a lock is held when it is used.
struct Looking;

static LOOKED_AT: Runs<Looking> = Runs::new(Looking);

impl Looking {
    fn look(&self) {
        let held = LOOKED_AT.shelves.iter().filter(|guarded| guarded.held.0.load(Relaxed)).count();
        assert_eq!(held, 0, "locks are held where the allocator is asked");
    }
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl BlockSource for Looking {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.look();
        System.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        self.look();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

#[test]
fn nothing_is_asked_of_the_allocator_with_a_lock_held() {
    let runs = &LOOKED_AT;
    for shelf in 0..SHELVES {
        // Some runs, which go back one after the other.
        let count = 3 * Sizes::of(shelf).blocks;
        let blocks: Vec<_> = (0..count).map(|_| runs.take(shelf).unwrap()).collect();
        runs.trim();
        for block in blocks {
            // SAFETY: taken from there, and not used any more.
            assert!(unsafe { runs.give(shelf, block) });
        }
    }
    runs.trim();
    assert_eq!(runs.dirty(), 0);
}

#[test]
fn a_fork_holds_all_locks() {
    before_fork();
    let held = RUNS.shelves.iter().filter(|guarded| guarded.held.0.load(Relaxed)).count();
    after_fork();
    assert_eq!(held, SHELVES);
}

proptest! {
    /// Blocks of some sizes taken and given in any order.
    #[test]
    fn no_block_is_anybody_elses_and_nothing_is_left(
        steps in prop::collection::vec((0_usize..4, 0_usize..SHELVES, any::<u16>()), 1..600),
    ) {
        let source = Counting::default();
        let runs = Runs::new(&source);
        let mut blocks: Vec<Block> = Vec::new();
        for (number, (what, shelf, which)) in steps.into_iter().enumerate() {
            match what {
                0 if !blocks.is_empty() => {
                    let which = usize::from(which) % blocks.len();
                    blocks.swap_remove(which).give(&runs);
                }
                1 if which % 32 == 0 => _ = runs.trim(),
                _ => blocks.push(Block::take(&runs, shelf, number as u64)),
            }
        }
        blocks.drain(..).for_each(|block| block.give(&runs));
        runs.trim();
        prop_assert_eq!(source.bytes.load(Relaxed), 0);
        prop_assert_eq!(runs.dirty(), 0);
    }
}

#[test]
fn threads_take_give_each_others_and_trim_at_once() {
    let source = Counting::default();
    let runs = Runs::new(&source);
    let (send, receive) = channel::<Block>();
    let receive = std::sync::Mutex::new(receive);
    thread::scope(|scope| {
        for number in 0..3_u64 {
            let (send, runs) = (send.clone(), &runs);
            scope.spawn(move || {
                for round in 0..3000 {
                    let shelf = [4, 6, 8][(round % 3) as usize];
                    send.send(Block::take(runs, shelf, number << 32 | round)).unwrap();
                }
            });
        }
        drop(send);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut mine = Vec::new();
                loop {
                    let next = receive.lock().unwrap().recv();
                    let Ok(block) = next else { break };
                    mine.push(block);
                    if mine.len() > 40 {
                        mine.swap_remove(mine.len() * 7 % 40).give(&runs);
                    }
                    if mine.len() % 500 == 0 {
                        runs.trim();
                    }
                }
                mine.into_iter().for_each(|block| block.give(&runs));
            });
        }
        scope.spawn(|| (0..200).for_each(|_| _ = runs.trim()));
    });
    runs.trim();
    assert_eq!((source.bytes.load(Relaxed), runs.dirty()), (0, 0));
}
