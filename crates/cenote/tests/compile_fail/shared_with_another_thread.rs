//! A pool is used by one thread at a time.
//! Refused: E0277
fn main() {
    let pool = cenote::Pool::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pool.alloc(1);
        });
    });
}
