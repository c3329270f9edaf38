//! A closure that runs with the pool's end may run on another thread.
//! Refused: E0277
fn main() {
    let pool = cenote::Pool::new();
    let shared = std::rc::Rc::new(1);
    pool.defer(move || drop(shared));
}
