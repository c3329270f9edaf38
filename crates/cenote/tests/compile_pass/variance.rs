//! What lives longer may stand for what lives shorter, in each parameter in which a type is
//! covariant: the table in docs/design/variance.md.
use allocator_api2::vec::Vec;
use cenote::{
    Blocks, Buddy, Buffer, Cached, Chain, ChunkPool, Cleanup, CountedBox, CountedPool, Faulty, Kept,
    Pool, PoolLook, SharedBlocks, SharedPool, System,
};
use std::rc::Rc;

type Long = &'static System;

/// Compiles where the type is covariant.
macro_rules! shortens {
    ($($name:ident: $long:ty => $short:ty;)*) => { $(
        #[allow(dead_code)]
        fn $name<'p: 'a, 'a>(it: $long) -> $short {
            it
        }
    )* };
}

shortens! {
    pool: Pool<Long> => Pool<&'a System>;
    counted: CountedPool<Long> => CountedPool<&'a System>;
    chunk: ChunkPool<Long> => ChunkPool<&'a System>;
    cached: Cached<Long> => Cached<&'a System>;
    faulty: Faulty<Long> => Faulty<&'a System>;
    region: Buddy<'p, System> => Buddy<'a, System>;
    buddy: Buddy<'static, Long> => Buddy<'static, &'a System>;
    boxed: CountedBox<'p, &'static str, Blocks> => CountedBox<'a, &'a str, Blocks>;
    boxed_in: CountedBox<'a, str, Long> => CountedBox<'a, str, &'a System>;
    buffer: Buffer<'p, Blocks> => Buffer<'a, Blocks>;
    buffer_in: Buffer<'a, Long> => Buffer<'a, &'a System>;
    chain: Chain<'p, Pool> => Chain<'a, Pool>;
    chain_in: Chain<'a, Pool<Long>> => Chain<'a, Pool<&'a System>>;
    cleanup: Cleanup<'p> => Cleanup<'a>;
    kept_by: Kept<Rc<Pool<Long>>, str> => Kept<Rc<Pool<&'a System>>, str>;
    look: PoolLook<'p, SharedBlocks> => PoolLook<'a, SharedBlocks>;
    list: Vec<&'static str, &'p Pool> => Vec<&'a str, &'a Pool>;
    shared_list: Vec<&'static str, SharedPool> => Vec<&'a str, SharedPool>;
}

fn main() {
    // A box owns its value alone, and drops it as what it is by then.
    let pool = CountedPool::new();
    let mut name: CountedBox<'_, &'static str> = pool.alloc("for ever");
    assert_eq!(name.len(), 8);
    *name = "long";
    let local = String::from("short");
    let mut name: CountedBox<'_, &str> = name;
    *name = &local;
    assert_eq!(*name, "short");
}
