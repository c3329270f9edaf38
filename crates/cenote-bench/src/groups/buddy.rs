//! Pages of one region, split and merged.

use std::alloc::Layout;
use std::ptr::NonNull;

use cenote::{BlockSource, Buddy};

use crate::harness::{Case, Subject, timed};
use crate::work::{Random, touch};

const PAGE: usize = 4096;
const REGION: usize = 64 << 20;
const PLAN: usize = 1 << 16;
/// Orders: blocks of 1, 2, 4 ... 64 pages.
const ORDERS: u64 = 7;

/// The second case's name.
pub(crate) const CASES: [(&str, usize); 2] = [("64 live", 64), ("512 live", 512)];

pub(crate) fn cases() -> Vec<Case> {
    CASES
        .into_iter()
        .map(|(name, live)| {
            Case::new(name, "free and allocate", move || {
                vec![
                    subject(
                        "cenote",
                        Ours(Buddy::heap(REGION).expect("memory for the region")),
                        live,
                    ),
                    subject("buddy_system_allocator", System::new(), live),
                    subject("buddy-alloc", Alloc::new(), live),
                ]
            })
        })
        .collect()
}

/// Whole blocks.
trait Blocks {
    fn get(&mut self, layout: Layout) -> NonNull<u8>;
    /// # Safety
    /// `start` came from `get` with `layout`, and is freed once.
    unsafe fn put(&mut self, start: NonNull<u8>, layout: Layout);
}

struct Ours(Buddy<'static>);
impl Blocks for Ours {
    #[inline(always)]
    fn get(&mut self, layout: Layout) -> NonNull<u8> {
        self.0.acquire(layout).expect("a block").cast()
    }
    #[inline(always)]
    unsafe fn put(&mut self, start: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.release(start, layout) };
    }
}

/// A region of the bench's own, on a page's boundary.
struct Region(NonNull<u8>);
impl Region {
    const LAYOUT: Layout = match Layout::from_size_align(REGION, REGION) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two"),
    };
    fn new() -> Self {
        // SAFETY: not of size zero.
        Self(
            NonNull::new(unsafe { std::alloc::alloc(Self::LAYOUT) })
                .expect("memory for the region"),
        )
    }
}
impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: made with this layout.
        unsafe { std::alloc::dealloc(self.0.as_ptr(), Self::LAYOUT) }
    }
}

/// The heap, and the region under it, which goes after it.
struct System(buddy_system_allocator::Heap<33>, #[expect(dead_code)] Region);
impl System {
    fn new() -> Self {
        let region = Region::new();
        let mut heap = buddy_system_allocator::Heap::empty();
        // SAFETY: the region is this heap's alone, as long as the heap lives.
        unsafe { heap.init(region.0.as_ptr().expose_provenance(), REGION) };
        Self(heap, region)
    }
}
impl Blocks for System {
    #[inline(always)]
    fn get(&mut self, layout: Layout) -> NonNull<u8> {
        self.0.alloc(layout).expect("a block")
    }
    #[inline(always)]
    unsafe fn put(&mut self, start: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(start, layout) };
    }
}

/// The same.
struct Alloc(buddy_alloc::buddy_alloc::BuddyAlloc, #[expect(dead_code)] Region);
impl Alloc {
    fn new() -> Self {
        let region = Region::new();
        let param = buddy_alloc::buddy_alloc::BuddyAllocParam::new(region.0.as_ptr(), REGION, PAGE);
        // SAFETY: the region is this allocator's alone, as long as it lives.
        Self(unsafe { buddy_alloc::buddy_alloc::BuddyAlloc::new(param) }, region)
    }
}
impl Blocks for Alloc {
    #[inline(always)]
    fn get(&mut self, layout: Layout) -> NonNull<u8> {
        NonNull::new(self.0.malloc(layout.size())).expect("a block")
    }
    #[inline(always)]
    unsafe fn put(&mut self, start: NonNull<u8>, _: Layout) {
        self.0.free(start.as_ptr());
    }
}

fn block(pages: u32) -> Layout {
    // SAFETY: a power of two, and small.
    unsafe { Layout::from_size_align_unchecked(pages as usize * PAGE, PAGE) }
}

fn subject<B: Blocks + 'static>(name: &str, mut blocks: B, live: usize) -> Subject {
    let mut random = Random::new();
    let pages = |random: &mut Random| 1_u32 << random.below(ORDERS);
    let mut held: Vec<(NonNull<u8>, u32)> = (0..live)
        .map(|_| {
            let pages = pages(&mut random);
            (blocks.get(block(pages)), pages)
        })
        .collect();
    let plan: Vec<(u32, u32)> =
        (0..PLAN).map(|_| (random.below(live as u64) as u32, pages(&mut random))).collect();
    let mut at = 0;
    Subject::new(name, move |times| {
        timed(|| {
            for turn in 0..times {
                let (which, pages) = plan[at];
                at = (at + 1) & (PLAN - 1);
                let one = &mut held[which as usize];
                // SAFETY: taken with this layout, and replaced below.
                unsafe { blocks.put(one.0, block(one.1)) };
                let start = blocks.get(block(pages));
                touch(start.as_ptr(), turn);
                *one = (start, pages);
            }
        })
    })
}
