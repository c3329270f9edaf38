//! The arithmetic of frames, orders and buddies. Integers only.
//!
//! A frame is a page of the region, and its number is its address divided by the page size. A
//! block of order `k` is `2^k` frames whose first number is a multiple of `2^k`: so it is
//! aligned to its own size in memory, wherever the region begins, and its buddy is the block
//! whose number differs in bit `k` alone. Within the region frames are told by index, which
//! counts from the region's first; an index of a frame outside wraps or is too large, so that
//! one compare with the number of frames decides.

#![forbid(unsafe_code)]

use core::ops::Range;

/// The smallest page, in bytes: a free block must have room for its links.
pub(super) const SMALLEST_PAGE: usize = 64;

/// A region's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orders {
    /// Number of the first frame.
    first: usize,
    frames: usize,
    /// The page size is two to the power of this.
    shift: u32,
    /// The largest order that a block of this region has.
    top: u32,
}

impl Orders {
    /// `frames` frames from number `first` on, in blocks of at most order `largest`; `None`
    /// without frames.
    fn new(first: usize, frames: usize, shift: u32, largest: u32) -> Option<Self> {
        let mut top = frames.checked_ilog2()?.min(largest);
        // An aligned block of half the largest thinkable order nearly always fits; of a
        // quarter always.
        while !Self::has_block(first, frames, top) {
            top -= 1;
        }
        Some(Self { first, frames, shift, top })
    }

    /// Whether there is an aligned block of this order among these frames.
    fn has_block(first: usize, frames: usize, order: u32) -> bool {
        let size = 1usize << order;
        let skipped = first.wrapping_neg() & (size - 1);
        frames >= size && skipped <= frames - size
    }

    /// How many frames there are.
    #[inline(always)]
    pub(super) const fn frames(&self) -> usize {
        self.frames
    }

    /// The largest order.
    #[inline(always)]
    pub(super) const fn top(&self) -> u32 {
        self.top
    }

    /// The page size in bytes.
    #[inline(always)]
    pub(super) const fn page(&self) -> usize {
        1 << self.shift
    }

    /// Bytes of a block of this order.
    #[inline(always)]
    pub(super) const fn bytes(&self, order: u32) -> usize {
        1 << (self.shift + order)
    }

    /// The order of the smallest block for an object of this size and alignment; `None` where
    /// no block of the region is large enough.
    #[inline(always)]
    pub(super) const fn order_of(&self, size: usize, align: usize) -> Option<u32> {
        // One less than the size, and than the alignment, have as many bits as the powers of
        // two at or above them have zeros; of both together the larger has the top bit.
        let bits = size.saturating_sub(1) | (align - 1);
        let order = usize::BITS - (bits >> self.shift).leading_zeros();
        if order <= self.top { Some(order) } else { None }
    }

    /// The index of the frame at an address; not below [`Orders::frames`] for one outside.
    #[inline(always)]
    pub(super) const fn index_of(&self, address: usize) -> usize {
        (address >> self.shift).wrapping_sub(self.first)
    }

    /// Whether a frame begins at this address.
    #[inline(always)]
    pub(super) const fn is_frame_start(&self, address: usize) -> bool {
        address & (self.page() - 1) == 0
    }

    /// How far behind the region's first frame the frame with this index begins, in bytes.
    #[inline(always)]
    pub(super) const fn offset(&self, index: usize) -> usize {
        index << self.shift
    }

    /// The index of the buddy of a block; not below [`Orders::frames`] for one that begins
    /// outside.
    #[inline(always)]
    pub(super) const fn buddy(&self, index: usize, order: u32) -> usize {
        (self.first.wrapping_add(index) ^ (1 << order)).wrapping_sub(self.first)
    }

    /// The index of the block of this order that the frame is in, were there one.
    #[inline(always)]
    pub(super) const fn start_of(&self, index: usize, order: u32) -> usize {
        (self.first.wrapping_add(index) & !((1 << order) - 1)).wrapping_sub(self.first)
    }

    /// The largest aligned blocks that cover all frames, as index and order, from the last to
    /// the first.
    pub(super) fn cover(self) -> impl Iterator<Item = (usize, u32)> {
        let mut left = self.frames;
        core::iter::from_fn(move || {
            let aligned = (self.first + left).trailing_zeros();
            let order = left.checked_ilog2()?.min(aligned).min(self.top);
            left -= 1 << order;
            Some((left, order))
        })
    }
}

/// What a frame's tag says: one byte for each frame.
///
/// A block's first frame has its order and whether it is free; the others have nothing, so
/// that no stale first frame is ever inside another block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Tag(u8);

