//! A pool that lives for days: ten million messages through one, each freed in order, or
//! within a window of 64. It must hold what the window needs, and nothing that grows.
//!
//! In debug builds a tenth of the messages pass, so that the test takes a moment; all ten
//! million with `cargo test --release`.

use cenote::{Account, ChunkPool, CountedPool};
use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

mod common;
use common::Dice;

const MESSAGES: u64 = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
const WINDOW: usize = 64;
const LARGEST: usize = 1000;

type Message = (NonNull<u8>, Layout);

fn send(pool: &CountedPool, dice: &mut Dice) -> Message {
    let size = 1 + dice.below(LARGEST);
    let layout = Layout::from_size_align(size, if size.is_multiple_of(3) { 1 } else { 8 }).unwrap();
    let start =
        if layout.align() == 1 { pool.alloc_packed(size) } else { pool.alloc_layout(layout) };
    // SAFETY: a byte of the message.
    unsafe { start.write(size as u8) };
    (start, layout)
}

fn done(pool: &CountedPool, (start, layout): Message, by_pointer: bool) {
    // SAFETY: the byte that `send` wrote.
    assert_eq!(unsafe { start.read() }, layout.size() as u8);
    if by_pointer {
        // SAFETY: a live object of this pool that nothing refers to.
        unsafe { pool.free(start) }.unwrap();
    } else {
        // SAFETY: likewise, of this layout.
        unsafe { pool.dealloc(start, layout) };
    }
}

/// Lets messages through a window; `next` says which one of it is done. The most that the
/// account ever held.
fn stream(by_pointer: bool, next: impl Fn(u64, &mut Dice) -> usize) -> usize {
    // A child of a root is charged exactly, not in quanta.
    let account = Account::root("process").child("days");
    let pool = CountedPool::on(&account);
    let mut dice = Dice::new(64);
    let mut window: Vec<Message> = (0..WINDOW).map(|_| send(&pool, &mut dice)).collect();
    let mut warm = 0;
    for number in 0..MESSAGES {
        let place = next(number, &mut dice);
        let message = window[place];
        done(&pool, message, by_pointer);
        window[place] = send(&pool, &mut dice);
        if number == MESSAGES / 100 {
            warm = account.peak();
        }
    }
    assert_eq!(pool.live(), WINDOW);
    let peak = account.peak();
    // What a hundredth of them needed is what all of them need, but for rare bad luck.
    assert!(peak <= warm + warm / 2, "{peak} after {warm}");
    for message in window {
        done(&pool, message, by_pointer);
    }
    assert_eq!(pool.live(), 0);
    assert!(pool.held_bytes() <= 5 * 4096 + 1024, "{}", pool.held_bytes());
    pool.trim();
    assert_eq!(account.held(), 0);
    peak
}

/// The most that 64 messages can take, in whole blocks: each is padded to 8, and at the end of
/// a block so much as the largest needs may be left.
const FULL: usize = (WINDOW * (LARGEST + 8)).div_ceil(4096 - 48 - LARGEST);

#[test]
fn messages_freed_in_order_hold_what_the_window_needs() {
    common::plain();
    for by_pointer in [false, true] {
        // In order: the oldest of the window. A block is back when the last one in it is done,
        // so beside the full ones there is one that is being filled and one being emptied;
        // those for messages of average size are half as many.
        let peak = stream(by_pointer, |number, _| number as usize % WINDOW);
        assert!(peak <= (FULL + 2) * 4096 + 1024, "{peak} of {}", FULL * 4096);
    }
}

#[test]
fn messages_freed_anywhere_in_a_window_hold_a_few_blocks_more() {
    common::plain();
    for by_pointer in [false, true] {
        // In no order a message may outlive many after it, and its block with it: at worst
        // each of the 64 has a block to itself, which is what the window could need.
        let peak = stream(by_pointer, |_, dice| dice.below(WINDOW));
        assert!(peak <= (WINDOW + 5) * 4096 + 2048, "{peak}");
    }
}

#[test]
fn one_that_stays_keeps_its_block_and_no_other() {
    common::plain();
    let pool = CountedPool::new();
    let kept = pool.alloc_str("for days");
    for number in 0..MESSAGES / 10 {
        let message = pool.alloc([number; 12]);
        assert_eq!(message[11], number);
    }
    assert_eq!(&*kept, "for days");
    assert!(pool.held_bytes() <= 2 * 4096 + 256, "{}", pool.held_bytes());
}

/// Closures of some sizes and alignments, so many of each pending at a time, of which some are
/// run and the others cancelled, in the order that `turn` says.
macro_rules! cleanups_come_and_go {
    ($pool:expr) => {
        let mut pool = $pool;
        let kept = [(); 20].map(|()| pool.defer(|| ()));
        let mut most = 0;
        for number in 0..MESSAGES / 20 {
            let early = pool.defer(move || assert!(number < MESSAGES));
            let never = pool.defer(move || unreachable!("{number}"));
            let mut others = Vec::new();
            for turn in 0..6 {
                let (small, large) = ([number; 20], [number; 300]);
                others.push(match (turn + number) % 4 {
                    0 => pool.defer(move || assert_eq!(small[19], number)),
                    1 => pool.defer(move || assert_eq!(large[299], number)),
                    2 => {
                        pool.defer(move || assert_eq!(Wide([number as u8; 64]).0[0], number as u8))
                    }
                    _ => pool.defer(move || {}),
                });
            }
            assert!(never.cancel());
            for (turn, cleanup) in others.into_iter().enumerate() {
                assert!(if turn % 2 == 0 { cleanup.cancel() } else { cleanup.run() });
            }
            assert!(early.run());
            if number == 1000 {
                most = pool.held_bytes();
            }
        }
        assert_eq!(pool.held_bytes(), most);
        assert_eq!(pool.snapshot().cleanups, 20);
        assert!(kept.into_iter().all(|cleanup| cleanup.cancel()));
        // What is remembered of them goes with the memory.
        pool.reset();
        assert!((0..100).map(|_| pool.defer(|| ())).all(|cleanup| cleanup.is_pending()));
    };
}

#[repr(align(64))]
struct Wide([u8; 64]);

#[test]
fn cleanups_registered_and_cancelled_for_days_take_no_more_memory() {
    cleanups_come_and_go!(CountedPool::new());
    cleanups_come_and_go!(ChunkPool::new());
}

#[test]
fn a_cleanup_that_registers_others_while_it_runs_early_may_get_its_own_memory() {
    let count = Arc::new(AtomicUsize::new(0));
    let pool = CountedPool::new();
    for _ in 0..10 {
        let (count, again) = (count.clone(), count.clone());
        let first = pool.defer_with(move |pool: &CountedPool| {
            count.fetch_add(1, Relaxed);
            pool.defer(move || assert!(again.fetch_add(10, Relaxed) > 0));
        });
        assert!(first.run());
    }
    let held = pool.held_bytes();
    drop(pool);
    assert_eq!(count.load(Relaxed), 110);
    assert!(held <= 4096, "{held}");
}
