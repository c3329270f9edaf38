//! Memory that runs out, at every place where it can: the n-th block refused, once or for ever,
//! for all n until a run meets no refusal; and limits at every level of the tree, for every
//! sum between nothing and enough. Each time: no panic, no leak, the pool usable afterwards, and
//! each cleanup that was registered has run once.

mod common;

use cenote::{
    Account, AllocError, BlockSource, Buffer, ChunkPool, CountedPool, Faulty, Pool, SharedBuffer,
    SharedPool, SharedPoolBuilder,
};
use common::Ledger;
use std::alloc::Layout;
use std::fmt::{self, Display, Write};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What a run did.
#[derive(Debug, Default)]
struct Outcome {
    errors: usize,
    registered: usize,
}

impl Outcome {
    /// Counts an operation; gives what it gave.
    fn note<T>(&mut self, result: Result<T, AllocError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                self.errors += 1;
                None
            }
        }
    }
}

/// Formats as its text, a word at a time.
struct Slowly<'t>(&'t str);

impl Display for Slowly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.split_inclusive(' ').try_for_each(|word| f.write_str(word))
    }
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// Has a buffer grow in every way, with `between` before each of them. What it holds is what was
/// written by the calls that succeeded, and the beginning of a text that broke off; gives that.
macro_rules! grow {
    ($outcome:ident, $buffer:ident, $between:expr) => {{
        let mut written: Vec<u8> = $buffer.to_vec();
        let text = "word by word, ".repeat(30);
        for round in 1..5 {
            $between;
            let bytes = vec![round as u8; round * 90];
            if $outcome.note($buffer.try_extend_from_slice(&bytes)).is_some() {
                written.extend_from_slice(&bytes);
            }
            assert!(*$buffer == *written, "bytes, round {round}");
            $between;
            $outcome.note($buffer.try_reserve(round * 900));
            assert!(*$buffer == *written, "room, round {round}");
            $between;
            let whole = $outcome.note($buffer.try_extend_fmt(format_args!("{}", Slowly(&text))));
            take_text(&mut written, &text, &$buffer, whole.is_some());
            $between;
            let whole = write!($buffer, "{}", Slowly(&text)).is_ok();
            take_text(&mut written, &text, &$buffer, whole);
            // The call could not say why; the buffer does, and once.
            let failure = $buffer.take_failure();
            assert_eq!(failure.is_none(), whole);
            $outcome.note(failure.map_or(Ok(()), Err));
            assert!($buffer.take_failure().is_none());
        }
        written
    }};
}

/// Takes over what a buffer has beyond what was `written`: the whole of `text`, or whole words
/// from its beginning.
fn take_text(written: &mut Vec<u8>, text: &str, buffer: &[u8], whole: bool) {
    let more = buffer.strip_prefix(&**written).expect("what was there before stays");
    assert!(text.as_bytes().starts_with(more), "no more than the text");
    assert!(more.is_empty() || more.ends_with(b" "), "a word is written, or none of it");
    assert_eq!(more.len() == text.len(), whole);
    written.extend_from_slice(more);
}

