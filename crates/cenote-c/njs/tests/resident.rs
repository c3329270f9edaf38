//! What a pool takes beside what the system says, in a process of its own for each size. What it takes
//! are its clusters, which `stat` tells, for each the block that its descriptors are in, and the table in
//! which they are found.

#![cfg(target_os = "linux")]

use cenote::{BlockSource, Blocks, System};
use cenote_njs::{Stat, njs_mp_alloc, njs_mp_create, njs_mp_destroy, njs_mp_free, njs_mp_stat};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::process::Command;

const CASE: &str = "CENOTE_RESIDENT_CASE";
/// At most so many resident bytes for each that is taken.
const MOST: f64 = 1.10;
const BYTES: usize = 64 << 20;
const PAGE: usize = 512;

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Is the process of a case, where it is told one.
#[test]
fn case() {
    let Ok(size) = std::env::var(CASE) else { return };
    let size: usize = size.parse().unwrap();
    let pool = njs_mp_create(size, 128, PAGE, 16);
    let mut objects = vec![std::ptr::dangling_mut(); BYTES / PAGE];
    let before = resident();
    let tell = |what: &str| {
        let mut stat = Stat::default();
        // SAFETY: the pool is there, and so is the place for what it says.
        unsafe { njs_mp_stat(pool, &raw mut stat) };
        // A header and a descriptor for each page: see `ChunkPoolConfig::descriptors_on_top`.
        let beside = Layout::from_size_align(64 + 24 * (size / PAGE), 8).unwrap();
        // Four slots of two words for each that there was.
        let table = 64 * (BYTES / size);
        let taken = stat.size + stat.nblocks * Blocks.fit(beside) + table;
        println!("{what} {taken} {}", resident().saturating_sub(before));
    };
    for object in &mut objects {
        // SAFETY: the pool is there.
        *object = unsafe { njs_mp_alloc(pool, PAGE) };
        // SAFETY: so many bytes are this test's.
        unsafe { object.cast::<u8>().write_bytes(1, PAGE) };
    }
    tell("live");
    let mut clusters = BTreeMap::<usize, Vec<_>>::new();
    for object in objects {
        clusters.entry(object.addr() & !(size - 1)).or_default().push(object);
    }
    for (number, objects) in clusters.values().enumerate() {
        // As good as by chance: the highest bit of a multiple of an odd number.
        if (number as u32).wrapping_mul(0x9E37_79B9) >> 31 == 0 {
            // SAFETY: they are of this pool, and freed once.
            objects.iter().for_each(|object| unsafe { njs_mp_free(pool, *object) });
        }
    }
    drop(clusters);
    Blocks::trim();
    System::trim();
    tell("half");
    // SAFETY: nothing uses it any more.
    unsafe { njs_mp_destroy(pool) };
}

#[test]
fn what_is_resident_is_what_a_pool_takes() {
    let mut wrong = Vec::new();
    for size in [4 << 10, 16 << 10, 64 << 10] {
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "case", "--nocapture", "--test-threads", "1"])
            .env(CASE, format!("{size}"))
            .env_remove("CENOTE_DEBUG")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
        for what in ["live", "half"] {
            let line = text.lines().find_map(|line| line.split_once(&format!("{what} ")));
            let (taken, more) = line.unwrap().1.split_once(' ').unwrap();
            let [taken, more] = [taken, more].map(|text| text.parse::<f64>().unwrap());
            assert!(taken > BYTES as f64 / 3.0, "{taken} are taken");
            let ratio = more / taken;
            println!("{size} B, {what}: {taken} B taken, {ratio:.3} times resident");
            if ratio > MOST {
                wrong.push(format!("{size} B, {what}: {ratio:.3}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
