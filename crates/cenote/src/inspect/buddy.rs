//! [`BuddySnapshot`]: a region, order by order and block by block.

use super::Bytes;
use crate::{BlockSource, Buddy};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A region in pages at one moment. Printed, it draws the blocks of each order where they lie.
///
/// ```
/// use cenote::{BlockSource, Buddy};
/// use std::alloc::Layout;
///
/// let buddy = Buddy::builder().name("pages").heap(64 << 10)?;
/// let small = buddy.acquire(Layout::new::<[u8; 3000]>())?;
/// let large = buddy.acquire(Layout::new::<[u8; 15000]>())?;
/// let snapshot = buddy.snapshot();
/// assert_eq!((snapshot.used_bytes, snapshot.largest_free), (20 << 10, 32 << 10));
/// assert_eq!((snapshot.orders[0].free, snapshot.orders[0].used), (1, 1));
/// assert_eq!(snapshot.to_string(), "\
/// pages: 64 KiB in pages of 4096 B, 20 KiB used, 44 KiB free, largest free 32 KiB
///   order     block   free   used
///       4    64 KiB      0      0  |                                                                |
///       3    32 KiB      1      0  |                                [..............................]|
///       2    16 KiB      0      1  |                [##############]                                |
///       1    8192 B      1      0  |        [......]                                                |
///       0    4096 B      1      1  |[##][..]                                                        |
/// ");
/// # // SAFETY: acquired above.
/// # unsafe { buddy.free(small) }?;
/// # // SAFETY: acquired above.
/// # unsafe { buddy.free(large) }?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BuddySnapshot {
    /// Its name.
    pub name: String,
    /// File and line where it was made.
    pub created_at: String,
    /// Bytes of a page.
    pub page: usize,
    /// Bytes of all pages.
    pub bytes: usize,
    /// Bytes of blocks that are out.
    pub used_bytes: usize,
    /// Bytes of free blocks.
    pub free_bytes: usize,
    /// Bytes of the largest free block.
    pub largest_free: usize,
    /// Bytes of bookkeeping, which are not counted above.
    pub bookkeeping_bytes: usize,
    /// The orders, the smallest first.
    pub orders: Vec<OrderSnapshot>,
    /// The blocks, by address.
    pub blocks: Vec<BuddyBlock>,
}

/// The blocks of one size.
///
/// ```
/// let buddy = cenote::Buddy::heap(64 << 10)?;
/// let order = buddy.snapshot().orders.into_iter().find(|order| order.free > 0).unwrap();
/// assert_eq!((order.order, order.block, order.free, order.used), (4, 64 << 10, 1, 0));
/// # Ok::<(), cenote::RegionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct OrderSnapshot {
    /// A block has two to the power of this pages.
    pub order: u32,
    /// Bytes of a block.
    pub block: usize,
    /// How many are free.
    pub free: usize,
    /// How many are out.
    pub used: usize,
}

/// One block of a region.
///
/// ```
/// let buddy = cenote::Buddy::heap(64 << 10)?;
/// let blocks = buddy.snapshot().blocks;
/// assert_eq!(blocks.len(), 1);
/// assert!(blocks[0].free && blocks[0].bytes == 64 << 10);
/// # Ok::<(), cenote::RegionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BuddyBlock {
    /// Where it begins, in bytes from the first page.
    pub offset: usize,
    /// How many bytes it has.
    pub bytes: usize,
    /// Whether it is free.
    pub free: bool,
}

impl<S: BlockSource> Buddy<'_, S> {
    /// What the region looks like now, block by block.
    pub fn snapshot(&self) -> BuddySnapshot {
        let blocks: Vec<BuddyBlock> =
            self.blocks().map(|(offset, bytes, free)| BuddyBlock { offset, bytes, free }).collect();
        let mut orders: Vec<OrderSnapshot> = self
            .orders()
            .zip(0..)
            .map(|((block, free), order)| OrderSnapshot { order, block, free, used: 0 })
            .collect();
        for block in blocks.iter().filter(|block| !block.free) {
            let order = block.bytes.trailing_zeros() - self.page().trailing_zeros();
            if let Some(order) = orders.get_mut(order as usize) {
                order.used += 1;
            }
        }
        BuddySnapshot {
            name: self.name().to_string(),
            created_at: super::account::place(self.created_at()),
            page: self.page(),
            bytes: self.bytes(),
            used_bytes: self.used_bytes(),
            free_bytes: self.free_bytes(),
            largest_free: self.largest_free(),
            bookkeeping_bytes: self.bookkeeping_bytes(),
            orders,
            blocks,
        }
    }
}

/// Characters of a picture, at most.
const WIDTH: usize = 64;

impl BuddySnapshot {
    /// The blocks of one order where they lie in the region, in about `width` characters: `#`
    /// a block in use, `.` a free one, `+` both in the place of one character, and a space
    /// where there is none of this order. A block of three characters and more is in brackets.
    #[must_use]
    pub fn bar(&self, order: u32, width: usize) -> String {
        let Some(block) = self.orders.get(order as usize).map(|order| order.block) else {
            return String::new();
        };
        let pages = self.bytes / self.page;
        // A whole number of characters for each page, where there are few.
        let width = if pages <= width { width / pages * pages } else { width.max(1) };
        let column = |offset: usize| (offset as u128 * width as u128 / self.bytes as u128) as usize;
        let mut bar: Vec<u8> = alloc::vec![b' '; width];
        for at in self.blocks.iter().filter(|at| at.bytes == block) {
            let fill = if at.free { b'.' } else { b'#' };
            let (from, to) = (column(at.offset), column(at.offset + block - 1));
            let Some(places) = bar.get_mut(from..=to) else { continue };
            if let [open, inside @ .., close] = places
                && !inside.is_empty()
            {
                inside.fill(fill);
                (*open, *close) = (b'[', b']');
                continue;
            }
            for place in places {
                *place = if *place == b' ' || *place == fill { fill } else { b'+' };
            }
        }
        bar.into_iter().map(char::from).collect()
    }
}

impl fmt::Display for BuddySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} in pages of {}, {} used, {} free, largest free {}",
            self.name,
            Bytes(self.bytes),
            Bytes(self.page),
            Bytes(self.used_bytes),
            Bytes(self.free_bytes),
            Bytes(self.largest_free),
        )?;
        writeln!(f, "{:>7} {:>9} {:>6} {:>6}", "order", "block", "free", "used")?;
        for order in self.orders.iter().rev() {
            writeln!(
                f,
                "{:>7} {:>9} {:>6} {:>6}  |{}|",
                order.order,
                Bytes(order.block),
                order.free,
                order.used,
                self.bar(order.order, WIDTH),
            )?;
        }
        Ok(())
    }
}
