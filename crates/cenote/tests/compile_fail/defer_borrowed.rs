//! A closure that runs with the pool's end may run after what it borrows.
//! Refused: E0373
fn main() {
    let pool = cenote::Pool::new();
    let text = String::from("gone by then");
    pool.defer(|| println!("{text}"));
}
