//! Handles go from thread to thread with the source that they share.
//! Refused: E0277
use cenote::{Pool, SharedPool, System};
use std::alloc::Layout;
use std::ptr::NonNull;
use std::rc::Rc;

#[derive(Clone)]
struct Counting(Rc<()>);

// SAFETY: every call goes to `System` unchanged.
unsafe impl cenote::BlockSource for Counting {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, cenote::AllocError> {
        System.acquire(layout)
    }
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.release(block, layout) }
    }
}

fn main() {
    let builder = Pool::builder().source(Counting(Rc::new(()))).shared().unwrap();
    let pool: SharedPool<Counting> = builder.try_build().unwrap();
    std::thread::spawn(move || drop(pool));
}
