//! The sizes of a chunk pool: its classes of chunks, and where pages and their descriptors lie
//! in a cluster. Integers only; nothing here touches memory.
//!
//! A cluster is a block, aligned to a power of two, so that the address of an object leads to
//! its cluster by masking, and its offset to its page by shifting:
//!
//! ```text
//!   cluster  | page 0 | page 1 | ... | page n-1 | descriptor n-1 | ... | 0 | header | words |
//!              ^ chunks of one size each          ^ header_at
//! ```
//!
//! What is at the beginning of a block has the best alignment, so pages come first. Where pages are to
//! fill their block, header and descriptors are in a block of their own: behind the pages they would
//! make the block larger than the power of two that it is aligned to, and cost as much again.
//!
//! Sizes are told apart in *units* of a quarter of the smallest chunk. A page has at most 32
//! of those chunks, so at most 128 units: a table of as many entries leads from a size to its
//! class, and divisions by a chunk's size are a multiplication by a 16-bit reciprocal.

#![forbid(unsafe_code)]

use crate::size;

/// The most classes that a configuration can have: with three between each power of two and
/// the next, fourteen for chunks (those that would not make a page hold one chunk more are
/// left out), and the whole page.
pub(crate) const MAX_CLASSES: usize = 16;

/// A page has at most so many chunks: one bit of a word for each.
pub(crate) const MAX_CHUNKS: usize = 32;

/// A cluster has at most so many pages.
pub(crate) const MAX_PAGES: usize = 256;

/// An object of so many bytes or more is refused, as in njs, which keeps sizes in 32 bits.
pub(crate) const TOO_LARGE: usize = u32::MAX as usize;

/// Large objects, and chunks between powers of two, have this alignment at least.
pub(crate) const ALIGN: usize = 16;

/// What the configuration says, before it is checked against the rules of `config`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) cluster: usize,
    pub(crate) alignment: usize,
    pub(crate) page: usize,
    pub(crate) min_chunk: usize,
    /// Classes between each power of two and the next: 0, 1 or 3.
    pub(crate) between: usize,
    /// Whether a cluster has room for `cluster / page` pages, and descriptors are apart.
    pub(crate) on_top: bool,
}

/// Chunks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// Bytes of a chunk.
    pub(crate) size: u32,
    /// Chunks in a page.
    pub(crate) chunks: u32,
    /// 65536 divided by the units of a chunk, rounded up.
    pub(crate) reciprocal: u32,
}

impl Class {
    pub(crate) const NONE: Self = Self { size: 0, chunks: 0, reciprocal: 0 };

    /// The word of a page whose chunks are all free.
    #[inline(always)]
    pub(crate) fn all(&self) -> u32 {
        u32::MAX >> (MAX_CHUNKS as u32 - self.chunks)
    }
}

/// Where everything is; made once for a pool. What each allocation and free reads is not at a
/// multiple of 16 bytes, as far as that can be: see the order of the pool's fields.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Geometry {
    pub(crate) cluster_size: usize,
    /// The class of so many units and one. As long as a byte can index, so that no index is
    /// checked.
    table: [u8; 256],
    /// Objects of more bytes than this, rounded up to their alignment, are large.
    pub(crate) page_size: usize,
    /// Bytes of a cluster's block, and its alignment.
    pub(crate) block: usize,
    unit_shift: u8,
    page_shift: u8,
    class_count: u8,
    /// Pages in a cluster.
    pub(crate) pages: u32,
    pub(crate) block_align: usize,
    /// Leads from an address to its cluster's.
    pub(crate) mask: usize,
    /// Where the pages end.
    pub(crate) header_at: usize,
    /// Bytes of the header and the descriptors where they are apart; 0: they are behind the pages.
    pub(crate) beside: usize,
    /// Objects of a larger alignment than this are large.
    pub(crate) alignment: usize,
    classes: [Class; MAX_CLASSES],
}

