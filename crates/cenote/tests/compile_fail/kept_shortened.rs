//! A kept value that its pool owns is dropped as what it was put in as: what is put in its place
//! must live as long.
//! Refused: lifetime may not live long enough
use cenote::{AllocError, Kept, Pool};
use std::rc::Rc;

struct Says<'a>(&'a str);

impl Drop for Says<'_> {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

fn shorter<'a>(kept: Kept<Rc<Pool>, Says<'static>>) -> Kept<Rc<Pool>, Says<'a>> {
    kept
}

fn main() {
    let pool = Rc::new(Pool::new());
    let kept = Kept::<_, Says<'static>>::try_new(pool.clone(), |pool| {
        Ok::<_, AllocError>(pool.own(Says("for ever")))
    });
    let local = String::from("gone by then");
    *shorter(kept.unwrap()) = Says(&local);
    drop(local);
    drop(pool);
}
