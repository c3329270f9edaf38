//! [`ChunkPoolSnapshot`]: a chunk pool, page by page and chunk by chunk.

use super::Bytes;
use crate::{BlockSource, ChunkPool};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// A chunk pool at one moment. Printed, it draws each cluster as a row of pages, a letter for
/// each size of chunks, and then the pages of each size as rows of chunks.
///
/// ```
/// use cenote::ChunkPool;
/// use std::alloc::Layout;
/// let pool = ChunkPool::config().name("cache").cluster_size(4096).page_size(512)
///     .min_chunk_size(64).build()?;
/// let first = pool.alloc_layout(Layout::new::<[u8; 50]>());
/// pool.alloc_layout(Layout::new::<[u8; 50]>());
/// pool.alloc_layout(Layout::new::<[u8; 200]>());
/// pool.alloc_layout(Layout::new::<[u8; 500]>());
/// // SAFETY: from this pool, and not used any more.
/// unsafe { pool.free(first) }?;
/// assert_eq!(pool.snapshot().to_string(), "\
/// cache: 4096 B held, 3 objects in 3 pages, 1 clusters, 0 kept back, 0 large, 0 cleanups
///   cluster 0   [acP....]
///     a      64 B  [.#......]
///     c     256 B  [#.]
///     P     512 B  [#]
/// ");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ChunkPoolSnapshot {
    /// The pool's name.
    pub name: String,
    /// File and line where it was made.
    pub created_at: String,
    /// Bytes of clusters, those kept back included, of large objects, and of the tables by
    /// which both are found.
    pub held_bytes: usize,
    /// Bytes of chunks in use and of large objects.
    pub used_bytes: usize,
    /// Bytes of a page.
    pub page_size: usize,
    /// The classes of chunks, from the smallest; the last one's chunks are whole pages.
    pub slots: Vec<ChunkSlotSnapshot>,
    /// The clusters.
    pub clusters: Vec<ChunkClusterSnapshot>,
    /// Bytes of each large object, the largest first.
    pub large: Vec<usize>,
    /// Bytes of the tables in which clusters and large objects are found.
    pub table_bytes: usize,
    /// Cleanups that are still to run.
    pub cleanups: usize,
}

/// The chunks of one size.
///
/// ```
/// use std::alloc::Layout;
/// let pool = cenote::ChunkPool::new();
/// pool.alloc_layout(Layout::new::<[u8; 100]>());
/// let slot = pool.snapshot().slots.into_iter().find(|slot| slot.objects > 0).unwrap();
/// assert_eq!(slot.chunk_size, 128);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ChunkSlotSnapshot {
    /// Bytes of a chunk.
    pub chunk_size: usize,
    /// Chunks in a page.
    pub chunks_per_page: u32,
    /// Chunks in use.
    pub objects: usize,
}

/// One cluster of a chunk pool.
///
/// ```
/// use std::alloc::Layout;
/// let pool = cenote::ChunkPool::new();
/// pool.alloc_layout(Layout::new::<[u8; 100]>());
/// let cluster = &pool.snapshot().clusters[0];
/// assert_eq!(cluster.pages.iter().flatten().count(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ChunkClusterSnapshot {
    /// Bytes that it takes.
    pub size: usize,
    /// Whether there is nothing in it, and it waits for the next allocation.
    pub kept_back: bool,
    /// Its pages; `None`: a free one.
    pub pages: Vec<Option<ChunkPageSnapshot>>,
}

/// One page in use.
///
/// ```
/// use std::alloc::Layout;
/// let pool = cenote::ChunkPool::new();
/// pool.alloc_layout(Layout::new::<[u8; 100]>());
/// let snapshot = pool.snapshot();
/// let page = snapshot.clusters[0].pages.iter().flatten().next().unwrap();
/// assert_eq!(page.chunk_size, 128);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ChunkPageSnapshot {
    /// Bytes of its chunks.
    pub chunk_size: usize,
    /// How many it has.
    pub chunks: u32,
    /// A bit for each, from the lowest: set if it is in use.
    pub used: u32,
}