impl Geometry {
    /// The geometry of sizes that keep the rules; `header` and `descriptor` are the bytes of a
    /// cluster's header, without its words, and of a page's descriptor. `None` where no block can be
    /// so large.
    pub(crate) fn new(sizes: Sizes, header: usize, descriptor: usize) -> Option<Self> {
        let described = |pages: usize| {
            let header = size::total(header, pages.div_ceil(64), size_of::<u64>(), 1)?;
            size::total(header, pages, descriptor, 1)
        };
        let room = sizes.cluster.checked_sub(header);
        let mut fit = room.map_or(0, |room| room / (sizes.page + descriptor)).min(MAX_PAGES);
        // The words may take a page's place.
        if described(fit)? > sizes.cluster - fit * sizes.page {
            fit = fit.saturating_sub(1);
        }
        // A cluster too small for a page beside its descriptors has them apart as well.
        let on_top = sizes.on_top || fit == 0;
        let pages = if on_top { sizes.cluster / sizes.page } else { fit };
        let header_at = pages * sizes.page;
        let described = described(pages)?;
        let block = sizes.cluster;
        let block_align = sizes.cluster.checked_next_power_of_two()?;
        size::total(block, 0, 0, block_align)?;

        let unit_shift = sizes.min_chunk.trailing_zeros().saturating_sub(2);
        let mut geometry = Self {
            page_size: sizes.page,
            alignment: sizes.alignment,
            mask: !(block_align - 1),
            unit_shift: unit_shift as u8,
            page_shift: sizes.page.trailing_zeros() as u8,
            class_count: 0,
            pages: pages as u32,
            header_at,
            beside: if on_top { described } else { 0 },
            block,
            block_align,
            cluster_size: sizes.cluster,
            table: [0; 256],
            classes: [Class::NONE; MAX_CLASSES],
        };
        geometry.make_classes(sizes);
        Some(geometry)
    }

    fn make_classes(&mut self, sizes: Sizes) {
        let mut power = sizes.min_chunk.min(sizes.page);
        while power < sizes.page {
            self.add_class(power);
            let step = power / (sizes.between + 1);
            for extra in 1..=sizes.between {
                let size = power + extra * step;
                let gains = sizes.page / size > sizes.page / (2 * power);
                if size.is_multiple_of(ALIGN) && gains {
                    self.add_class(size);
                }
            }
            power *= 2;
        }
        self.add_class(sizes.page);

        let mut smaller = 0;
        for class in 0..self.class_count {
            let units = self.classes[usize::from(class)].size as usize >> self.unit_shift;
            self.table[smaller..units].fill(class);
            smaller = units;
        }
    }

    fn add_class(&mut self, size: usize) {
        let units = (size >> self.unit_shift) as u32;
        self.classes[usize::from(self.class_count)] = Class {
            size: size as u32,
            chunks: (self.page_size / size) as u32,
            reciprocal: 65536_u32.div_ceil(units),
        };
        self.class_count += 1;
    }

    /// Makes it that of a pool that is watched: every object is large.
    #[cold]
    pub(crate) fn watch(&mut self) {
        self.page_size = 0;
        self.alignment = 0;
    }

    /// Bytes of a page.
    pub(crate) fn page_bytes(&self) -> usize {
        1 << self.page_shift
    }

    /// The classes, from the smallest; the last one's chunks are whole pages.
    pub(crate) fn classes(&self) -> &[Class] {
        &self.classes[..usize::from(self.class_count)]
    }

    /// The class for objects of this size and alignment (a power of two), if they are of the
    /// usual kind; others are for [`Geometry::class_of`]. Below [`MAX_CLASSES`].
    #[inline(always)]
    pub(crate) fn usual_class_of(&self, size: usize, align: usize) -> Option<usize> {
        // One less than the bytes needed, or at a small alignment a little more, which is in
        // the same class: chunks are aligned to 16, or powers of two. The units of so many
        // bytes are one more than that shifted, and the table is made for it.
        let less_one = size.wrapping_sub(1) | (align - 1);
        if less_one < self.page_size && align <= ALIGN {
            Some(usize::from(self.table[usize::from((less_one >> self.unit_shift) as u8)]))
        } else {
            None
        }
    }

    /// The class for objects of this size and alignment, those without bytes, and those of an
    /// alignment that chunks between powers of two do not have included; `None`: large.
    #[inline]
    pub(crate) fn class_of(&self, size: usize, align: usize) -> Option<usize> {
        let bytes = size.max(align);
        if align > self.alignment || bytes > self.page_size {
            return None;
        }
        let whole = if align > ALIGN { bytes.next_power_of_two() } else { bytes };
        Some(usize::from(self.table[((whole - 1) >> self.unit_shift) % self.table.len()]))
    }

    /// The page at this offset in a cluster, and the offset in the page; a page number beyond
    /// the last where the offset is behind the pages.
    #[inline(always)]
    pub(crate) fn page_at(&self, offset: usize) -> (usize, usize) {
        (offset >> self.page_shift, offset & (self.page_size - 1))
    }

