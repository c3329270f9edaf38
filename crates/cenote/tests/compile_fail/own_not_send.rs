//! A value that is dropped with the pool may be dropped on another thread.
//! Refused: E0277
fn main() {
    let pool = cenote::Pool::new();
    pool.own(std::rc::Rc::new(1));
}
