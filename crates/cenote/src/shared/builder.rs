//! [`SharedPoolBuilder`]: how shared pools are to be, checked once for any number of them.

use super::SharedPool;
use super::state::Making;
use crate::account::Account;
use crate::debug::Watch;
use crate::pool::Shape;
use crate::{AllocError, BlockSource, ConfigError, PoolBuilder, SharedBlocks};
use core::panic::Location;

/// Makes shared pools of one configuration, which was checked when this was made by
/// [`PoolBuilder::shared`].
///
/// ```
/// use cenote::{Account, SharedPool};
/// let requests = SharedPool::builder().name("request").first_block(1024).shared()?;   // once
/// let account = Account::root("service").with_limit(Some(1 << 20));
/// let pool = requests.try_build_on(&account)?;                                 // for each
/// assert_eq!((pool.name(), account.held()), ("request", 1024));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder makes a pool only when `try_build` is called"]
pub struct SharedPoolBuilder<'a, S = SharedBlocks> {
    pub(super) shape: Shape,
    pub(super) name: &'static str,
    pub(super) place: Option<&'static Location<'static>>,
    pub(super) account: Option<&'a Account>,
    pub(super) wipe: bool,
    pub(super) watch: Watch,
    pub(super) source: S,
}

impl SharedPoolBuilder<'_> {
    /// That of [`SharedPool::new`]: the sizes of [`Pool::new`](crate::Pool::new).
    pub const DEFAULT: Self = Self {
        shape: Shape::DEFAULT,
        name: "shared pool",
        place: None,
        account: None,
        wipe: false,
        watch: Watch::DEFAULT,
        source: SharedBlocks,
    };
}

impl<S> SharedPoolBuilder<'_, S> {
    /// What snapshots call the pools.
    #[inline]
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Has pools say that they were made at `place`, not where `try_build` is called: for who
    /// makes them on behalf of others.
    #[inline]
    pub const fn made_at(mut self, place: &'static Location<'static>) -> Self {
        self.place = Some(place);
        self
    }
}

impl<S: BlockSource + Clone> SharedPoolBuilder<'_, S> {
    /// Makes a pool, on the account that the builder was given.
    ///
    /// # Errors
    /// Where its first block cannot be had.
    #[inline]
    #[track_caller]
    pub fn try_build(&self) -> Result<SharedPool<S>, AllocError> {
        self.make(self.account, Location::caller())
    }

    /// Makes a pool on this account.
    ///
    /// # Errors
    /// Where its first block cannot be had.
    #[inline]
    #[track_caller]
    pub fn try_build_on(&self, account: &Account) -> Result<SharedPool<S>, AllocError> {
        self.make(Some(account), Location::caller())
    }

    #[inline]
    pub(super) fn make(
        &self,
        account: Option<&Account>,
        place: &'static Location<'static>,
    ) -> Result<SharedPool<S>, AllocError> {
        SharedPool::make(Making {
            shape: self.shape,
            name: self.name,
            created_at: self.place.unwrap_or(place),
            account,
            wipe: self.wipe,
            watch: self.watch,
            source: self.source.clone(),
        })
    }
}

impl<'a, S: BlockSource> PoolBuilder<'a, S> {
    /// Checks the sizes, for [shared pools](SharedPool). Their first block also has their
    /// state, some 190 bytes.
    ///
    /// # Errors
    /// Where a size breaks the rule given at its method.
    pub fn shared(self) -> Result<SharedPoolBuilder<'a, S>, ConfigError> {
        let shape = self.shape()?;
        let (name, account, wipe) = (self.name, self.account, self.wipe);
        let watch = Watch::new(self.levels, self.on_misuse);
        let source = self.source;
        Ok(SharedPoolBuilder { shape, name, place: None, account, wipe, watch, source })
    }
}
