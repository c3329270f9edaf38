//! Levels of the process that change while pools have something in them. In a process of its own,
//! since they are the process's.

use cenote::debug::{Levels, set_levels};
use cenote::{Account, ChunkPool, CountedPool, Pool, SharedPool};
use std::alloc::Layout;
use std::ptr::NonNull;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

const SETS: [Levels; 5] =
    [Levels::CANARY, Levels::POISON, Levels::GUARD, Levels::QUARANTINE, Levels::ALL];

/// What is in a pool before the levels change, and what comes after: small objects and large ones.
const SIZES: [&[usize]; 6] = [&[8], &[100_000], &[100_000, 8], &[8, 100_000], &[20_000; 5], &[]];

macro_rules! late {
    ($pool:expr, $account:expr) => {
        for levels in SETS {
            for before in SIZES {
                for after in SIZES {
                    set_levels(Levels::NONE);
                    let account = $account;
                    let pool = $pool(&account);
                    let place = |&size: &usize| -> (NonNull<u8>, Layout) {
                        let layout = layout(size, 8);
                        let object = pool.alloc_layout(layout);
                        // SAFETY: fresh memory of that size.
                        unsafe { object.write_bytes(1, size) };
                        (object, layout)
                    };
                    let mut objects: Vec<_> = before.iter().map(place).collect();
                    let was = pool.levels();
                    let large = account.held();
                    set_levels(levels);
                    objects.extend(after.iter().map(place));
                    if !before.is_empty() {
                        assert_eq!(pool.levels(), was, "with {before:?} in it, then {after:?}");
                    }
                    for (object, layout) in objects.iter_mut() {
                        let more = Layout::from_size_align(layout.size() + 5000, 8).unwrap();
                        // SAFETY: of this pool and layout.
                        *object = unsafe { pool.try_grow(*object, *layout, more) }.unwrap();
                        *layout = more;
                    }
                    for (object, layout) in objects {
                        // SAFETY: of this pool and layout, and not used any more.
                        unsafe { pool.dealloc(object, layout) };
                    }
                    if before.contains(&100_000) && was == Levels::NONE {
                        let held = account.held();
                        assert!(held < large + 100_000, "{held} of {before:?}, then {after:?}");
                    }
                    drop(pool);
                    assert_eq!(account.held(), 0, "{before:?}, then {after:?}, {levels}");
                }
            }
        }
    };
}

#[test]
fn levels_change_only_while_nothing_is_in_a_pool_and_all_memory_goes_back() {
    late!(Pool::on, Account::root("late"));
    late!(CountedPool::on, Account::root("late"));
    late!(ChunkPool::on, Account::root("late"));
    // The levels of a pool that has not seen anything are looked at when it takes something.
    set_levels(Levels::NONE);
    let pool = Pool::new();
    let object = pool.alloc_layout(layout(100_000, 8));
    // SAFETY: of this pool and layout, and not used any more.
    unsafe { pool.dealloc(object, layout(100_000, 8)) };
    set_levels(Levels::CANARY);
    pool.alloc(1);
    assert_eq!(pool.levels(), Levels::CANARY);
    assert!(pool.snapshot().blocks.is_empty(), "its objects are apart, each with a canary");
    set_levels(Levels::NONE);
    let account = Account::root("late");
    let pool = SharedPool::try_on(&account).unwrap();
    let object = pool.alloc_layout(layout(100_000, 8));
    set_levels(Levels::ALL);
    pool.alloc(1);
    let held = account.held();
    // SAFETY: of this pool and layout, and not used any more.
    unsafe { pool.dealloc(object, layout(100_000, 8)) };
    assert!(account.held() <= held - 100_000);
    drop(pool);
    assert_eq!(account.held(), 0);
}
