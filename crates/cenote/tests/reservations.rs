//! Proves that what is reserved of an account is charged and given back to the byte, by any
//! thread, and told apart from blocks. Random steps among pools are in `accounts.rs`.

mod common;

use cenote::{Account, Pool, Reservation, System};
use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// Fails to compile unless a reservation may go to, and be looked at from, other threads.
const fn is_free<T: Send + Sync + Unpin>() {}
const _: () = is_free::<Reservation>();

/// What is held, reserved, refused and overcommitted.
fn figures(account: &Account) -> (usize, usize, u64, u64) {
    (account.held(), account.reserved(), account.refused(), account.overcommitted())
}

#[test]
fn what_is_reserved_is_held_up_the_tree_until_it_is_dropped() {
    let process = Account::root("process");
    let queries = process.child("queries");
    let query = queries.shared_child("query");
    let reservation = query.try_reserve(1000).unwrap();
    let other = queries.try_reserve(10).unwrap();
    assert_eq!((reservation.bytes(), reservation.account()), (1000, &query));
    assert_eq!(figures(&query), (1000, 1000, 0, 0));
    assert_eq!(figures(&queries), (1010, 1010, 0, 0));
    assert_eq!(figures(&process), (1010, 1010, 0, 0));
    drop(other);
    assert_eq!((figures(&query), figures(&process)), ((1000, 1000, 0, 0), (1000, 1000, 0, 0)));
    drop(reservation);
    for account in [&query, &queries, &process] {
        assert_eq!(figures(account), (0, 0, 0, 0));
        assert!(account.peak() >= 1000);
        // No pool, and no block.
        assert_eq!((account.live(), account.created(), account.recycled()), (0, 0, 0));
    }
}

#[test]
fn blocks_and_reservations_share_a_limit_and_are_told_apart() {
    common::plain();
    let account = Account::root("process").child("mixed").with_limit(Some(100_000));
    let pool = Pool::builder().account(&account).source(System).build().unwrap();
    let layout = Layout::from_size_align(50_000, 16).unwrap();
    let reservation = account.try_reserve(40_000).unwrap();
    pool.alloc_layout(layout);
    let blocks = pool.held_bytes();
    assert_eq!(figures(&account), (blocks + 40_000, 40_000, 0, 0));
    let error = account.try_reserve(60_001 - blocks).unwrap_err();
    assert_eq!((error.account(), error.size()), (Some(&account), 60_001 - blocks));
    let rest = account.try_reserve(60_000 - blocks).unwrap();
    assert!(pool.try_alloc_layout(layout).is_err());
    drop((reservation, rest));
    pool.alloc_layout(Layout::from_size_align(25_000, 16).unwrap());
    drop(pool);
    assert_eq!((account.held(), account.reserved(), account.refused()), (0, 0, 2));
}

#[test]
fn a_refused_reservation_changes_nothing_and_names_who_refused() {
    let process = Account::root("process").with_limit(Some(1000));
    let narrow = process.child("narrow").with_limit(Some(500));
    let mut reservation = narrow.try_reserve(400).unwrap();
    let error = reservation.try_grow(101).unwrap_err();
    assert!(error.to_string().starts_with("account process/narrow is at its limit of 500"));
    let wide = process.child("wide").try_reserve(601).unwrap_err();
    assert_eq!(wide.account(), Some(&process));
    assert_eq!(reservation.resize(501).unwrap_err().size(), 101);
    assert_eq!((reservation.bytes(), figures(&narrow)), (400, (400, 400, 2, 0)));
    assert_eq!(figures(&process), (400, 400, 1, 0));
    reservation.try_grow(100).unwrap();
    assert_eq!((narrow.held(), narrow.peak()), (500, 500));
}

