//! What accounts charge, to the byte: by which thread, with what in reserve, and what is left
//! of it when it is refused or taken back. Whole pools on accounts are in `tests/accounts.rs`.

use super::node::{everyones, nobodys, owning_thread, released};
use super::{Account, life, record};
use crate::Pool;
use crate::size::MAX;
use crate::sync::modelled::Ordering::Relaxed;
use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::prelude::*;
use std::thread;

#[cfg(unix)]
mod forked;
mod owners;

/// What a thread takes of a shared account beyond its need, where there is room enough.
const QUANTUM: usize = 64 << 10;

/// A size that fits no limit set here, and yet is one that an object may have.
const HUGE: usize = 1 << 48;

/// Runs on a thread of its own, which has nothing in reserve.
fn alone<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    // Joined, since the end of a scope does not wait for what is local to its threads.
    thread::scope(|scope| scope.spawn(f).join().unwrap())
}

/// Charges, and tells whether that went well.
fn charge(account: &Account, size: usize) -> bool {
    account.node().charge(size).is_ok()
}

fn reserve(account: &Account) -> usize {
    record::reserve_of(account.node())
}

/// Makes the account that of the calling thread.
fn bind(account: &Account) {
    drop(Pool::on(account));
}

#[test]
fn a_thread_takes_a_quantum_more_than_it_needs_of_a_root_and_keeps_the_rest() {
    alone(|| {
        let root = Account::root("root");
        assert!(charge(&root, 1000));
        assert_eq!((root.held(), root.peak(), reserve(&root)), (1000, 1000 + QUANTUM, QUANTUM));
        // What is in reserve is enough to the last byte.
        assert!(charge(&root, QUANTUM));
        assert_eq!((root.held(), root.peak(), reserve(&root)), (66_536, 66_536, 0));
        // The reserve counts towards what is missing.
        root.node().credit(1000);
        assert_eq!((root.held(), reserve(&root)), (65_536, 1000));
        assert!(charge(&root, 3000));
        assert_eq!((root.held(), reserve(&root)), (68_536, QUANTUM));
        assert_eq!(root.peak(), 68_536 + QUANTUM);
        root.node().credit(68_536);
        assert_eq!(root.held(), 0);
    });
}

#[test]
fn what_a_thread_credited_is_counted_while_it_is_idle_and_when_it_goes_on_to_another_account() {
    alone(|| {
        let (root, other) = (Account::root("root"), Account::root("other"));
        let shared = root.shared_child("shared");
        assert!(charge(&shared, 3000));
        for credited in [1000, 2000, 3000] {
            shared.node().credit(1000);
            assert_eq!((shared.recycled(), root.recycled()), (credited, 0));
            assert_eq!(alone(|| shared.recycled()), credited);
        }
        assert!(charge(&other, 500));
        assert_eq!((reserve(&shared), shared.recycled()), (0, 3000));
        other.node().credit(500);
        assert_eq!((shared.recycled(), other.recycled()), (3000, 500));
        // Not into the reserve, which is of the other one.
        assert!(charge(&root, 50));
        other.node().credit(0);
        root.node().credit(50);
        assert_eq!((root.recycled(), other.recycled(), shared.recycled()), (50, 500, 3000));
        Account::settle();
        assert_eq!((root.recycled(), other.recycled(), shared.recycled()), (50, 500, 3000));
    });
}

#[test]
fn two_quanta_stay_in_reserve_and_of_more_than_that_one() {
    alone(|| {
        let root = Account::root("root");
        assert!(charge(&root, 200_000));
        assert_eq!(reserve(&root), QUANTUM);
        root.node().credit(QUANTUM);
        assert_eq!((root.held(), reserve(&root)), (200_000 - QUANTUM, 2 * QUANTUM));
        root.node().credit(1);
        assert_eq!((root.held(), reserve(&root)), (200_000 - QUANTUM - 1, QUANTUM));
        root.node().credit(200_000 - QUANTUM - 1);
        assert_eq!((root.held(), reserve(&root)), (0, QUANTUM));
        Account::settle();
        assert_eq!((root.held(), reserve(&root)), (0, 0));
        assert_eq!(root.recycled(), 200_000);
    });
}

