//! [`ChunkPoolConfig`]: how a chunk pool is to be, checked before it is made.

use super::ChunkPool;
use super::cluster::{DESCRIPTOR, HEADER};
use super::geometry::{ALIGN, Geometry, MAX_CHUNKS, MAX_PAGES, Sizes};
use super::stack::DEPTH;
use crate::account::Account;
use crate::debug::{Levels, Watch};
use crate::misuse::OnBadFree;
use crate::{BlockSource, Blocks, ConfigError};
use core::panic::Location;

/// Sets up a [`ChunkPool`].
///
/// The defaults suit a server's long-lived tables and caches:
///
/// | field | default | why |
/// |---|---|---|
/// | `cluster_size` | 65536 | the largest block that [`Blocks`] keeps, so that clusters seldom reach the system; 3 % of it are descriptors |
/// | `page_size` | 1024 | the largest chunk: headers, timers and connection records are smaller, buffers are larger and get their own blocks |
/// | `min_chunk_size` | 32 | the smallest that goes with such a page; a string's or a list's node takes one |
/// | `page_alignment` | 128 | two cache lines, for what must not share them |
/// | `keep_clusters` | 1 | a pool that goes back and forth across a cluster's edge takes and gives none |
/// | `classes_between` | 0 | powers of two reuse each other's chunks best; more classes waste less room inside chunks |
/// | `newest_frees` | 24 | of each size, frees that the next allocations get without looking for a page |
///
/// ```
/// use cenote::{Account, ChunkPool, misuse::OnBadFree};
/// let account = Account::root("sessions");
/// let pool = ChunkPool::config()
///     .name("sessions")
///     .cluster_size(16 << 10)
///     .page_size(512)
///     .min_chunk_size(16)
///     .account(&account)
///     .on_bad_free(OnBadFree::Report)
///     .build()?;
/// assert_eq!(pool.chunk_sizes().collect::<Vec<_>>(), [16, 32, 64, 128, 256]);
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a configuration makes a pool only when `build` is called"]
pub struct ChunkPoolConfig<'a, S = Blocks> {
    pub(super) name: &'static str,
    sizes: Sizes,
    pub(super) keep: usize,
    pub(super) depth: usize,
    pub(super) account: Option<&'a Account>,
    pub(super) wipe: bool,
    pub(super) on_bad_free: OnBadFree,
    pub(super) levels: Option<Levels>,
    pub(super) source: S,
}

impl ChunkPoolConfig<'_, Blocks> {
    pub(super) const fn new() -> Self {
        Self {
            name: "chunk pool",
            sizes: Sizes {
                cluster: 64 << 10,
                alignment: 128,
                page: 1024,
                min_chunk: 32,
                between: 0,
                on_top: false,
            },
            keep: 1,
            depth: DEPTH,
            account: None,
            wipe: false,
            on_bad_free: OnBadFree::Abort,
            levels: None,
            source: Blocks,
        }
    }
}

impl<'a, S: BlockSource> ChunkPoolConfig<'a, S> {
    /// What snapshots and reports call the pool; `"chunk pool"` unless set.
    #[inline]
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Bytes of a cluster, the block that the pool takes when it needs more pages: a multiple
    /// of the page size, at most 256 pages; 65536 unless set. Need not be a power of two, but
    /// it is aligned to one. The descriptors of its pages (about 24 bytes each) are inside,
    /// unless no page would be left then: see also [`descriptors_on_top`].
    ///
    /// [`descriptors_on_top`]: ChunkPoolConfig::descriptors_on_top
    #[inline]
    pub const fn cluster_size(mut self, bytes: usize) -> Self {
        self.sizes.cluster = bytes;
        self
    }

    /// The largest alignment that chunks have: a power of two, raised to 16 if it is less, at
    /// most the page size; 128 unless set. Objects of a larger alignment are large objects.
    #[inline]
    pub const fn page_alignment(mut self, bytes: usize) -> Self {
        self.sizes.alignment = bytes;
        self
    }

    /// Bytes of a page, which has chunks of one size, or one object: a power of two, at least
    /// 64, at most 32 of the smallest chunks; 1024 unless set. Larger objects are large ones.
    #[inline]
    pub const fn page_size(mut self, bytes: usize) -> Self {
        self.sizes.page = bytes;
        self
    }

    /// Bytes of the smallest chunk: a power of two, less than the page size; 32 unless set.
    /// Chunks have this size, or twice that, and so on up to half a page.
    #[inline]
    pub const fn min_chunk_size(mut self, bytes: usize) -> Self {
        self.sizes.min_chunk = bytes;
        self
    }

    /// How many classes of chunks there are between each power of two and the next: 0, 1 (one
    /// and a half times) or 3 (in quarters); 0 unless set. Only sizes that are multiples of 16
    /// and of which a page has room for more become classes. They are aligned to 16.
    ///
    /// ```
    /// let pool = cenote::ChunkPool::config().classes_between(1).build()?;
    /// let sizes: Vec<_> = pool.chunk_sizes().collect();
    /// assert_eq!(sizes, [32, 48, 64, 96, 128, 192, 256, 512]);
    /// # Ok::<(), cenote::ConfigError>(())
    /// ```
    #[inline]
    pub const fn classes_between(mut self, classes: usize) -> Self {
        self.sizes.between = classes;
        self
    }

    /// How many empty clusters are kept back for the next allocations, instead of going back
    /// to the source at once; 1 unless set.
    #[inline]
    pub const fn keep_clusters(mut self, clusters: usize) -> Self {
        self.keep = clusters;
        self
    }

