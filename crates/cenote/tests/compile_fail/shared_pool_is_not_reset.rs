//! Nobody can know that no other handle's borrower is looking.
//! Refused: E0599
fn main() {
    let mut pool = cenote::SharedPool::new();
    pool.reset();
}
