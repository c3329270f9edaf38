//! Proves that accounts tell the truth: in random trees under random charges every figure is
//! that of a simple model, a refusal changes nothing, and an account lives as long as it is
//! needed and no longer.

mod common;

use cenote::{Account, Pool, Reservation, System};
use common::{Counting, Dice, seed};
use std::alloc::Layout;
use std::ptr::NonNull;
use std::thread;

/// What an account should say.
struct Model {
    account: Account,
    parent: Option<usize>,
    limit: Option<usize>,
    held: usize,
    peak: usize,
    live: usize,
    created: u64,
    refused: u64,
    reserved: usize,
    overcommitted: u64,
    exact: bool,
}

struct Tree(Vec<Model>);

/// More than a pool's table of large objects takes here, in bytes.
const TABLE: usize = 16 << 10;

impl Tree {
    fn grow(dice: &mut Dice, count: usize) -> Self {
        let mut tree = Tree(Vec::new());
        let new = |account, parent, exact| Model {
            account,
            parent,
            limit: None,
            held: 0,
            peak: 0,
            live: 0,
            created: 0,
            refused: 0,
            reserved: 0,
            overcommitted: 0,
            exact,
        };
        tree.0.push(new(Account::root("root"), None, false));
        for number in 1..count {
            let parent = dice.below(number);
            let above = &tree.0[parent].account;
            let shared = dice.once_in(8);
            let account = if shared {
                above.shared_child(format!("s{number}"))
            } else {
                above.child(format!("a{number}"))
            };
            tree.0.push(new(account, Some(parent), !shared));
            if shared {
                // What threads have in reserve of it counts as held in the peaks above, too.
                let above: Vec<_> = tree.above(parent).collect();
                for at in above {
                    tree.0[at].exact = false;
                }
            }
        }
        tree
    }

    fn above(&self, index: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(index), |&at| self.0[at].parent)
    }

    /// The account that would refuse a charge, the lowest first.
    fn full(&self, index: usize, size: usize) -> Option<usize> {
        self.above(index).find(|&at| {
            let node = &self.0[at];
            node.limit.is_some_and(|limit| size > limit.saturating_sub(node.held))
        })
    }

    fn charge(&mut self, index: usize, size: isize) {
        let path: Vec<_> = self.above(index).collect();
        for at in path {
            let node = &mut self.0[at];
            node.held = node.held.checked_add_signed(size).expect("no less than nothing");
            node.peak = node.peak.max(node.held);
        }
    }

    /// What is reserved at `index` changes, and is held there.
    fn reserve(&mut self, index: usize, size: isize) {
        self.charge(index, size);
        let path: Vec<_> = self.above(index).collect();
        for at in path {
            let reserved = &mut self.0[at].reserved;
            *reserved = reserved.checked_add_signed(size).expect("no less than nothing");
        }
    }

    /// `size` bytes are going to be reserved whatever the limits.
    fn overcommit(&mut self, index: usize, size: usize) {
        let path: Vec<_> = self.above(index).collect();
        for at in path {
            let node = &mut self.0[at];
            let room = node.limit.map_or(size, |limit| limit.saturating_sub(node.held));
            node.overcommitted += size.saturating_sub(room) as u64;
        }
    }

    fn check(&self) {
        for model in &self.0 {
            let (account, name) = (&model.account, model.account.path());
            assert_eq!(account.held(), model.held, "held by {name}");
            assert_eq!(account.live(), model.live, "live on {name}");
            assert_eq!(account.created(), model.created, "created on {name}");
            assert_eq!(account.refused(), model.refused, "refused by {name}");
            assert_eq!(account.limit(), model.limit, "limit of {name}");
            assert_eq!(account.reserved(), model.reserved, "reserved of {name}");
            assert_eq!(account.overcommitted(), model.overcommitted, "overcommitted by {name}");
            let (peak, least) = (account.peak(), model.peak);
            assert!(peak >= least, "peak of {name}: {peak}, not {least}");
            // While a pool's table of large objects grows there are two for a moment.
            let most = if model.exact { model.peak + TABLE } else { usize::MAX };
            assert!(account.peak() <= most, "peak of {name}: {} of {most}", account.peak());
        }
    }
}

