//! What is in the pool is kept by a handle, and only as long as there is one.
//! Refused: E0597
use cenote::{AllocError, Kept, Pool};
use std::rc::Rc;

fn main() -> Result<(), AllocError> {
    let text: &str = {
        let kept = Kept::try_new(Rc::new(Pool::new()), |pool| pool.try_alloc_str("gone"))?;
        &kept
    };
    println!("{text}");
    Ok(())
}
