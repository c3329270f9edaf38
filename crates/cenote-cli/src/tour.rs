//! `cenote tour`: what the pools do, step by step, with every block drawn after each step.
//!
//! Four acts, one for each way to give memory back. The first is the scenario that pools with
//! reference-counted blocks are known by; the others are shorter.

use std::fmt::Display;
use std::io::{self, Write};

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec as PoolVec;
use cenote::{AllocError, Buddy, ChunkPool, CountedPool, Pool};

/// Plays the tour to `out`. `colour` says whether `out` understands terminal colours.
///
/// # Errors
/// When `out` cannot be written, or when memory runs out.
pub fn run(out: &mut dyn Write, colour: bool) -> io::Result<()> {
    let mut stage = Stage { out, colour };
    stage.say("What is drawn: H header  # objects  . free  = bytes packed without alignment\n")?;
    counted(&mut stage)?;
    pool(&mut stage)?;
    chunks(&mut stage)?;
    buddy(&mut stage)
}

/// Act one: pages of 4096 bytes, objects freed one by one, blocks reused once they are empty.
fn counted(stage: &mut Stage<'_>) -> io::Result<()> {
    stage.act("CountedPool", "a block comes back when the last object in it is freed")?;
    let mut pool = CountedPool::builder().name("counted").build().map_err(io::Error::other)?;
    stage.step("A new pool holds nothing.", &pool.snapshot())?;

    let mut objects = Vec::with_capacity(30);
    for _ in 0..30 {
        objects.push(pool.try_alloc([0_u8; 512]).map_err(memory)?);
    }
    stage.step("512 bytes, 30 times: each block counts its objects.", &pool.snapshot())?;

    drop(objects);
    stage.step(
        "All 30 freed: every block shows zero references, and will be used again.",
        &pool.snapshot(),
    )?;

    // Leaked, so that they stay until the reset, as objects of a C program would.
    for round in 0..50 {
        let zeroed = cenote::CountedBox::leak(pool.try_alloc_zeroed_bytes(32).map_err(memory)?);
        if zeroed.iter().any(|&byte| byte != 0) {
            return Err(io::Error::other(format!("object {round} is not zeroed")));
        }
        zeroed.fill(0xFF);
    }
    stage.step("32 zeroed bytes, 50 times, each looked at.", &pool.snapshot())?;

    for _ in 0..50 {
        cenote::CountedBox::leak(pool.try_alloc_zeroed_bytes(3).map_err(memory)?);
    }
    stage.step("3 bytes, 50 times: bytes are packed, from the other end.", &pool.snapshot())?;

    let mut large = Vec::with_capacity(10);
    for _ in 0..10 {
        large.push(pool.try_alloc_zeroed_bytes(5120).map_err(memory)?);
    }
    stage.step(
        "5120 bytes, 10 times: more than a page, so ten large objects of their own.",
        &pool.snapshot(),
    )?;

    drop(large);
    stage.step("The large ones freed: gone at once.", &pool.snapshot())?;

    pool.reset();
    stage.step("Reset: every block empty, every count zero.", &pool.snapshot())?;

    for _ in 0..100 {
        cenote::CountedBox::leak(pool.try_alloc_zeroed_bytes(256).map_err(memory)?);
    }
    stage.step("256 bytes, 100 times.", &pool.snapshot())?;

    drop(pool);
    stage.say("Destroyed: everything is back in the thread's block cache.\n")
}

/// Act two: the pool of a request.
fn pool(stage: &mut Stage<'_>) -> io::Result<()> {
    stage.act("Pool", "all at once, at reset or drop")?;
    let mut pool =
        Pool::builder().name("request").first_block(1024).build().map_err(io::Error::other)?;
    pool.try_alloc([7_u64; 40]).map_err(memory)?;
    pool.try_alloc_str("text needs no alignment, so it is packed").map_err(memory)?;
    stage.step("An array and a text: one block, from both ends.", &pool.snapshot())?;

    let mut growing = PoolVec::new_in(&pool);
    growing.try_reserve(8).map_err(|error| io::Error::other(error.to_string()))?;
    let first = growing.as_ptr();
    for number in 0..64_u64 {
        growing.try_reserve(1).map_err(|error| io::Error::other(error.to_string()))?;
        growing.push(number);
    }
    let moved = if growing.as_ptr() == first { "without having moved" } else { "having moved" };
    drop(growing);
    stage.step(
        &format!("A vector grew to 64 numbers {moved}; dropped, it gives its room back."),
        &pool.snapshot(),
    )?;

    pool.try_alloc_slice_copy(&[7_u64; 200]).map_err(memory)?;
    stage.step("What does not fit takes another block, twice as large.", &pool.snapshot())?;

    pool.try_alloc_zeroed_bytes(100_000).map_err(memory)?;
    stage.step(
        "A large object gets its own allocation, and makes no block grow.",
        &pool.snapshot(),
    )?;

    pool.try_own(String::from("with a destructor")).map_err(memory)?;
    pool.try_defer(|| ()).map_err(memory)?;
    stage.step("A value with a destructor, and a deferred call.", &pool.snapshot())?;

    pool.reset();
    stage.step(
        "Reset: cleanups run, large objects go, blocks that are needed stay.",
        &pool.snapshot(),
    )
}

