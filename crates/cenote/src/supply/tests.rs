//! What a supply charges, takes, gives back and undoes.

use super::*;
use crate::System;
use alloc::vec::Vec;
use core::cell::RefCell;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 16).unwrap()
}

/// Gives addresses where no memory is, and writes down what came back. A block of so many
/// bytes really takes what `fit` says.
struct Addresses {
    next: Cell<usize>,
    fit: usize,
    returned: RefCell<Vec<(usize, Layout)>>,
}

impl Addresses {
    fn new(next: usize, fit: usize) -> Self {
        Self { next: Cell::new(next), fit, returned: RefCell::default() }
    }
}

// SAFETY: no promise is kept about the memory, and nobody here uses it.
unsafe impl BlockSource for Addresses {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        NonNull::new(core::ptr::without_provenance_mut(self.next.get()))
            .ok_or(AllocError::out_of_memory(layout.size()))
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        self.returned.borrow_mut().push((block.addr().get(), layout));
    }

    fn fit(&self, layout: Layout) -> usize {
        layout.size().next_multiple_of(self.fit)
    }
}

#[test]
fn a_block_that_ends_above_the_lower_half_goes_back_and_is_refused() {
    if !LOWER_HALF || cfg!(cenote_asan) {
        // Windows may be anywhere; or a checker would look at memory that is not there.
        return;
    }
    let account = Account::root("root").child("child");
    // The larger is awaited until it is there.
    for (size, apart) in [(4096, false), (4096, true), (1 << 20, false), (1 << 20, true)] {
        for (address, good) in [
            (crate::size::MAX - size, true),
            (crate::size::MAX - size + 1, false),
            (crate::size::MAX + 1, false),
            (size, true),
        ] {
            let source = Addresses::new(address, 1);
            let supply = Supply::new("x", source, Some(&account), false, Watch::DEFAULT);
            let block = match apart {
                false => supply.take(layout(size)),
                true => supply.take_apart(layout(size)),
            };
            assert_eq!(block.is_ok(), good, "{address:#x}");
            let back = if good { Vec::new() } else { alloc::vec![(address, layout(size))] };
            assert_eq!(*supply.source().returned.borrow(), back);
            assert_eq!(account.held(), if good { size } else { 0 });
            if let Ok(block) = block {
                // SAFETY: just taken so, for nothing; there is no memory to be used.
                unsafe { supply.put_back(block, layout(size)) };
            }
            assert_eq!((account.held(), account.recycled()), (0, 0));
        }
    }
}

#[test]
fn what_the_source_spends_anyway_is_used_up_to_the_largest_block() {
    let whole = |fit, size| {
        let source = Addresses::new(0, fit);
        Supply::new("x", source, None, false, Watch::DEFAULT).whole_block(layout(size)).size()
    };
    assert_eq!(whole(4096, 100), 4096);
    assert_eq!(whole(4096, 4097), 8192);
    assert_eq!(whole(LARGEST_BLOCK, 100), LARGEST_BLOCK);
    assert_eq!(whole(LARGEST_BLOCK + 16, 100), 100);
}

#[test]
fn the_best_block_is_the_largest_power_of_two_that_limits_leave_room_for() {
    let root = Account::root("root");
    // What this thread has in reserve of the root is no room under the child's limit.
    let first = Supply::new("first", System, Some(&root), false, Watch::DEFAULT);
    let start = first.take(layout(100)).unwrap();
    let child = root.child("child").with_limit(Some(100_000));
    let supply = Supply::new("x", System, Some(&child), false, Watch::DEFAULT);
    let best = |wanted, least| {
        supply.take_best(layout(wanted), layout(least)).map(|(block, taken)| {
            // SAFETY: just taken with this layout.
            unsafe { supply.give(block, taken) };
            taken.size()
        })
    };
    assert_eq!(best(100_000, 4096).unwrap(), 100_000, "all that is wanted");
    assert_eq!(best(100_001, 4096).unwrap(), 32_768, "half of that, or less");
    assert_eq!(best(131_072, 4096).unwrap(), 65_536);
    assert_eq!(best(1 << 20, 70_000).unwrap(), 70_000, "the least, where that is more");
    let held = supply.take(layout(80_000)).unwrap();
    assert_eq!(best(65_536, 4096).unwrap(), 16_384, "20,000 are left");
    assert_eq!(best(65_536, 20_000).unwrap(), 20_000);
    let error = best(65_536, 20_001).unwrap_err();
    assert_eq!((error.account(), error.size()), (Some(&child), 20_001));
    let error = best(65_536, 65_536).unwrap_err();
    assert_eq!((error.account(), error.size()), (Some(&child), 65_536));
    assert_eq!((child.refused(), child.held()), (0, 80_000), "no caller was refused yet");
    // SAFETY: taken with this layout.
    unsafe { supply.give(held, layout(80_000)) };
    // SAFETY: likewise.
    unsafe { first.give(start, layout(100)) };
    assert_eq!((root.held(), child.held()), (0, 0));
}

