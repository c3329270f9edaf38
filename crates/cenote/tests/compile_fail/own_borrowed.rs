//! A value that is dropped with the pool may be dropped after what it borrows.
//! Refused: E0597
struct Says<'a>(&'a str);

impl Drop for Says<'_> {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

fn main() {
    let pool = cenote::Pool::new();
    let text = String::from("gone by then");
    pool.own(Says(&text));
}
