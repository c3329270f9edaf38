//! What handles on several threads share has the type of its source for good, and so has what is
//! behind a lock: neither needs more, and so it is not promised.
//! Refused: lifetime may not live long enough
use cenote::{Locked, PoolLook, SharedPool, System, WeakSharedPool};

type Long = &'static System;

fn handle<'a>(it: SharedPool<Long>) -> SharedPool<&'a System> {
    it
}

fn weak<'a>(it: WeakSharedPool<Long>) -> WeakSharedPool<&'a System> {
    it
}

fn look<'l, 'a>(it: PoolLook<'l, Long>) -> PoolLook<'l, &'a System> {
    it
}

fn locked<'a>(it: Locked<Long>) -> Locked<&'a System> {
    it
}

fn main() {}
