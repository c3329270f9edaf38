//! What a chunk pool has and does not need, given back while it has objects.

use super::ChunkPool;
use super::cluster::Clusters;
use crate::{BlockSource, told};

impl<S: BlockSource> ChunkPool<S> {
    /// Gives back what holds no object: clusters that are kept empty, and the memory of free pages in
    /// those that are not; how many bytes that were.
    ///
    /// A cluster stays as long as one of its pages has an object. Where the sizes that are asked for
    /// change, or a cache shrinks, many pages are free in clusters that are not; they are the pool's, and
    /// its account's, but need not be resident. The system has others there when they are used
    /// again, at the cost of a fault each. Worth calling on a timer, every minute or hour; it looks
    /// through all clusters, and calls the system for each row of free pages, whether or not they
    /// are resident.
    ///
    /// Only whole pages of the system's go, mostly of 4 KiB: smaller pages of the pool
    /// ([`page_size`]) where enough of them lie side by side. It is for [`Blocks`], [`SharedBlocks`],
    /// [`System`] and what forwards to them, on Linux; with other sources, and elsewhere, only clusters
    /// go back.
    ///
    /// [`page_size`]: crate::ChunkPoolConfig::page_size
    /// [`Blocks`]: crate::Blocks
    /// [`SharedBlocks`]: crate::SharedBlocks
    /// [`System`]: crate::System
    ///
    /// ```
    /// use cenote::ChunkPool;
    /// let pool = ChunkPool::config().page_size(4096).min_chunk_size(128).build()?;
    /// let first = pool.alloc_layout(std::alloc::Layout::new::<[u8; 3000]>());
    /// let pages = pool.held_bytes();
    /// // One of its pages is in use.
    /// assert!(pool.trim() < pages);
    /// assert_eq!(pool.held_bytes(), pages);
    /// # let _ = first;
    /// # Ok::<(), cenote::ConfigError>(())
    /// ```
    pub fn trim(&self) -> usize {
        let _inside = told::inside(true);
        self.settle();
        let held = self.held_bytes();
        while let Some(cluster) = self.clusters.take_kept() {
            self.clusters.give(cluster, &self.supply, &self.geometry);
        }
        let bytes = held - self.held_bytes();
        bytes + self.clusters.discard_free_pages(&self.supply, &self.geometry)
    }
}

impl Clusters {
    /// Says to the source which pages nothing is in.
    fn discard_free_pages<S: BlockSource>(
        &self,
        supply: &crate::supply::Supply<S>,
        geometry: &super::geometry::Geometry,
    ) -> usize {
        let mut bytes = 0;
        for cluster in self.iter() {
            let mut from = 0;
            for number in 0..=geometry.pages as usize {
                if Self::is_free(cluster, number, geometry) {
                    continue;
                }
                if from < number {
                    let start = crate::placed::behind(cluster.start(), geometry.offset_of(from));
                    let size = geometry.offset_of(number) - geometry.offset_of(from);
                    // SAFETY: pages of a cluster that this supply took; all from there to that
                    // number are free, so nothing in them is used.
                    bytes += unsafe { supply.discard(start, size) };
                }
                from = number + 1;
            }
        }
        bytes
    }
}
