//! What each level costs, in percent of the time without one.

use super::report::{End, Report};
use cenote::debug::Levels;
use cenote::{BlockSource, Buddy, ChunkPool, CountedPool, Pool, SharedPool};
use std::alloc::Layout;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

/// Something done with pools at some levels.
type Work = fn(Levels);

/// A request: twenty small objects, a text, and one of 5 KB.
fn request(levels: Levels) {
    let pool = Pool::builder().levels(levels).build().expect("the default sizes");
    for n in 0..20_u64 {
        black_box(pool.alloc([n; 4]));
    }
    black_box(pool.alloc_str("/index.html"));
    black_box(pool.alloc_bytes(5000));
}

/// A connection: messages that come and go in order.
fn connection(levels: Levels) {
    let pool = CountedPool::builder().levels(levels).build().expect("the default sizes");
    let mut window: Vec<_> = (0..16_u64).map(|n| pool.alloc([n; 8])).collect();
    for n in 0..200_usize {
        window[n % 16] = pool.alloc([n as u64; 8]);
    }
    black_box(&window);
}

/// A table: entries of two sizes that come and go.
fn table(levels: Levels) {
    let pool = ChunkPool::config().levels(levels).build().expect("the default sizes");
    let layouts = [Layout::new::<[u64; 4]>(), Layout::new::<[u64; 12]>()];
    let mut entries: Vec<_> = (0..64).map(|n| pool.alloc_layout(layouts[n % 2])).collect();
    for n in 0..400 {
        let layout = layouts[n % 2];
        // SAFETY: from this pool with this layout; the entry is replaced below.
        unsafe { pool.dealloc(entries[n % 64], layout) };
        entries[n % 64] = pool.alloc_layout(layout);
    }
    black_box(&entries);
}

/// A request whose pool has two owners.
fn shared_request(levels: Levels) {
    let builder = SharedPool::builder().levels(levels).shared().expect("the default sizes");
    let pool = builder.try_build().expect("there is memory");
    let other = pool.clone();
    for n in 0..20_u64 {
        black_box(other.alloc([n; 4]));
    }
    black_box(pool.alloc_str("/index.html"));
    black_box(pool.alloc_layout(Layout::new::<[u8; 5000]>()));
}

/// A region: blocks of two sizes that come and go.
fn region(levels: Levels) {
    let buddy = Buddy::builder().levels(levels).heap(1 << 20).expect("there is a megabyte");
    let layouts = [Layout::new::<[u8; 4000]>(), Layout::new::<[u8; 12_000]>()];
    let take = |n: usize| buddy.acquire(layouts[n % 2]).expect("the region has room");
    let mut blocks: Vec<_> = (0..16).map(take).collect();
    for n in 0..100 {
        // SAFETY: acquired with this layout; the block is replaced below.
        unsafe { buddy.release(blocks[n % 16], layouts[n % 2]) };
        blocks[n % 16] = take(n);
    }
    black_box(&blocks);
}

/// The shortest of some rounds, in nanoseconds for one call.
fn time(work: Work, levels: Levels) -> f64 {
    const CALLS: u32 = 300;
    let rounds = (0..15).map(|_| {
        let began = Instant::now();
        (0..CALLS).for_each(|_| work(levels));
        began.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

pub(super) fn levels(report: &mut Report) {
    let works: [(&str, Work); 5] = [
        ("a request in a `Pool`", request),
        ("a connection in a `CountedPool`", connection),
        ("a table in a `ChunkPool`", table),
        ("a request in a `SharedPool`", shared_request),
        ("blocks of a `Buddy`", region),
    ];
    let levels = [
        Levels::PASSTHROUGH,
        Levels::POISON,
        Levels::CANARY,
        Levels::GUARD,
        Levels::QUARANTINE,
        Levels::ALL,
    ];
    report.line("cost of the levels", |report| {
        let mut text =
            String::from("Time more than without a level, the shortest of 15 rounds. In a `Buddy`, `passthrough` and `guard` change nothing.\n\n");
        text.push_str("| | without |");
        levels.iter().for_each(|level| {
            let name = if *level == Levels::ALL { "all".into() } else { level.to_string() };
            let _ = write!(text, " {name} |");
        });
        text.push_str("\n|---|---:|---:|---:|---:|---:|---:|---:|\n");
        let mut least = f64::INFINITY;
        for (name, work) in works {
            let plain = time(work, Levels::NONE);
            let _ = write!(text, "| {name} | {plain:.0} ns |");
            for level in levels {
                let more = (time(work, level) / plain - 1.0) * 100.0;
                let changes = !name.contains("Buddy") || Levels::PASSTHROUGH | Levels::GUARD | level != Levels::PASSTHROUGH | Levels::GUARD;
                if changes {
                    least = least.min(more);
                }
                let _ = write!(text, " +{more:.0} % |");
            }
            text.push('\n');
        }
        report.table("What levels cost", &text);
        End::Good(format!("{} levels on 5 kinds of work; +{least:.0} % at least", levels.len()))
    });
}
