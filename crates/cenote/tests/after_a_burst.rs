//! What a burst took goes back, whatever lies between its blocks: a server that was asked for much
//! once does not stay large for months.

// A checker sees each block by itself.
#![cfg(all(feature = "std", target_os = "linux", not(miri), not(cenote_asan)))]

mod common;

use cenote::{Blocks, Pool};

/// The process's resident bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}

/// A pool with a small object, and one of 20,000 bytes, all written.
fn request() -> Pool {
    let pool = Pool::new();
    pool.alloc([1_u8; 512]);
    pool.alloc_slice_copy(&[1_u8; 20_000]);
    pool
}

/// Every tenth request of the burst leaves something that stays, such as an entry of a cache: on the
/// process's heap, and in pools of its own.
#[test]
fn a_burst_does_not_stay_resident_because_of_what_was_made_meanwhile() {
    common::plain();
    const REQUESTS: usize = 4_000;
    let mut stays = Vec::with_capacity(REQUESTS);
    let mut pools = Vec::with_capacity(REQUESTS);
    let before = resident();
    for number in 0..REQUESTS {
        pools.push(request());
        if number % 10 == 0 {
            let pool = Pool::builder().first_block(4096).build().unwrap();
            pool.alloc(number);
            stays.push((pool, Box::new([number; 8])));
        }
    }
    let peak = resident() - before;
    assert!(peak > REQUESTS * 20_000, "{peak}");
    drop(pools);
    Blocks::trim();
    let left = resident() - before;
    // What stays has a page each; a MiB of each size may wait for the next burst elsewhere.
    let stay = stays.len() * (4096 + 256);
    assert!(left < stay + (3 << 20), "{left} of {peak} bytes, {stay} of which stay");
}