#[test]
fn the_quantum_is_a_part_of_the_room_and_nothing_where_that_is_little() {
    alone(|| {
        let cases = [
            (None, QUANTUM),
            (Some(usize::MAX), QUANTUM),
            (Some(64 * QUANTUM), QUANTUM),
            (Some(64 * QUANTUM - 64), QUANTUM - 1),
            (Some(1 << 20), 16 << 10),
            (Some(256 << 10), 4 << 10),
            (Some((256 << 10) - 1), 0),
            (Some(0), 0),
        ];
        for (limit, quantum) in cases {
            let root = Account::root("root").with_limit(limit);
            assert_eq!(root.node().quantum(), quantum, "{limit:?}");
            // The least room on the way up decides.
            let below = root.child("child").shared_child("below");
            assert_eq!(below.node().quantum(), quantum, "under {limit:?}");
            let above = Account::root("root").shared_child("limited").with_limit(limit);
            assert_eq!(above.node().quantum(), quantum, "{limit:?} by itself");
        }
        let root = Account::root("root").with_limit(Some(1 << 20));
        assert!(charge(&root, 512 << 10));
        assert_eq!(reserve(&root), 16 << 10, "as it was with nothing held");
        assert_eq!(root.node().quantum(), (496 << 10) / 64, "a part of what is left");
        assert!(charge(&root, 300 << 10));
        assert_eq!(root.node().quantum(), 0);
        root.node().credit(812 << 10);
        Account::settle();
        assert_eq!(root.node().quantum(), 16 << 10);
    });
}

#[test]
fn near_a_limit_each_charge_is_exact_and_leaves_other_reserves_alone() {
    alone(|| {
        let wide = Account::root("wide");
        assert!(charge(&wide, 1000));
        let near = Account::root("near").with_limit(Some(100_000));
        assert!(charge(&near, 60_000));
        assert_eq!((near.held(), near.peak(), reserve(&near)), (60_000, 60_000, 0));
        assert_eq!((wide.held(), reserve(&wide)), (1000, QUANTUM));
        near.node().credit(60_000);
        assert_eq!((near.held(), near.recycled()), (0, 60_000));
        assert_eq!((wide.held(), reserve(&wide)), (1000, QUANTUM));
        // One account at a time: what is in reserve of one goes back for another's.
        let other = Account::root("other");
        assert!(charge(&other, 1000));
        assert_eq!((wide.held(), reserve(&wide)), (1000, 0));
        assert_eq!((other.held(), reserve(&other)), (1000, QUANTUM));
        wide.node().credit(1000);
        other.node().credit(1000);
        assert_eq!((wide.held(), other.held()), (0, 0));
    });
}

/// The accounts of a chain of three, whatever they are.
fn chains() -> Vec<[Account; 3]> {
    let below = |shared, above: &Account| {
        if shared { above.shared_child("shared") } else { above.child("child") }
    };
    let kinds = [(false, false), (false, true), (true, false), (true, true)];
    let chain = |(middle, leaf)| {
        let root = Account::root("root");
        let middle = below(middle, &root);
        let leaf = below(leaf, &middle);
        [root, middle, leaf]
    };
    kinds.map(chain).into()
}

/// Charges a leaf up to a limit anywhere above it.
fn to_the_limit(accounts: &[Account; 3], limited: &Account, what: &str) {
    const LIMIT: usize = 1 << 20;
    let leaf = &accounts[2];
    limited.set_limit(Some(LIMIT));
    for most in [LIMIT, LIMIT - 70_000] {
        // With the rest of it charged elsewhere, as far as the limit goes.
        assert!(charge(limited, LIMIT - most), "{what}");
        assert!(charge(leaf, most - 1), "{what}");
        assert!(charge(leaf, 1), "{what}");
        for size in [1, 2, 70_000, HUGE] {
            let full = leaf.node().charge(size).err().map(core::ptr::from_ref);
            assert_eq!(full, Some(core::ptr::from_ref(limited.node())), "{what}: {size}");
        }
        assert_eq!(limited.held(), LIMIT, "{what}");
        assert_eq!(leaf.node().headroom(), 0, "{what}");
        leaf.node().credit(10);
        assert_eq!(leaf.node().headroom(), 10, "{what}");
        assert!(!charge(leaf, 11), "{what}");
        assert!(charge(leaf, 10), "{what}");
        leaf.node().credit(most);
        limited.node().credit(LIMIT - most);
        let held = accounts.each_ref().map(Account::held);
        assert_eq!(held, [0; 3], "{what}");
    }
    limited.set_limit(None);
    assert!(charge(leaf, LIMIT + 1), "{what}");
    leaf.node().credit(LIMIT + 1);
    assert_eq!(accounts.each_ref().map(Account::held), [0; 3], "{what}");
}