/// A pool, its account's index, and its large objects.
type Used<'c> = (Pool<&'c Counting>, usize, Vec<(NonNull<u8>, usize)>);

/// One step of one reservation, on this thread or on another.
fn reserve_run(
    dice: &mut Dice,
    tree: &mut Tree,
    all: &mut Vec<(Reservation, usize)>,
    chosen: usize,
) {
    let (mut reservation, index) = all.swap_remove(chosen);
    let (had, size) = (reservation.bytes(), dice.below(600_000));
    let step = dice.below(6);
    if step == 0 {
        // Whatever the limits, so it is not to be much.
        tree.overcommit(index, size / 8);
    }
    let other = all.iter().position(|(_, at)| step == 4 && *at == index);
    let other = other.map(|at| all.swap_remove(at).0);
    let work = || {
        match step {
            0 => reservation.grow(size / 8),
            1 => return reservation.try_grow(size),
            2 => return reservation.resize(size),
            3 => all.push((reservation.split(size % (had + 1)), index)),
            4 => other.into_iter().for_each(|other| reservation.merge(other).expect("its account")),
            _ => reservation.shrink(had),
        }
        Ok(())
    };
    let outcome = if dice.once_in(8) {
        thread::scope(|scope| scope.spawn(work).join().unwrap())
    } else {
        work()
    };
    let grown = if step == 1 { size } else { size.saturating_sub(had) };
    let full = if matches!(step, 1 | 2) { tree.full(index, grown) } else { None };
    assert_eq!(outcome.is_err(), full.is_some(), "step {step} of {size} bytes, {had} before");
    if let Err(error) = outcome {
        let by = tree.0.iter().position(|model| Some(&model.account) == error.account()).unwrap();
        assert!(tree.above(index).any(|at| at == by), "not above: {error}");
        tree.0[by].refused += 1;
        assert_eq!((reservation.bytes(), error.size()), (had, grown));
    }
    // What was split off, or merged, was charged before.
    if !matches!(step, 3 | 4) {
        tree.reserve(index, reservation.bytes() as isize - had as isize);
    }
    all.push((reservation, index));
}

