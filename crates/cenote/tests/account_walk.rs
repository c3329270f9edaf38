//! Proves that a walk comes by every account once, whatever their number and depth, and that
//! what closed accounts left behind are the sums of their figures.

mod common;

use cenote::inspect::Seen;
use cenote::{Account, Pool};
use std::ptr::NonNull;

/// What a walk comes by: depth, and name with number, or with how many have closed.
fn seen(account: &Account) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    account.walk(|depth, seen| {
        all.push((
            depth,
            match seen {
                Seen::Account(account) => format!("{} {}", account.name(), account.number()),
                Seen::Closed(left) => format!("{} x{}", left.name(), left.accounts()),
            },
        ));
    });
    all
}

#[test]
fn parents_come_before_children_and_the_newest_child_first() {
    let process = Account::root("process");
    let workers = [process.child("worker"), process.shared_child("worker")];
    let request = workers[0].child("request");
    drop(workers[0].child("request"));
    drop(process.child("old").child("older"));
    let wanted = [
        (0, "process 0"),
        (1, "worker 2"),
        (1, "worker 1"),
        (2, "request 1"),
        (2, "request x1"),
        (1, "old x1"),
        (2, "older x1"),
    ];
    assert_eq!(seen(&process), wanted.map(|(depth, name)| (depth, name.to_owned())));
    assert_eq!(seen(&request), [(0, "request 1".to_owned())]);
}

#[test]
fn any_number_of_accounts_under_one_are_seen_once_each() {
    // Around what is read at a time, and several times that.
    for count in [0, 1, 15, 16, 17, 31, 32, 33, 100] {
        let process = Account::root("process");
        let connections: Vec<_> = (0..count).map(|_| process.child("c")).collect();
        let wanted: Vec<_> = (1..=count).rev().map(|number| (1, format!("c {number}"))).collect();
        assert_eq!(seen(&process)[1..], wanted);
        assert_eq!(process.snapshot().children.len(), count);
        drop(connections);
        assert_eq!(seen(&process).len(), 1 + usize::from(count > 0));
    }
}

#[test]
fn sixty_four_generations_are_seen_and_remembered_and_none_beyond() {
    let chain = |length| {
        let mut chain = vec![Account::root("0")];
        for generation in 1..=length {
            chain.push(chain[generation - 1].child(generation.to_string()));
        }
        chain
    };
    for length in [3, 64, 65, 100] {
        let accounts = chain(length);
        let deepest = seen(&accounts[0]).last().map(|(depth, _)| *depth);
        assert_eq!(deepest, Some(length.min(64)), "of {length} generations");
        // Closing, each leaves what it has to the one above.
        let root = accounts.into_iter().next().unwrap();
        let left = seen(&root);
        let deepest = left.last().map_or(0, |(depth, _)| *depth);
        let kept = if length <= 65 { length } else { deepest };
        assert_eq!((left.len(), deepest), (1 + kept, kept), "of {length} generations");
        assert!(deepest <= 65, "{deepest} generations are remembered");
        assert!(deepest > 0, "at least those right under it are");
    }
}

#[test]
fn what_accounts_of_one_name_leave_behind_are_the_sums_of_their_figures() {
    common::plain();
    let process = Account::root("process");
    let line = line!() + 2;
    for (pools, refusals, large, limit) in [(3, 2, 60_000, Some(90_000)), (4, 3, 50_000, None)] {
        let request = process.child("request");
        request.set_limit(limit.or(Some(80_000)));
        for number in 0..pools {
            let pool = Pool::on(&request);
            if number > 0 {
                pool.alloc(1);
                continue;
            }
            let object = NonNull::from(pool.alloc_bytes(large)).cast();
            for _ in 0..refusals {
                pool.try_alloc_bytes(70_000).unwrap_err();
            }
            // SAFETY: nothing refers to it.
            assert!(unsafe { pool.free_large(object) });
        }
        if limit.is_none() {
            request.set_limit(None);
        }
        drop(request.child("below"));
    }
    let (mut figures, mut below) = (None, 0);
    process.walk(|depth, seen| match seen {
        Seen::Closed(left) if left.name() == "request" => {
            assert_eq!((depth, left.accounts(), left.created(), left.refused()), (1, 2, 7, 5));
            assert_eq!(left.limit(), Some(90_000), "the largest that any of them had");
            assert!(left.created_at().file().ends_with("account_walk.rs"));
            assert_eq!(left.created_at().line(), line);
            figures = Some((left.peak(), left.recycled()));
        }
        Seen::Closed(left) => below += left.accounts(),
        Seen::Account(account) => assert_eq!(account.name(), "process"),
    });
    let (peak, recycled) = figures.unwrap();
    assert_eq!(below, 2, "and those under them are added up as well");
    assert!((60_000..80_000).contains(&peak), "that of the one that held most: {peak}");
    assert_eq!(recycled, process_recycled(&[(3, 60_000), (4, 50_000)]), "both sums");
}

/// What pools give back that do as in the test above, each alone on an account.
fn process_recycled(accounts: &[(usize, usize)]) -> u64 {
    let account = Account::root("alone").child("request");
    for &(pools, large) in accounts {
        for number in 0..pools {
            let pool = Pool::on(&account);
            if number > 0 {
                pool.alloc(1);
                continue;
            }
            let object = NonNull::from(pool.alloc_bytes(large)).cast();
            // SAFETY: nothing refers to it.
            assert!(unsafe { pool.free_large(object) });
        }
    }
    account.recycled()
}

#[test]
fn names_beyond_those_that_are_remembered_are_counted_together() {
    let process = Account::root("process");
    for number in 0..70 {
        drop(process.child(format!("c{number}")));
    }
    // One that is known, and two that are not.
    for name in ["c3", "new", "newer"] {
        drop(process.child(name));
    }
    let mut left: Vec<_> = seen(&process).into_iter().skip(1).map(|(_, name)| name).collect();
    let others = left.pop();
    assert_eq!(others.as_deref(), Some("(others) x8"));
    let known =
        |number| if number == 3 { format!("c{number} x2") } else { format!("c{number} x1") };
    assert_eq!(left, (0..64).map(known).collect::<Vec<_>>());
}