impl Tag {
    /// Not the first frame of a block.
    pub(super) const INSIDE: Self = Self(0);
    const USED: u8 = 0x40;
    const FREE: u8 = 0x80;
    const ORDER: u8 = 0x3f;

    #[inline(always)]
    pub(super) const fn used(order: u32) -> Self {
        Self(Self::USED | order as u8)
    }

    #[inline(always)]
    pub(super) const fn free(order: u32) -> Self {
        Self(Self::FREE | order as u8)
    }

    /// Of a block of a watched region that is out, or was freed and is kept.
    #[inline(always)]
    pub(super) const fn watched(order: u32) -> Self {
        Self(Self::USED | Self::FREE | order as u8)
    }

    /// The order of a block with such a tag.
    pub(super) const fn watched_block(self) -> Option<u32> {
        if self.0 & !Self::ORDER == Self::USED | Self::FREE {
            Some((self.0 & Self::ORDER) as u32)
        } else {
            None
        }
    }

    /// [`Tag::block`], for which a watched block is none that is in use.
    pub(super) const fn any_block(self) -> Option<(u32, bool)> {
        match self.watched_block() {
            Some(order) => Some((order, false)),
            None => self.block(),
        }
    }

    /// The order, and whether the block is free; `None` inside a block.
    #[inline(always)]
    pub(super) const fn block(self) -> Option<(u32, bool)> {
        if self.0 == 0 {
            None
        } else {
            Some(((self.0 & Self::ORDER) as u32, self.0 & Self::FREE != 0))
        }
    }
}

/// Where a region's frames and its bookkeeping lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) orders: Orders,
    /// Address of the first frame.
    pub(super) frames: usize,
    /// Address of the list heads, one for each order.
    pub(super) lists: usize,
    /// Address of the tags, one for each frame.
    pub(super) tags: usize,
    /// Addresses of lists and tags, which lie side by side.
    pub(super) bookkeeping: Range<usize>,
}

/// Lays out a region of `bytes` bytes at `start`: frames of two to the power of `shift` bytes,
/// and before or behind them, where more frames are left, a list head of `list` bytes for each
/// order and a byte for each frame. `None` where there is no room for a single frame.
///
/// `list` is a multiple of the lists' alignment, which divides the page size.
pub(super) fn plan(
    start: usize,
    bytes: usize,
    shift: u32,
    largest: u32,
    list: usize,
) -> Option<Plan> {
    let page = 1usize << shift;
    let end = start.checked_add(bytes)?;
    let first_page = start.checked_next_multiple_of(page)?;
    let last_page = end & !(page - 1);

    let behind = room(end.saturating_sub(first_page), page, list).and_then(|(frames, lists)| {
        let orders = Orders::new(first_page >> shift, frames, shift, largest)?;
        let lists_at = first_page + frames * page;
        let tags_at = lists_at + lists * list;
        let bookkeeping = lists_at..tags_at + frames;
        Some(Plan { orders, frames: first_page, lists: lists_at, tags: tags_at, bookkeeping })
    });
    let before = room(last_page.saturating_sub(start), page, list).and_then(|(frames, lists)| {
        let frames_at = last_page - frames * page;
        let orders = Orders::new(frames_at >> shift, frames, shift, largest)?;
        let lists_at = frames_at - lists * list;
        let tags_at = lists_at - frames;
        let bookkeeping = tags_at..frames_at;
        Some(Plan { orders, frames: frames_at, lists: lists_at, tags: tags_at, bookkeeping })
    });
    let merit = |plan: &Plan| (plan.orders.frames, plan.orders.top);
    match (behind, before) {
        (Some(behind), Some(before)) if merit(&before) > merit(&behind) => Some(before),
        (Some(behind), _) => Some(behind),
        (None, before) => before,
    }
}

/// How many frames fit into `bytes` bytes that begin or end at one, and how many lists go with
/// them.
fn room(bytes: usize, page: usize, list: usize) -> Option<(usize, usize)> {
    // Every frame takes its page and its tag.
    let most = bytes / (page + 1);
    let lists = most.checked_ilog2()? as usize + 1;
    let frames = bytes.checked_sub(lists * list)? / (page + 1);
    (frames > 0).then_some((frames, lists))
}