#[test]
fn a_limit_is_exact_for_accounts_of_every_kind_whoever_charges_them() {
    for (kinds, _) in chains().iter().enumerate() {
        for owner in ["nobody", "this thread", "another"] {
            for limited in 0..3 {
                let accounts = &chains()[kinds];
                if owner == "another" {
                    alone(|| accounts.iter().for_each(bind));
                }
                let what = std::format!("kinds {kinds}, {owner}'s, limit at level {limited}");
                alone(|| {
                    if owner == "this thread" {
                        accounts.iter().for_each(bind);
                    }
                    to_the_limit(accounts, &accounts[limited], &what);
                });
            }
        }
    }
}

#[test]
fn what_the_owner_and_other_threads_charge_comes_to_one_sum() {
    let root = Account::root("root");
    let child = root.child("child").with_limit(Some(1000));
    alone(|| {
        let (_first, second) = (Pool::on(&child), Pool::on(&child));
        assert!(charge(&child, 600));
        drop(second);
        let third = alone(|| {
            let pools = [(); 3].map(|()| Pool::on(&child));
            assert_eq!((child.live(), child.created()), (4, 5));
            assert!(!charge(&child, 401));
            assert!(charge(&child, 400));
            assert_eq!((child.held(), child.peak()), (1000, 1000));
            pools
        });
        assert!(!charge(&child, 1));
        alone(|| {
            drop(third);
            assert_eq!((child.live(), child.created()), (1, 5));
            child.node().credit(300);
            assert_eq!((child.held(), child.recycled()), (700, 300));
        });
        assert!(!charge(&child, 301));
        assert!(charge(&child, 300));
        child.node().credit(500);
        assert_eq!((child.held(), child.recycled(), child.peak()), (500, 800, 1000));
        child.node().credit(500);
    });
    assert_eq!((child.held(), child.live(), child.created()), (0, 0, 5));
    assert_eq!((child.recycled(), child.peak(), child.refused()), (1300, 1000, 0));
}

#[test]
fn a_counter_that_its_owner_writes_by_plain_stores_is_written_by_nobody_else() {
    alone(|| {
        let root = Account::root("root").with_limit(Some(100_000));
        let child = root.child("child");
        bind(&child);
        assert!(charge(&child, 600));
        assert_eq!((child.node().counters(), root.node().counters()), ((600, 0), (600, 0)));
        alone(|| {
            assert!(charge(&child, 300));
            child.node().credit(100);
            assert!(charge(&child, 50));
            child.node().uncharge(50);
        });
        // A root has no owner: all its bytes are in one counter, whoever charges them.
        assert_eq!((child.node().counters(), root.node().counters()), ((600, 200), (800, 0)));
        child.node().uncharge(200);
        assert_eq!((child.node().counters(), root.node().counters()), ((400, 200), (600, 0)));
        child.node().credit(600);
        assert_eq!((child.held(), root.held()), (0, 0));
    });
}

#[test]
fn in_a_chain_of_accounts_of_two_threads_each_is_charged_as_its_owner_has_it() {
    alone(|| {
        let root = Account::root("root");
        let worker = root.child("worker").with_limit(Some(1000));
        alone(|| bind(&worker));
        let mine = worker.child("mine");
        let leaf = mine.child("leaf");
        bind(&leaf);
        assert!(charge(&leaf, 600));
        let counters = [&leaf, &mine, &worker].map(|account| account.node().counters());
        assert_eq!(counters, [(600, 0), (600, 0), (0, 600)]);
        assert!(!charge(&leaf, 401));
        assert!(charge(&leaf, 400));
        leaf.node().credit(1000);
        let figures = [&leaf, &mine, &worker, &root].map(|account| account.held());
        assert_eq!(figures, [0; 4]);
        assert_eq!((leaf.peak(), mine.peak(), worker.peak()), (1000, 1000, 1000));
    });
}

#[test]
fn an_account_that_is_released_above_its_owners_own_is_charged_to_the_byte() {
    alone(|| {
        let root = Account::root("root");
        let above = root.child("above").with_limit(Some(1000));
        let pool = Pool::on(&above);
        // Its end waits in this thread's mail, and a handle is made through the pool meanwhile.
        alone(move || drop(above));
        let above = pool.account().unwrap().clone();
        let below = alone(|| above.child("below"));
        bind(&below);
        Account::settle();
        assert_eq!(above.node().owner.load(Relaxed), released());
        assert!(charge(&below, 600));
        assert_eq!((below.held(), above.held(), root.held()), (600, 600, 600));
        assert!(!charge(&below, 401));
        alone(|| {
            assert!(!charge(&below, 401));
            assert!(charge(&above, 300));
        });
        assert!(!charge(&below, 101));
        assert!(charge(&below, 100));
        below.node().credit(700);
        above.node().credit(300);
        assert_eq!((below.held(), above.held(), root.held()), (0, 0, 0));
        assert_eq!((below.peak(), above.peak()), (700, 1000));
    });
}

