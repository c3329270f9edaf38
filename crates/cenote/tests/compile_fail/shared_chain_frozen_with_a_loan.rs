//! What a frozen chain has must be in its pool, or live for ever: a text that somebody else has
//! would be read when it is gone.
//! Refused: E0597, E0505
use cenote::{AllocError, SharedPool};

fn main() -> Result<(), AllocError> {
    let pool = SharedPool::try_new()?;
    let text = String::from("somebody's");
    let bytes = pool.try_freeze_chain(|chain| chain.try_push(text.as_bytes()))?;
    drop(text);
    println!("{bytes:?}");
    Ok(())
}
