//! What a pool says that it holds, beside what the system says: of pools that fill their blocks, and of
//! the half of them that is left after the others went, at random.

use std::alloc::Layout;
use std::mem::MaybeUninit;

use anyhow::{Context, Result};
use cenote::{ChunkPool, ChunkPoolConfig, CountedBox, CountedPool, Pool, SharedPool};
use serde::{Deserialize, Serialize};

use super::rss;
use crate::harness::Row;
use crate::peers::c::NginxPool;
#[cfg(feature = "jemalloc")]
use crate::peers::mallocs::Jemalloc;
use crate::peers::mallocs::{Glibc, Malloc, Mimalloc, Three};
use crate::work::{Random, layout};

pub(super) const LIVE: &str = "pools that fill their blocks, 64 MiB of them";
pub(super) const HALF: &str = "the same, after half of them went at random, and a trim";
/// What the bench calls a process of these.
pub(super) const START: &str = "said: ";

const BYTES: usize = 64 << 20;
const SIZES: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];
/// What is left of a block for whatever stands in it.
const LESS: usize = 128;

type Measure = fn(usize) -> Result<Told>;

/// Each pool, and the sizes of its blocks.
const SUBJECTS: [(&str, &[usize], Measure); 11] = [
    ("cenote `Pool`", &SIZES, pool),
    ("cenote `SharedPool`", &[4 << 10], shared),
    ("cenote `CountedPool`", &SIZES, counted),
    ("cenote `ChunkPool`", &SIZES, chunk),
    ("cenote `ChunkPool`, descriptors apart, as njs has it", &SIZES, chunk_on_top),
    ("nginx", &SIZES, nginx),
    ("bumpalo", &SIZES, bumpalo),
    ("oxc_allocator", &SIZES, oxc),
    ("glibc malloc", &SIZES, |size| malloc(Glibc, size)),
    ("mimalloc 3", &SIZES, |size| malloc(Mimalloc(Three), size)),
    ("jemalloc", &SIZES, jemalloc),
];

/// Bytes said and bytes resident: of all, and of the half that is left.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Told {
    said: [usize; 2],
    resident: [usize; 2],
}

/// Makes so many, drops half of them, and looks each time.
fn measure<P>(size: usize, make: impl Fn() -> P, said: impl Fn(&P) -> usize) -> Result<Told> {
    let count = BYTES / size;
    // The values' own memory is not the pools' affair: it is written before.
    let mut pools: Vec<MaybeUninit<P>> = Vec::with_capacity(count);
    // SAFETY: so much room was reserved.
    unsafe { pools.as_mut_ptr().write_bytes(0x5A, count) };
    let (mut told, before) = (Told::default(), rss()?);
    // SAFETY: for those that were written and not dropped, which are all that it is asked for.
    let of = |pool: &MaybeUninit<P>| said(unsafe { pool.assume_init_ref() });
    for _ in 0..count {
        pools.push(MaybeUninit::new(make()));
    }
    told.said[0] = pools.iter().map(of).sum();
    told.resident[0] = rss()?.saturating_sub(before);
    let mut random = Random::new();
    let stays: Vec<bool> = (0..count).map(|_| random.below(2) == 0).collect();
    for (pool, stays) in pools.iter_mut().zip(&stays) {
        if !stays {
            // SAFETY: written above, and dropped once.
            unsafe { pool.assume_init_drop() };
        }
    }
    cenote::Blocks::trim();
    cenote::System::trim();
    give_back();
    told.said[1] = pools.iter().zip(&stays).filter(|(_, stays)| **stays).map(|(p, _)| of(p)).sum();
    told.resident[1] = rss()?.saturating_sub(before);
    Ok(told)
}

/// What peers have for it.
fn give_back() {
    use crate::groups::months::{Returns, three};
    three().give_back();
    #[cfg(feature = "jemalloc")]
    Jemalloc.give_back();
}

/// Writes all of an object, as its owner would.
fn written(start: *mut u8, size: usize) {
    // SAFETY: just made with this size.
    unsafe { start.write_bytes(1, size) };
}

fn pool(size: usize) -> Result<Told> {
    measure(
        size,
        || {
            let builder = Pool::builder().first_block(size).large_threshold(size / 2);
            let pool = builder.largest_block(size).build().expect("sizes that can be");
            written(pool.alloc_layout(layout(size - LESS)).as_ptr(), size - LESS);
            pool
        },
        Pool::held_bytes,
    )
}

fn shared(size: usize) -> Result<Told> {
    measure(
        size,
        || {
            let pool = SharedPool::new();
            written(pool.alloc_layout(layout(size - LESS)).as_ptr(), size - LESS);
            pool
        },
        SharedPool::held_bytes,
    )
}

