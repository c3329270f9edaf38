//! Whose an account is: who becomes its owner, how far up that goes, what nobody but the owner stores
//! to, and how long the owner's record stands for that thread.

use super::*;
use crate::System;
use crate::account::Node;
use crate::debug::Watch;
use crate::supply::Supply;
use core::alloc::Layout;

fn this_thread() -> usize {
    crate::thread::record().addr()
}

/// Whose an account is: a thread's, by its record's address, or not.
fn owner(account: &Account) -> usize {
    account.node().owner.load(Relaxed).addr()
}

fn is_a_threads(account: &Account) -> bool {
    owning_thread(account.node().owner.load(Relaxed)).is_some()
}

/// The owner of an account, and what it counts by plain stores.
fn owners(account: &Account) -> (usize, (isize, i64, u64, u64)) {
    (owner(account), account.node().owners_counters())
}

/// A pool's first block, taken and given back with the pool's end.
fn use_a_block(account: &Account, has_block: impl FnOnce()) {
    let supply = Supply::new("block", System, Some(account), false, Watch::DEFAULT);
    let layout = Layout::new::<[u64; 512]>();
    let block = supply.take(layout).unwrap();
    has_block();
    // SAFETY: just taken with this layout.
    unsafe { supply.give_last(block, layout) };
}

#[test]
fn what_an_owner_counts_by_plain_stores_no_other_thread_stores_to() {
    alone(|| {
        let root = Account::root("root");
        let child = root.child("child").with_limit(Some(1 << 20));
        let pool = Pool::on(&child);
        assert!(charge(&child, 4096));
        let before = owners(&child);
        assert!(is_a_threads(&child));
        let is_unchanged = |what: &str| assert_eq!(owners(&child), before, "{what}");
        let elsewhere = alone(|| {
            let empty = Pool::on(&child);
            is_unchanged("another thread has made a pool");
            drop(empty);
            is_unchanged("and dropped it with nothing in it");
            use_a_block(&child, || is_unchanged("it has a block"));
            is_unchanged("and not any more");
            assert!(charge(&child, 1000));
            is_unchanged("it has charged");
            child.node().credit(600);
            child.node().uncharge(400);
            is_unchanged("and credited, and taken back");
            assert!(!charge(&child, 2 << 20));
            is_unchanged("it was refused");
            let mut reservation = child.try_reserve(1000).unwrap();
            reservation.grow(2 << 20);
            is_unchanged("it has reserved beyond the limit");
            drop(reservation);
            is_unchanged("and given that back");
            child.set_limit(Some(2 << 20));
            is_unchanged("it has set a limit");
            drop(child.child("below"));
            drop(child.clone());
            Account::settle();
            is_unchanged("it has used handles");
            Pool::on(&child)
        });
        assert_eq!((child.live(), child.created()), (2, 4));
        drop((pool, elsewhere));
        child.node().credit(4096);
        assert_eq!((child.live(), child.created(), child.held()), (0, 4, 0));
    });
}

#[test]
fn an_account_is_its_owners_until_that_one_reads_its_mail_or_has_ended() {
    alone(|| {
        let root = Account::root("root");
        let child = root.child("child");
        let pool = Pool::on(&child);
        let before = owners(&child);
        // Its last handle goes on another thread.
        alone(move || drop(child));
        let child = pool.account().unwrap();
        assert_eq!(owners(child), before);
        Account::settle();
        assert_eq!((owner(child), child.live()), (released().addr(), 1));

        let child = root.child("of a thread that ends");
        let pool = alone(|| Pool::on(&child));
        let before = owners(&child);
        assert!(is_a_threads(&child));
        drop(pool.account().unwrap().clone());
        assert_eq!(owners(&child), before);
        drop(child);
        let child = pool.account().unwrap();
        assert_eq!((owner(child), child.live()), (released().addr(), 1));
    });
}

#[test]
fn a_record_stands_for_no_other_thread_as_long_as_an_account_is_its_threads() {
    let root = Account::root("root");
    let child = root.child("child");
    let leaf = child.child("leaf");
    let ended = alone(|| {
        bind(&child);
        bind(&leaf);
        this_thread()
    });
    let is_another = || {
        bind(&root.child("another thread's"));
        assert_ne!(this_thread(), ended);
    };
    for account in [&child, &leaf] {
        assert_eq!(owner(account), ended);
    }
    // Each of which would take a record that is free.
    (0..4).for_each(|_| alone(is_another));
    drop(child);
    // It is there still: the other one keeps it.
    (0..4).for_each(|_| alone(is_another));
    drop(leaf);
}

/// Looks at the accounts from this one up: those between an account and its `stop` are of one
/// owner, and `stop` is not.
fn check_stops(leaf: &Account, what: &str) {
    leaf.node().each_up(|node| {
        let owner = node.owner.load(Relaxed);
        if owning_thread(owner).is_none() {
            return;
        }
        let mut stop: &Node = node;
        while core::ptr::eq(stop.owner.load(Relaxed), owner) {
            stop = stop.parent().expect("a root is nobody's own");
        }
        let name = node.name();
        assert!(
            core::ptr::eq(node.stop.load(Relaxed), stop),
            "{what}: {name} not to {}",
            stop.name()
        );
    });
}

#[test]
fn between_an_account_and_its_stop_all_are_its_owners_in_whatever_order_threads_come() {
    const NAMES: [&str; 6] = ["root", "1", "2", "3", "4", "5"];
    // Which account the other thread is first on, and which this one is then.
    for (theirs, mine) in (1..6).flat_map(|theirs| (1..6).map(move |mine| (theirs, mine))) {
        for theirs_first in [false, true] {
            alone(|| {
                let mut accounts = Vec::from([Account::root(NAMES[0])]);
                for name in &NAMES[1..] {
                    accounts.push(accounts[accounts.len() - 1].child(*name));
                }
                let what = std::format!("theirs {theirs}, mine {mine}, {theirs_first}");
                if theirs_first {
                    alone(|| bind(&accounts[theirs]));
                }
                bind(&accounts[mine]);
                if !theirs_first {
                    alone(|| bind(&accounts[theirs]));
                }
                // One by one, and from the lowest at once.
                if mine % 2 == 0 {
                    accounts[mine..].iter().for_each(bind);
                }
                bind(&accounts[5]);
                check_stops(&accounts[5], &what);
                // Slowly at first, then with what is in reserve.
                for _ in 0..3 {
                    assert!(charge(&accounts[5], 100));
                }
                for account in &accounts[1..] {
                    let is_mine = owner(account) == this_thread();
                    let counters = if is_mine { (300, 0) } else { (0, 300) };
                    assert_eq!(account.node().counters(), counters, "{what}: {}", account.name());
                }
                accounts[5].node().credit(300);
                for account in &accounts[1..] {
                    assert_eq!(account.node().counters(), (0, 0), "{what}: {}", account.name());
                }
            });
        }
    }
}
