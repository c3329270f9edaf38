//! Which list a block is on, how much is kept, and for how long.

use super::*;

/// Runs on a thread of its own: a cache that no other test touches.
fn alone(f: impl FnOnce() + Send + 'static) {
    std::thread::spawn(f).join().unwrap();
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// A block of this thread's cache, nobody else's, which goes back when it is dropped.
struct Taken {
    start: NonNull<u8>,
    asked: Layout,
}

impl Taken {
    fn new(asked: Layout) -> Self {
        Self { start: Blocks.acquire(asked).unwrap(), asked }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: acquired with this layout, and released once.
        unsafe { Blocks.release(self.start, self.asked) };
    }
}

// SAFETY: only bytes, which whoever has it may release.
unsafe impl Send for Taken {}

#[test]
fn classes_cover_what_is_asked_and_are_fixed_points() {
    for size in (1..=Blocks::LARGEST + 100).step_by(7).chain([1, 255, 256, 257, 65535, 65536]) {
        for shift in 0..=17 {
            let asked = layout(size, 1 << shift);
            let fit = Blocks.fit(asked);
            assert!(fit >= size);
            assert_eq!(Blocks.fit(layout(fit, asked.align())), fit);
            match class_of(asked) {
                Some((bin, block)) => {
                    assert_eq!(layout_of(bin), block);
                    assert!(bin < LISTS);
                    assert!(block.size() >= size && block.align() >= asked.align());
                    let small = block.size() <= 1 << DOUBLING_SHIFT;
                    assert!(shift > 4 || small || block.size() <= size * 5 / 4, "{size}");
                    // A caller that takes all of it releases it to the same list.
                    assert_eq!(class_of(layout(fit, asked.align())), Some((bin, block)));
                }
                None => {
                    let most = if shift > 4 { 1 << ALIGNED_SHIFT } else { Blocks::LARGEST };
                    assert!(size.max(asked.align()) > most);
                }
            }
        }
    }
}

#[test]
fn a_released_block_is_the_next_one_taken() {
    alone(|| {
        for align in [8, 16, 64, 4096] {
            let asked = layout(4096, align);
            let first = Taken::new(asked).start;
            assert!(first.addr().get().is_multiple_of(align));
            assert_eq!(Taken::new(asked).start, first);
        }
    });
}

#[test]
fn the_cap_bounds_what_is_kept_and_trim_gives_all_back() {
    alone(|| {
        Blocks::set_cap(64 << 10);
        let asked = layout(4096, 16);
        take_and_release(100, asked);
        assert_eq!(Blocks::cached_bytes(), 64 << 10);
        Blocks::set_cap(8 << 10);
        assert!(Blocks::cached_bytes() <= 8 << 10);
        Blocks::trim();
        assert_eq!(Blocks::cached_bytes(), 0);
    });
}

#[test]
fn what_a_burst_left_decays_and_what_is_in_use_stays() {
    alone(|| {
        let asked = layout(1024, 16);
        take_and_release(512, asked);
        assert_eq!(Blocks::cached_bytes(), 512 << 10);
        // A steady use of four blocks: after a few periods only about that much is kept.
        for _ in 0..20 * DECAY_PERIOD / 4 {
            take_and_release(4, asked);
        }
        let kept = Blocks::cached_bytes();
        assert!((4 << 10..=6 << 10).contains(&kept), "{kept} bytes kept");
    });
}

#[test]
fn a_block_may_be_released_on_another_thread() {
    alone(|| {
        let sent = Taken::new(layout(2048, 16));
        alone(move || {
            drop(sent);
            assert_eq!(Blocks::cached_bytes(), 2048);
        });
    });
}

#[test]
fn each_class_has_a_list_of_its_own() {
    alone(|| {
        let plain = (8..=16).map(|shift| layout(1 << shift, 16));
        let quarters = [80, 96, 112, 128, 160, 192, 224, 256].map(|kib| layout(kib << 10, 16));
        let aligned = (8..=16).map(|shift| layout(1 << shift, 1 << shift)).chain([LEAN]);
        let classes: std::vec::Vec<_> = plain.chain(quarters).chain(aligned).collect();
        let blocks: std::vec::Vec<_> = classes.iter().map(|&asked| Taken::new(asked)).collect();
        let blocks: std::vec::Vec<_> = blocks.into_iter().map(|block| block.start).collect();
        let all: usize = classes.iter().map(Layout::size).sum();
        assert_eq!(Blocks::cached_bytes(), all);
        for (&block, &asked) in blocks.iter().zip(&classes) {
            assert_eq!(Blocks.acquire(asked).unwrap(), block, "{asked:?}");
            // SAFETY: just acquired with this layout.
            unsafe { Ground.release(block, class_of(asked).unwrap().1) };
        }
        assert_eq!((Blocks::cached_bytes(), Blocks::trim()), (0, 0));
    });
}

/// Leaves so many blocks of 4 KiB in the thread's cache.
fn keep(count: usize) {
    let asked = layout(4096, 16);
    take_and_release(count, asked);
}

/// So many blocks at once, which all go back then.
fn take_and_release(count: usize, asked: Layout) {
    drop((0..count).map(|_| Taken::new(asked)).collect::<std::vec::Vec<_>>());
}

#[test]
fn a_cap_that_is_enough_for_what_is_kept_gives_nothing_back() {
    alone(|| {
        keep(10);
        Blocks::set_cap(10 * 4096);
        assert_eq!(Blocks::cached_bytes(), 10 * 4096, "all of it");
        keep(11);
        assert_eq!(Blocks::cached_bytes(), 10 * 4096, "and not one more");
        Blocks::set_cap(12 * 4096);
        keep(20);
        assert_eq!(Blocks::cached_bytes(), 12 * 4096);
        Blocks::set_cap(12 * 4096 - 1);
        assert_eq!(Blocks::cached_bytes(), 0);
        keep(20);
        assert_eq!(Blocks::cached_bytes(), 11 * 4096);
        assert_eq!(Blocks::trim(), 11 * 4096);
        Blocks::set_cap(0);
        keep(5);
        assert_eq!(Blocks::cached_bytes(), 0);
    });
}

#[test]
fn a_cap_may_be_set_before_the_first_block_comes() {
    alone(|| {
        Blocks::set_cap(3 * 4096);
        assert_eq!(Blocks::cached_bytes(), 0);
        keep(5);
        assert_eq!(Blocks::cached_bytes(), 3 * 4096);
    });
}

#[test]
fn half_of_what_was_not_needed_goes_when_the_period_is_over_and_not_before() {
    let cache = Cache::owned(1 << 20);
    let (bin, block) = class_of(layout(4096, 16)).unwrap();
    // SAFETY: of the bin's layout, from the source that is named, and nobody else's.
    let put = |at| unsafe { cache.put(&System, bin, block, at) };
    let blocks = [(); 10].map(|()| System.acquire(block).unwrap());
    blocks.into_iter().for_each(put);
    // Nothing was there when the period began, so nothing was not needed all through it.
    for _ in 10..DECAY_PERIOD {
        put(cache.take(bin, block.size()).unwrap());
    }
    put(cache.take(bin, block.size()).unwrap());
    assert_eq!((cache.count(bin), cache.bytes()), (10, 10 * 4096));
    // One of ten is in use at a time from now on: nine are not needed.
    for _ in 0..DECAY_PERIOD {
        put(cache.take(bin, block.size()).unwrap());
        assert_eq!(cache.count(bin), 10);
    }
    put(cache.take(bin, block.size()).unwrap());
    assert_eq!((cache.count(bin), cache.bytes()), (5, 5 * 4096), "half of nine, and the one");
    assert_eq!((cache.drain(&System), cache.count(bin), cache.bytes()), (5 * 4096, 0, 0));
}

#[test]
fn nothing_is_kept_after_the_end_of_a_thread() {
    /// Comes and goes when the thread has ended for the crate.
    struct AtTheEnd;
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            assert_eq!(Blocks::cached_bytes(), 0, "all was given back");
            keep(3);
            Blocks::set_cap(1 << 20);
            keep(3);
            assert_eq!((Blocks::cached_bytes(), Blocks::trim()), (0, 0));
        }
    }
    std::thread_local!(static LAST: AtTheEnd = const { AtTheEnd });
    alone(|| {
        // First here, so that it is dropped after what the crate has of the thread.
        LAST.with(|_| ());
        keep(7);
        assert_eq!(Blocks::cached_bytes(), 7 * 4096);
    });
}