    /// Of how many frees of each size the pool remembers the addresses, to give them out again
    /// before it looks for a page: at most 24, which it is unless set. Of objects larger than a
    /// page, up to 16 KiB, it remembers 16, or 128 KiB, of each size at most.
    ///
    /// A page, or a cluster, in which all but such chunks is free goes back only when the pool
    /// looks after it: when all of the pool is free, before it takes a cluster, and in
    /// [`ChunkPool::settle`], [`ChunkPool::stat`] and [`ChunkPool::snapshot`]; a larger object
    /// does in those three, and before memory is refused for it. With 0 each goes back at once,
    /// and an allocation and its free take about three times as long.
    #[inline]
    pub const fn newest_frees(mut self, number: usize) -> Self {
        self.depth = number;
        self
    }

    /// The sizes as the njs engine's pools have them: `cluster_size / page_size` pages to a
    /// cluster, which fill it, with their descriptors in a block of their own; and a `min_chunk_size` equal to the
    /// page size is taken to mean that each object has a page of its own. Off unless set.
    #[inline]
    pub const fn descriptors_on_top(mut self, on_top: bool) -> Self {
        self.sizes.on_top = on_top;
        self
    }

    /// The account that is charged for clusters and large objects; none unless set.
    #[inline]
    pub const fn account(mut self, account: &'a Account) -> Self {
        self.account = Some(account);
        self
    }

    /// Whether an object is overwritten with zeros when it is freed, and everything before it
    /// leaves the pool: for keys and passwords. Off unless set; on, frees take longer.
    #[inline]
    pub const fn zero_on_release(mut self, wipe: bool) -> Self {
        self.wipe = wipe;
        self
    }

    /// What is done about a free of something that is not there: the process is told and
    /// aborted, unless set otherwise.
    #[inline]
    pub const fn on_bad_free(mut self, policy: OnBadFree) -> Self {
        self.on_bad_free = policy;
        self
    }

    /// What is looked for in the pool: the process's levels (see [`debug`](crate::debug)) unless
    /// set.
    #[inline]
    pub const fn levels(mut self, levels: Levels) -> Self {
        self.levels = Some(levels);
        self
    }

    /// Where clusters come from: [`Blocks`] unless set.
    #[inline]
    pub fn source<T: BlockSource>(self, source: T) -> ChunkPoolConfig<'a, T> {
        ChunkPoolConfig {
            name: self.name,
            sizes: self.sizes,
            keep: self.keep,
            depth: self.depth,
            account: self.account,
            wipe: self.wipe,
            on_bad_free: self.on_bad_free,
            levels: self.levels,
            source,
        }
    }

    /// Makes the pool. It holds no memory until something is allocated.
    ///
    /// # Errors
    /// Where a size breaks the rule given at its method.
    ///
    /// ```
    /// use cenote::ChunkPool;
    /// let error = ChunkPool::config().page_size(4096).build().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "page_size is 4096: it must be at most 32 times min_chunk_size",
    /// );
    /// ```
    #[track_caller]
    pub fn build(self) -> Result<ChunkPool<S>, ConfigError> {
        let geometry = self.geometry()?;
        Ok(ChunkPool::make(self, geometry, Location::caller()))
    }

    pub(super) fn geometry(&self) -> Result<Geometry, ConfigError> {
        let mut sizes = self.sizes;
        let error = |field, value, rule| Err(ConfigError::new(field, value, rule));
        for (field, value) in [
            ("page_alignment", sizes.alignment),
            ("page_size", sizes.page),
            ("min_chunk_size", sizes.min_chunk),
        ] {
            if !value.is_power_of_two() {
                return error(field, value, "a power of two");
            }
        }
        if sizes.page < 64 {
            return error("page_size", sizes.page, "at least 64 bytes");
        }
        sizes.alignment = sizes.alignment.max(ALIGN);
        if sizes.alignment > sizes.page {
            return error("page_alignment", self.sizes.alignment, "at most page_size");
        }
        if sizes.min_chunk > sizes.page {
            return error("min_chunk_size", sizes.min_chunk, "at most page_size");
        }
        if sizes.min_chunk == sizes.page && !sizes.on_top {
            return error("min_chunk_size", sizes.min_chunk, "less than page_size");
        }
        if sizes.page / sizes.min_chunk > MAX_CHUNKS {
            return error("page_size", sizes.page, "at most 32 times min_chunk_size");
        }
        if sizes.cluster < sizes.page {
            return error("cluster_size", sizes.cluster, "at least page_size");
        }
        if !sizes.cluster.is_multiple_of(sizes.page) {
            return error("cluster_size", sizes.cluster, "a multiple of page_size");
        }
        if sizes.cluster / sizes.page > MAX_PAGES {
            return error("cluster_size", sizes.cluster, "at most 256 pages");
        }
        if !matches!(sizes.between, 0 | 1 | 3) {
            return error("classes_between", sizes.between, "0, 1 or 3");
        }
        if self.depth > DEPTH {
            return error("newest_frees", self.depth, "at most 24");
        }
        // A class's size is kept in 32 bits.
        let geometry = (sizes.page <= 1 << 30).then(|| Geometry::new(sizes, HEADER, DESCRIPTOR));
        let Some(mut geometry) = geometry.flatten() else {
            return error("cluster_size", sizes.cluster, "the size of a block that can be");
        };
        if !Watch::new(self.levels, self.on_bad_free).now().levels.is_none() {
            geometry.watch();
        }
        Ok(geometry)
    }
}

impl ChunkPool {
    /// Sets up a pool with sizes, a name, an account or a source of its own.
    #[inline]
    pub fn config() -> ChunkPoolConfig<'static> {
        ChunkPoolConfig::new()
    }
}
