//! A table against a simple model, and when it grows, shrinks and goes.

use super::*;
use crate::debug::Watch;
use crate::{Account, Faulty, System};
use alloc::collections::BTreeSet;

fn entry(address: usize) -> *mut u64 {
    ptr::without_provenance_mut(address)
}

/// A generator that needs no seed from outside: tests are the same on each run.
fn numbers() -> impl Iterator<Item = usize> {
    core::iter::successors(Some(0x2545_F491_4F6C_DD1D_u64), |&state| {
        let state = state ^ (state << 13);
        let state = state ^ (state >> 7);
        Some(state ^ (state << 17))
    })
    .map(|state| (state >> 8) as usize)
}

#[test]
fn what_is_put_in_is_found_until_it_is_taken_out() {
    let account = Account::root("table");
    let supply = Supply::new("table", System, Some(&account), false, Watch::DEFAULT);
    let table = Table::<*mut u64>::new();
    let mut model = BTreeSet::new();
    let mut numbers = numbers();
    let mut next = || numbers.next().unwrap_or(1);
    for round in 0..60_000_usize {
        // Blocks' addresses: few of them, and far from random.
        let address = (next() % 1500 + 1) << 12;
        let growing = (round / 4000).is_multiple_of(2);
        if next() % 4 < if growing { 3 } else { 1 } {
            if model.insert(address) {
                table.reserve(&supply).unwrap();
                table.insert(entry(address));
            }
        } else {
            let removed = table.remove(address).map(|e| e.addr());
            assert_eq!(removed, model.take(&address));
            table.shrink(&supply);
        }
        assert_eq!(table.len(), model.len());
        assert_eq!(table.find(address).is_some(), model.contains(&address));
        assert!(table.find(address + 16).is_none());
        assert_eq!(account.held(), table.bytes(&supply));
    }
    let all: BTreeSet<usize> = table.iter().map(|e| e.addr()).collect();
    assert_eq!(all, model);
    table.clear(&supply);
    assert_eq!(account.held(), 0);
    assert!(table.is_untouched() && table.find(1 << 12).is_none());
}

#[test]
fn a_table_that_empties_takes_less_memory_again() {
    let supply = Supply::new("table", System, None, false, Watch::DEFAULT);
    let table = Table::<*mut u64>::new();
    for n in 1..=10_000 {
        table.reserve(&supply).unwrap();
        table.insert(entry(n << 12));
    }
    let most = table.bytes(&supply);
    for n in 1..=9_990 {
        assert!(table.remove(n << 12).is_some());
        table.shrink(&supply);
    }
    assert!(table.bytes(&supply) <= 1024, "{most} -> {}", table.bytes(&supply));
    assert_eq!(table.iter().count(), 10);
    table.clear(&supply);
}

#[test]
fn a_refused_table_changes_nothing() {
    let source = Faulty::new(System);
    let supply = Supply::new("table", &source, None, false, Watch::DEFAULT);
    let table = Table::<*mut u64>::new();
    source.fail_after(0, false);
    assert!(table.reserve(&supply).is_err());
    assert!(table.is_untouched());
    for n in 1..=32 {
        table.reserve(&supply).unwrap();
        table.insert(entry(n << 12));
    }
    source.fail_after(0, true);
    assert!(table.reserve(&supply).is_err());
    assert!((1..=32).all(|n| table.find(n << 12).is_some()));
    for n in 1..=32 {
        assert!(table.remove(n << 12).is_some());
        table.shrink(&supply);
    }
    table.clear(&supply);
}

/// What takes three words, and finds itself by the first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wide {
    address: usize,
    payload: [usize; 2],
}

impl Entry for Wide {
    const FREE: Self = Self { address: 0, payload: [0; 2] };

    fn start(&self) -> *mut u8 {
        ptr::without_provenance_mut(self.address)
    }
}

fn wide(address: usize) -> Wide {
    Wide { address, payload: [address + 1, address + 2] }
}

/// Slots of a table: each takes so many bytes, and a block is all taken by slots.
fn slots<E: Entry>(table: &Table<E>) -> usize {
    table.slots.get() as usize
}

#[test]
fn the_first_table_is_as_large_as_the_smallest_block_and_no_larger() {
    let supply = Supply::new("table", System, None, false, Watch::DEFAULT);
    let pointers = Table::<*mut u64>::new();
    assert_eq!((pointers.bytes(&supply), slots(&pointers)), (0, 0));
    pointers.reserve(&supply).unwrap();
    assert_eq!(slots(&pointers), crate::Blocks::SMALLEST / size_of::<*mut u64>());
    pointers.clear(&supply);
    let table = Table::<Wide>::new();
    table.reserve(&supply).unwrap();
    let fit = crate::Blocks::SMALLEST / size_of::<Wide>();
    assert!(slots(&table) <= fit && fit < slots(&table) * 2);
    assert!(slots(&table).is_power_of_two());
    table.clear(&supply);
}

