//! What accounts say beside what the system says: pools whose blocks are aligned to their size,
//! each kind and size in a process of its own.

#![cfg(all(target_os = "linux", not(miri)))]

use cenote::{Account, Blocks, ChunkPool, ChunkPoolConfig, CountedBox, CountedPool, System};
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::process::Command;

mod common;
use common::Dice;

/// At most so many resident bytes for each that is charged.
const MOST: f64 = 1.10;
/// So many bytes are charged, about.
const BYTES: usize = 64 << 20;

const CASE: &str = "CENOTE_RESIDENT_CASE";

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Pools that fill what they hold, and those of them that are left when half are dropped.
fn measure<P>(size: usize, make: impl Fn(&Account) -> P) {
    let account = Account::root("process");
    let count = BYTES / size;
    // The values' own memory is not the pools' affair: it is touched before.
    let mut pools: Vec<MaybeUninit<P>> = Vec::with_capacity(count);
    // SAFETY: so much room was reserved.
    unsafe { pools.as_mut_ptr().write_bytes(0x5A, count) };
    let before = resident();
    let tell = |what: &str| {
        let (held, more) = (account.held(), resident().saturating_sub(before));
        println!("{what} {held} {more}");
    };
    for _ in 0..count {
        pools.push(MaybeUninit::new(make(&account)));
    }
    tell("live");
    // Half of them, at random.
    let (mut dice, mut dropped) = (Dice::new(7), vec![false; count]);
    for (pool, dropped) in pools.iter_mut().zip(&mut dropped) {
        if dice.below(2) == 0 {
            // SAFETY: it was written above, and is dropped once.
            unsafe { pool.assume_init_drop() };
            *dropped = true;
        }
    }
    Blocks::trim();
    System::trim();
    tell("half");
    for (pool, _) in pools.iter_mut().zip(&dropped).filter(|(_, dropped)| !**dropped) {
        // SAFETY: it was written above, and not dropped with the others.
        unsafe { pool.assume_init_drop() };
    }
    assert_eq!(account.held(), 0);
}

fn counted(size: usize) {
    measure(size, |account| {
        let pool = CountedPool::builder().page(size).account(account).build().unwrap();
        CountedBox::leak(pool.alloc_zeroed_bytes(size - 100)).fill(1);
        pool
    });
}

fn chunks(size: usize, config: ChunkPoolConfig<'static>) {
    let probe = config.clone().cluster_size(size).build().unwrap();
    probe.alloc_layout(Layout::new::<u8>());
    let snapshot = probe.snapshot();
    let (page, pages) = (snapshot.page_size, snapshot.clusters[0].pages.len());
    drop(probe);
    measure(size, |account| {
        let pool = config.clone().cluster_size(size).account(account).build().unwrap();
        for _ in 0..pages {
            let page = pool.alloc_layout(Layout::array::<u8>(page).unwrap());
            // SAFETY: fresh memory of a page.
            unsafe { page.write_bytes(1, snapshot.page_size) };
        }
        pool
    });
}

/// Is the process of a case, where it is told one.
#[test]
fn case() {
    let Ok(case) = std::env::var(CASE) else { return };
    common::plain();
    let (what, size) = case.split_once(' ').unwrap();
    let size = size.parse().unwrap();
    let small = ChunkPool::config().page_size(512).min_chunk_size(16);
    match what {
        "CountedPool" => counted(size),
        "ChunkPool" => chunks(size, small),
        _ => chunks(size, small.descriptors_on_top(true)),
    }
}

#[test]
fn what_is_resident_is_what_accounts_say() {
    if cfg!(any(cenote_asan, feature = "valgrind")) {
        // A checker is to see each block by itself.
        return;
    }
    let mut wrong = Vec::new();
    for pool in ["CountedPool", "ChunkPool", "ChunkPool with descriptors apart, as njs has it"] {
        for size in [4 << 10, 16 << 10, 64 << 10] {
            let out = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "case", "--nocapture", "--test-threads", "1"])
                .env(CASE, format!("{} {size}", pool.split(',').next().unwrap().replace(' ', "-")))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&out.stdout);
            assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
            for what in ["live", "half"] {
                let line = text.lines().find_map(|line| line.split_once(&format!("{what} ")));
                let (held, more) = line.unwrap().1.split_once(' ').unwrap();
                let [held, more] = [held, more].map(|text| text.parse::<f64>().unwrap());
                assert!(held > BYTES as f64 / 3.0, "{held} are charged");
                let ratio = more / held;
                println!("{pool}, {size} B, {what}: {held} B charged, {ratio:.3} times resident");
                if ratio > MOST {
                    wrong.push(format!("{pool}, {size} B, {what}: {ratio:.3}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