/// Pools whose every block is a large object of the size asked for, so that what is charged is
/// known: all but the table.
fn model_run(dice: &mut Dice, steps: usize) {
    let mut tree = Tree::grow(dice, 12);
    let counting = Counting::new();
    let mut pools: Vec<Used<'_>> = Vec::new();
    let mut reservations: Vec<(Reservation, usize)> = Vec::new();
    for step in 0..steps {
        match dice.below(16) {
            12 => {
                let index = dice.below(tree.0.len());
                reservations.push((tree.0[index].account.reservation(), index));
            }
            13..=15 if !reservations.is_empty() => {
                let chosen = dice.below(reservations.len());
                reserve_run(dice, &mut tree, &mut reservations, chosen);
            }
            0 | 1 if pools.len() < 20 => {
                let index = dice.below(tree.0.len());
                let account = &tree.0[index].account;
                let pool = Pool::builder().account(account).source(&counting).build().unwrap();
                tree.0[index].live += 1;
                tree.0[index].created += 1;
                pools.push((pool, index, Vec::new()));
            }
            2 if !pools.is_empty() => {
                let (pool, index, _) = pools.swap_remove(dice.below(pools.len()));
                tree.charge(index, -(pool.held_bytes() as isize));
                tree.0[index].live -= 1;
                drop(pool);
            }
            3 => {
                let index = dice.below(tree.0.len());
                let limit = (!dice.once_in(3)).then(|| dice.below(4 << 20));
                // What this thread has in reserve was charged under the limit before.
                Account::settle();
                tree.0[index].account.set_limit(limit);
                tree.0[index].limit = limit;
            }
            4 if !pools.is_empty() => {
                let chosen = dice.below(pools.len());
                let (pool, index, objects) = &mut pools[chosen];
                let before = pool.held_bytes();
                pool.reset();
                objects.clear();
                tree.charge(*index, pool.held_bytes() as isize - before as isize);
            }
            5 | 6 if !pools.is_empty() => {
                let chosen = dice.below(pools.len());
                let (pool, index, objects) = &mut pools[chosen];
                if !objects.is_empty() {
                    let (start, size) = objects.swap_remove(dice.below(objects.len()));
                    let before = pool.held_bytes();
                    // SAFETY: nothing refers to the object.
                    assert!(unsafe { pool.free_large(start) });
                    // The table may have become smaller along with it.
                    let lost = before - pool.held_bytes();
                    assert!((size..size + TABLE).contains(&lost));
                    tree.charge(*index, -(lost as isize));
                }
            }
            7 => Account::settle(),
            _ if !pools.is_empty() => {
                let chosen = dice.below(pools.len());
                let (pool, index, objects) = &mut pools[chosen];
                let before = pool.held_bytes();
                let size = 70_000 + dice.below(500_000);
                match pool.try_alloc_layout(Layout::from_size_align(size, 16).unwrap()) {
                    Ok(start) => {
                        let gained = pool.held_bytes() - before;
                        assert!(gained >= size);
                        // The object first: a table that comes along may be refused then.
                        assert_eq!(
                            tree.full(*index, size).map(|at| tree.0[at].account.path()),
                            None
                        );
                        objects.push((start, size));
                        tree.charge(*index, gained as isize);
                    }
                    Err(error) => {
                        assert_eq!(pool.held_bytes(), before, "a refusal took memory");
                        let by = tree.0.iter().position(|m| Some(&m.account) == error.account());
                        let by = by.unwrap_or_else(|| panic!("step {step}: {error}"));
                        // Of several that are full, any may be named; it must be one of them,
                        // be it for the table.
                        let model = &tree.0[by];
                        let room = model.limit.unwrap().saturating_sub(model.held);
                        assert!(tree.above(*index).any(|at| at == by), "not above: {error}");
                        assert!(room < size + TABLE, "step {step}: room for {room}: {error}");
                        if room >= size {
                            assert!(error.size() < size, "step {step}: room for {room}: {error}");
                        }
                        tree.0[by].refused += 1;
                    }
                }
            }
            _ => {}
        }
        tree.check();
        assert_eq!(counting.bytes(), tree.0[0].held - tree.0[0].reserved);
    }
    drop((pools, reservations));
    assert_eq!(counting.bytes(), 0);
    for model in &mut tree.0 {
        (model.held, model.live, model.reserved) = (0, 0, 0);
    }
    tree.check();
}

#[test]
fn every_figure_in_a_random_tree_is_that_of_a_simple_model() {
    common::plain();
    let first = seed("model");
    for case in 0..30 {
        model_run(&mut Dice::new(first.wrapping_add(case)), 700);
    }
}

/// What a thread gives back is not its to keep while an account above has more than its limit: it
/// would pay from it for what there is no room for.
#[test]
fn nothing_is_had_of_an_account_that_is_beyond_its_limit() {
    common::plain();
    let root = Account::root("root").with_limit(Some(4 << 20));
    let (shared, other) = (root.shared_child("shared"), root.child("other"));
    let mut small = shared.try_reserve(100_000).unwrap();
    let mut large = other.reservation();
    // Elsewhere, since this thread has a reserve of one account at a time.
    thread::scope(|scope| scope.spawn(|| large.grow(4 << 20)).join().unwrap());
    small.shrink(50_000);
    let error = shared.try_reserve(50_000).unwrap_err();
    assert_eq!(error.account(), Some(&root));
    assert_eq!(root.held(), (4 << 20) + 50_000);
    large.shrink(100_000);
    drop(shared.try_reserve(50_000).expect("within the limit again"));
}

