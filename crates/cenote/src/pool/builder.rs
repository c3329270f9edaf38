//! [`PoolBuilder`]: how a pool is to be, checked before it is made.

use super::{HEADER, HEADER_ALIGN, LARGEST_BLOCK, Pool};
use crate::account::Account;
use crate::debug::{Levels, Watch};
use crate::misuse::OnBadFree;
use crate::{BlockSource, Blocks, ConfigError};
use core::alloc::Layout;
use core::panic::Location;

/// Sizes of a pool, all checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes of the first block; of the next block, once there are some.
    pub(crate) first: u32,
    /// Bytes of the largest block that growth leads to.
    pub(crate) largest: u32,
    /// Objects that need more bytes than this are large.
    pub(crate) threshold: u32,
}

impl Shape {
    pub(crate) const DEFAULT: Self =
        Self { first: 4 << 10, largest: 64 << 10, threshold: 16 << 10 };

    /// The shape of a pool that is watched: every object is large, and none fits into the first
    /// block.
    pub(crate) const fn watched(self) -> Self {
        Self { first: 2 * HEADER as u32, threshold: 0, ..self }
    }
}

/// Sets up a [`Pool`]; every field has a default that suits a request.
///
/// ```
/// use cenote::{Account, Pool};
/// let account = Account::root("sessions");
/// let pool = Pool::builder()
///     .name("session")
///     .first_block(256)
///     .largest_block(8 << 10)
///     .large_threshold(2 << 10)
///     .account(&account)
///     .zero_on_release(true)
///     .build()?;
/// assert_eq!(pool.name(), "session");
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes a pool only when `build` is called"]
pub struct PoolBuilder<'a, S = Blocks> {
    pub(crate) name: &'static str,
    first: usize,
    largest: usize,
    threshold: Option<usize>,
    pub(crate) account: Option<&'a Account>,
    pub(crate) wipe: bool,
    pub(crate) levels: Option<Levels>,
    pub(crate) on_misuse: OnBadFree,
    pub(crate) source: S,
}

impl PoolBuilder<'_, Blocks> {
    pub(crate) const fn new() -> Self {
        Self {
            name: "pool",
            first: Shape::DEFAULT.first as usize,
            largest: Shape::DEFAULT.largest as usize,
            threshold: None,
            account: None,
            wipe: false,
            levels: None,
            on_misuse: OnBadFree::Abort,
            source: Blocks,
        }
    }
}

impl<'a, S: BlockSource> PoolBuilder<'a, S> {
    /// What snapshots call the pool; `"pool"` unless set.
    #[inline]
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Size in bytes of the first block: a power of two from 256 to 65536; 4096 unless set.
    /// An empty pool has no block, whatever this is.
    #[inline]
    pub const fn first_block(mut self, bytes: usize) -> Self {
        self.first = bytes;
        self
    }

    /// Size in bytes up to which each new block is twice the one before: a power of two, at
    /// least the first block's size, at most 16 MiB; 65536 unless set.
    #[inline]
    pub const fn largest_block(mut self, bytes: usize) -> Self {
        self.largest = bytes;
        self
    }

    /// Objects of more bytes than this (alignment added, where it is above 16) get an
    /// allocation of their own when they do not fit into the current block: at least 64, at
    /// most half the largest block; a quarter of the largest block unless set.
    #[inline]
    pub const fn large_threshold(mut self, bytes: usize) -> Self {
        self.threshold = Some(bytes);
        self
    }

    /// The account that is charged for the pool's blocks; none unless set.
    #[inline]
    pub const fn account(mut self, account: &'a Account) -> Self {
        self.account = Some(account);
        self
    }

    /// Whether everything is overwritten with zeros before it leaves the pool, and at reset:
    /// for keys and passwords. Off unless set.
    #[inline]
    pub const fn zero_on_release(mut self, wipe: bool) -> Self {
        self.wipe = wipe;
        self
    }

    /// What is looked for in the pool: the process's levels (see [`debug`](crate::debug)) unless
    /// set.
    #[inline]
    pub const fn levels(mut self, levels: Levels) -> Self {
        self.levels = Some(levels);
        self
    }

    /// What is done about misuse that is found since a level is on: abort the process, unless
    /// set.
    #[inline]
    pub const fn on_misuse(mut self, policy: OnBadFree) -> Self {
        self.on_misuse = policy;
        self
    }

    /// Where blocks come from: [`Blocks`] unless set. `&Pool` is a source too.
    #[inline]
    pub fn source<T: BlockSource>(self, source: T) -> PoolBuilder<'a, T> {
        PoolBuilder {
            name: self.name,
            first: self.first,
            largest: self.largest,
            threshold: self.threshold,
            account: self.account,
            wipe: self.wipe,
            levels: self.levels,
            on_misuse: self.on_misuse,
            source,
        }
    }

    /// Makes the pool. It holds no memory until something is allocated.
    ///
    /// # Errors
    /// Where a size breaks the rule given at its method.
    #[inline]
    #[track_caller]
    pub fn build(self) -> Result<Pool<S>, ConfigError> {
        let mut shape = self.shape()?;
        if self.levels.is_some_and(|levels| !levels.is_none()) {
            shape = shape.watched();
        }
        let place = Location::caller();
        let watch = Watch::new(self.levels, self.on_misuse);
        Ok(Pool::make(shape, self.name, place, self.account, self.wipe, watch, self.source))
    }

    #[inline]
    pub(crate) fn shape(&self) -> Result<Shape, ConfigError> {
        if !self.first.is_power_of_two() || self.first < 256 || self.first > 64 << 10 {
            let rule = "a power of two from 256 to 65536 bytes";
            return Err(ConfigError::new("first_block", self.first, rule));
        }
        if !self.largest.is_power_of_two() || self.largest < self.first || self.largest > 16 << 20 {
            let rule = "a power of two from first_block to 16777216 bytes";
            return Err(ConfigError::new("largest_block", self.largest, rule));
        }
        // What is at most half a block fits into an empty one with its header, rounded up.
        const { assert!(HEADER + 64 <= 128) };
        let threshold = self.threshold.unwrap_or(self.largest / 4);
        if threshold < 64 || threshold > self.largest / 2 {
            let rule = "from 64 bytes to half of largest_block";
            return Err(ConfigError::new("large_threshold", threshold, rule));
        }
        // What the source would spend on the first block anyway, so that pools use all of it
        // and need not ask each time. (Of the next ones it is asked when they are taken.)
        let first = match Layout::from_size_align(self.first, HEADER_ALIGN) {
            Ok(layout) => self.source.fit(layout),
            Err(_) => self.first,
        };
        let first = if first <= LARGEST_BLOCK { first } else { self.first };
        Ok(Shape {
            first: first as u32,
            largest: self.largest.max(first) as u32,
            threshold: threshold as u32,
        })
    }
}