/// How many bytes a region needs, beginning at a page, to have so many frames; `None` where
/// no region is as large. There is then room for those frames, and for no further one.
pub(super) fn bytes_for(frames: usize, shift: u32, list: usize) -> Option<usize> {
    let lists = frames.checked_ilog2()? as usize + 1;
    let page = 1usize << shift;
    // `room` counts lists for as many frames as there were without any, which may be one more.
    [lists, lists + 1]
        .into_iter()
        .filter_map(|lists| crate::size::total(lists * list, frames, page + 1, 1))
        .find(|&bytes| room(bytes, page, list).is_some_and(|(room, _)| room == frames))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const LIST: usize = 16;

    /// Regions of up to 2^24 frames at addresses anywhere, at all page sizes that matter.
    fn orders() -> impl Strategy<Value = Orders> {
        let frames = prop_oneof![1usize..70, 1usize..5000, (0u32..24).prop_map(|k| 1 << k)];
        let first = prop_oneof![1usize..200, 1usize..1 << 30, (6u32..40).prop_map(|k| 1 << k)];
        let largest = prop_oneof![Just(u32::MAX), 0u32..12];
        (first, frames, 6u32..=16, largest).prop_map(|(first, frames, shift, largest)| {
            Orders::new(first, frames, shift, largest).unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn the_cover_is_every_frame_once_in_aligned_blocks_that_cannot_merge(o in orders()) {
            let blocks: Vec<_> = o.cover().collect();
            let mut next = 0;
            for &(index, order) in blocks.iter().rev() {
                prop_assert_eq!(index, next);
                prop_assert!(order <= o.top);
                prop_assert!((o.first + index).is_multiple_of(1 << order));
                if order < o.top {
                    prop_assert!(!blocks.contains(&(o.buddy(index, order), order)));
                }
                next = index + (1 << order);
            }
            prop_assert_eq!(next, o.frames);
            prop_assert!(blocks.iter().any(|&(_, order)| order == o.top));
        }

        #[test]
        fn the_top_is_the_largest_aligned_block(o in orders()) {
            let fits = |order: u32| {
                let size = 1usize << order;
                let start = o.first.div_ceil(size) * size;
                start + size <= o.first + o.frames
            };
            prop_assert!(fits(o.top));
            // Nothing larger fits, or the configuration forbids it: `new` with no largest.
            let free = Orders::new(o.first, o.frames, o.shift, u32::MAX).unwrap();
            prop_assert!(!fits(free.top + 1));
            prop_assert!(o.top <= free.top);
        }

        #[test]
        fn buddies_are_each_others_and_make_the_block_above(
            o in orders(), at in any::<usize>(), order in 0u32..24,
        ) {
            let order = order.min(o.top);
            let index = o.start_of(at % o.frames, order);
            let buddy = o.buddy(index, order);
            prop_assert_eq!(o.buddy(buddy, order), index);
            let (frame, other) = (o.first.wrapping_add(index), o.first.wrapping_add(buddy));
            prop_assert_eq!(frame.abs_diff(other), 1 << order);
            prop_assert_eq!(o.start_of(index, order + 1), o.start_of(buddy, order + 1));
            prop_assert_eq!(frame.min(other) % (1 << (order + 1)), 0);
            // In bytes: the buddy's address is the block's with one bit turned.
            let address = frame << o.shift;
            prop_assert_eq!(o.index_of(address ^ o.bytes(order)), buddy);
        }

        #[test]
        fn an_index_is_below_the_count_only_inside(o in orders(), at in any::<usize>()) {
            let (low, high) = (o.first << o.shift, (o.first + o.frames) << o.shift);
            for address in [at, low, low - 1, high, high - 1, low + at % (high - low), 0, usize::MAX] {
                let inside = (low..high).contains(&address);
                let index = o.index_of(address);
                prop_assert_eq!(index < o.frames, inside, "{:#x}", address);
                if inside {
                    prop_assert_eq!(low + o.offset(index), address & !(o.page() - 1));
                }
            }
        }

        #[test]
        fn the_order_is_the_smallest_that_is_large_enough(
            o in orders(), size in prop_oneof![0usize..1 << 20, any::<usize>()], align in 0u32..=40,
        ) {
            let align = 1usize << align;
            let wanted = size.max(align).max(o.page());
            match o.order_of(size, align) {
                Some(order) => {
                    prop_assert!(order <= o.top && o.bytes(order) >= wanted);
                    prop_assert!(order == 0 || o.bytes(order - 1) < wanted);
                    prop_assert_eq!(o.order_of(o.bytes(order), align), Some(order));
                }
                None => prop_assert!(wanted > o.bytes(o.top)),
            }
        }

        #[test]
        fn a_plan_lies_in_its_region_and_nothing_overlaps(
            start in 1usize..1 << 40, shift in 6u32..=16,
            bytes in prop_oneof![0usize..300_000, 0usize..1 << 32, (0u32..34).prop_map(|k| 1 << k)],
            largest in prop_oneof![Just(u32::MAX), 0u32..10],
        ) {
            let page = 1usize << shift;
            let end = start + bytes;
            match plan(start, bytes, shift, largest, LIST) {
                Some(plan) => {
                    let frames = plan.frames..plan.frames + plan.orders.offset(plan.orders.frames);
                    let books = plan.bookkeeping.clone();
                    prop_assert!(frames.start >= start && frames.end <= end);
                    prop_assert!(books.start >= start && books.end <= end);
                    prop_assert!(books.end <= frames.start || frames.end <= books.start);
                    prop_assert!(frames.start.is_multiple_of(page));
                    prop_assert_eq!(plan.orders.index_of(frames.start), 0);
                    prop_assert!(plan.lists.is_multiple_of(8));
                    let lists = plan.lists..plan.lists + LIST * (plan.orders.top as usize + 1);
                    let tags = plan.tags..plan.tags + plan.orders.frames;
                    prop_assert!(books.start <= lists.start && lists.end <= books.end);
                    prop_assert!(books.start <= tags.start && tags.end <= books.end);
                    prop_assert!(lists.end <= tags.start || tags.end <= lists.start);
                    // Two frames more would not have fitted, wherever the bookkeeping lies.
                    let more = plan.orders.frames + 2;
                    let lists = more.ilog2() as usize + 1;
                    prop_assert!(more * (page + 1) + lists * LIST > bytes);
                }
                None => prop_assert!(bytes < 2 * page + 1 + 2 * LIST),
            }
        }

        #[test]
        fn a_region_made_for_so_many_frames_has_so_many(
            frames in prop_oneof![1usize..300, 1usize..1 << 24, (0u32..24).prop_map(|k| 1 << k)],
            shift in 6u32..=16, at in 1usize..1 << 20,
        ) {
            let bytes = bytes_for(frames, shift, LIST).unwrap();
            let plan = plan(at << shift, bytes, shift, u32::MAX, LIST).unwrap();
            prop_assert_eq!(plan.orders.frames, frames);
            prop_assert_eq!(plan.bookkeeping.len(), bytes - plan.orders.offset(frames));
            // At least as good as with the first page at the region's start.
            prop_assert!(plan.orders.top >= Orders::new(at, frames, shift, u32::MAX).unwrap().top);
        }
    }

    #[test]
    fn tags_keep_order_and_state_apart_at_every_order() {
        for order in 0..usize::BITS - 6 {
            assert_eq!(Tag::used(order).block(), Some((order, false)));
            assert_eq!(Tag::free(order).block(), Some((order, true)));
        }
        assert_eq!(Tag::INSIDE.block(), None);
    }

    #[test]
    fn impossible_regions_have_no_plan() {
        for (start, bytes) in [(1, 0), (64, 0), (1, 63), (64, 64), (64, 80), (usize::MAX, 1)] {
            assert_eq!(plan(start, bytes, 6, u32::MAX, LIST), None, "{start:#x}+{bytes}");
        }
        assert_eq!(plan(usize::MAX - 100, 4096, 6, u32::MAX, LIST), None);
        // The least that works: a frame, a list and a tag.
        assert_eq!(plan(64, 64 + LIST + 1, 6, u32::MAX, LIST).unwrap().orders.frames, 1);
        assert_eq!(bytes_for(usize::MAX >> 6, 6, LIST), None);
        assert_eq!(bytes_for(0, 6, LIST), None);
    }

    #[test]
    fn a_region_of_a_power_of_two_is_one_block_and_an_odd_one_is_its_bits() {
        let whole = Orders::new(1 << 12, 1 << 12, 12, u32::MAX).unwrap();
        assert_eq!(whole.cover().collect::<Vec<_>>(), [(0, 12)]);
        let odd = Orders::new(1 << 12, 0b1011, 12, u32::MAX).unwrap();
        assert_eq!(odd.cover().collect::<Vec<_>>(), [(10, 0), (8, 1), (0, 3)]);
        let skewed = Orders::new(5, 11, 12, u32::MAX).unwrap();
        assert_eq!(skewed.cover().collect::<Vec<_>>(), [(3, 3), (1, 1), (0, 0)]);
        let capped = Orders::new(8, 16, 12, 2).unwrap();
        assert_eq!(capped.cover().collect::<Vec<_>>(), [(12, 2), (8, 2), (4, 2), (0, 2)]);
    }
}
