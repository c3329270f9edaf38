//! What each level costs, in percent of the time without one.

use super::report::{End, Report};
use cenote::debug::Levels;
use cenote::{ChunkPool, CountedPool, Pool};
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
    let works: [(&str, Work); 3] = [
        ("a request in a `Pool`", request),
        ("a connection in a `CountedPool`", connection),
        ("a table in a `ChunkPool`", table),
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
            String::from("Time more than without a level, the shortest of 15 rounds.\n\n");
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
                least = least.min(more);
                let _ = write!(text, " +{more:.0} % |");
            }
            text.push('\n');
        }
        report.table("What levels cost", &text);
        End::Good(format!("{} levels on 3 kinds of work; +{least:.0} % at least", levels.len()))
    });
}
