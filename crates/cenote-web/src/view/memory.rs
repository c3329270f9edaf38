//! How much memory the process has, to tell what the pools hold from what they do not; and what its general
//! allocator says of that.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// What the process's general allocator has, as it says itself: see
/// [`ViewBuilder::general`](super::ViewBuilder::general).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct General {
    /// Bytes of objects that were allocated and not freed. Blocks of pools are among them.
    pub live_bytes: usize,
    /// Bytes that the allocator keeps and nobody uses: free places between objects, and free pages.
    pub free_bytes: usize,
}

/// What is in no pool, told apart with the help of the general allocator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GeneralRow {
    /// What the allocator is called.
    pub name: String,
    /// Bytes of its objects, blocks of pools among them.
    pub live_bytes: usize,
    /// Bytes that it keeps and nobody uses.
    pub free_bytes: usize,
    /// Bytes of its objects that are neither in pools nor blocks that threads keep for pools: of whatever
    /// library, as far as that allocates here.
    pub in_no_pool_bytes: usize,
    /// The rest of what is resident: stacks, and what C libraries and others have from elsewhere. `None`
    /// where the system does not say what is resident. Memory that was allocated and never touched is not, so
    /// this may be 0 while there is some.
    pub elsewhere_bytes: Option<usize>,
}

/// The general allocator, to be asked.
#[derive(Clone)]
pub(super) struct GeneralAllocator {
    pub(super) name: String,
    pub(super) ask: Arc<dyn Fn() -> General + Send + Sync>,
}

impl fmt::Debug for GeneralAllocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GeneralAllocator").field(&self.name).finish()
    }
}

impl GeneralAllocator {
    /// What it has now, beside what pools and caches of blocks hold, and what is resident besides.
    pub(super) fn row(&self, in_pools: usize, other: Option<usize>) -> GeneralRow {
        let General { live_bytes, free_bytes } = (self.ask)();
        let in_no_pool_bytes = live_bytes.saturating_sub(in_pools);
        let told = in_no_pool_bytes.saturating_add(free_bytes);
        GeneralRow {
            name: self.name.clone(),
            live_bytes,
            free_bytes,
            in_no_pool_bytes,
            elsewhere_bytes: other.map(|other| other.saturating_sub(told)),
        }
    }
}

/// Bytes of the process's own memory that is resident (anonymous: heap and stacks, without the
/// program and mapped files); `None` where the system does not say.
pub(super) fn resident_bytes() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_pool_is_told_apart_and_nothing_counts_twice() {
        let row = |live_bytes, free_bytes, in_pools, other| {
            let ask = Arc::new(move || General { live_bytes, free_bytes });
            let row = GeneralAllocator { name: "one".into(), ask }.row(in_pools, other);
            (row.in_no_pool_bytes, row.elsewhere_bytes)
        };
        assert_eq!(row(100, 20, 60, Some(90)), (40, Some(30)));
        assert_eq!(row(100, 20, 60, None), (40, None));
        // Never touched, or of pools whose memory is from elsewhere.
        assert_eq!(row(100, 20, 60, Some(50)), (40, Some(0)));
        assert_eq!(row(100, 20, 160, Some(50)), (0, Some(30)));
        assert_eq!(row(usize::MAX, usize::MAX, 0, Some(50)), (usize::MAX, Some(0)));
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        let before = super::resident_bytes().expect("linux says");
        let touched = vec![1_u8; 128 << 20];
        let after = super::resident_bytes().expect("linux says");
        // Other tests of this process give some back meanwhile.
        assert!(after >= before + (64 << 20), "{before} {after}");
        drop(touched);
    }
}
