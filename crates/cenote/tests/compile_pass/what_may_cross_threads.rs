//! A pool may be sent to another thread, and accounts may be shared among threads.
use cenote::inspect::{AccountSnapshot, PoolSnapshot};
use cenote::{
    Account, AllocError, Blocks, ConfigError, Faulty, Kept, Pool, SharedBuffer, SharedPool, System,
};

fn send<T: Send>() {}
fn share<T: Send + Sync>() {}

fn main() {
    send::<Pool>();
    send::<Pool<System>>();
    send::<Pool<&Blocks>>();
    send::<Pool<Faulty<System>>>();
    send::<Pool<Pool>>();
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
