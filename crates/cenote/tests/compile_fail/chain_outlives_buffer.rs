//! A chain borrows what is pushed to it.
//! Refused: E0597
fn main() {
    let pool = cenote::Pool::new();
    let mut chain = cenote::Chain::new(&pool);
    {
        let text = String::from("gone");
        chain.push(text.as_bytes());
    }
    println!("{}", chain.len());
}
