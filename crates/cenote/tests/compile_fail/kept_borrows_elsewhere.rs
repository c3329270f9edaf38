//! What is kept with a pool is the pool's, not something else's.
//! Refused: E0597
use cenote::{AllocError, Kept, Pool};
use std::rc::Rc;

fn main() {
    let mut number = 1;
    let kept = Kept::try_new(Rc::new(Pool::new()), |_| Ok::<_, AllocError>(&mut number));
    drop(kept);
}
