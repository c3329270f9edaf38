//! [`BuddyBuilder`]: how a region is to be used, checked before it is.

use super::orders::{self, Plan, SMALLEST_PAGE};
use super::region::{LIST, Region};
use super::watched::Watched;
use super::{Buddy, Owned};
use crate::debug::{Levels, Watch};
use crate::misuse::OnBadFree;
use crate::source::System;
use crate::supply::Supply;
use crate::{Account, AllocError, BlockSource, ConfigError, size};
use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::panic::Location;
use core::ptr::NonNull;

/// Sets up a [`Buddy`]; every field has a default.
///
/// ```
/// use cenote::{Account, Buddy};
/// use cenote::misuse::OnBadFree;
///
/// let account = Account::root("tiles").with_limit(Some(8 << 20));
/// let buddy = Buddy::builder()
///     .name("tiles")
///     .page(256)
///     .largest_block(64 << 10)
///     .on_bad_free(OnBadFree::Report)
///     .account(&account)
///     .heap(1 << 20)?;
/// assert_eq!(buddy.orders().last(), Some((64 << 10, 16)));
/// assert_eq!(account.held(), (1 << 20) + buddy.bookkeeping_bytes());
/// # Ok::<(), cenote::RegionError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes a Buddy only when given its region"]
pub struct BuddyBuilder<'a, S = System> {
    name: &'static str,
    page: usize,
    largest: Option<usize>,
    on_bad_free: OnBadFree,
    levels: Option<Levels>,
    account: Option<&'a Account>,
    source: S,
}

impl BuddyBuilder<'_> {
    pub(super) const fn new() -> Self {
        Self {
            name: "buddy",
            page: 4096,
            largest: None,
            on_bad_free: OnBadFree::Abort,
            levels: None,
            account: None,
            source: System,
        }
    }
}

impl<'a, S: BlockSource> BuddyBuilder<'a, S> {
    /// What reports and snapshots call it; `"buddy"` unless set.
    pub const fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Bytes of the smallest block: a power of two of at least 64; 4096 unless set.
    pub const fn page(mut self, bytes: usize) -> Self {
        self.page = bytes;
        self
    }

    /// Bytes of the largest block: a power of two, at least a page. Blocks are not merged
    /// beyond it, and a heap region is aligned to no more. Unless set, it is the largest that
    /// the region has.
    pub const fn largest_block(mut self, bytes: usize) -> Self {
        self.largest = Some(bytes);
        self
    }

    /// What is done about a bad free; it is reported and the process aborted unless set.
    pub const fn on_bad_free(mut self, policy: OnBadFree) -> Self {
        self.on_bad_free = policy;
        self
    }

    /// What is looked for in its blocks: the process's levels (see [`debug`](crate::debug)) unless
    /// set. In a region `passthrough` and `guard` change nothing.
    pub const fn levels(mut self, levels: Levels) -> Self {
        self.levels = Some(levels);
        self
    }

    /// The account that is charged for a heap region, as a whole; none unless set. A region
    /// that is lent is not charged.
    pub const fn account(mut self, account: &'a Account) -> Self {
        self.account = Some(account);
        self
    }

