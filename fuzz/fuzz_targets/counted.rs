//! `CountedPool`, of any configuration, over a source that may fail.

#![no_main]

use arbitrary::Arbitrary;
use cenote::misuse::OnBadFree;
use cenote::{Account, Blocks, CountedPool, Faulty};
use cenote_fuzz::input::Op;
use cenote_fuzz::session::{MOST, run};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    page: u8,
    keep: u8,
    wipe: bool,
    ops: Vec<Op>,
}

fuzz_target!(|input: Input| {
    let account = Account::root("fuzz").with_limit(Some(MOST));
    let source: &'static Faulty<Blocks> = Box::leak(Box::new(Faulty::new(Blocks)));
    let pool = CountedPool::builder()
        .page(256 << (input.page % 10))
        .keep_empty(usize::from(input.keep % 4))
        .zero_on_release(input.wipe)
        .on_bad_free(OnBadFree::Return)
        .account(&account)
        .source(source)
        .build();
    if let Ok(pool) = pool {
        run(pool, &input.ops, Some(&account), Some(source));
    }
    // SAFETY: leaked above, and the pool on it is gone.
    drop(unsafe { Box::from_raw(std::ptr::from_ref(source).cast_mut()) });
});
