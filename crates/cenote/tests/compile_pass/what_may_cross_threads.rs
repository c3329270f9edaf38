//! A pool may be sent to another thread, and accounts may be shared among threads.
use cenote::inspect::{AccountSnapshot, PoolSnapshot};
use cenote::{
    Account, AllocError, Blocks, Buddy, Cached, Chain, ChunkPool, ConfigError, CountedPool, Faulty,
    Kept, Locked, Pool, SharedBuffer, SharedPool, System, WeakSharedPool,
};

fn send<T: Send>() {}
fn share<T: Send + Sync>() {}

fn main() {
    send::<Pool>();
    send::<Pool<System>>();
    send::<Pool<&Blocks>>();
    send::<Pool<Faulty<System>>>();
    send::<Pool<Pool>>();
    send::<CountedPool>();
    send::<ChunkPool>();
    send::<Buddy<'static>>();
    send::<Cached<System>>();
    share::<Locked<Faulty<System>>>();
    share::<WeakSharedPool>();
    share::<WeakSharedPool<Faulty<System>>>();
    share::<Chain<'static, SharedPool>>();
    share::<Account>();
    share::<AllocError>();
    share::<ConfigError>();
    share::<AccountSnapshot>();
    share::<PoolSnapshot>();
    share::<Blocks>();
    share::<System>();
    share::<SharedPool>();
    share::<SharedPool<Faulty<System>>>();
    share::<SharedBuffer>();
    share::<Kept<SharedPool, str>>();
    send::<allocator_api2::vec::Vec<u8, SharedPool>>();
    send::<Pool<SharedPool>>();
}
