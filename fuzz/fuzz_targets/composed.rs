//! Pools on pools on a buddy: everything is back where it came from at the end.

#![no_main]

use arbitrary::Arbitrary;
use cenote::misuse::OnBadFree;
use cenote::{Buddy, Cached, ChunkPool, CountedPool, Faulty, Pool, System};
use cenote_fuzz::input::Op;
use cenote_fuzz::session::run;
use libfuzzer_sys::fuzz_target;

/// The pool on top, and what it stands on, which stands on a buddy.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Stack {
    ChunkOnPool,
    PoolOnChunk,
    CountedOnCached,
    ChunkOnCounted,
    PoolOnPool,
    CountedOnChunk,
    ChunkOnChunk,
}

#[derive(Arbitrary, Debug)]
struct Input {
    stack: Stack,
    pages: u8,
    ops: Vec<Op>,
}

/// A value that pools may borrow for good; it is taken back when they are gone.
struct Lent<T: 'static>(&'static T);

impl<T> Lent<T> {
    fn new(value: T) -> Self {
        Self(Box::leak(Box::new(value)))
    }

    fn take(self) -> T {
        // SAFETY: leaked in `new`; every pool that borrowed it has been dropped.
        *unsafe { Box::from_raw(std::ptr::from_ref(self.0).cast_mut()) }
    }
}

type Region = Faulty<&'static Buddy<'static>>;

fn chunk<S: cenote::BlockSource>(source: S) -> ChunkPool<S> {
    let config = ChunkPool::config().on_bad_free(OnBadFree::Return).cluster_size(16 << 10);
    config.source(source).build().expect("a valid configuration")
}

fn counted<S: cenote::BlockSource>(source: S) -> CountedPool<S> {
    let builder = CountedPool::builder().on_bad_free(OnBadFree::Return);
    builder.source(source).build().expect("a valid configuration")
}

fn pool<S: cenote::BlockSource>(source: S) -> Pool<S> {
    Pool::builder().source(source).build().expect("a valid configuration")
}

fn session(input: &Input, region: &'static Region) {
    let (ops, faulty) = (&input.ops, Some(region));
    match input.stack {
        Stack::ChunkOnPool => {
            let below = Lent::new(pool(region));
            run(chunk(below.0), ops, None, faulty);
            drop(below.take());
        }
        Stack::PoolOnChunk => {
            let below = Lent::new(chunk(region));
            run(pool(below.0), ops, None, faulty);
            assert!(below.0.is_empty());
            drop(below.take());
        }
        Stack::CountedOnCached => {
            let below = Lent::new(Cached::new(region, 64 << 10));
            run(counted(below.0), ops, None, faulty);
            drop(below.take());
        }
        Stack::ChunkOnCounted => {
            let below = Lent::new(counted(region));
            run(chunk(below.0), ops, None, faulty);
            assert_eq!(below.0.live(), 0);
            drop(below.take());
        }
        Stack::PoolOnPool => {
            let below = Lent::new(pool(region));
            run(pool(below.0), ops, None, faulty);
            drop(below.take());
        }
        Stack::CountedOnChunk => {
            let below = Lent::new(chunk(region));
            run(counted(below.0), ops, None, faulty);
            assert!(below.0.is_empty());
            drop(below.take());
        }
        Stack::ChunkOnChunk => {
            let below = Lent::new(chunk(region));
            run(chunk(below.0), ops, None, faulty);
            assert!(below.0.is_empty());
            drop(below.take());
        }
    }
}

fuzz_target!(|input: Input| {
    let bytes = (16 << 10) * (1 + usize::from(input.pages));
    let builder = Buddy::builder().page(1024).on_bad_free(OnBadFree::Return);
    let Ok(buddy) = builder.source(System).heap(bytes) else { return };
    let buddy = Lent::new(buddy);
    let region = Lent::new(Faulty::new(buddy.0));
    session(&input, region.0);
    region.take();
    assert_eq!(buddy.0.used_bytes(), 0);
    drop(buddy.take());
});
