//! A value is gone with its pool.
//! Refused: E0597
fn main() {
    let value = {
        let pool = cenote::Pool::new();
        pool.alloc(1)
    };
    *value = 2;
}