#[test]
fn nothing_is_had_of_an_account_whose_limit_was_lowered_below_what_it_holds() {
    common::plain();
    let root = Account::root("root");
    let shared = root.shared_child("shared");
    let mut small = shared.try_reserve(100_000).unwrap();
    Account::settle();
    root.set_limit(Some(50_000));
    for _ in 0..2 {
        let error = shared.try_reserve(20_000).unwrap_err();
        assert_eq!(error.account(), Some(&root));
        small.shrink(20_000);
    }
    assert_eq!(root.held(), 60_000);
    let error = shared.try_reserve(20_000).unwrap_err();
    assert_eq!(error.account(), Some(&root));
    small.shrink(40_000);
    drop(shared.try_reserve(20_000).expect("within the limit again"));
}

#[test]
fn a_limit_anywhere_up_the_tree_refuses_and_changes_nothing() {
    for level in 0..4 {
        let root = Account::root("0");
        let mut accounts = vec![root];
        for depth in 1..4 {
            accounts.push(accounts[depth - 1].child(depth.to_string()));
        }
        let pool = Pool::on(&accounts[3]);
        pool.alloc_bytes(1000);
        accounts[level].set_limit(Some(20_000));
        let figures = |account: &Account| {
            let snapshot = account.snapshot();
            (snapshot.held_bytes, snapshot.peak_bytes, snapshot.created, snapshot.recycled_bytes)
        };
        let before: Vec<_> = accounts.iter().map(figures).collect();
        for tries in 1..=5 {
            let error = pool.try_alloc_bytes(100_000).unwrap_err();
            assert_eq!(error.account(), Some(&accounts[level]));
            assert!(error.to_string().contains("limit of 20000 bytes"), "{error}");
            assert!(error.to_string().contains(&accounts[level].path()), "{error}");
            for (depth, account) in accounts.iter().enumerate() {
                assert_eq!(account.refused(), if depth == level { tries } else { 0 });
            }
        }
        let after: Vec<_> = accounts.iter().map(figures).collect();
        // A root's peak may have what its thread had in reserve; the rest is exact.
        assert_eq!(after[1..], before[1..], "limit at level {level}");
        assert_eq!((after[0].0, after[0].3), (before[0].0, before[0].3));
        accounts[level].set_limit(None);
        assert_eq!(pool.try_alloc_bytes(100_000).unwrap().len(), 100_000);
    }
}

#[test]
fn on_one_thread_a_limit_is_exact_to_the_byte() {
    common::plain();
    for depth in 0..3 {
        let root = Account::root("root");
        let mut account = root.clone();
        for _ in 0..depth {
            account = account.child("below");
        }
        for limited in [&root, &account] {
            limited.set_limit(Some(1 << 20));
            let pool = Pool::builder().account(&account).source(System).build().unwrap();
            // The second one takes the table that later ones stand in.
            pool.alloc_layout(Layout::from_size_align(100_000, 16).unwrap());
            pool.alloc_layout(Layout::from_size_align(100_000, 16).unwrap());
            let left = (1 << 20) - pool.held_bytes();
            let exactly = Layout::from_size_align(left, 16).unwrap();
            let more = Layout::from_size_align(left + 1, 16).unwrap();
            for _ in 0..3 {
                pool.try_alloc_layout(more).unwrap_err();
                let start = pool.try_alloc_layout(exactly).unwrap();
                assert_eq!((limited.held(), root.held()), (1 << 20, 1 << 20));
                pool.try_alloc_layout(Layout::new::<[u8; 100_000]>()).unwrap_err();
                // SAFETY: nothing refers to it.
                assert!(unsafe { pool.free_large(start) });
            }
            limited.set_limit(None);
        }
    }
}

