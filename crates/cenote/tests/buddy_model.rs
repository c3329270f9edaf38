//! `Buddy` against a model that keeps sets of free blocks and knows nothing of links, tags or
//! masks: the same block sizes, the same counts, no byte shared, and whole again at the end.

mod common;

use cenote::{BlockSource, Buddy};
use std::alloc::Layout;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Free blocks by order, as addresses.
#[derive(Clone, PartialEq, Debug)]
struct Model {
    page: usize,
    /// Addresses of the pages.
    start: usize,
    end: usize,
    free: Vec<BTreeSet<usize>>,
}

impl Model {
    fn new(start: usize, end: usize, page: usize, largest: usize) -> Self {
        let mut free = Vec::new();
        let mut at = start;
        while at < end {
            let mut size = page;
            while at.is_multiple_of(2 * size) && at + 2 * size <= end && 2 * size <= largest {
                size *= 2;
            }
            let order = (size / page).ilog2() as usize;
            if free.len() <= order {
                free.resize(order + 1, BTreeSet::new());
            }
            free[order].insert(at);
            at += size;
        }
        Self { page, start, end, free }
    }

    fn order(&self, layout: Layout) -> Option<usize> {
        let mut order = 0;
        while (self.page << order) < layout.size().max(layout.align()) {
            order += 1;
            if order == self.free.len() {
                return None;
            }
        }
        Some(order)
    }

    /// The order of the block that an allocation must be cut from.
    fn smallest(&self, order: usize) -> Option<usize> {
        (order..self.free.len()).find(|&order| !self.free[order].is_empty())
    }

    /// Cuts the block at `at` from the one of order `from`.
    fn take(&mut self, at: usize, order: usize, from: usize) {
        let whole = at & !((self.page << from) - 1);
        assert!(self.free[from].remove(&whole), "not cut from the smallest block");
        for rest in (order..from).rev() {
            let size = self.page << rest;
            let half = at & !(size - 1);
            self.free[rest].insert(half ^ size);
        }
    }

    fn give(&mut self, mut at: usize, mut order: usize) {
        while order + 1 < self.free.len() {
            let size = self.page << order;
            let buddy = at ^ size;
            if buddy < self.start || buddy + size > self.end || !self.free[order].remove(&buddy) {
                break;
            }
            at &= !size;
            order += 1;
        }
        assert!(self.free[order].insert(at), "free twice");
    }

    fn free_bytes(&self) -> usize {
        self.free.iter().enumerate().map(|(order, set)| set.len() * (self.page << order)).sum()
    }
}

/// A block that is out: its layout, its bytes, what is written to it, and how it was had.
struct Out {
    block: NonNull<u8>,
    layout: Layout,
    order: usize,
    stamp: u8,
}

/// Bytes of a block that carry its stamp: some at both ends and around every power of two.
fn stamped(size: usize) -> impl Iterator<Item = usize> {
    let edges = [0, 1, 7, 8, 15, 16, 31, size - 1, size / 2, size / 2 + 1];
    let powers = (5..usize::BITS).map(|k| 1usize << k).take_while(move |&at| at < size);
    edges.into_iter().chain(powers.flat_map(|at| [at - 1, at])).filter(move |&at| at < size)
}

fn stamp(out: &Out, size: usize) {
    for at in stamped(size) {
        // SAFETY: inside the block, which is ours.
        unsafe { out.block.as_ptr().wrapping_add(at).write(out.stamp ^ at as u8) };
    }
}

fn check_stamp(out: &Out, size: usize) {
    for at in stamped(size) {
        // SAFETY: inside the block, which is ours and was stamped.
        let byte = unsafe { out.block.as_ptr().wrapping_add(at).read() };
        assert_eq!(byte, out.stamp ^ at as u8, "byte {at} of {:?} was overwritten", out.block);
    }
}

