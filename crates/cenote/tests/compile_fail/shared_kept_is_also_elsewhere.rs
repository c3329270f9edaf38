//! What is kept, and may be frozen, is the pool's and nobody else's: a reference from before
//! could still write to it.
//! Refused: E0597, E0501
use cenote::{AllocError, Kept, SharedPool};

fn main() -> Result<(), AllocError> {
    let pool = SharedPool::try_new()?;
    let text: &mut str = pool.try_alloc_str("mine")?;
    let kept = Kept::<_, str>::try_new(pool.clone(), |_| Ok::<_, AllocError>(&mut *text))?;
    text.make_ascii_uppercase();
    println!("{}", &*kept);
    Ok(())
}