#[test]
fn a_table_grows_when_its_quarters_are_taken_and_shrinks_below_an_eighth() {
    /// Fills a table of so many quarters, and empties it.
    fn check<E: Entry>(entry: impl Fn(usize) -> E) {
        let supply = Supply::new("table", System, None, false, Watch::DEFAULT);
        let table = Table::<E>::new();
        let first = first_slots::<E>();
        let mut expected = first;
        for n in 1..=200 {
            table.reserve(&supply).unwrap();
            if n * 4 > expected * E::QUARTERS {
                expected *= 2;
            }
            assert_eq!(slots(&table), expected, "room for {n}");
            table.insert(entry(n << 12));
            assert_eq!(slots(&table), expected);
        }
        for n in (1..=200).rev() {
            assert!(table.remove(n << 12).is_some());
            table.shrink(&supply);
            if expected > first && n - 1 < expected / 8 {
                expected /= 2;
            }
            assert_eq!(slots(&table), expected, "{} left", n - 1);
        }
        assert_eq!(slots(&table), first);
        table.clear(&supply);
    }
    check(entry);
    check(wide);
}

#[test]
fn one_alone_is_at_the_home_that_its_address_leads_to() {
    let supply = Supply::new("table", System, None, false, Watch::DEFAULT);
    for others in [0, 100, 1000] {
        let table = Table::<*mut u64>::new();
        // What was there before does not matter, but for how many slots there are.
        for n in 1..=others {
            table.reserve(&supply).unwrap();
            table.insert(entry(n << 12));
        }
        for n in 1..=others {
            table.remove(n << 12);
        }
        for address in [1 << 12, 0x7fff_1234_5000, 77 << 16, 8] {
            table.reserve(&supply).unwrap();
            table.insert(entry(address));
            let (start, shift) = table.slots();
            let home = (mix(address) >> shift) as usize;
            assert!(home < slots(&table));
            // SAFETY: below the number of slots.
            let at = unsafe { start.add(home) };
            // SAFETY: likewise; all slots were written.
            assert_eq!(unsafe { at.read() }.addr(), address);
            assert_eq!(table.remove(address).map(|found| found.addr()), Some(address));
        }
        table.clear(&supply);
    }
}

#[test]
fn what_lies_side_by_side_has_homes_all_over_the_table() {
    for shift in [8, 12, 16] {
        let homes: BTreeSet<u64> = (1..=1000).map(|n| mix(n << shift) >> 54).collect();
        // As many as chance would give them.
        assert!(homes.len() > 600, "{} homes of 1024 for 1000 neighbours", homes.len());
    }
}

#[test]
fn a_crowded_table_loses_nothing_whatever_is_taken_out_of_it() {
    let supply = Supply::new("table", System, None, false, Watch::DEFAULT);
    let mut numbers = numbers();
    let mut next = |bound: usize| numbers.next().unwrap_or(1) % bound;
    for _ in 0..200 {
        let table = Table::<Wide>::new();
        let mut model = BTreeSet::new();
        for _ in 0..200 {
            // Few slots, three quarters of them taken at times: nearly all are pushed aside.
            let address = next(12) * 8 + 8;
            if model.insert(address) {
                table.reserve(&supply).unwrap();
                table.insert(wide(address));
            } else if next(3) == 0 {
                table.replace(Wide { payload: [7; 2], ..wide(address) });
                assert_eq!(table.find(address).map(|found| found.payload), Some([7; 2]));
                table.replace(wide(address));
            } else {
                model.remove(&address);
                assert_eq!(table.remove(address), Some(wide(address)));
            }
            for address in (8..=96).step_by(8) {
                let expected = model.contains(&address).then(|| wide(address));
                assert_eq!(table.find(address), expected);
            }
        }
        // One that is not there has no place to take.
        table.replace(wide(8000));
        assert_eq!((table.find(8000), table.len()), (None, model.len()));
        table.clear(&supply);
    }
}

#[test]
fn an_empty_table_is_given_back_when_it_is_trimmed_and_no_other() {
    let account = Account::root("root").child("table");
    let supply = Supply::new("table", System, Some(&account), false, Watch::DEFAULT);
    let table = Table::<*mut u64>::new();
    table.reserve(&supply).unwrap();
    table.insert(entry(4096));
    table.set_note(7);
    table.trim(&supply);
    assert!(!table.is_untouched());
    assert_eq!((table.len(), table.note()), (1, 7));
    assert!(table.find(4096).is_some() && account.held() > 0);
    table.remove(4096);
    assert_eq!(table.iter().count(), 0);
    table.trim(&supply);
    assert!(table.is_untouched());
    assert_eq!((account.held(), table.note(), table.bytes(&supply)), (0, 0, 0));
}
