//! What is kept, how it decays, and who waits for whom at a fork.

use super::super::blocks::class_of;
use super::super::forks;
use super::*;
use std::vec::Vec;

fn block(size: usize) -> (usize, Layout) {
    class_of(Layout::from_size_align(size, 16).unwrap()).unwrap()
}

/// Puts so many new blocks there; how many it had no room for, which go back.
fn fill(stock: &Stock, size: usize, count: usize) -> usize {
    let (bin, layout) = block(size);
    let mut refused = 0;
    for _ in 0..count {
        let at = Ground.acquire(layout).unwrap();
        // SAFETY: just acquired with the class's layout, and nobody's.
        if !unsafe { stock.put(bin, layout, at) } {
            refused += 1;
            // SAFETY: it was not kept.
            unsafe { Ground.release(at, layout) };
        }
    }
    refused
}

#[test]
fn as_much_is_kept_as_there_is_room_for_and_all_of_it_goes_back() {
    let stock = Stock::new(100 * 4096);
    assert_eq!(fill(&stock, 4096, 110), 10);
    assert_eq!(fill(&stock, 256, 1), 1);
    assert_eq!(stock.bytes(), 100 * 4096);
    let (bin, layout) = block(4096);
    let taken = stock.take(bin, 4096).unwrap();
    assert_eq!((fill(&stock, 256, 17), stock.bytes()), (1, 100 * 4096));
    // More than a batch of each, and the other list's as well.
    assert_eq!((stock.drain(), stock.bytes(), stock.drain()), (100 * 4096, 0, 0));
    assert_eq!(stock.take(bin, 4096), None);
    // SAFETY: taken out, acquired so.
    unsafe { Ground.release(taken, layout) };
}

#[test]
fn half_of_what_was_not_needed_goes_and_what_was_needed_stays() {
    let stock = Stock::new(1 << 20);
    fill(&stock, 4096, 100);
    // Nothing was there all the time.
    assert_eq!(stock.decay(), 0);
    let (bin, layout) = block(4096);
    for _ in 0..3 {
        let taken: Vec<_> = (0..80).map(|_| stock.take(bin, 4096).unwrap()).collect();
        for at in taken {
            // SAFETY: just taken from there.
            assert!(unsafe { stock.put(bin, layout, at) });
        }
    }
    // Of 100 it was never fewer than 20.
    assert_eq!((stock.decay(), stock.bytes()), (10 * 4096, 90 * 4096));
    for left in [45, 22, 11, 5, 2, 1, 0, 0] {
        stock.decay();
        assert_eq!(stock.bytes(), left * 4096);
    }
}

#[test]
fn a_fork_holds_all_locks() {
    // A shelf of this thread's.
    let asked = Layout::from_size_align(16 << 10, 16).unwrap();
    let blocks: Vec<_> = (0..40).map(|_| crate::Blocks.acquire(asked).unwrap()).collect();
    for block in blocks {
        // SAFETY: acquired so, and nobody's.
        unsafe { crate::Blocks.release(block, asked) };
    }
    let is_held = |held: &Held| held.0.load(Relaxed);
    forks::before();
    let mut listed = 0;
    let mut all = is_held(&LIST.held) && is_held(&DEPOT.held);
    let mut at = LIST.first.get();
    // SAFETY: the list's lock is held.
    while let Some(shelf) = unsafe { at.as_ref() } {
        all &= is_held(&shelf.stock.held);
        listed += 1;
        at = shelf.next.get();
    }
    forks::after();
    assert!(all && listed > 0, "{listed}");
}
