//! Objects that come and go in any order.

use std::hint::black_box;

use cenote::ChunkPool;

use crate::harness::{Case, Subject, timed};
#[cfg(has_pmr)]
use crate::peers::c::PmrPool;
#[cfg(has_mimalloc2)]
use crate::peers::mallocs::Two;
use crate::peers::mallocs::{Malloc, MimallocHeap, Three, Visit, general};
use crate::work::{Random, layout, touch};

/// Sizes from and to, and how many are live.
#[derive(Clone, Copy)]
pub(super) struct Mix {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) live: usize,
}

/// The cases, with whether the aim of 1.0 (few live) or of 0.9 (many) holds for them.
pub(crate) const CASES: [(&str, bool); 7] = [
    ("16 to 256 B, 64 live", true),
    ("16 to 256 B, 4,096 live", true),
    ("16 to 256 B, 100,000 live", false),
    ("64 B, 4,096 live", true),
    ("64 B, newest first", true),
    ("1,024 to 2,048 B, 1,024 live", true),
    ("4,096 to 16,384 B, 256 live", true),
];

pub(crate) fn cases() -> Vec<Case> {
    let mixes = [
        (16, 256, 64),
        (16, 256, 4_096),
        (16, 256, 100_000),
        (64, 64, 4_096),
        (64, 64, 0),
        (1_024, 2_048, 1_024),
        (4_096, 16_384, 256),
    ];
    CASES
        .iter()
        .zip(mixes)
        .map(|(&(name, _), (low, high, live))| {
            let mix = Mix { low, high, live };
            Case::new(name, "free and allocate", move || {
                let mut all = vec![subject("cenote", ChunkPool::new(), mix)];
                all.extend(general(&mix, ""));
                all.push(subject("mimalloc 3 heap", MimallocHeap::new(Three), mix));
                #[cfg(has_mimalloc2)]
                all.push(subject("mimalloc 2 heap", MimallocHeap::new(Two), mix));
                #[cfg(has_pmr)]
                all.push(subject("std::pmr unsynchronized pool", PmrPool::new(), mix));
                #[cfg(not(has_pmr))]
                all.push(Subject::missing("std::pmr unsynchronized pool", "not installed"));
                all.push(plurality(mix));
                all
            })
        })
        .collect()
}

impl Visit for Mix {
    fn subject<M: Malloc + 'static>(&self, name: &str, malloc: M) -> Subject {
        subject(name, malloc, *self)
    }
}

fn subject<M: Malloc + 'static>(name: &str, malloc: M, mix: Mix) -> Subject {
    if mix.live == 0 {
        return Subject::new(name, move |times| {
            timed(|| newest_first(&malloc, black_box(mix.low) as usize, times))
        });
    }
    let mut churn = Churn::new(malloc, mix);
    Subject::new(name, move |times| timed(|| churn.run(times)))
}

/// Allocates one and frees it at once, while another keeps its page alive.
#[inline(never)]
fn newest_first<M: Malloc>(malloc: &M, size: usize, times: u64) {
    let keep = malloc.get(layout(size));
    for turn in 0..times {
        let start = malloc.get(layout(size));
        touch(start, turn);
        // SAFETY: allocated above with this layout.
        unsafe { malloc.put(start, layout(size)) };
    }
    // SAFETY: allocated above with this layout.
    unsafe { malloc.put(keep, layout(size)) };
}

/// The live objects, and what to do with which, made beforehand.
pub(super) struct Churn<M: Malloc> {
    objects: Vec<(*mut u8, u32)>,
    plan: Vec<(u32, u32)>,
    at: usize,
    malloc: M,
}

impl<M: Malloc> Churn<M> {
    pub(super) fn new(malloc: M, mix: Mix) -> Self {
        let mut random = Random::new();
        let mut size = || (mix.low + random.below(mix.high - mix.low + 1)) as u32;
        let objects: Vec<_> = (0..mix.live)
            .map(|_| {
                let size = size();
                let start = malloc.get(layout(size as usize));
                touch(start, 0);
                (start, size)
            })
            .collect();
        let mut other = Random::new();
        let plan = (0..PLAN).map(|_| (other.below(mix.live as u64) as u32, size())).collect();
        let mut churn = Self { objects, plan, at: 0, malloc };
        // Long enough that no object of the orderly start is left.
        let much = if crate::count::counting() { 2 } else { 20 };
        churn.run((much * mix.live as u64).max(10_000 * much));
        churn
    }

    /// What the loop itself goes by is in registers. In memory it would be a matter of luck: where
    /// the low twelve bits of its address are those of an object's first word, the processor
    /// holds the load back until that object was written, and each step waits for the one before.
    /// With a subject's value beside it, that made 6 ns or 11 of the same code, mimalloc's too.
    #[inline(never)]
    pub(super) fn run(&mut self, times: u64) {
        let (plan, objects) = (&self.plan[..], &mut self.objects[..]);
        let mut at = self.at;
        for turn in 0..times {
            let (which, size) = plan[at];
            at = (at + 1) & (PLAN - 1);
            let object = &mut objects[which as usize];
            // SAFETY: allocated with this size, and replaced below.
            unsafe { self.malloc.put(object.0, layout(object.1 as usize)) };
            let start = self.malloc.get(layout(size as usize));
            touch(start, turn);
            *object = (start, size);
        }
        self.at = at;
    }
}

impl<M: Malloc> Drop for Churn<M> {
    fn drop(&mut self) {
        for &(start, size) in &self.objects {
            // SAFETY: allocated with this size, freed once.
            unsafe { self.malloc.put(start, layout(size as usize)) };
        }
    }
}

/// Steps of a plan, after which it begins anew.
const PLAN: usize = 1 << 18;

/// plurality's pools hold one type, so it takes part where there is one size.
fn plurality(mix: Mix) -> Subject {
    const NAME: &str = "plurality";
    if (mix.low, mix.high) != (64, 64) {
        return Subject::missing(NAME, "one type only");
    }
    let pool = plurality::Pool::<[u64; 8]>::new();
    if mix.live == 0 {
        return Subject::new(NAME, move |times| {
            timed(|| {
                let keep = pool.alloc_uninit_box();
                for turn in 0..times {
                    let mut object = pool.alloc_uninit_box();
                    touch(object.as_mut_ptr().cast(), turn);
                }
                drop(keep);
            })
        });
    }
    let mut random = Random::new();
    let plan: Vec<u32> = (0..PLAN).map(|_| random.below(mix.live as u64) as u32).collect();
    let mut objects: Vec<_> = (0..mix.live).map(|_| Some(pool.alloc_uninit_box())).collect();
    let mut at = 0;
    Subject::new(NAME, move |times| {
        timed(|| {
            for turn in 0..times {
                let which = plan[at] as usize;
                at = (at + 1) & (PLAN - 1);
                // Freed before the next is taken, as the others do.
                objects[which] = None;
                let mut object = pool.alloc_uninit_box();
                touch(object.as_mut_ptr().cast(), turn);
                objects[which] = Some(object);
            }
        })
    })
}
