//! `ChunkPool`, of any configuration, over a source that may fail.

#![no_main]

use arbitrary::Arbitrary;
use cenote::misuse::OnBadFree;
use cenote::{Account, Blocks, ChunkPool, Faulty};
use cenote_fuzz::input::Op;
use cenote_fuzz::session::{MOST, run};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    page: u8,
    pages: u8,
    chunks: u8,
    alignment: u8,
    between: u8,
    keep: u8,
    newest: u8,
    on_top: bool,
    wipe: bool,
    ops: Vec<Op>,
}

fuzz_target!(|input: Input| {
    let account = Account::root("fuzz").with_limit(Some(MOST));
    let source: &'static Faulty<Blocks> = Box::leak(Box::new(Faulty::new(Blocks)));
    let page = 64_usize << (input.page % 8);
    let pool = ChunkPool::config()
        .page_size(page)
        .cluster_size(page * (1 + usize::from(input.pages)))
        .min_chunk_size(page >> (input.chunks % 6))
        .page_alignment(1 << (input.alignment % 14))
        .classes_between([0, 1, 3][usize::from(input.between % 3)])
        .keep_clusters(usize::from(input.keep % 4))
        .newest_frees(usize::from(input.newest % 25))
        .descriptors_on_top(input.on_top)
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
