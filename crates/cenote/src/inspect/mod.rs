//! Snapshots: what a pool holds, and what every account does, as values and as text.
//!
//! A snapshot is a copy of figures; it shows no memory, and nothing waits for it. Its
//! `Display` is meant for people, its fields (and serde, by feature) for programs.

mod account;
mod buddy;
mod chunk;
mod counted;
mod pool;

pub use crate::account::{Closed, Seen};
pub use account::AccountSnapshot;
pub(crate) use account::place;
pub use buddy::{BuddyBlock, BuddySnapshot, OrderSnapshot};
pub use chunk::{ChunkClusterSnapshot, ChunkPageSnapshot, ChunkPoolSnapshot, ChunkSlotSnapshot};
pub use counted::{CountedBlockSnapshot, CountedSnapshot};
pub use pool::{BlockSnapshot, PoolSnapshot};

use alloc::string::String;
use core::fmt;

/// Characters of a block's bar.
const BAR: usize = 48;

/// A block drawn in `width` characters: `H` header, `#` used, `.` free, `=` packed.
fn bar(width: usize, size: usize, header: usize, used: usize, packed: usize) -> String {
    let scale = |bytes: usize| (bytes * width).div_ceil(size.max(1));
    let used = scale(header + used).min(width);
    let header = scale(header).min(used);
    let packed = scale(packed).min(width - used);
    let mut bar = String::with_capacity(width);
    bar.extend(core::iter::repeat_n('H', header));
    bar.extend(core::iter::repeat_n('#', used - header));
    bar.extend(core::iter::repeat_n('.', width - used - packed));
    bar.extend(core::iter::repeat_n('=', packed));
    bar
}

/// A size as people read it: `4096 B`, `64 KiB`, `1.5 MiB`.
///
/// ```
/// use cenote::inspect::Bytes;
/// assert_eq!(Bytes(640).to_string(), "640 B");
/// assert_eq!(Bytes(65536).to_string(), "64 KiB");
/// assert_eq!(Bytes(3 << 19).to_string(), "1.5 MiB");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut unit = 0;
        let mut size = self.0;
        let mut tenths = 0;
        // Small sizes stay exact: pools are told by them.
        while size >= 1 << 10 && unit + 1 < UNITS.len() && (unit > 0 || size >= 10 << 10) {
            tenths = (size % 1024) * 10 / 1024;
            size /= 1024;
            unit += 1;
        }
        let unit = UNITS[unit];
        if tenths == 0 {
            f.pad(&alloc::format!("{size} {unit}"))
        } else {
            f.pad(&alloc::format!("{size}.{tenths} {unit}"))
        }
    }
}