    /// Where a page begins in its cluster.
    #[inline(always)]
    pub(crate) fn offset_of(&self, page: usize) -> usize {
        page << self.page_shift
    }

    /// The chunk that begins at this offset in a page of that class, if one does.
    #[inline(always)]
    pub(crate) fn chunk_at(&self, class: &Class, offset: usize) -> Option<u32> {
        let units = (offset >> self.unit_shift) as u32;
        let index = (units * class.reciprocal) >> 16;
        let exact = index as usize * class.size as usize == offset;
        (exact && index < class.chunks).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const HEADER: usize = 64;
    const DESCRIPTOR: usize = 24;

    fn geometry(sizes: Sizes) -> Geometry {
        Geometry::new(sizes, HEADER, DESCRIPTOR).unwrap()
    }

    fn sizes(cluster: usize, alignment: usize, page: usize, min_chunk: usize) -> Sizes {
        Sizes { cluster, alignment, page, min_chunk, between: 0, on_top: false }
    }

    /// Sizes that keep the rules.
    fn any_sizes() -> impl Strategy<Value = Sizes> {
        (
            6_u32..16,
            1_u32..=5,
            1_usize..=256,
            0_u32..12,
            prop::sample::select(vec![0, 1, 3]),
            any::<bool>(),
        )
            .prop_map(|(page, chunks, pages, alignment, between, on_top)| Sizes {
                cluster: pages << page,
                alignment: 16 << alignment.min(page.saturating_sub(4)),
                page: 1 << page,
                min_chunk: 1 << (page - chunks),
                between,
                on_top,
            })
    }

    /// Compares the class that is found with one that is looked for in all.
    fn smallest_that_fits(sizes: Sizes, geometry: &Geometry, size: usize, align: usize) {
        let need = size.max(align);
        let class = geometry.class_of(size, align);
        let usual = geometry.usual_class_of(size, align);
        assert!(usual.is_none() || usual == class);
        assert!(usual.is_some() || class.is_none() || size == 0 || align > ALIGN);
        let found = class.map(|class| geometry.classes()[class]);
        if align > sizes.alignment.max(ALIGN) || need > sizes.page {
            assert_eq!(found, None);
            return;
        }
        let aligned = |class: &&Class| {
            let size = class.size as usize;
            size >= need && size.is_multiple_of(align)
        };
        let best = geometry.classes().iter().find(aligned).copied();
        let class = found.unwrap();
        assert!(class.size as usize >= need);
        assert_eq!(class.size as usize % align, 0);
        // Above the guaranteed alignment only powers of two are used.
        if align <= ALIGN || sizes.between == 0 {
            assert_eq!(Some(class), best);
        }
    }

    #[test]
    fn four_kilobyte_pages_of_512_byte_chunks_have_three_slots() {
        let geometry = geometry(sizes(65536, 128, 4096, 512));
        let chunks: Vec<_> = geometry.classes().iter().map(|c| (c.size, c.chunks)).collect();
        assert_eq!(chunks, [(512, 8), (1024, 4), (2048, 2), (4096, 1)]);
    }

    #[test]
    fn classes_between_are_there_where_they_make_a_page_hold_more() {
        let between = |between| {
            let sizes = Sizes { between, ..sizes(65536, 128, 1024, 32) };
            geometry(sizes).classes().iter().map(|c| c.size).collect::<Vec<_>>()
        };
        assert_eq!(between(0), [32, 64, 128, 256, 512, 1024]);
        assert_eq!(between(1), [32, 48, 64, 96, 128, 192, 256, 512, 1024]);
        assert_eq!(between(3), [32, 48, 64, 80, 96, 112, 128, 160, 192, 256, 320, 512, 1024]);
        let most = Sizes { between: 3, ..sizes(65536, 128, 4096, 128) };
        assert!(geometry(most).classes().len() < MAX_CLASSES);
    }

    #[test]
    fn descriptors_are_inside_unless_no_page_would_be_left_or_they_are_to_be_apart() {
        let inside = geometry(sizes(8192, 128, 512, 16));
        assert_eq!((inside.pages, inside.block, inside.block_align), (15, 8192, 8192));
        let on_top = geometry(Sizes { on_top: true, ..sizes(8192, 128, 512, 16) });
        assert_eq!((on_top.pages, on_top.block_align), (16, 8192));
        assert_eq!((inside.beside, on_top.block), (0, 8192));
        assert_eq!(on_top.beside, HEADER + 8 + 16 * DESCRIPTOR);
        let single = geometry(sizes(512, 128, 512, 16));
        assert_eq!((single.pages, single.block), (1, 512));
        assert_eq!(single.beside, HEADER + 8 + DESCRIPTOR);
        let odd = geometry(sizes(3 * 4096, 128, 4096, 128));
        assert_eq!((odd.pages, odd.block, odd.block_align), (2, 12288, 16384));
    }

    #[test]
    fn in_a_watched_pool_every_object_is_large() {
        let mut geometry = geometry(sizes(65536, 128, 4096, 128));
        assert_eq!((geometry.class_of(1, 1), geometry.usual_class_of(1, 1)), (Some(0), Some(0)));
        geometry.watch();
        for (size, align) in [(0, 1), (1, 1), (16, 16), (4096, 8), (100, 128)] {
            assert_eq!(geometry.class_of(size, align), None);
            assert_eq!(geometry.usual_class_of(size, align), None);
        }
    }

    #[test]
    fn a_cluster_that_no_block_can_be_is_refused() {
        let page = 1 << (usize::BITS - 9);
        let huge = sizes(192 * page, 128, page, page / 32);
        assert!(Geometry::new(huge, HEADER, DESCRIPTOR).is_none());
    }

    proptest! {
        #[test]
        fn everything_in_a_cluster_has_its_place(sizes in any_sizes()) {
            let geometry = geometry(sizes);
            let pages = geometry.pages as usize;
            prop_assert!((1..=MAX_PAGES).contains(&pages));
            prop_assert_eq!(geometry.header_at, pages * sizes.page);
            let described = HEADER + pages.div_ceil(64) * 8 + pages * DESCRIPTOR;
            prop_assert!(geometry.beside == 0 || geometry.beside == described);
            let inside = if geometry.beside == 0 { described } else { 0 };
            prop_assert!(geometry.header_at + inside <= geometry.block);
            prop_assert!(geometry.block_align.is_power_of_two());
            // Masking an address in a page leads to the cluster.
            prop_assert!(geometry.header_at <= geometry.block_align);
            prop_assert!(geometry.block_align >= sizes.page);
            prop_assert_eq!(geometry.page_bytes(), sizes.page);
            for page in [0, 1, pages - 1] {
                prop_assert_eq!(geometry.offset_of(page), page * sizes.page);
                for offset in [0, 1, 32, sizes.page - 1] {
                    let at = geometry.offset_of(page) + offset;
                    prop_assert_eq!(geometry.page_at(at), (page, offset));
                }
            }
            if sizes.on_top {
                prop_assert_eq!(pages, sizes.cluster / sizes.page);
            } else if pages != sizes.cluster / sizes.page {
                prop_assert_eq!(geometry.block, sizes.cluster);
            }
        }

        #[test]
        fn a_class_is_the_smallest_that_fits(sizes in any_sizes(), size in 0_usize..70_000, shift in 0_u32..22) {
            smallest_that_fits(sizes, &geometry(sizes), size, 1 << shift);
        }

        #[test]
        fn a_class_is_the_smallest_that_fits_at_the_edges_of_all_classes(sizes in any_sizes()) {
            let geometry = geometry(sizes);
            for class in geometry.classes() {
                for size in class.size as usize - 1..=class.size as usize + 1 {
                    for shift in 0..=16 {
                        smallest_that_fits(sizes, &geometry, size, 1 << shift);
                    }
                }
            }
        }

        #[test]
        fn a_chunk_is_found_at_its_start_and_nowhere_else(sizes in any_sizes()) {
            let geometry = geometry(sizes);
            for class in geometry.classes() {
                prop_assert!((1..=32).contains(&class.chunks));
                prop_assert!(class.chunks * class.size <= sizes.page as u32);
                // The lowest bits, one for each chunk.
                prop_assert_eq!(u64::from(class.all()), (1_u64 << class.chunks) - 1);
                for offset in 0..sizes.page {
                    let (size, chunks) = (class.size as usize, class.chunks as usize);
                    let starts = offset % size == 0 && offset / size < chunks;
                    let expected = starts.then_some((offset / size) as u32);
                    prop_assert_eq!(geometry.chunk_at(class, offset), expected);
                }
            }
        }

        #[test]
        fn sizes_near_the_largest_are_large(sizes in any_sizes(), less in 0_usize..100, shift in 0_u32..22) {
            let geometry = geometry(sizes);
            prop_assert_eq!(geometry.class_of(isize::MAX as usize - less, 1 << shift), None);
            prop_assert_eq!(geometry.usual_class_of(isize::MAX as usize - less, 1 << shift), None);
        }
    }
}