#[test]
fn charges_that_are_taken_back_under_a_released_account_leave_both_counters_as_they_were() {
    for huge in [HUGE, 1 << 60, 1 << 61, (1 << 61) + 1] {
        alone(move || {
            let root = Account::root("root").with_limit(Some(1000));
            let above = root.child("above");
            let pool = Pool::on(&above);
            alone(move || drop(above));
            let above = pool.account().unwrap().clone();
            let below = alone(|| above.child("below"));
            bind(&below);
            Account::settle();
            assert_eq!(above.node().owner.load(Relaxed), released());
            for _ in 0..16 {
                assert!(!charge(&below, huge));
                assert!(charge(&below, 600));
                below.node().uncharge(600);
                assert_eq!(above.node().counters(), (0, 0));
            }
        });
    }
}

#[test]
fn an_account_under_one_of_the_same_thread_may_close_after_that_thread_has_ended() {
    let root = Account::root("root");
    let (pool, leaf) = alone(|| {
        let worker = root.child("worker");
        bind(&worker);
        // The worker has the count of the thread's record, and is kept by the leaf alone.
        let leaf = worker.child("leaf");
        (Pool::on(&leaf), leaf)
    });
    assert!(charge(&leaf, 100));
    assert_eq!(leaf.node().counters(), (0, 100));
    leaf.node().credit(100);
    drop(leaf);
    assert_eq!(children(&root), 1);
    drop(pool);
    assert_eq!(children(&root), 0);
    assert_eq!(root.closed()[0].children()[0].sums.accounts, 1);
}

