//! The block map of one pool: every kind of pool in the same words, bounded in size.

use cenote::inspect::{ChunkPoolSnapshot, CountedSnapshot, PoolSnapshot};
use serde::Serialize;

/// Blocks, clusters and large objects that are told one by one; the rest is added up.
const SHOWN: usize = 256;

/// How a pool's memory is laid out at one moment. Sizes only, never contents.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BlockMap {
    /// The blocks, the oldest first.
    pub blocks: Vec<Block>,
    /// The clusters of a chunk pool.
    pub clusters: Vec<Cluster>,
    /// Bytes of each large object, the largest first.
    pub large: Vec<usize>,
    /// Blocks and clusters beyond those shown, and their bytes.
    pub more_blocks: usize,
    /// See `more_blocks`.
    pub more_block_bytes: usize,
    /// Large objects beyond those shown, and their bytes.
    pub more_large: usize,
    /// See `more_large`.
    pub more_large_bytes: usize,
    /// Bytes of tables and other bookkeeping apart from the blocks.
    pub bookkeeping_bytes: usize,
    /// Cleanups that are still to run.
    pub cleanups: usize,
}

/// One block: `size` is the sum of the next four.
#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// All its bytes.
    pub size: usize,
    /// Bytes of its header.
    pub header: usize,
    /// Bytes of objects at its beginning.
    pub used: usize,
    /// Free bytes between objects and tail.
    pub gap: usize,
    /// Bytes of unaligned objects at its end.
    pub tail: usize,
    /// Objects that it counts, in a counted pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<usize>,
    /// How often it was tried in vain.
    pub failures: u32,
    /// Whether allocations go here first.
    pub active: bool,
}

/// One cluster of a chunk pool.
#[derive(Clone, Debug, Serialize)]
pub struct Cluster {
    /// All its bytes.
    pub size: usize,
    /// Whether it is empty and waits for the next allocation.
    pub kept_back: bool,
    /// Its pages; `null`: a free one.
    pub pages: Vec<Option<Page>>,
}

/// One page of chunks.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Page {
    /// Bytes of a chunk.
    pub chunk: usize,
    /// Chunks in it.
    pub chunks: u32,
    /// A bit for each, from the lowest: set if it is in use.
    pub used: u32,
}

impl BlockMap {
    /// The map of a [`cenote::Pool`].
    #[must_use]
    pub fn of_pool(snapshot: &PoolSnapshot) -> Self {
        let blocks = snapshot.blocks.iter().map(|block| Block {
            size: block.size,
            header: block.header,
            used: block.used,
            gap: block.free,
            tail: block.packed,
            references: None,
            failures: block.failures,
            active: block.active,
        });
        Self {
            bookkeeping_bytes: snapshot.large_table_bytes,
            cleanups: snapshot.cleanups,
            ..Self::default()
        }
        .with_blocks(blocks)
        .with_large(&snapshot.large)
    }

    /// The map of a [`cenote::CountedPool`].
    #[must_use]
    pub fn of_counted(snapshot: &CountedSnapshot) -> Self {
        let blocks = snapshot.blocks.iter().map(|block| Block {
            size: block.size,
            header: block.header,
            used: block.used,
            gap: block.free,
            tail: block.packed,
            references: Some(block.references),
            failures: block.failures,
            active: block.current,
        });
        Self {
            bookkeeping_bytes: snapshot.bookkeeping_bytes,
            cleanups: snapshot.cleanups,
            ..Self::default()
        }
        .with_blocks(blocks)
        .with_large(&snapshot.large)
    }

