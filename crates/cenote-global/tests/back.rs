//! Memory goes back to the system: by itself after a while, and at once on `trim`.

mod common;

use cenote_global::{Global, raw, trim};
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: Global = Global::new();

/// Waits, without a call of the allocator, until less than this is resident; `false` if it takes
/// longer than anybody should wait.
fn waits_for(bytes: usize) -> bool {
    let begun = Instant::now();
    while resident() > bytes {
        if begun.elapsed() > Duration::from_secs(60) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

/// As `common::resident`, without allocating.
fn resident() -> usize {
    use std::io::Read;
    let mut text = [0_u8; 100];
    let count = std::fs::File::open("/proc/self/statm").unwrap().read(&mut text).unwrap();
    let text = std::str::from_utf8(&text[..count]).unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

const BURST: usize = 256 << 20;

fn burst(size: usize) -> Vec<Vec<u8>> {
    (0..BURST / size).map(|_| vec![1; size]).collect()
}

#[test]
fn a_burst_is_back_within_a_twentieth_though_every_thread_sleeps_and_nobody_calls() {
    const TEST: &str =
        "a_burst_is_back_within_a_twentieth_though_every_thread_sleeps_and_nobody_calls";
    for size in [64, 1000, 20_000, 200_000] {
        let what = format!("burst of {size}");
        if !common::is_child(&what) {
            if std::env::var_os("CENOTE_GLOBAL_CHILD").is_none() {
                common::well(TEST, &what);
            }
            continue;
        }
        // A worker makes it and frees it, and then sleeps for good.
        let before = resident();
        let (made, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let objects = burst(size);
            made.send(resident()).unwrap();
            drop(objects);
            made.send(0).unwrap();
            loop {
                std::thread::park();
            }
        });
        let highest = wait.recv().unwrap();
        assert!(highest > BURST);
        wait.recv().unwrap();
        assert!(waits_for(before + BURST / 20), "{} bytes, before {before}", resident());
    }
}

#[test]
fn a_burst_that_another_thread_frees_is_back_though_its_owner_sleeps() {
    const TEST: &str = "a_burst_that_another_thread_frees_is_back_though_its_owner_sleeps";
    if !common::is_child("elsewhere") {
        common::well(TEST, "elsewhere");
        return;
    }
    let before = resident();
    let (made, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        made.send(burst(300)).unwrap();
        loop {
            std::thread::park();
        }
    });
    drop(wait.recv().unwrap());
    assert!(waits_for(before + BURST / 20), "{} bytes, before {before}", resident());
}

#[test]
fn trim_gives_all_that_is_free_back_at_once() {
    if !common::is_child("trim") {
        common::well("trim_gives_all_that_is_free_back_at_once", "trim");
        return;
    }
    let before = resident();
    let objects = burst(2000);
    drop(objects);
    let given = trim();
    assert!(given > BURST / 2, "{given}");
    assert!(resident() < before + (4 << 20), "{} bytes, before {before}", resident());
}

#[test]
fn zeroed_memory_that_nobody_writes_is_not_resident() {
    if !common::is_child("zeroed") {
        common::well("zeroed_memory_that_nobody_writes_is_not_resident", "zeroed");
        return;
    }
    trim();
    let before = resident();
    let objects: Vec<_> = (0..32).map(|_| raw::alloc_zeroed(900 << 10)).collect();
    let huge = raw::alloc_zeroed(256 << 20);
    assert!(resident() < before + (2 << 20), "{} bytes, before {before}", resident());
    for start in objects.into_iter().chain([huge]) {
        // SAFETY: nobody uses it.
        unsafe { raw::free(start) };
    }
}

#[test]
fn what_shrinks_gives_its_pages_back() {
    if !common::is_child("shrinks") {
        common::well("what_shrinks_gives_its_pages_back", "shrinks");
        return;
    }
    let before = resident();
    let mut kept = Vec::new();
    for size in [1 << 20, 64 << 20] {
        for _ in 0..(64 << 20) / size {
            let mut bytes = vec![1_u8; size];
            bytes.truncate(100);
            bytes.shrink_to_fit();
            kept.push(bytes);
        }
    }
    trim();
    assert!(resident() < before + (4 << 20), "{} bytes, before {before}", resident());
}

#[test]
fn after_mlockall_memory_still_goes_back() {
    if !common::is_child("locked") {
        common::well("after_mlockall_memory_still_goes_back", "locked");
        return;
    }
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a limit.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) };
    // SAFETY: changes where the process's memory lies and nothing else.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
        eprintln!("SKIPPED: this process may not lock its memory");
        return;
    }
    let before = resident();
    let objects: Vec<Vec<u8>> = (0..30_000).map(|_| vec![1; 1000]).collect();
    let more = objects[0].len();
    drop(objects);
    // SAFETY: where this thread's own word is.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own word.
    unsafe { errno.write(77) };
    trim();
    // SAFETY: as above.
    assert_eq!(unsafe { errno.read() }, 77);
    assert!(resident() < before + (20 << 20) + more, "{} bytes, before {before}", resident());
}

#[test]
fn a_process_with_little_address_space_runs_and_sees_no_memory_as_null() {
    if !common::is_child("little") {
        common::well(
            "a_process_with_little_address_space_runs_and_sees_no_memory_as_null",
            "little",
        );
        return;
    }
    let limit = libc::rlimit { rlim_cur: 256 << 20, rlim_max: 256 << 20 };
    // SAFETY: a limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    for size in [100, 1000, 10_000, 100_000, 1_000_000, 10_000_000] {
        // In small pieces, each of which knows the one before: nothing else may be needed.
        let (mut count, mut last) = (0_usize, std::ptr::null_mut::<*mut u8>());
        loop {
            let start = raw::alloc(size).cast::<*mut u8>();
            if start.is_null() {
                break;
            }
            // SAFETY: an object of at least eight bytes.
            unsafe { start.write(last.cast()) };
            (count, last) = (count + 1, start);
        }
        while !last.is_null() {
            // SAFETY: written above.
            let next = unsafe { last.read() };
            // SAFETY: nobody uses it.
            unsafe { raw::free(last.cast()) };
            last = next.cast();
        }
        // What is larger than 32 KiB has whole pages of 64, and three runs of 16 are in a segment.
        let each = if size > 32 << 10 { size.next_multiple_of(64 << 10) } else { size };
        assert!(count * each > 128 << 20, "{count} objects of {size} bytes");
    }
}