    /// Where a heap region comes from; the global allocator unless set.
    ///
    /// ```
    /// use cenote::Buddy;
    /// // A part of a region, in pages of its own size.
    /// let pages = Buddy::heap(1 << 20)?;
    /// let small = Buddy::builder().page(64).source(&pages).heap(30 << 10)?;
    /// assert_eq!(pages.used_bytes(), 32 << 10);
    /// assert!(small.bytes() >= 30 << 10);
    /// # Ok::<(), cenote::RegionError>(())
    /// ```
    pub fn source<T: BlockSource>(self, source: T) -> BuddyBuilder<'a, T> {
        BuddyBuilder {
            name: self.name,
            page: self.page,
            largest: self.largest,
            on_bad_free: self.on_bad_free,
            levels: self.levels,
            account: self.account,
            source,
        }
    }

    /// Over a region of its own, with `bytes` bytes of pages; see [`Buddy::heap`]. Where the
    /// source gives more than it was asked for, the rest becomes pages too.
    ///
    /// # Errors
    /// [`RegionError::Config`] where a field breaks its rule, or `bytes` is less than a page or
    /// more than any region can have; [`RegionError::Alloc`] where the source has no such
    /// block, or the account refuses.
    #[track_caller]
    pub fn heap(self, bytes: usize) -> Result<Buddy<'static, S>, RegionError> {
        let (shift, largest) = self.check()?;
        let too_large =
            ConfigError::new("bytes", bytes, "less than a quarter of the address space");
        let Some(order) = (bytes >> shift).checked_ilog2() else {
            return Err(ConfigError::new("bytes", bytes, "at least a page").into());
        };
        let align = self.page << order.min(largest);
        let layout = orders::bytes_for(bytes >> shift, shift, LIST)
            .and_then(|bytes| Layout::from_size_align(bytes, align).ok())
            .ok_or(too_large.clone())?;

        let levels = self.levels.unwrap_or_else(crate::debug::levels);
        let supply = Supply::new(self.name, self.source, self.account, false, Watch::DEFAULT);
        let layout = Layout::from_size_align(supply.fit(layout), align).unwrap_or(layout);
        let memory = supply.take(layout)?;
        let owned = Owned { memory, layout, supply };
        let start = memory.addr().get();
        let plan = orders::plan(start, layout.size(), shift, largest, LIST).ok_or(too_large)?;
        // SAFETY: the plan is for exactly this memory, which `_owned` keeps for the value.
        let region = unsafe { Region::new(memory, owned.layout.size(), plan) };
        Ok(Buddy {
            watched: watch(&region, levels),
            region,
            on_bad_free: self.on_bad_free,
            name: self.name,
            created_at: Location::caller(),
            _owned: Some(owned),
            borrowed: PhantomData,
        })
    }

    /// Over memory that is lent to it; see [`Buddy::over`]. The source is not used.
    ///
    /// # Errors
    /// Where a field breaks its rule, or the region has no room for one aligned page and its
    /// bookkeeping.
    #[track_caller]
    pub fn over<'r>(self, region: &'r mut [MaybeUninit<u8>]) -> Result<Buddy<'r>, ConfigError> {
        let (start, bytes) = (NonNull::from_mut(&mut *region).cast(), region.len());
        // SAFETY: borrowed for `'r` and by nobody else; bytes that may be uninitialised can be
        // written and left in any state.
        unsafe { self.mapped(start, bytes) }
    }

    /// Over memory that the caller mapped; see [`Buddy::mapped`]. The source is not used.
    ///
    /// # Errors
    /// As for [`BuddyBuilder::over`].
    ///
    /// # Safety
    /// As for [`Buddy::mapped`].
    #[track_caller]
    pub unsafe fn mapped<'r>(
        self,
        start: NonNull<u8>,
        bytes: usize,
    ) -> Result<Buddy<'r>, ConfigError> {
        let (shift, largest) = self.check()?;
        let plan = self.plan(start, bytes, shift, largest)?;
        // SAFETY: the plan is for exactly this memory; the rest is the caller's promise.
        let region = unsafe { Region::new(start, bytes, plan) };
        Ok(Buddy {
            watched: watch(&region, self.levels.unwrap_or_else(crate::debug::levels)),
            region,
            on_bad_free: self.on_bad_free,
            name: self.name,
            created_at: Location::caller(),
            _owned: None,
            borrowed: PhantomData,
        })
    }

    fn plan(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        shift: u32,
        largest: u32,
    ) -> Result<Plan, ConfigError> {
        if bytes > size::MAX {
            return Err(ConfigError::new("region", bytes, "at most isize::MAX bytes long"));
        }
        let plan = orders::plan(start.addr().get(), bytes, shift, largest, LIST);
        plan.ok_or(ConfigError::new(
            "region",
            bytes,
            "long enough for one aligned page and its bookkeeping",
        ))
    }

    /// The binary logarithm of the page size, and the largest order.
    fn check(&self) -> Result<(u32, u32), ConfigError> {
        if !self.page.is_power_of_two() || self.page < SMALLEST_PAGE {
            let rule = "a power of two of at least 64 bytes";
            return Err(ConfigError::new("page", self.page, rule));
        }
        let shift = self.page.trailing_zeros();
        match self.largest {
            None => Ok((shift, u32::MAX)),
            Some(largest) if largest.is_power_of_two() && largest >= self.page => {
                Ok((shift, largest.trailing_zeros() - shift))
            }
            Some(largest) => {
                let rule = "a power of two, and at least a page";
                Err(ConfigError::new("largest_block", largest, rule))
            }
        }
    }
}

/// What a region is watched with, if it is.
fn watch(region: &Region, levels: Levels) -> Option<Watched> {
    if levels.is_none() {
        return None;
    }
    let watched = Watched::new(levels, region.orders().frames())?;
    region.hide();
    Some(watched)
}

/// Why there is no [`Buddy`] over a heap region.
///
/// ```
/// use cenote::{Account, Buddy, RegionError};
/// let error = Buddy::builder().page(100).heap(1 << 20).unwrap_err();
/// assert!(matches!(&error, RegionError::Config(error) if error.field() == "page"));
/// assert_eq!(error.to_string(), "page is 100: it must be a power of two of at least 64 bytes");
///
/// let account = Account::root("small").with_limit(Some(64 << 10));
/// let error = Buddy::builder().account(&account).heap(1 << 20).unwrap_err();
/// assert!(matches!(&error, RegionError::Alloc(error) if error.account() == Some(&account)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RegionError {
    /// A field breaks its rule.
    Config(ConfigError),
    /// The memory could not be had.
    Alloc(AllocError),
}

impl From<ConfigError> for RegionError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<AllocError> for RegionError {
    fn from(error: AllocError) -> Self {
        Self::Alloc(error)
    }
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Alloc(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RegionError {}
