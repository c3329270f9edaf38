//! [`PoolSnapshot`]: one pool, block by block.

use super::{BAR, Bytes};
use crate::BlockSource;
use crate::pool::Pool;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A pool at one moment. Printed, it draws each block as a bar.
///
/// ```
/// let pool = cenote::Pool::builder().name("request").first_block(256).build()?;
/// pool.alloc([0_u8; 100]);
/// pool.alloc_str("0123456789");
/// let snapshot = pool.snapshot();
/// assert_eq!(snapshot.held_bytes, 256);
/// assert_eq!(snapshot.blocks[0].used, 104);        // rounded up to 8
/// assert_eq!(snapshot.blocks[0].packed, 10);
/// assert_eq!(snapshot.blocks[0].free, 256 - 32 - 104 - 10);
/// println!("{snapshot}");
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PoolSnapshot {
    /// The pool's name.
    pub name: String,
    /// File and line where it was made.
    pub created_at: String,
    /// Bytes of blocks and large objects.
    pub held_bytes: usize,
    /// Bytes that objects take, padding included.
    pub used_bytes: usize,
    /// The blocks, the oldest first.
    pub blocks: Vec<BlockSnapshot>,
    /// Bytes of each large object, the largest first.
    pub large: Vec<usize>,
    /// Bytes of the table in which large objects are found.
    pub large_table_bytes: usize,
    /// Cleanups that are still to run.
    pub cleanups: usize,
}

/// One block of a pool.
///
/// ```
/// let pool = cenote::Pool::new();
/// pool.alloc(1_u64);
/// let block = &pool.snapshot().blocks[0];
/// assert!(block.current && block.active);
/// assert_eq!(block.header + block.used + block.free + block.packed, block.size);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BlockSnapshot {
    /// All its bytes.
    pub size: usize,
    /// Bytes of its header.
    pub header: usize,
    /// Bytes of aligned objects, padding included, at its beginning.
    pub used: usize,
    /// Bytes of unaligned objects, at its end.
    pub packed: usize,
    /// Bytes between them.
    pub free: usize,
    /// How often it was tried in vain when another block had to be taken; not tried any more
    /// from the sixth time on.
    pub failures: u32,
    /// Whether it is the oldest block that is still tried.
    pub current: bool,
    /// Whether allocations go here first.
    pub active: bool,
}

impl<S: BlockSource> Pool<S> {
    /// What the pool holds now, block by block.
    pub fn snapshot(&self) -> PoolSnapshot {
        let mut large: Vec<usize> = self.large_sizes().collect();
        large.sort_unstable_by(|a, b| b.cmp(a));
        PoolSnapshot {
            name: self.name().to_string(),
            created_at: super::account::place(self.created_at()),
            held_bytes: self.held_bytes(),
            used_bytes: self.used_bytes(),
            blocks: self.block_snapshots(),
            large,
            large_table_bytes: self.large_table_bytes(),
            cleanups: self.pending_cleanups(),
        }
    }
}

impl fmt::Display for PoolSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} held, {} used, {} blocks, {} large, {} cleanups",
            self.name,
            Bytes(self.held_bytes),
            Bytes(self.used_bytes),
            self.blocks.len(),
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

impl BlockSnapshot {
    /// The block drawn in `width` characters: `H` header, `#` used, `.` free, `=` packed.
    #[must_use]
    pub fn bar(&self, width: usize) -> String {
        super::bar(width, self.size, self.header, self.used, self.packed)
    }
}

impl fmt::Display for BlockSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[{}] {:>8}  used {:>6}  packed {:>6}  free {:>6}  failures {}{}{}",
            self.bar(BAR),
            Bytes(self.size),
            self.used,
            self.packed,
            self.free,
            self.failures,
            if self.current { "  current" } else { "" },
            if self.active { "  active" } else { "" },
        )
    }
}
