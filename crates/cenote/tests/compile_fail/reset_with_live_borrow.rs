//! A reset takes away what is in use.
//! Refused: E0502
fn main() {
    let mut pool = cenote::Pool::new();
    let value = pool.alloc(1);
    pool.reset();
    *value = 2;
}