/// Act three: objects that come and go, each by itself.
fn chunks(stage: &mut Stage<'_>) -> io::Result<()> {
    stage.act("ChunkPool", "an object at a time")?;
    let pool = ChunkPool::new();
    let boxed = |size: usize| {
        let mut bytes = PoolVec::new_in(&pool);
        bytes.try_reserve_exact(size).map_err(|error| io::Error::other(error.to_string()))?;
        bytes.resize(size, 0_u8);
        Ok::<_, io::Error>(bytes.into_boxed_slice())
    };
    let mut objects: Vec<Box<[u8], _>> = Vec::with_capacity(40);
    for size in [20, 100, 24, 500, 60, 30, 200, 17].into_iter().cycle().take(40) {
        objects.push(boxed(size)?);
    }
    stage.step("40 objects of many sizes: each page has chunks of one size.", &pool.snapshot())?;

    let mut number = 0;
    objects.retain(|_| {
        number += 1;
        number % 3 == 0
    });
    stage.step("Two of three freed: their chunks are free for others.", &pool.snapshot())?;

    objects.clear();
    stage.step("All freed: empty, with one cluster kept for what comes next.", &pool.snapshot())?;
    stage.say(&format!("is_empty() says {}.\n", pool.is_empty()))
}

/// Act four: a region, split and merged by powers of two.
fn buddy(stage: &mut Stage<'_>) -> io::Result<()> {
    stage.act("Buddy", "pages, split and merged by powers of two")?;
    let region = Buddy::heap(1 << 20).map_err(|error| io::Error::other(error.to_string()))?;
    stage.step("A region of 1 MiB: one free block of the highest order.", &region.snapshot())?;

    let mut pools = Vec::with_capacity(3);
    for size in [3000, 30_000, 130_000] {
        let pool = Pool::builder().source(&region).build().map_err(io::Error::other)?;
        pool.try_alloc_zeroed_bytes(size).map_err(memory)?;
        pools.push(pool);
    }
    stage.step("Three pools stand on it: blocks were split for them.", &region.snapshot())?;

    pools.swap_remove(1);
    stage.step("One pool dropped: its pages merge with free buddies.", &region.snapshot())?;

    pools.clear();
    stage.step("All dropped: one free block again.", &region.snapshot())
}

fn memory(error: AllocError) -> io::Error {
    io::Error::other(error)
}

/// Where the tour is printed.
struct Stage<'o> {
    out: &'o mut dyn Write,
    colour: bool,
}

impl Stage<'_> {
    fn act(&mut self, name: &str, what: &str) -> io::Result<()> {
        let (on, off) = if self.colour { ("\x1b[1;36m", "\x1b[0m") } else { ("", "") };
        writeln!(self.out, "\n{on}== {name}: {what} =={off}\n")
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    fn step(&mut self, title: &str, picture: &dyn Display) -> io::Result<()> {
        let (on, off) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(self.out, "{on}{title}{off}")?;
        for line in picture.to_string().lines() {
            if self.colour {
                writeln!(self.out, "{}", coloured(line))?;
            } else {
                writeln!(self.out, "{line}")?;
            }
        }
        writeln!(self.out)
    }
}

/// The same line with the parts of its bar in colours.
fn coloured(line: &str) -> String {
    let (Some(start), Some(end)) = (line.find('['), line.rfind(']')) else {
        return line.to_owned();
    };
    let mut text = String::with_capacity(line.len() * 2);
    text.push_str(&line[..=start]);
    let mut last = "";
    for part in line[start + 1..end].chars() {
        let code = match part {
            'H' => "\x1b[90m",
            '#' => "\x1b[32m",
            '=' => "\x1b[33m",
            _ => "\x1b[0m",
        };
        if code != last {
            text.push_str(code);
            last = code;
        }
        text.push(part);
    }
    text.push_str("\x1b[0m");
    text.push_str(&line[end..]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(colour: bool) -> String {
        let mut out = Vec::new();
        run(&mut out, colour).expect("the tour is played to its end");
        String::from_utf8(out).expect("text")
    }

    /// The lines of the step that begins so, without its title.
    fn step<'t>(tour: &'t str, title: &str) -> Vec<&'t str> {
        let at = tour.find(title).unwrap_or_else(|| panic!("no step {title:?} in\n{tour}"));
        tour[at..].lines().skip(1).take_while(|line| !line.is_empty()).collect()
    }

    #[test]
    fn after_freeing_thirty_objects_every_block_shows_zero_references() {
        let tour = played(false);
        let full = step(&tour, "512 bytes, 30 times");
        assert!(full[0].contains("30 references"), "{full:?}");
        let freed = step(&tour, "All 30 freed");
        assert!(freed[0].contains(" 0 references"), "{freed:?}");
        assert!(freed.len() > 1, "{freed:?}");
        for block in &freed[1..] {
            assert!(block.contains("refs    0"), "{block}");
            assert!(!block.contains('#') && !block.contains('='), "{block}");
        }
    }

    #[test]
    fn ten_large_objects_come_and_go() {
        let tour = played(false);
        assert!(step(&tour, "5120 bytes, 10 times")[0].contains("10 large"));
        assert!(step(&tour, "The large ones freed")[0].contains(" 0 large"));
        assert!(step(&tour, "Reset: every block empty")[0].contains(" 0 references"));
        assert!(step(&tour, "256 bytes, 100 times")[0].contains("100 references"));
    }

    #[test]
    fn every_act_ends_where_it_began() {
        let tour = played(false);
        assert!(tour.contains("is_empty() says true."));
        let first = step(&tour, "A region of 1 MiB");
        let last = step(&tour, "All dropped: one free block again.");
        assert_eq!(first, last);
    }

    #[test]
    fn colours_are_only_where_they_are_asked_for_and_change_no_text() {
        let plain = played(false);
        assert!(!plain.contains('\x1b'));
        assert!(played(true).contains("\x1b[32m#"));
        for line in plain.lines() {
            let mut stripped = coloured(line);
            for code in ["\x1b[0m", "\x1b[90m", "\x1b[32m", "\x1b[33m"] {
                stripped = stripped.replace(code, "");
            }
            assert_eq!(stripped, line);
        }
    }
}