fn check_counts<S: BlockSource>(buddy: &Buddy<'_, S>, model: &Model) {
    let counts = buddy.orders().map(|(_, free)| free);
    assert!(counts.eq(model.free.iter().map(BTreeSet::len)), "{buddy:?}");
    assert_eq!(buddy.free_bytes(), model.free_bytes());
    assert_eq!(buddy.used_bytes(), buddy.bytes() - model.free_bytes());
    let largest = (0..model.free.len()).rev().find(|&order| !model.free[order].is_empty());
    assert_eq!(buddy.largest_free(), largest.map_or(0, |order| model.page << order));
}

fn check_map<S: BlockSource>(buddy: &Buddy<'_, S>, model: &Model, live: &BTreeMap<usize, usize>) {
    let snapshot = buddy.snapshot();
    let mut next = 0;
    let (mut free, mut used) = (Vec::new(), Vec::new());
    for block in &snapshot.blocks {
        assert_eq!(block.offset, next, "the map has a gap, or blocks overlap");
        next += block.bytes;
        let entry = (model.start + block.offset, block.bytes);
        if block.free { free.push(entry) } else { used.push(entry) }
    }
    assert_eq!(next, buddy.bytes());
    let mut expected: Vec<_> = model
        .free
        .iter()
        .enumerate()
        .flat_map(|(order, set)| set.iter().map(move |&at| (at, model.page << order)))
        .collect();
    expected.sort_unstable();
    assert_eq!(free, expected);
    assert!(used.into_iter().eq(live.iter().map(|(&at, &bytes)| (at, bytes))));
}

/// The address of the first page, had by taking one there is.
fn first_page<S: BlockSource>(buddy: &Buddy<'_, S>) -> usize {
    let page = Layout::from_size_align(buddy.page(), 1).unwrap();
    let block = buddy.acquire(page).unwrap();
    let map = buddy.snapshot().blocks;
    let used = map.iter().find(|block| !block.free).unwrap();
    let start = block.addr().get() - used.offset;
    // SAFETY: just acquired.
    unsafe { buddy.release(block, page) };
    start
}

/// Runs `steps` random operations, and leaves nothing out.
fn run<S: BlockSource>(buddy: &Buddy<'_, S>, seed: u64, steps: usize) {
    let fresh = buddy.snapshot();
    let start = first_page(buddy);
    assert_eq!(buddy.snapshot(), fresh);
    let page = buddy.page();
    let mut model = Model::new(start, start + buddy.bytes(), page, buddy.largest_block());
    let fresh_model = model.clone();
    check_counts(buddy, &model);

    let mut random = Random(seed);
    let mut out: Vec<Out> = Vec::new();
    // By address, to see overlaps: bytes of each.
    let mut live: BTreeMap<usize, usize> = BTreeMap::new();
    // Filled and emptied in turns, so that both ends are met.
    let mut growing = true;
    let (mut refused, mut largest_taken) = (0, 0);
    for step in 0..steps {
        let room = buddy.free_bytes() * 8 / buddy.bytes();
        if random.below(steps / 12) == 0 || (growing && room == 0) || (!growing && room >= 7) {
            growing = !growing;
        }
        let take = out.is_empty() || random.below(10) < if growing { 7 } else { 3 };
        if take {
            // Small orders often, any order at times; sizes beside the powers of two.
            let top = model.free.len();
            let order = random.below(top).min(random.below(top + 2));
            let size = ((page << order) + random.below(3)).saturating_sub(random.below(page + 2));
            let align = match random.below(8) {
                0 => page << random.below(top),
                1 => 1 << random.below(21),
                _ => 1 << random.below(6),
            };
            let layout = Layout::from_size_align(size.max(1), align).unwrap();
            let expected = model.order(layout).and_then(|k| Some((k, model.smallest(k)?)));
            match (buddy.acquire(layout), expected) {
                (Ok(block), Some((order, from))) => {
                    let (at, size) = (block.addr().get(), page << order);
                    assert_eq!(at % size, 0, "aligned to the block's size");
                    assert_eq!(at % align, 0);
                    assert!(at >= start && at + size <= start + buddy.bytes());
                    let before = live.range(..=at).next_back();
                    assert!(before.is_none_or(|(&other, &bytes)| other + bytes <= at));
                    let after = live.range(at..).next();
                    assert!(after.is_none_or(|(&other, _)| at + size <= other));
                    assert_eq!(buddy.fit(layout), size);
                    assert_eq!(buddy.capacity(block), Some(size));
                    model.take(at, order, from);
                    live.insert(at, size);
                    let new = Out { block, layout, order, stamp: random.next() as u8 };
                    stamp(&new, layout.size());
                    out.push(new);
                    largest_taken = largest_taken.max(size);
                }
                (Err(_), None) => refused += 1,
                (got, expected) => panic!("{layout:?}: {got:?} where {expected:?} was expected"),
            }
        } else {
            let gone = out.swap_remove(random.below(out.len()));
            let (at, size) = (gone.block.addr().get(), page << gone.order);
            check_stamp(&gone, gone.layout.size());
            if random.below(2) == 0 {
                // SAFETY: acquired with this layout, and released once.
                unsafe { buddy.release(gone.block, gone.layout) };
            } else {
                // SAFETY: acquired, and freed once.
                assert_eq!(unsafe { buddy.free(gone.block) }, Ok(size));
            }
            live.remove(&at);
            model.give(at, gone.order);
        }
        check_counts(buddy, &model);
        if step % (steps / 40).max(1) == 0 {
            check_map(buddy, &model, &live);
        }
    }
    for left in out {
        check_stamp(&left, left.layout.size());
        // SAFETY: acquired, and freed once.
        unsafe { buddy.free(left.block) }.unwrap();
        model.give(left.block.addr().get(), left.order);
        check_counts(buddy, &model);
    }
    assert_eq!(model, fresh_model);
    assert_eq!(buddy.snapshot(), fresh, "all has merged again");
    assert!(refused > 0 && largest_taken > page, "the run met both ends");
}