    /// The map of a [`cenote::ChunkPool`].
    #[must_use]
    pub fn of_chunk(snapshot: &ChunkPoolSnapshot) -> Self {
        let clusters = &snapshot.clusters;
        let shown = clusters.iter().take(SHOWN).map(|cluster| Cluster {
            size: cluster.size,
            kept_back: cluster.kept_back,
            pages: cluster
                .pages
                .iter()
                .map(|page| {
                    page.map(|page| Page {
                        chunk: page.chunk_size,
                        chunks: page.chunks,
                        used: page.used,
                    })
                })
                .collect(),
        });
        Self {
            clusters: shown.collect(),
            more_blocks: clusters.len().saturating_sub(SHOWN),
            more_block_bytes: clusters.iter().skip(SHOWN).map(|cluster| cluster.size).sum(),
            bookkeeping_bytes: snapshot.table_bytes,
            cleanups: snapshot.cleanups,
            ..Self::default()
        }
        .with_large(&snapshot.large)
    }

    fn with_blocks(mut self, mut blocks: impl Iterator<Item = Block>) -> Self {
        self.blocks.extend(blocks.by_ref().take(SHOWN));
        for block in blocks {
            self.more_blocks += 1;
            self.more_block_bytes += block.size;
        }
        self
    }

    fn with_large(mut self, large: &[usize]) -> Self {
        let (shown, rest) = large.split_at(large.len().min(SHOWN));
        self.large = shown.to_vec();
        self.more_large = rest.len();
        self.more_large_bytes = rest.iter().sum();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cenote::{ChunkPool, CountedPool, Pool};
    use std::alloc::Layout;

    /// What is asserted is where objects lie: in pools in which no level is on.
    fn plain() {
        cenote::debug::set_thread_levels(Some(cenote::debug::Levels::NONE));
    }

    #[test]
    fn the_parts_of_each_block_are_the_whole_of_it() {
        plain();
        let pool = Pool::new();
        let counted = CountedPool::new();
        let mut boxes = Vec::new();
        for n in 0..2000_usize {
            pool.alloc([n; 5]);
            pool.alloc_str("odd");
            boxes.push(counted.alloc([n; 9]));
        }
        pool.alloc([0_u8; 100_000]);
        for map in [BlockMap::of_pool(&pool.snapshot()), BlockMap::of_counted(&counted.snapshot())]
        {
            assert!(map.blocks.len() > 1);
            for block in &map.blocks {
                assert_eq!(block.header + block.used + block.gap + block.tail, block.size);
            }
            assert_eq!(map.blocks.iter().filter(|block| block.active).count(), 1);
        }
        let large = BlockMap::of_pool(&pool.snapshot()).large;
        assert!(matches!(large[..], [bytes] if bytes >= 100_000), "{large:?}");
        let counts = BlockMap::of_counted(&counted.snapshot());
        assert_eq!(counts.blocks.iter().filter_map(|block| block.references).sum::<usize>(), 2000);
    }

    #[test]
    fn a_map_stays_small_however_large_the_pool() {
        plain();
        let pool = Pool::new();
        for _ in 0..1000 {
            pool.alloc_slice_copy(&[0_u8; 30_000]);
        }
        let map = BlockMap::of_pool(&pool.snapshot());
        assert_eq!(map.large.len() + map.more_large, pool.snapshot().large.len());
        assert!(map.large.len() <= SHOWN && map.blocks.len() <= SHOWN);
        let told: usize = map.blocks.iter().map(|block| block.size).sum::<usize>()
            + map.large.iter().sum::<usize>()
            + map.more_block_bytes
            + map.more_large_bytes
            + map.bookkeeping_bytes;
        assert_eq!(told, pool.held_bytes());
    }

    #[test]
    fn a_chunk_pool_is_told_page_by_page() {
        plain();
        let pool = ChunkPool::new();
        let first = pool.alloc_layout(Layout::new::<[u8; 100]>());
        pool.alloc_layout(Layout::new::<[u8; 100]>());
        let map = BlockMap::of_chunk(&pool.snapshot());
        let page = map.clusters[0].pages.iter().flatten().next().copied().expect("a page in use");
        assert_eq!((page.chunk, page.used.count_ones()), (128, 2));
        let _ = first;
    }
}
