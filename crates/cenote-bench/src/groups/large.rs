//! Large objects, freed one by one.

use std::hint::black_box;
use std::ptr::NonNull;

use cenote::Pool;

use crate::harness::{Case, Subject, timed};
use crate::peers::c;
use crate::work::{Random, layout, touch_at};

/// Bytes of a large object: above every pool's threshold.
const SIZE: usize = 20_000;
const PLAN: usize = 1 << 16;

/// Names of the cases, with how many are live.
pub(crate) const CASES: [(&str, usize); 4] =
    [("10 live", 10), ("100 live", 100), ("1,000 live", 1_000), ("10,000 live", 10_000)];

pub(crate) fn cases() -> Vec<Case> {
    CASES
        .into_iter()
        .map(|(name, live)| {
            Case::new(name, "free and allocate", move || {
                let mut random = Random::new();
                let order: &'static [u32] =
                    (0..PLAN).map(|_| random.below(live as u64) as u32).collect::<Vec<_>>().leak();
                let mut all = vec![cenote(live, order)];
                all.extend(c::nginx_large(live, SIZE, order));
                all
            })
        })
        .collect()
}

/// By pointer alone, as nginx is asked to.
fn cenote(live: usize, order: &'static [u32]) -> Subject {
    let pool = Pool::new();
    let size = black_box(SIZE);
    let mut objects: Vec<NonNull<u8>> =
        (0..live).map(|_| pool.alloc_layout(layout(size))).collect();
    let mut at = 0;
    Subject::new("cenote", move |times| {
        timed(|| {
            for turn in 0..times {
                let object = &mut objects[order[at] as usize];
                at = (at + 1) & (PLAN - 1);
                // SAFETY: allocated by this pool, large, and replaced below.
                if !unsafe { pool.free_large(*object) } {
                    std::process::abort();
                }
                *object = pool.alloc_layout(layout(size));
                touch_at(*object, turn);
            }
        })
    })
}