/// Sanitizers are slow; what they look for shows early.
const STEPS: usize = if cfg!(cenote_asan) { 20_000 } else { 100_000 };

#[test]
fn a_heap_region_of_a_power_of_two_behaves_as_the_model() {
    common::at_once();
    let buddy = Buddy::heap(4 << 20).unwrap();
    assert_eq!((buddy.bytes(), buddy.largest_free()), (4 << 20, 4 << 20));
    run(&buddy, 1, common::operations(STEPS));
}

#[test]
fn odd_regions_behave_as_the_model_at_every_page_size() {
    common::at_once();
    for (index, shift) in (6..=16).enumerate() {
        let page = 1usize << shift;
        let mut random = Random(100 + index as u64);
        let buddy = Buddy::builder().page(page).heap(page * (700 + random.below(700))).unwrap();
        run(&buddy, index as u64, common::operations(STEPS / 5));
    }
}

#[test]
fn large_regions_behave_as_the_model() {
    common::at_once();
    for (bytes, page) in [
        (16 << 20, 4096),
        (64 << 20, 4096),
        ((64 << 20) + (16 << 20) + 12288, 4096),
        (256 << 20, 64 << 10),
        ((16 << 20) - 64, 64),
    ] {
        let buddy = Buddy::builder().page(page).heap(bytes).unwrap();
        assert_eq!(buddy.bytes(), bytes);
        run(&buddy, bytes as u64, common::operations(STEPS));
    }
}

#[test]
fn a_lent_region_anywhere_behaves_as_the_model() {
    common::at_once();
    let mut memory = vec![MaybeUninit::<u8>::uninit(); 3 << 20];
    let mut random = Random(7);
    for round in 0..24 {
        let page = 64 << random.below(9);
        let skip = random.below(9000);
        let length = 100 * page + random.below(1 << 20);
        let buddy = Buddy::builder().page(page).over(&mut memory[skip..skip + length]).unwrap();
        // No more is lost than a page at each end and the bookkeeping.
        assert!(buddy.bytes() + buddy.bookkeeping_bytes() + 2 * page > length);
        assert!(buddy.bytes() + buddy.bookkeeping_bytes() <= length);
        run(&buddy, round, common::operations(STEPS / 20));
    }
}