#[test]
fn what_a_thread_has_in_reserve_of_one_account_does_not_refuse_it_another() {
    common::plain();
    let root = Account::root("root").with_limit(Some(1 << 20));
    let shared = root.shared_child("shared");
    let direct = Pool::builder().account(&root).source(System).build().unwrap();
    let below = Pool::builder().account(&shared).source(System).build().unwrap();
    let bytes = |size| Layout::from_size_align(size, 16).unwrap();
    // The shared account takes its quantum when there is room for one...
    below.alloc_layout(bytes(70_000));
    direct.alloc_layout(bytes(410_000));
    direct.alloc_layout(bytes(420_000));
    below.alloc_layout(bytes(20_000));
    // ... and the root is near its limit when it is charged by itself.
    let left = (1 << 20) - root.held();
    assert_eq!(root.held(), direct.held_bytes() + below.held_bytes());
    let outcome = direct.try_alloc_layout(bytes(left));
    assert!(outcome.is_ok(), "{left} bytes left, all asked for: {}", outcome.unwrap_err());
    assert_eq!(root.held(), 1 << 20);
}

#[test]
fn nor_does_what_it_has_in_reserve_of_an_account_under_the_one_that_is_charged() {
    common::plain();
    let worker = Account::root("process").child("worker").with_limit(Some(8 << 20));
    let tasks = worker.shared_child("tasks");
    let task = Pool::builder().account(&tasks).source(System).build().unwrap();
    let own = Pool::builder().account(&worker).source(System).build().unwrap();
    let bytes = |size| Layout::from_size_align(size, 16).unwrap();
    own.alloc_layout(bytes(30_000));
    own.alloc_layout(bytes(40_000));
    task.alloc_layout(bytes(70_000));
    let left = (8 << 20) - worker.held();
    assert_eq!(worker.held(), own.held_bytes() + task.held_bytes());
    let outcome = own.try_alloc_layout(bytes(left));
    assert!(outcome.is_ok(), "{left} bytes left, all asked for: {}", outcome.unwrap_err());
    assert_eq!(worker.held(), 8 << 20);
}

#[test]
fn a_peak_is_noticed_whichever_thread_held_it() {
    let root = Account::root("root");
    let account = root.child("middle").child("leaf");
    let middle = account.parent().unwrap();
    drop(Pool::on(&account));
    let other = account.clone();
    let far = move || Pool::on(&other).alloc_bytes(50_000).len();
    thread::spawn(far).join().unwrap();
    assert_eq!(account.held(), 0);
    assert!(account.peak() >= 50_000, "{}", account.peak());
    assert!(middle.peak() >= 50_000, "{}", middle.peak());
    assert!(root.peak() >= 50_000, "{}", root.peak());
}

#[test]
fn a_peak_is_of_all_that_was_held_at_once_by_the_owner_and_by_others() {
    let worker = Account::root("process").child("worker");
    // Charged atomically, as other threads do it: tasks that may run anywhere.
    let tasks = worker.shared_child("tasks");
    let task = Pool::builder().account(&tasks).source(System).build().unwrap();
    task.alloc_bytes(100_000);
    // Charged by plain stores: the worker's own thread.
    let own = Pool::builder().account(&worker).source(System).build().unwrap();
    own.alloc_bytes(100_000);
    let held = worker.held();
    assert!(held >= 200_000);
    drop(own);
    drop(task);
    assert!(worker.peak() >= held, "{} of {held}", worker.peak());
}

#[test]
fn accounts_between_a_pools_and_the_root_have_peaks_too() {
    let process = Account::root("process");
    let connection = process.child("worker").child("connection");
    let request = connection.child("request");
    let pool = Pool::on(&request);
    pool.alloc_bytes(50_000);
    let held = pool.held_bytes();
    drop(pool);
    assert_eq!((request.peak(), connection.peak()), (held, held));
    assert_eq!(connection.parent().unwrap().peak(), held);
    assert_eq!(process.held(), 0);
}

#[test]
fn a_limit_below_what_is_held_refuses_until_less_is_held() {
    let account = Account::root("root").child("shrunk");
    let pool = Pool::on(&account);
    let large = NonNull::from(pool.alloc_bytes(100_000)).cast();
    account.set_limit(Some(50_000));
    assert_eq!(account.limit(), Some(50_000));
    assert!(account.held() > 50_000);
    pool.try_alloc_bytes(20_000).unwrap_err();
    // SAFETY: nothing refers to it.
    assert!(unsafe { pool.free_large(large) });
    pool.try_alloc_bytes(20_000).unwrap();
    account.set_limit(Some(0));
    pool.try_alloc_bytes(20_000).unwrap_err();
    account.set_limit(Some(usize::MAX));
    pool.try_alloc_bytes(20_000).unwrap();
}