#[test]
fn sizes_that_nobody_can_have_are_errors_and_change_nothing() {
    let sizes = [usize::MAX, usize::MAX / 2 + 1, usize::MAX / 2, usize::MAX / 4 + 1];
    for account in [Account::root("root"), Account::root("root").child("child")] {
        let mut reservation = account.try_reserve(7).unwrap();
        for size in sizes {
            let error = reservation.try_grow(size).unwrap_err();
            assert!(error.account().is_none(), "no limit is in the way: {error}");
            let panic = catch_unwind(AssertUnwindSafe(|| reservation.grow(size))).unwrap_err();
            assert!(panic.downcast_ref::<String>().unwrap().contains("larger than any can be"));
            assert!(account.try_reserve(size).is_err());
            assert_eq!((reservation.bytes(), figures(&account)), (7, (7, 7, 0, 0)));
        }
        // Half of that is a size, if hardly one of memory that there is.
        let mut vast = account.reservation();
        vast.try_grow(usize::MAX / 8).unwrap();
        vast.grow(usize::MAX / 16);
        assert_eq!(account.held(), usize::MAX / 8 + usize::MAX / 16 + 7);
    }
}

#[test]
fn nothing_is_always_to_be_had() {
    let account = Account::root("full").with_limit(Some(0));
    let mut nothing = account.try_reserve(0).unwrap();
    nothing.try_grow(0).unwrap();
    nothing.grow(0);
    nothing.shrink(0);
    nothing.resize(0).unwrap();
    let none = nothing.split(0);
    nothing.merge(none).unwrap();
    assert_eq!((nothing.bytes(), figures(&account)), (0, (0, 0, 0, 0)));
}

#[test]
fn growing_beyond_limits_is_charged_and_marked_at_each_limit_that_it_passes() {
    let process = Account::root("process").with_limit(Some(1000));
    let narrow = process.child("narrow").with_limit(Some(500));
    let free = narrow.child("free");
    let mut reservation = free.try_reserve(300).unwrap();
    reservation.grow(100);
    assert_eq!((narrow.overcommitted(), narrow.held()), (0, 400), "there was room");
    reservation.grow(200);
    assert_eq!(figures(&free), (600, 600, 0, 0));
    assert_eq!(figures(&narrow), (600, 600, 0, 100));
    assert_eq!(figures(&process), (600, 600, 0, 0));
    reservation.grow(450);
    assert_eq!((narrow.overcommitted(), process.overcommitted()), (550, 50));
    assert_eq!((narrow.peak(), process.peak()), (1050, 1050));
    // Until it is below its limit again it refuses all else.
    assert_eq!(process.try_reserve(1).unwrap_err().account(), Some(&process));
    reservation.shrink(550);
    assert!(free.try_reserve(1).is_err());
    reservation.shrink(1);
    assert_eq!(free.try_reserve(1).map(|one| one.bytes()).unwrap(), 1);
    drop(reservation);
    assert_eq!((process.held(), process.reserved(), process.overcommitted()), (0, 0, 50));
}

#[test]
fn growing_beyond_limits_is_told_among_what_closed_accounts_leave() {
    let process = Account::root("process");
    for _ in 0..2 {
        process.child("query").with_limit(Some(10)).reservation().grow(15);
    }
    let snapshot = process.snapshot();
    assert_eq!((snapshot.closed[0].overcommitted_bytes, snapshot.overcommitted_bytes), (10, 0));
    let mut left = 0;
    process.walk(|_, seen| {
        if let cenote::inspect::Seen::Closed(closed) = seen {
            left += closed.overcommitted();
        }
    });
    assert_eq!(left, 10);
    assert_eq!(snapshot.merged().children[0].overcommitted_bytes, 10);
}

#[test]
fn what_is_split_off_is_given_back_by_itself() {
    let account = Account::root("account").child("child");
    let mut whole = account.try_reserve(100).unwrap();
    let part = whole.split(30);
    assert_eq!((whole.bytes(), part.bytes(), account.held()), (70, 30, 100));
    drop(whole);
    assert_eq!(figures(&account), (30, 30, 0, 0));
    drop(part);
    assert_eq!(figures(&account), (0, 0, 0, 0));
}