/// Everything that a `Pool` can be asked for.
fn use_pool<S: BlockSource>(pool: &mut Pool<S>, ran: &Arc<AtomicUsize>) -> Outcome {
    let mut outcome = Outcome::default();
    for round in 0..2 {
        {
            let pool = &*pool;
            let mut buffer = Buffer::new(pool);
            let written = grow!(outcome, buffer, outcome.note(pool.try_alloc(0_u8)));
            // Reserved before, so that nothing is in the way of what does not say so.
            if outcome.note(buffer.try_reserve(100)).is_some() {
                buffer.extend_from_slice(&[7; 100]);
                buffer.clear();
                buffer.extend_from_slice(&written);
            }
            let whole = buffer.into_slice();
            outcome.note(pool.try_alloc_zeroed_bytes(500));
            assert!(*whole == *written, "nothing else was put there");
            if let Some(mut buffer) = outcome.note(Buffer::try_with_capacity(pool, 200)) {
                // Alone, so that it grows in place while there is room.
                grow!(outcome, buffer, {});
            }
            outcome.note(pool.try_alloc([round; 3]));
            outcome.note(pool.try_alloc_with(|| [7_u8; 300]));
            outcome.note(pool.try_alloc_str("a text"));
            outcome.note(pool.try_alloc_fmt(format_args!("{} {round}", Slowly("word by word "))));
            outcome.note(pool.try_alloc_slice_copy(&[1_u16; 700]));
            outcome.note(pool.try_alloc_slice_clone(&["a", "b"]));
            outcome.note(pool.try_alloc_slice_fill_with(100, |n| n as u64));
            outcome.note(pool.try_alloc_slice_fill_iter((0..2000_u32).filter(|n| n % 2 == 0)));
            outcome.note(pool.try_alloc_bytes(5000));
            outcome.note(pool.try_alloc_zeroed_bytes(40_000));
            outcome.note(pool.try_alloc_layout(layout(100, 4096)));
            for _ in 0..3 {
                let counter = ran.clone();
                let counted = move || {
                    counter.fetch_add(1, SeqCst);
                };
                outcome.registered += usize::from(outcome.note(pool.try_defer(counted)).is_some());
                let owned = CountsItsDrop(ran.clone());
                // The value is dropped where it cannot be kept, and counts then too.
                outcome.note(pool.try_own(owned));
                outcome.registered += 1;
            }
            let large = layout(50_000, 8);
            if let Some(object) = outcome.note(pool.try_alloc_layout(large)) {
                // SAFETY: from this pool with this layout.
                let grown = unsafe { pool.try_grow(object, large, layout(90_000, 8)) };
                if let Some(object) = outcome.note(grown) {
                    // SAFETY: from this pool with this layout.
                    let shrunk =
                        unsafe { pool.try_shrink(object, layout(90_000, 8), layout(10, 8)) };
                    outcome.note(shrunk);
                }
            }
            let mut numbers = allocator_api2::vec::Vec::new_in(pool);
            for n in 0..3000_u32 {
                if numbers.try_reserve(1).is_err() {
                    outcome.errors += 1;
                    break;
                }
                numbers.push(n);
            }
            assert!(numbers.iter().enumerate().all(|(at, n)| at == *n as usize));
            let child = pool.child();
            outcome.note(child.try_alloc_zeroed_bytes(3000));
        }
        pool.reset();
    }
    outcome
}

/// Likewise for a `SharedPool`, and for making one.
fn use_shared<S: BlockSource + Clone>(
    pools: &mut SharedPoolBuilder<'_, S>,
    ran: &Arc<AtomicUsize>,
) -> Outcome {
    let mut outcome = Outcome::default();
    for round in 0..2 {
        let Some(pool) = outcome.note(pools.try_build()) else { continue };
        outcome.note(pool.try_alloc([round; 3]));
        outcome.note(pool.try_alloc_with(|| [7_u8; 300]));
        outcome.note(pool.try_alloc_fmt(format_args!("{} {round}", Slowly("word by word "))));
        outcome.note(pool.try_alloc_slice_fill_iter((0..2000_u32).filter(|n| n % 2 == 0)));
        outcome.note(pool.try_alloc_slice_fill_with(100, |n| n as u64));
        outcome.note(pool.try_alloc_bytes(5000));
        outcome.note(pool.try_alloc_zeroed_bytes(40_000));
        outcome.note(pool.try_alloc_layout(layout(100, 4096)));
        let large = layout(50_000, 8);
        if let Some(object) = outcome.note(pool.try_alloc_layout(large)) {
            // SAFETY: from this pool with this layout.
            outcome.note(unsafe { pool.try_grow(object, large, layout(90_000, 8)) });
        }
        for _ in 0..3 {
            let counter = ran.clone();
            let counted = move || {
                counter.fetch_add(1, SeqCst);
            };
            outcome.registered += usize::from(outcome.note(pool.try_defer(counted)).is_some());
            outcome.note(pool.try_own(CountsItsDrop(ran.clone())));
            outcome.registered += 1;
        }
        let mut buffer = SharedBuffer::new(pool.clone());
        let written = grow!(outcome, buffer, outcome.note(pool.try_alloc(0_u8)));
        outcome.note(pool.try_alloc_zeroed_bytes(500));
        assert!(*buffer == *written, "nothing else was put there");
        buffer.clear();
        let alone = SharedBuffer::try_with_capacity(pool, 200);
        if let Some(mut alone) = outcome.note(alone) {
            // By turns with the other, and alone where that has room.
            grow!(outcome, alone, outcome.note(buffer.try_extend_from_slice(b"between")));
            assert_eq!(buffer.len() % 7, 0);
            assert!(buffer.chunks(7).all(|part| part == b"between"));
        }
    }
    outcome
}

