//! What snapshots show: every cluster, page and chunk.

use super::ChunkPool;
use super::cluster::{Cluster, Clusters};
use crate::BlockSource;
use crate::inspect::{ChunkClusterSnapshot, ChunkPageSnapshot, ChunkSlotSnapshot};
use alloc::vec::Vec;

impl<S: BlockSource> ChunkPool<S> {
    /// The clusters in the order of their addresses. The newest frees were put back before.
    pub(crate) fn cluster_snapshots(&self) -> Vec<ChunkClusterSnapshot> {
        let mut clusters: Vec<Cluster> = self.clusters.iter().collect();
        clusters.sort_unstable_by_key(|cluster| cluster.start().addr());
        clusters.into_iter().map(|cluster| self.cluster_snapshot(cluster)).collect()
    }

    fn cluster_snapshot(&self, cluster: Cluster) -> ChunkClusterSnapshot {
        let pages = (0..self.geometry.pages as usize).map(|number| {
            let page = Clusters::page(cluster, number, &self.geometry)?;
            page.class().map(|class| {
                let class = self.slot(class).class();
                ChunkPageSnapshot {
                    chunk_size: class.size as usize,
                    chunks: class.chunks,
                    used: class.all() & !page.free(),
                }
            })
        });
        ChunkClusterSnapshot {
            size: self.cluster_bytes(),
            kept_back: self.clusters.used_pages(cluster) == 0,
            pages: pages.collect(),
        }
    }

    pub(crate) fn slot_snapshots(&self) -> Vec<ChunkSlotSnapshot> {
        let classes = self.geometry.classes().iter().enumerate();
        let slots = classes.map(|(class, shape)| ChunkSlotSnapshot {
            chunk_size: shape.size as usize,
            chunks_per_page: shape.chunks,
            objects: self.live(class),
        });
        slots.collect()
    }

    pub(crate) fn large_sizes(&self) -> impl Iterator<Item = usize> {
        self.large.sizes()
    }

    pub(crate) fn table_bytes(&self) -> usize {
        self.clusters.table_bytes(&self.supply) + self.large.table_bytes(&self.supply)
    }

    pub(crate) fn pending_cleanups(&self) -> usize {
        self.cleanups.len()
    }

    pub(crate) fn page_size(&self) -> usize {
        self.geometry.page_bytes()
    }
}
