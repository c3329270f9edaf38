//! [`CountedSnapshot`]: one counted pool, block by block, with what each block counts.

use super::{BAR, Bytes};
use crate::BlockSource;
use crate::counted::CountedPool;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A counted pool at one moment. Printed, it draws each block as a bar with its count.
///
/// ```
/// use cenote::CountedPool;
/// let pool = CountedPool::builder().name("connection").build()?;
/// let message = pool.alloc([0_u8; 100]);
/// let word = pool.alloc_str("0123456789");
/// let snapshot = pool.snapshot();
/// let block = &snapshot.blocks[0];
/// assert_eq!((block.used, block.packed), (104, 10));      // aligned: rounded up to 8
/// assert_eq!(block.free, 4096 - 48 - 104 - 10);
/// assert_eq!((block.references, block.current), (2, true));
/// println!("{snapshot}");
/// drop((message, word));
/// assert_eq!(pool.snapshot().references(), 0);
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CountedSnapshot {
    /// The pool's name.
    pub name: String,
    /// File and line where it was made.
    pub created_at: String,
    /// Bytes of blocks, large objects, and bookkeeping.
    pub held_bytes: usize,
    /// Bytes that objects take, padding included, and those of freed objects in blocks that
    /// are not empty.
    pub used_bytes: usize,
    /// The blocks, the oldest first.
    pub blocks: Vec<CountedBlockSnapshot>,
    /// Bytes of each large object, the largest first.
    pub large: Vec<usize>,
    /// Bytes of tables, cleanups, and values that the pool owns: apart from the blocks.
    pub bookkeeping_bytes: usize,
    /// Cleanups that are still to run.
    pub cleanups: usize,
}

/// One block of a counted pool.
///
/// ```
/// let pool = cenote::CountedPool::new();
/// let (one, two) = (pool.alloc(1), pool.alloc(2));
/// assert_eq!(pool.snapshot().blocks[0].references, 2);
/// drop((one, two));
/// assert_eq!(pool.snapshot().blocks[0].references, 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CountedBlockSnapshot {
    /// All its bytes.
    pub size: usize,
    /// Bytes of its header.
    pub header: usize,
    /// Bytes of aligned objects, padding included, at its beginning. Those of freed objects
    /// count until the block is empty.
    pub used: usize,
    /// Bytes of unaligned objects, at its end; likewise.
    pub packed: usize,
    /// Bytes between them.
    pub free: usize,
    /// Objects in it that are not freed.
    pub references: usize,
    /// How often it was tried in vain when a new block had to be taken; not tried any more
    /// from the sixth time on, until it is empty.
    pub failures: u32,
    /// Whether allocations go here first.
    pub current: bool,
}

impl CountedSnapshot {
    /// Objects in all blocks; large ones are not among them.
    #[must_use]
    pub fn references(&self) -> usize {
        self.blocks.iter().map(|block| block.references).sum()
    }
}

impl<S: BlockSource> CountedPool<S> {
    /// What the pool holds now, block by block.
    pub fn snapshot(&self) -> CountedSnapshot {
        let mut large: Vec<usize> = self.large_sizes().collect();
        large.sort_unstable_by(|a, b| b.cmp(a));
        CountedSnapshot {
            name: self.name().to_string(),
            created_at: super::account::place(self.created_at()),
            held_bytes: self.held_bytes(),
            used_bytes: self.used_bytes(),
            blocks: self.block_snapshots(),
            large,
            bookkeeping_bytes: self.bookkeeping_bytes(),
            cleanups: self.pending_cleanups(),
        }
    }
}

impl fmt::Display for CountedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} held, {} used, {} blocks, {} references, {} large, {} cleanups",
            self.name,
            Bytes(self.held_bytes),
            Bytes(self.used_bytes),
            self.blocks.len(),
            self.references(),
            self.large.len(),
            self.cleanups,
        )?;
        for (index, block) in self.blocks.iter().enumerate() {
            writeln!(f, "  {index:>3} {block}")?;
        }
        if !self.large.is_empty() {
            write!(f, "  large")?;
            for size in &self.large {
                write!(f, "  {}", Bytes(*size))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl CountedBlockSnapshot {
    /// The block drawn in `width` characters: `H` header, `#` used, `.` free, `=` packed.
    #[must_use]
    pub fn bar(&self, width: usize) -> String {
        super::bar(width, self.size, self.header, self.used, self.packed)
    }
}

impl fmt::Display for CountedBlockSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[{}] {:>8}  used {:>6}  packed {:>6}  free {:>6}  refs {:>4}  failures {}{}",
            self.bar(BAR),
            Bytes(self.size),
            self.used,
            self.packed,
            self.free,
            self.references,
            self.failures,
            if self.current { "  current" } else { "" },
        )
    }
}