/// Likewise for a `CountedPool`.
fn use_counted<S: BlockSource>(pool: &mut CountedPool<S>, ran: &Arc<AtomicUsize>) -> Outcome {
    let mut outcome = Outcome::default();
    for round in 0..2 {
        {
            let pool = &*pool;
            let kept: Vec<_> =
                (0..40).filter_map(|n| outcome.note(pool.try_alloc_with(|| [n; 60]))).collect();
            let text =
                outcome.note(pool.try_alloc_fmt(format_args!("{round} {}", "x".repeat(500))));
            outcome.note(pool.try_alloc_slice_copy(&[3_u8; 6000]));
            outcome.note(pool.try_alloc_slice_fill_iter(0..500_u32));
            for _ in 0..3 {
                let counter = ran.clone();
                let counted = move || {
                    counter.fetch_add(1, SeqCst);
                };
                outcome.registered += usize::from(outcome.note(pool.try_defer(counted)).is_some());
                outcome.note(pool.try_own(CountsItsDrop(ran.clone())));
                outcome.registered += 1;
            }
            let mut numbers = allocator_api2::vec::Vec::new_in(pool);
            for n in 0..3000_u32 {
                if numbers.try_reserve(1).is_err() {
                    outcome.errors += 1;
                    break;
                }
                numbers.push(n);
            }
            assert!(numbers.iter().enumerate().all(|(at, n)| at == *n as usize));
            assert!(kept.iter().all(|object| object.iter().all(|n| *n == object[0])));
            drop((text, kept));
        }
        pool.reset();
    }
    outcome
}

/// Likewise for a `ChunkPool`.
fn use_chunks<S: BlockSource>(pool: &mut ChunkPool<S>, ran: &Arc<AtomicUsize>) -> Outcome {
    let mut outcome = Outcome::default();
    for _ in 0..2 {
        {
            let pool = &*pool;
            let sizes = [10, 100, 1000, 1024, 5000, 70_000];
            let objects: Vec<_> = (0..200)
                .map(|n| sizes[n % sizes.len()])
                .filter_map(|size| outcome.note(pool.try_alloc_layout(layout(size, 8))))
                .collect();
            for object in objects.iter().step_by(2) {
                // SAFETY: from this pool, and not used any more.
                unsafe { pool.free(*object) }.unwrap();
            }
            outcome.note(pool.try_alloc_zeroed(layout(500, 128)));
            for _ in 0..3 {
                let counter = ran.clone();
                let counted = move || {
                    counter.fetch_add(1, SeqCst);
                };
                outcome.registered += usize::from(outcome.note(pool.try_defer(counted)).is_some());
                outcome.note(pool.try_own(CountsItsDrop(ran.clone())));
                outcome.registered += 1;
            }
        }
        pool.reset();
    }
    outcome
}

struct CountsItsDrop(Arc<AtomicUsize>);

impl Drop for CountsItsDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Gives blocks that all begin where a page does: how much of one goes to an alignment, and with
/// that how many a pool takes, is then the same in every run.
struct AtPages<'l>(&'l Ledger);

impl AtPages<'_> {
    fn at_pages(block: Layout) -> Layout {
        block.align_to(4096).unwrap()
    }
}

// SAFETY: every call goes to the ledger, with the alignment raised alike in both.
unsafe impl BlockSource for AtPages<'_> {
    fn acquire(&self, block: Layout) -> Result<NonNull<u8>, AllocError> {
        self.0.acquire(Self::at_pages(block))
    }

    unsafe fn release(&self, start: NonNull<u8>, block: Layout) {
        // SAFETY: the caller's promise; the block was taken with this layout.
        unsafe { self.0.release(start, Self::at_pages(block)) }
    }
}

