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

/// No allocator at all.
const REACHED: &str = "(reading one word of the object, each after the one before)";

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
                let mut all = vec![cenote(live, order), reached(live, order)];
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
    let mut objects = made(&pool, live);
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

/// Large objects, each written to once, so that no page of theirs is new when time is taken.
fn made(pool: &Pool, live: usize) -> Vec<NonNull<u8>> {
    let objects: Vec<_> = (0..live).map(|_| pool.alloc_layout(layout(SIZE))).collect();
    objects.iter().for_each(|&object| touch_at(object, 0));
    objects
}

/// What it takes to reach them: one word of an object is read, chosen as the others choose, and the next
/// is not looked for before that is there. What grows here as more are live is nobody's allocator.
fn reached(live: usize, order: &'static [u32]) -> Subject {
    let pool = Pool::new();
    let objects = made(&pool, live);
    let mut at = 0;
    Subject::new(REACHED, move |times| {
        let _keeps = &pool;
        timed(|| {
            for _ in 0..times {
                let object = objects[order[at] as usize].cast::<u64>();
                // SAFETY: written to by `made`.
                let word = unsafe { object.read_volatile() };
                // No object holds so much, which only who wrote it can know.
                at = (at + 1 + (word >> 63) as usize) & (PLAN - 1);
            }
        })
    })
}