#[test]
fn only_what_is_on_the_same_account_is_merged() {
    let account = Account::root("account");
    let mut one = account.try_reserve(1).unwrap();
    one.merge(account.clone().try_reserve(2).unwrap()).unwrap();
    let foreign = account.child("child").try_reserve(4).unwrap();
    let foreign = one.merge(foreign).unwrap_err();
    assert_eq!((one.bytes(), foreign.bytes(), account.held()), (3, 4, 7));
    assert_eq!(format!("{foreign:?}"), r#"Reservation { account: "account/child", bytes: 4 }"#);
    drop(foreign);
    assert_eq!(figures(&account), (3, 3, 0, 0));
}

#[test]
fn more_than_there_is_cannot_be_split_off_or_given_back() {
    let account = Account::root("account");
    let mut few = account.try_reserve(10).unwrap();
    let split = catch_unwind(AssertUnwindSafe(|| few.split(11))).unwrap_err();
    assert_eq!(split.downcast_ref::<String>().unwrap(), "11 of 10 reserved bytes");
    assert!(catch_unwind(AssertUnwindSafe(|| few.shrink(usize::MAX))).is_err());
    assert_eq!((few.bytes(), figures(&account)), (10, (10, 10, 0, 0)));
}

#[test]
fn a_reservation_is_all_that_an_account_needs_to_live() {
    let process = Account::root("process");
    let reservation = process.child("query").try_reserve(10).unwrap();
    assert_eq!(process.snapshot().children[0].reserved_bytes, 10);
    assert_eq!(reservation.account().path(), "process/query");
    thread::spawn(move || drop(reservation)).join().unwrap();
    let snapshot = process.snapshot();
    assert_eq!((snapshot.children.len(), snapshot.closed[0].name.as_str()), (0, "query"));
    assert_eq!((snapshot.closed[0].peak_bytes, process.held()), (10, 0));
}

#[test]
fn reservations_of_accounts_of_every_kind_come_and_go_on_all_threads() {
    const LIMIT: usize = 1 << 20;
    let root = Account::root("root").with_limit(Some(LIMIT));
    let accounts = [root.child("own"), root.shared_child("shared"), root.clone()];
    // Some threads are owners, by their pools.
    thread::scope(|scope| {
        for number in 0..6 {
            let (account, root) = (accounts[number % 3].clone(), &root);
            scope.spawn(move || {
                let pool = (number < 3).then(|| Pool::on(&account));
                let mut kept = account.reservation();
                for step in 0..2000 {
                    if let Ok(mut taken) = account.try_reserve(1 + step * 37 % 300_000) {
                        let half = taken.split(taken.bytes() / 2);
                        kept.merge(half).unwrap();
                    }
                    assert!(root.reserved() <= LIMIT);
                    if kept.bytes() > LIMIT / 8 {
                        let all = kept.split(kept.bytes());
                        if step % 64 == 0 {
                            thread::spawn(move || drop(all)).join().unwrap();
                        }
                    }
                }
                drop(pool);
            });
        }
    });
    for account in accounts.iter().chain([&root]) {
        assert_eq!((account.held(), account.reserved(), account.live()), (0, 0, 0));
        assert!(account.overcommitted() == 0 && account.peak() <= LIMIT);
    }
}

#[test]
fn snapshots_tell_what_is_reserved_and_their_text_has_a_column_where_anything_is() {
    let process = Account::root("process");
    let tables = process.child("tables");
    assert!(!process.snapshot().to_string().contains("reserved"));
    let _reservation = tables.try_reserve(2 << 20).unwrap();
    let snapshot = process.snapshot();
    assert_eq!((snapshot.reserved_bytes, snapshot.held_bytes), (2 << 20, 2 << 20));
    assert_eq!(snapshot.children[0].reserved_bytes, 2 << 20);
    let text = snapshot.to_string();
    let column = text.find("reserved").expect("a column") + "reserved".len();
    assert!(text.starts_with("account ") && text.lines().count() == 3, "{text}");
    for line in text.lines().skip(1) {
        assert!(
            line[..column].ends_with("    2.0 MiB") || line[..column].ends_with("2 MiB"),
            "{text}"
        );
    }
}

#[cfg(feature = "serde")]
#[test]
fn what_is_reserved_is_a_field_for_serde() {
    let process = Account::root("process").with_limit(Some(5));
    let mut reservation = process.try_reserve(3).unwrap();
    reservation.grow(4);
    let value = serde_json::to_value(process.snapshot()).unwrap();
    assert_eq!((&value["reserved_bytes"], &value["overcommitted_bytes"]), (&7.into(), &2.into()));
}
