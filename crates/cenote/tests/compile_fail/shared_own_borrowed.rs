//! A value that is dropped with the last handle may outlive what it borrows.
//! Refused: E0597
use cenote::SharedPool;

struct Noisy<'a>(&'a str);

impl Drop for Noisy<'_> {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

fn main() {
    let pool = SharedPool::new();
    {
        let text = String::from("short");
        pool.own(Noisy(&text));
    }
    drop(pool);
}