#[test]
fn blocks_never_merge_beyond_the_largest() {
    common::at_once();
    for largest in [4096, 8192, 64 << 10] {
        let buddy = Buddy::builder().largest_block(largest).heap(2 << 20).unwrap();
        assert_eq!((buddy.largest_block(), buddy.largest_free()), (largest, largest));
        assert_eq!(buddy.orders().last(), Some((largest, (2 << 20) / largest)));
        let one = Layout::from_size_align(4096, 1).unwrap();
        if largest > 4096 {
            run(&buddy, largest as u64, common::operations(STEPS / 5));
        }
        let all: Vec<_> = std::iter::from_fn(|| buddy.acquire(one).ok()).collect();
        assert_eq!(all.len(), 512);
        for block in all.into_iter().rev() {
            // SAFETY: acquired with this layout, and released once.
            unsafe { buddy.release(block, one) };
            assert!(buddy.largest_free() <= largest);
        }
        assert_eq!(buddy.orders().last(), Some((largest, (2 << 20) / largest)));
        let too_large = Layout::from_size_align(largest + 1, 1).unwrap();
        assert!(buddy.acquire(too_large).is_err());
        assert_eq!(buddy.fit(too_large), largest + 1);
    }
}

#[test]
fn every_page_is_handed_out_exactly_once() {
    common::at_once();
    for bytes in [4096, 8192, 12288, 1 << 20, (1 << 20) + 4096 * 37, 16 << 20] {
        let buddy = Buddy::heap(bytes).unwrap();
        let fresh = buddy.snapshot();
        let one = Layout::from_size_align(1, 1).unwrap();
        let mut seen = BTreeSet::new();
        let mut blocks = Vec::new();
        while let Ok(block) = buddy.acquire(one) {
            assert!(seen.insert(block.addr().get()), "handed out twice");
            blocks.push(block);
        }
        assert_eq!(seen.len() * 4096, bytes);
        assert_eq!(seen.last().unwrap() - seen.first().unwrap() + 4096, bytes);
        assert_eq!((buddy.free_bytes(), buddy.largest_free()), (0, 0));
        // Every second one first: nothing can merge until the others come.
        let (even, odd): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| block.addr().get() / 4096 % 2 == 0);
        for block in even.iter().chain(&odd) {
            // SAFETY: acquired with this layout, and released once.
            unsafe { buddy.release(*block, one) };
        }
        assert_eq!(buddy.snapshot(), fresh);
    }
}

#[test]
fn the_largest_gaps_are_as_good_as_small_ones() {
    common::at_once();
    // Sizes whose bits reach beyond 24: states and sizes must not share any.
    let buddy = Buddy::heap(128 << 20).unwrap();
    let fresh = buddy.snapshot();
    let layout = |size: usize| Layout::from_size_align(size, 4096).unwrap();
    let sizes = [16 << 20, 1, 32 << 20, (16 << 20) + 1, 4096, 8 << 20];
    let blocks: Vec<_> =
        sizes.iter().map(|&size| (buddy.acquire(layout(size)).unwrap(), layout(size))).collect();
    for (index, (block, layout)) in blocks.iter().enumerate() {
        // SAFETY: the block is ours, and so large.
        unsafe { block.write_bytes(index as u8 + 1, layout.size()) };
    }
    for (index, (block, layout)) in blocks.iter().enumerate() {
        for at in [0, layout.size() / 2, layout.size() - 1] {
            // SAFETY: written above.
            assert_eq!(unsafe { block.as_ptr().wrapping_add(at).read() }, index as u8 + 1);
        }
    }
    for (block, layout) in blocks {
        // SAFETY: acquired with this layout, and released once.
        unsafe { buddy.release(block, layout) };
    }
    assert_eq!(buddy.snapshot(), fresh);
}