#[test]
fn the_best_block_of_a_source_that_fails_is_the_least() {
    let source = crate::Faulty::new(System);
    let child = Account::root("root").child("child");
    let supply = Supply::new("x", &source, Some(&child), false, Watch::DEFAULT);
    source.fail_after(0, false);
    let (block, taken) = supply.take_best(layout(65_536), layout(4096)).unwrap();
    assert_eq!((taken.size(), child.held()), (4096, 4096));
    // SAFETY: just taken with this layout.
    unsafe { supply.give(block, taken) };
    source.fail_after(0, true);
    assert!(supply.take_best(layout(65_536), layout(4096)).is_err());
    source.recover();
    assert_eq!((child.held(), child.recycled(), child.refused()), (0, 4096, 0));
}

#[test]
fn a_block_that_is_not_needed_is_taken_only_if_nothing_is_in_the_way() {
    let source = crate::Faulty::new(System);
    let child = Account::root("root").child("child").with_limit(Some(4096));
    let supply = Supply::new("x", &source, Some(&child), false, Watch::DEFAULT);
    let block = supply.try_take(layout(4096)).unwrap();
    assert_eq!(child.held(), 4096);
    assert!(supply.try_take(layout(1)).is_none());
    assert!(supply.take_unlimited::<Hush>(layout(1)).is_ok_and(|block| block.is_none()));
    // SAFETY: taken with this layout.
    unsafe { supply.give(block, layout(4096)) };
    source.fail_after(0, true);
    assert!(supply.try_take(layout(1)).is_none());
    assert!(supply.take_unlimited::<Hush>(layout(1)).is_err(), "a source's refusal is told");
    assert_eq!((child.held(), child.refused()), (0, 0));
}

#[test]
fn what_is_taken_apart_is_charged_like_the_rest() {
    let source = crate::Faulty::new(System);
    let child = Account::root("root").child("child").with_limit(Some(4096));
    let supply = Supply::new("x", &source, Some(&child), false, Watch::DEFAULT);
    for nothing in [true, false] {
        let block = supply.take_apart(layout(4096)).unwrap();
        assert_eq!(supply.take_apart(layout(1)).unwrap_err().account(), Some(&child));
        // SAFETY: taken so with this layout.
        unsafe { supply.give_apart(block, layout(4096), nothing) };
        assert_eq!(child.recycled(), if nothing { 0 } else { 4096 });
    }
    source.fail_after(0, true);
    assert!(supply.take_apart(layout(1)).unwrap_err().account().is_none());
    assert_eq!((child.held(), child.refused()), (0, 0));
}

#[test]
fn a_supply_knows_its_name_and_counts_as_a_live_pool_of_its_account() {
    let child = Account::root("root").child("child");
    let supply = Supply::new("connection", System, Some(&child), true, Watch::DEFAULT);
    assert_eq!(
        (supply.name(), supply.wipes(), supply.account()),
        ("connection", true, Some(&child))
    );
    assert_eq!(child.live(), 1);
    drop(supply);
    assert_eq!((child.live(), child.created()), (0, 1));
    let supply = Supply::new("x", System, None, false, Watch::DEFAULT);
    assert!(!supply.wipes() && supply.account().is_none());
}

#[cfg(feature = "std")]
#[test]
fn the_levels_of_the_process_are_looked_at_once_and_those_of_a_builder_stay() {
    const ALONE: &str = "CENOTE_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        // In a process of its own: where those of the process are known to be none, as by
        // another test, no thread's are looked at.
        let name = "supply::tests::the_levels_of_the_process_are_looked_at_once_and_those_of_a_builder_stay";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let ran = alone.args(["--exact", name]).env(ALONE, "1").env_remove("CENOTE_DEBUG").output();
        let ran = ran.unwrap();
        let said = alloc::string::String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    std::thread::spawn(|| {
        let quiet = crate::misuse::OnBadFree::Return;
        debug::set_thread_levels(Some(Levels::POISON));
        let supply = Supply::new("x", System, None, false, Watch::new(None, quiet));
        assert!(supply.levels().is_none(), "nobody has looked yet");
        assert_eq!(supply.look_at_levels(), Levels::POISON);
        assert_eq!((supply.levels(), supply.watch().levels), (Levels::POISON, Levels::POISON));
        debug::set_thread_levels(Some(Levels::CANARY));
        assert_eq!(supply.look_at_levels(), Levels::POISON);
        let own = Watch::new(Some(Levels::QUARANTINE), quiet);
        let supply = Supply::new("x", System, None, false, own);
        assert_eq!(supply.look_at_levels(), Levels::QUARANTINE);
        assert_eq!(supply.levels(), Levels::QUARANTINE);
    })
    .join()
    .unwrap();
}
