//! [`CountedPoolBuilder`]: how a counted pool is to be, checked before it is made.

use super::CountedPool;
use crate::account::Account;
use crate::debug::Levels;
use crate::misuse::OnBadFree;
use crate::{BlockSource, Blocks, ConfigError};
use core::panic::Location;

/// What a counted pool is set up with, all checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Bytes of each block: a power of two; 0 in a pool that is watched, so that every object is
    /// large.
    pub(super) page: u32,
    /// The power of two that was asked for.
    pub(super) shift: u8,
    /// How many empty blocks are kept beside the current one.
    pub(super) keep: u32,
    pub(super) on_bad_free: OnBadFree,
}

/// Bytes of a block unless set otherwise: a page.
pub(super) const PAGE: usize = 4 << 10;
const SMALLEST: usize = 1 << 10;
const LARGEST: usize = 1 << 20;

impl Shape {
    pub(super) const DEFAULT: Self = Self::with_page(PAGE, 4, OnBadFree::Abort);

    const fn with_page(page: usize, keep: u32, on_bad_free: OnBadFree) -> Self {
        Self { page: page as u32, shift: page.ilog2() as u8, keep, on_bad_free }
    }

    /// The shape for a size as `mp_create_pool` takes it.
    pub(super) const fn of_size(size: usize) -> Self {
        let page = if size < PAGE || !size.is_multiple_of(PAGE) {
            PAGE
        } else if size > LARGEST {
            LARGEST
        } else {
            size.next_power_of_two()
        };
        Self::with_page(page, Self::DEFAULT.keep, OnBadFree::Abort)
    }
}

/// Sets up a [`CountedPool`]; every field has a default that suits a connection.
///
/// ```
/// use cenote::misuse::OnBadFree;
/// use cenote::{Account, CountedPool};
/// let account = Account::root("connections");
/// let pool = CountedPool::builder()
///     .name("connection")
///     .page(8 << 10)
///     .keep_empty(1)
///     .account(&account)
///     .zero_on_release(true)
///     .on_bad_free(OnBadFree::Report)
///     .build()?;
/// assert_eq!((pool.name(), pool.page_bytes()), ("connection", 8192));
///
/// let error = CountedPool::builder().page(5000).build().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "page is 5000: it must be a power of two from 1024 to 1048576 bytes",
/// );
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes a pool only when `build` is called"]
pub struct CountedPoolBuilder<'a, S = Blocks> {
    name: &'static str,
    page: usize,
    keep: usize,
    account: Option<&'a Account>,
    wipe: bool,
    on_bad_free: OnBadFree,
    levels: Option<Levels>,
    source: S,
}

impl CountedPoolBuilder<'_, Blocks> {
    pub(super) const fn new() -> Self {
        Self {
            name: "counted",
            page: PAGE,
            keep: Shape::DEFAULT.keep as usize,
            account: None,
            wipe: false,
            on_bad_free: OnBadFree::Abort,
            levels: None,
            source: Blocks,
        }
    }
}

impl<'a, S: BlockSource> CountedPoolBuilder<'a, S> {
    /// What snapshots and reports of misuse call the pool; `"counted"` unless set.
    #[inline]
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Size in bytes of every block: a power of two from 1024 to 1048576; 4096 unless set.
    ///
    /// Objects that do not fit into a block with its header of 48 bytes are large. A small
    /// page comes back sooner, since fewer objects have to be freed for it; a large one wastes
    /// less at its end.
    #[inline]
    pub const fn page(mut self, bytes: usize) -> Self {
        self.page = bytes;
        self
    }

    /// How many empty blocks are kept beside the current one, so that a pool whose load swings
    /// need not take blocks and give them back all the time; 4 unless set. Those beyond go
    /// back to the source as soon as they empty; [`CountedPool::trim`] gives back the rest.
    #[inline]
    pub const fn keep_empty(mut self, blocks: usize) -> Self {
        self.keep = blocks;
        self
    }

    /// The account that is charged for the pool's blocks; none unless set.
    #[inline]
    pub const fn account(mut self, account: &'a Account) -> Self {
        self.account = Some(account);
        self
    }

    /// Whether memory is overwritten with zeros when its block empties, and before it leaves
    /// the pool: for keys and passwords. Off unless set.
    #[inline]
    pub const fn zero_on_release(mut self, wipe: bool) -> Self {
        self.wipe = wipe;
        self
    }

    /// What [`CountedPool::free`] does about a pointer that is not one of its objects, beyond
    /// leaving everything as it is: abort the process, unless set.
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

    /// Where blocks come from: [`Blocks`] unless set. `&Pool` and `&CountedPool` are sources
    /// too.
    #[inline]
    pub fn source<T: BlockSource>(self, source: T) -> CountedPoolBuilder<'a, T> {
        CountedPoolBuilder {
            name: self.name,
            page: self.page,
            keep: self.keep,
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
    /// Where the page's size breaks the rule given at [`CountedPoolBuilder::page`].
    #[track_caller]
    pub fn build(self) -> Result<CountedPool<S>, ConfigError> {
        if !self.page.is_power_of_two() || self.page < SMALLEST || self.page > LARGEST {
            let rule = "a power of two from 1024 to 1048576 bytes";
            return Err(ConfigError::new("page", self.page, rule));
        }
        let keep = self.keep.min(u32::MAX as usize) as u32;
        let shape = Shape::with_page(self.page, keep, self.on_bad_free);
        let place = Location::caller();
        let (account, levels) = (self.account, self.levels);
        Ok(CountedPool::make(shape, self.name, place, account, self.wipe, levels, self.source))
    }
}
