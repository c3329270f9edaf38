//! A cleanup has run when its pool was reset.
//! Refused: E0502
fn main() {
    let mut pool = cenote::Pool::new();
    let cleanup = pool.defer(|| ());
    pool.reset();
    cleanup.run();
}
