//! A closure that runs with the last handle's end may run on another thread.
//! Refused: E0277
fn main() {
    let pool = cenote::SharedPool::new();
    let shared = std::rc::Rc::new(1);
    pool.defer(move || drop(shared));
}