#[test]
fn a_pool_outlives_every_handle_of_its_account_and_still_names_it() {
    common::plain();
    let pool = {
        let leaf = Account::root("root").child("middle").child("leaf").with_limit(Some(30_000));
        Pool::on(&leaf)
    };
    pool.alloc(1);
    let error = pool.try_alloc_bytes(100_000).unwrap_err();
    drop(pool);
    let leaf = error.account().unwrap().clone();
    drop(error);
    assert_eq!((leaf.path().as_str(), leaf.held(), leaf.live()), ("root/middle/leaf", 0, 0));
    let again = Pool::on(&leaf);
    again.alloc(2);
    let root = leaf.parent().unwrap().parent().unwrap().clone();
    drop(leaf);
    assert_eq!((root.held(), root.snapshot().children.len()), (4096, 1));
    drop(again);
    assert_eq!((root.held(), root.snapshot().children.len()), (0, 0));
}

#[test]
fn an_account_whose_pool_gave_out_a_handle_after_the_last_one_went_lives_on() {
    let root = Account::root("root");
    let pool = Pool::on(&root.child("child"));
    for _ in 0..5 {
        // Each of these is the last handle when it goes.
        let handle = pool.account().unwrap().clone();
        assert_eq!(handle.live(), 1);
    }
    let sent = pool.account().unwrap().clone();
    let sent = thread::spawn(move || Pool::on(&sent)).join().unwrap();
    assert_eq!(sent.account().unwrap().live(), 2);
    drop((pool, sent));
    Account::settle();
    assert_eq!(root.snapshot().children.len(), 0);
}

#[test]
fn a_refused_charge_is_told_where_it_happens_and_nothing_else_is() {
    common::plain();
    use std::sync::Mutex;
    static TOLD: Mutex<Vec<(String, usize)>> = Mutex::new(Vec::new());
    Account::on_refused(|error| {
        let account = error.account().expect("an account refused");
        if account.name() == "told" {
            TOLD.lock().unwrap().push((account.path(), error.size()));
        }
    });
    let account = Account::root("process").child("told").with_limit(Some(10_000));
    let pool = Pool::on(&account);
    pool.alloc(1_u8);
    assert!(TOLD.lock().unwrap().is_empty());
    assert!(pool.try_alloc_bytes(50_000).is_err());
    // The block that was not to be had.
    assert_eq!(*TOLD.lock().unwrap(), [("process/told".to_owned(), 56 << 10)]);
    // Sizes that nobody can have are no account's doing.
    assert!(pool.try_alloc_bytes(usize::MAX).is_err());
    assert_eq!(TOLD.lock().unwrap().len() as u64, account.refused());
}

#[test]
fn accounts_of_one_name_are_told_apart_by_their_numbers() {
    let process = Account::root("process");
    assert_eq!(process.number(), 0);
    let (first, second) = (process.child("connection"), process.child("connection"));
    assert_eq!((first.number(), second.number()), (1, 2));
    drop(first);
    assert_eq!(process.child("connection").number(), 3, "no number is used twice");
    assert_eq!(second.clone().number(), 2);
}

#[test]
fn an_account_is_printed_with_where_it_is_and_what_it_holds() {
    common::plain();
    let child = Account::root("process").child("worker").with_limit(Some(10_000));
    let pool = Pool::on(&child);
    pool.alloc(1);
    let text = format!("{child:?}");
    let wanted = "Account { path: \"process/worker\", held: 4096, limit: Some(10000), live: 1 }";
    assert_eq!(text, wanted);
    assert_eq!(child, child.clone());
    assert_ne!(child, Account::root("process").child("worker"));
    assert_eq!(child.created_at().file(), file!());
}