#[test]
fn a_charge_that_is_taken_back_leaves_no_trace() {
    for owned in [false, true] {
        alone(|| {
            let child = Account::root("root").child("child");
            if owned {
                bind(&child);
            }
            assert!(charge(&child, 5000));
            child.node().uncharge(5000);
            assert_eq!((child.held(), child.peak(), child.recycled()), (0, 0, 0), "{owned}");
            assert_eq!(child.parent().map(Account::held), Some(0));
            assert!(charge(&child, 300));
            child.node().credit(300);
            assert_eq!((child.held(), child.peak(), child.recycled()), (0, 300, 300), "{owned}");
        });
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_peak_is_the_most_that_all_threads_held_together_whoever_gives_back(
        steps in vec((any::<bool>(), any::<bool>(), 1..500_usize), 1..40),
    ) {
        alone(|| {
            let child = Account::root("root").child("child");
            bind(&child);
            let (mut held, mut peak) = ([0; 2], 0);
            for (others, charges, size) in steps {
                let mine = &mut held[usize::from(others)];
                let size = if charges { size } else { size.min(*mine) };
                let step = || match charges {
                    true => assert!(charge(&child, size)),
                    false => child.node().credit(size),
                };
                if others { alone(step) } else { step() }
                *mine = if charges { *mine + size } else { *mine - size };
                peak = peak.max(held[0] + held[1]);
                assert_eq!((child.held(), child.peak()), (held[0] + held[1], peak));
            }
        });
    }
}

#[test]
fn sizes_that_nobody_can_have_are_refused_without_a_trace() {
    for size in [MAX, MAX - 15, MAX - QUANTUM, MAX - QUANTUM + 1, MAX / 2 + 1] {
        for accounts in chains() {
            alone(|| {
                for account in &accounts {
                    let full = account.node().charge(size).expect_err("nobody has so much");
                    assert!(full.refusal(full, size).account().is_none(), "no limit is in the way");
                }
                for account in &accounts {
                    let figures = (account.held(), account.peak(), account.refused());
                    assert_eq!(figures, (0, 0, 0));
                }
            });
        }
    }
    alone(|| {
        // One that somebody may have, one day, comes with a quantum as any other does.
        let root = Account::root("root");
        assert!(charge(&root, HUGE));
        assert_eq!((root.held(), reserve(&root)), (HUGE, QUANTUM));
        root.node().credit(HUGE);
    });
}

#[test]
fn the_largest_limit_that_can_be_set_is_a_limit_still() {
    let root = Account::root("root").with_limit(Some(usize::MAX));
    assert_eq!(root.limit(), Some(MAX / 2 - 1));
    assert!(!charge(&root, MAX / 2));
    assert!(charge(&root, MAX / 2 - 1));
    root.node().credit(MAX / 2 - 1);
    root.set_limit(None);
    assert_eq!(root.limit(), None);
}

#[test]
fn the_room_that_is_left_is_that_of_the_fullest_account_above() {
    alone(|| {
        let root = Account::root("root").with_limit(Some(1 << 20));
        let child = root.child("child").with_limit(Some(100_000));
        bind(&child);
        assert_eq!(child.node().headroom(), 100_000);
        assert!(charge(&child, 30_000));
        assert_eq!(child.node().headroom(), 70_000);
        // What this thread has in reserve of the root is room; of another account it is not.
        assert!(reserve(&root) > 0);
        assert_eq!(root.node().headroom(), (1 << 20) - 30_000);
        let other = Account::root("other").with_limit(Some(50_000));
        assert_eq!(other.node().headroom(), 50_000);
        root.set_limit(Some(40_000));
        assert_eq!(child.node().headroom(), 10_000);
        assert_eq!(root.node().headroom(), 10_000);
        root.set_limit(Some(20_000));
        assert_eq!(child.node().headroom(), 0, "less than nothing is nothing");
        child.node().credit(30_000);
    });
}

#[test]
fn a_thread_that_ends_takes_its_own_reserve_along_and_no_other() {
    let root = Account::root("root");
    assert!(charge(&root, 1000));
    alone(|| {
        assert!(charge(&root, 500));
        assert_eq!((root.held(), reserve(&root)), (1500, QUANTUM));
        root.node().credit(200);
    });
    assert_eq!((root.held(), reserve(&root)), (1300, QUANTUM));
    assert_eq!(record::reserved(root.node()), QUANTUM);
    root.node().credit(1300);
    Account::settle();
}

/// How many accounts there are under one.
fn children(account: &Account) -> usize {
    let mut count = 0;
    account.each_child(|_| count += 1);
    count
}

#[test]
fn an_account_whose_last_handle_went_elsewhere_ends_when_its_thread_makes_another() {
    alone(|| {
        let root = Account::root("root");
        let end_elsewhere = || {
            let child = root.child("child");
            bind(&child);
            alone(move || drop(child));
            assert_eq!(children(&root), 1, "it waits for its thread");
        };
        end_elsewhere();
        drop(Account::root("another"));
        assert_eq!(children(&root), 0);
        end_elsewhere();
        Account::settle();
        assert_eq!(children(&root), 0);
    });
}

#[test]
fn the_part_of_a_count_that_is_pools_is_the_same_with_any_number_of_biases() {
    for biases in [0, 1, 2, 3, 1000] {
        for pools in [0, 1, -1, 7, -7, life::BIAS / 2 - 1, -life::BIAS / 2] {
            let count = life::BIAS * biases + pools;
            assert_eq!(life::unbiased(count), pools, "{biases} biases");
        }
    }
}

#[test]
fn what_stands_for_no_owner_is_the_record_of_no_thread() {
    let none = [everyones(), nobodys(), released()];
    for (index, marker) in none.iter().enumerate() {
        // Nor what a thread has that has no record.
        assert!(!marker.is_null() && !none[..index].contains(marker));
        assert!(owning_thread(*marker).is_none());
    }
}

#[test]
fn a_stamp_is_what_the_account_was_last_marked_with() {
    let account = Account::root("root");
    assert_eq!(account.stamp(), 0);
    for stamp in [7, u64::MAX, 0] {
        account.set_stamp(stamp);
        assert_eq!((account.stamp(), account.clone().stamp()), (stamp, stamp));
    }
}

#[test]
fn what_is_held_and_room_are_told_apart_when_either_has_wrapped() {
    for before in [0, 1000, isize::MAX - 50, isize::MAX, isize::MIN, -1000] {
        let of = |more: isize| before.wrapping_add(more);
        assert!(!super::charging::is_beyond_wrapping(before, of(100), of(100)), "{before}");
        assert!(!super::charging::is_beyond_wrapping(before, of(99), of(100)), "{before}");
        assert!(super::charging::is_beyond_wrapping(before, of(101), of(100)), "{before}");
        assert!(super::charging::is_beyond_wrapping(before, of(1), of(-1)), "{before}");
    }
}

#[test]
fn threads_that_come_and_go_use_the_same_records() {
    let root = Account::root("root");
    let before = record::all().count();
    for _ in 0..400 {
        alone(|| assert!(charge(&root, 1000)));
        root.node().credit(1000);
    }
    // Other tests have threads meanwhile.
    let made = record::all().count() - before;
    assert!(made < 200, "{made} records for one thread at a time");
}
