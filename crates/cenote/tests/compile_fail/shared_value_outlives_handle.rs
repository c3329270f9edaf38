//! What is allocated borrows the handle that it was allocated by.
//! Refused: E0505
use cenote::SharedPool;

fn main() {
    let pool = SharedPool::new();
    let _other = pool.clone();
    let text = pool.alloc_str("gone with this handle");
    drop(pool);
    println!("{text}");
}