fn counted(size: usize) -> Result<Told> {
    measure(
        size,
        || {
            let pool = CountedPool::builder().page(size).build().expect("sizes that can be");
            CountedBox::leak(pool.alloc_zeroed_bytes(size - LESS)).fill(1);
            pool
        },
        CountedPool::held_bytes,
    )
}

fn chunk(size: usize) -> Result<Told> {
    chunks(size, ChunkPool::config().page_size(512).min_chunk_size(16))
}

fn chunk_on_top(size: usize) -> Result<Told> {
    let config = ChunkPool::config().page_size(512).min_chunk_size(16);
    chunks(size, config.descriptors_on_top(true))
}

fn chunks(size: usize, config: ChunkPoolConfig<'static>) -> Result<Told> {
    let probe = config.clone().cluster_size(size).build()?;
    probe.alloc_layout(Layout::new::<u8>());
    let snapshot = probe.snapshot();
    let pages = snapshot.clusters.first().context("no cluster")?.pages.len();
    measure(
        size,
        || {
            let pool = config.clone().cluster_size(size).build().expect("sizes that can be");
            for _ in 0..pages {
                let page = layout(snapshot.page_size);
                written(pool.alloc_layout(page).as_ptr(), page.size());
            }
            pool
        },
        ChunkPool::held_bytes,
    )
}

fn nginx(size: usize) -> Result<Told> {
    measure(
        size,
        || {
            let mut pool = NginxPool::new(size);
            // What is more than a page would be an allocation of its own.
            for _ in 0..(size - LESS) / 1_000 {
                written(pool.get(1_000), 1_000);
            }
            pool
        },
        |_| size,
    )
}

fn bumpalo(size: usize) -> Result<Told> {
    measure(
        size,
        || {
            let arena = bumpalo::Bump::with_capacity(size - LESS);
            written(arena.alloc_layout(layout(size - LESS)).as_ptr(), size - LESS);
            arena
        },
        bumpalo::Bump::allocated_bytes_including_metadata,
    )
}

fn oxc(size: usize) -> Result<Told> {
    measure(
        size,
        || {
            let arena = oxc_allocator::Allocator::with_capacity(size - LESS);
            written(arena.alloc_layout(layout(size - LESS)).as_ptr(), size - LESS);
            arena
        },
        oxc_allocator::Allocator::capacity,
    )
}

/// A block by itself, full to the last byte that was asked for.
struct Block<M: Malloc>(M, *mut u8, Layout);

impl<M: Malloc> Drop for Block<M> {
    fn drop(&mut self) {
        // SAFETY: taken with this layout, and freed once.
        unsafe { self.0.put(self.1, self.2) };
    }
}

fn malloc<M: Malloc + Copy>(malloc: M, size: usize) -> Result<Told> {
    measure(
        size,
        || {
            let block = Block(malloc, malloc.get(layout(size)), layout(size));
            written(block.1, size);
            block
        },
        |_| size,
    )
}

#[cfg(feature = "jemalloc")]
fn jemalloc(size: usize) -> Result<Told> {
    malloc(Jemalloc, size)
}

#[cfg(not(feature = "jemalloc"))]
fn jemalloc(_: usize) -> Result<Told> {
    anyhow::bail!("not built (feature jemalloc, which needs make)")
}

fn name(what: &str, size: usize) -> String {
    format!("{what}, {} KiB", size >> 10)
}

/// The child's part.
pub(super) fn child(subject: &str) -> Result<Told> {
    let all = SUBJECTS.iter().flat_map(|(what, sizes, measure)| {
        sizes.iter().map(move |size| (name(what, *size), *size, *measure))
    });
    let found = all.into_iter().find(|(name, ..)| name == subject);
    let (_, size, measure) = found.with_context(|| format!("no subject {subject}"))?;
    measure(size)
}

/// The parent's part: a row for each pool, size and moment.
pub(super) fn rows(ask: impl Fn(&str) -> Result<Vec<u8>>) -> Result<Vec<Row>> {
    let mut rows = [Vec::new(), Vec::new()];
    for (what, sizes, _) in SUBJECTS {
        for size in sizes {
            let subject = name(what, *size);
            let missing = match what {
                "nginx" if !NginxPool::HERE => Some("not built"),
                "jemalloc" if cfg!(not(feature = "jemalloc")) => Some("not built"),
                _ => None,
            };
            let told = match missing {
                Some(_) => None,
                None => Some(serde_json::from_slice::<Told>(&ask(&format!("{START}{subject}"))?)?),
            };
            for (at, case) in [LIVE, HALF].into_iter().enumerate() {
                rows[at].push(Row {
                    group: "idle".into(),
                    case: case.into(),
                    subject: subject.clone(),
                    unit: "64 MiB".into(),
                    held: told.map(|told| told.resident[at]),
                    live: told.map(|told| told.said[at]),
                    note: missing.unwrap_or_default().into(),
                    ..Row::default()
                });
            }
        }
    }
    Ok(rows.concat())
}