impl<S: BlockSource> ChunkPool<S> {
    /// What the pool holds now, page by page. The newest frees are put back first, as
    /// [`ChunkPool::settle`] does.
    pub fn snapshot(&self) -> ChunkPoolSnapshot {
        self.settle();
        let mut large: Vec<usize> = self.large_sizes().collect();
        large.sort_unstable_by(|a, b| b.cmp(a));
        let slots = self.slot_snapshots();
        let in_chunks: usize = slots.iter().map(|slot| slot.objects * slot.chunk_size).sum();
        ChunkPoolSnapshot {
            name: self.name().to_string(),
            created_at: super::account::place(self.created_at()),
            held_bytes: self.held_bytes(),
            used_bytes: in_chunks + large.iter().sum::<usize>(),
            page_size: self.page_size(),
            slots,
            clusters: self.cluster_snapshots(),
            large,
            table_bytes: self.table_bytes(),
            cleanups: self.pending_cleanups(),
        }
    }
}

impl ChunkPoolSnapshot {
    /// Objects in chunks and whole pages; large ones not counted.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.slots.iter().map(|slot| slot.objects).sum()
    }

    /// Pages with objects in them.
    #[must_use]
    pub fn used_pages(&self) -> usize {
        self.clusters.iter().map(|cluster| cluster.pages.iter().flatten().count()).sum()
    }
}

/// Characters of a line of pages.
const LINE: usize = 88;

impl ChunkPoolSnapshot {
    /// What a page with chunks of this size is drawn as: `a`, `b` and so on; `P` with one.
    fn letter(&self, chunk_size: usize) -> char {
        let class = self.slots.iter().take_while(|slot| slot.chunk_size < chunk_size).count();
        if class + 1 == self.slots.len() { 'P' } else { char::from(b'a' + class as u8) }
    }

    /// The chunks of a cluster's pages of one class: `#` in use, `.` free.
    fn draw_pages(
        &self,
        f: &mut fmt::Formatter<'_>,
        cluster: &ChunkClusterSnapshot,
        chunk_size: usize,
    ) -> fmt::Result {
        let mut room = 0;
        let pages = cluster.pages.iter().flatten().filter(|page| page.chunk_size == chunk_size);
        for (index, page) in pages.enumerate() {
            let width = page.chunks as usize + 3;
            if room < width {
                if index > 0 {
                    writeln!(f)?;
                }
                let name = if index == 0 { self.letter(chunk_size) } else { ' ' };
                write!(f, "    {name} {:>9} ", Bytes(chunk_size))?;
                room = LINE;
            }
            room -= width;
            write!(f, " {page}")?;
        }
        if room > 0 { writeln!(f) } else { Ok(()) }
    }
}

impl fmt::Display for ChunkPageSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for chunk in 0..self.chunks {
            f.write_char(if self.used >> chunk & 1 != 0 { '#' } else { '.' })?;
        }
        f.write_char(']')
    }
}

impl fmt::Display for ChunkPoolSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.clusters.iter().filter(|cluster| cluster.kept_back).count();
        writeln!(
            f,
            "{}: {} held, {} objects in {} pages, {} clusters, {kept} kept back, {} large, {} cleanups",
            self.name,
            Bytes(self.held_bytes),
            self.objects(),
            self.used_pages(),
            self.clusters.len() - kept,
            self.large.len(),
            self.cleanups,
        )?;
        for (index, cluster) in self.clusters.iter().enumerate() {
            write!(f, "  cluster {index:<3} [")?;
            for page in &cluster.pages {
                f.write_char(page.as_ref().map_or('.', |page| self.letter(page.chunk_size)))?;
            }
            writeln!(f, "]{}", if cluster.kept_back { "  kept back" } else { "" })?;
            for slot in &self.slots {
                self.draw_pages(f, cluster, slot.chunk_size)?;
            }
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