/// Sweeps one pool: `make` gives one over a source and on an account.
macro_rules! sweep {
    ($name:ident, $limits:ident, $make:expr, $use:ident, $check:expr) => {
        #[test]
        fn $name() {
            let (mut sites, mut faults, mut told) = (0, 0, 0);
            for forever in [false, true] {
                for n in 0.. {
                    let ledger = Ledger::new();
                    let source = Faulty::new(&ledger);
                    let account = Account::root("sweep");
                    let ran = Arc::new(AtomicUsize::new(0));
                    let mut pool = ($make)(&source, &account);
                    source.fail_after(n, forever);
                    let outcome = $use(&mut pool, &ran);
                    let clean = source.faults() == 0;
                    faults += source.faults();
                    // What a pool can do without, such as a smaller table, it is not told of.
                    told += usize::from(outcome.errors > 0);
                    assert_eq!(ran.load(SeqCst), outcome.registered, "block {n}, {forever}");
                    source.recover();
                    assert!(($check)(&pool), "block {n}: the pool can be used again");
                    drop(pool);
                    assert_eq!((account.held(), account.live()), (0, 0), "block {n}");
                    assert_eq!((ledger.blocks(), ledger.bytes()), (0, 0), "block {n}");
                    if clean {
                        assert_eq!(outcome.errors, 0);
                        sites += n;
                        break;
                    }
                }
            }
            println!("{}: {sites} sites, {told} told, {faults} refusals", stringify!($name));
            assert!(told as u64 > sites / 2, "hardly anybody was told");
        }

        #[test]
        fn $limits() {
            let run = |levels: [Option<usize>; 4]| {
                let ledger = Ledger::new();
                let names = ["worker", "connection", "request"];
                let mut tree = vec![Account::root("process").with_limit(levels[0])];
                for (name, limit) in names.iter().zip(&levels[1..]) {
                    let account = tree[tree.len() - 1].child(*name).with_limit(*limit);
                    tree.push(account);
                }
                let ran = Arc::new(AtomicUsize::new(0));
                let source = AtPages(&ledger);
                let mut pool = ($make)(&source, &tree[3]);
                let outcome = $use(&mut pool, &ran);
                assert_eq!(ran.load(SeqCst), outcome.registered, "{levels:?}");
                drop(pool);
                Account::settle();
                for (account, limit) in tree.iter().zip(levels) {
                    assert_eq!((account.held(), account.live()), (0, 0), "{levels:?}");
                    assert!(account.peak() <= limit.unwrap_or(usize::MAX), "{levels:?}");
                }
                assert_eq!((ledger.blocks(), ledger.bytes()), (0, 0));
                (outcome.errors, tree[3].peak())
            };
            let (errors, free) = run([None; 4]);
            assert_eq!(errors, 0);
            // Near a limit a pool holds nothing on a guess, and its blocks are small for it: it may
            // need a little more in the end.
            let enough = (0..8).map(|more| free + more * free / 32);
            let enough =
                enough.clone().find(|&enough| run([Some(enough), None, None, None]).0 == 0);
            let enough = enough.expect("a quarter more is enough");
            let mut runs = 0;
            for level in 0..4 {
                // A little more, since a shared account's threads keep some in reserve.
                for limit in (0..enough).step_by((enough / 60).max(1)) {
                    let mut levels = [None; 4];
                    levels[level] = Some(limit);
                    let (errors, _) = run(levels);
                    // Near the peak, a pool gives up what it keeps for later first.
                    assert!(errors > 0 || limit > enough / 2, "{limit} at level {level}");
                    runs += 1;
                }
                let mut levels = [None; 4];
                levels[level] = Some(enough);
                assert_eq!(run(levels).0, 0, "a limit of {enough} at level {level} is enough");
            }
            println!("{}: {runs} runs, limits to {enough} bytes", stringify!($limits));
        }
    };
}

sweep!(
    a_pool_survives_each_of_its_blocks_being_refused,
    a_pool_survives_every_limit_at_every_level,
    |source, account| Pool::builder().source(source).account(account).build().unwrap(),
    use_pool,
    |pool: &Pool<_>| pool.try_alloc_zeroed_bytes(100_000).is_ok()
);
sweep!(
    shared_pools_survive_each_of_their_blocks_being_refused,
    shared_pools_survive_every_limit_at_every_level,
    // Something to drop, as the pools are.
    |source, account| {
        Box::new(SharedPool::builder().source(source).account(account).shared().unwrap())
    },
    use_shared,
    |pools: &SharedPoolBuilder<'_, _>| {
        pools.try_build().is_ok_and(|pool| pool.try_alloc_zeroed_bytes(100_000).is_ok())
    }
);
sweep!(
    a_counted_pool_survives_each_of_its_blocks_being_refused,
    a_counted_pool_survives_every_limit_at_every_level,
    |source, account| CountedPool::builder().source(source).account(account).build().unwrap(),
    use_counted,
    |pool: &CountedPool<_>| pool.try_alloc_zeroed_bytes(100_000).is_ok()
);
sweep!(
    a_chunk_pool_survives_each_of_its_blocks_being_refused,
    a_chunk_pool_survives_every_limit_at_every_level,
    |source, account| ChunkPool::config().source(source).account(account).build().unwrap(),
    use_chunks,
    |pool: &ChunkPool<_>| pool.try_alloc_layout(layout(100_000, 8)).is_ok()
);
