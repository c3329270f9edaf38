//! Proves that the view tells apart what is in no pool, with cenote's own general allocator under the process.

mod common;

use cenote::{Account, SharedPool, System};
use cenote_web::view::{General, GeneralRow, View};

#[global_allocator]
static ALLOCATOR: cenote_global::Global = cenote_global::Global::new();

const MIB: usize = 1 << 20;

fn general() -> General {
    let stats = cenote_global::stats();
    General {
        live_bytes: stats.live,
        free_bytes: stats.held.saturating_sub(stats.live) + stats.cached,
    }
}

async fn row(view: &View) -> GeneralRow {
    view.look().await.expect("a look").general.clone().expect("it was given")
}

/// One test: another at the same time would allocate as well.
#[tokio::test]
async fn objects_in_no_pool_are_told_apart_from_pools_and_from_what_the_allocator_keeps() {
    let process = Account::root("process");
    let view = View::builder(&process).general("cenote-global", general).build();
    let near = |bytes: usize, wanted: usize| bytes.abs_diff(wanted) < MIB;
    let before = row(&view).await;
    assert_eq!(before.name, "cenote-global");

    let vector = vec![1_u8; 64 * MIB];
    let with_vector = row(&view).await;
    assert!(near(with_vector.in_no_pool_bytes, before.in_no_pool_bytes + 64 * MIB));

    // In a pool it is the allocator's as well, and not in no pool.
    let pool = SharedPool::builder().source(System).shared().expect("sizes");
    let pool = pool.try_build_on(&process).expect("memory");
    pool.try_alloc_zeroed_bytes(32 * MIB).expect("memory");
    let with_pool = row(&view).await;
    assert!(near(with_pool.in_no_pool_bytes, with_vector.in_no_pool_bytes), "{with_pool:?}");
    assert!(near(with_pool.live_bytes, with_vector.live_bytes + 32 * MIB), "{with_pool:?}");

    // What an account has reserved lies elsewhere, and is no pool's.
    let reserved = process.try_reserve(16 * MIB).expect("no limit");
    assert!(near(row(&view).await.in_no_pool_bytes, with_pool.in_no_pool_bytes));
    drop(reserved);

    // A mapping that the allocator knows nothing of: a thread's stack, which is touched.
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let (touched, ready) = std::sync::mpsc::channel();
    let deep = std::thread::Builder::new().stack_size(200 * MIB).spawn(move || {
        let stack = std::hint::black_box([1_u8; 40 * MIB]);
        touched.send(stack[MIB]).expect("it waits");
        let _ = wait.recv();
        std::hint::black_box(&stack);
    });
    let deep = deep.expect("a thread");
    assert_eq!(ready.recv(), Ok(1));
    let with_stack = row(&view).await;
    let more = with_stack.elsewhere_bytes.expect("linux says");
    assert!(more >= with_pool.elsewhere_bytes.expect("linux says") + 30 * MIB, "{with_stack:?}");
    assert!(near(with_stack.in_no_pool_bytes, with_pool.in_no_pool_bytes), "{with_stack:?}");
    drop(done);
    deep.join().expect("no panic");

    drop((vector, pool));
    let after = row(&view).await;
    assert!(near(after.in_no_pool_bytes, before.in_no_pool_bytes), "{after:?} {before:?}");
    let metrics = common::scrape::metrics(&view).await;
    assert!(metrics.contains("cenote_allocator_live_bytes "), "{metrics}");
    assert!(metrics.contains("cenote_allocator_free_bytes "), "{metrics}");
}
