//! `cenote tour`: a pool at work, printed after each step.

use std::io::{self, Write};

use cenote::Pool;

/// Plays the tour to `out`. `colour` says whether `out` understands terminal colours.
///
/// # Errors
/// When `out` cannot be written, or when memory runs out.
pub fn run(out: &mut dyn Write, colour: bool) -> io::Result<()> {
    let (bold, plain) = if colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let mut step =
        |title: &str, pool: &Pool| writeln!(out, "{bold}{title}{plain}\n{}", pool.snapshot());

    let mut pool = Pool::builder()
        .name("tour")
        .first_block(1024)
        .build()
        .map_err(|error| io::Error::other(error.to_string()))?;
    step("a new pool holds nothing", &pool)?;

    pool.try_alloc_str("a few words").map_err(io::Error::other)?;
    step("its first value takes a block", &pool)?;

    pool.try_alloc_slice_copy(&[7_u64; 200]).map_err(io::Error::other)?;
    step("what does not fit takes another, twice as large", &pool)?;

    pool.try_own(String::from("with a destructor")).map_err(io::Error::other)?;
    step("a value that owns something is a cleanup", &pool)?;

    pool.reset();
    step("a reset runs the cleanups and keeps one block for what comes next", &pool)
}
