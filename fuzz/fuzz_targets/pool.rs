//! `Pool`, of any configuration, over a source that may fail.

#![no_main]

use arbitrary::Arbitrary;
use cenote::{Account, Blocks, Faulty, Pool};
use cenote_fuzz::input::{Op, Size};
use cenote_fuzz::session::{MOST, run};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    first_block: u8,
    largest_block: u8,
    threshold: Size,
    wipe: bool,
    ops: Vec<Op>,
}

fuzz_target!(|input: Input| {
    let account = Account::root("fuzz").with_limit(Some(MOST));
    let source: &'static Faulty<Blocks> = Box::leak(Box::new(Faulty::new(Blocks)));
    let first = 256 << (input.first_block % 9);
    let pool = Pool::builder()
        .first_block(first)
        .largest_block((256 << (input.largest_block % 9)).max(first))
        .large_threshold(input.threshold.bytes())
        .zero_on_release(input.wipe)
        .account(&account)
        .source(source)
        .build();
    if let Ok(pool) = pool {
        run(pool, &input.ops, Some(&account), Some(source));
    }
    // SAFETY: leaked above, and the pool on it is gone.
    drop(unsafe { Box::from_raw(std::ptr::from_ref(source).cast_mut()) });
});
