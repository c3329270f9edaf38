//! [`Reservation`]: bytes charged to an account for memory that no pool has.
//!
//! It charges and credits as pools do, through the same counters, so limits, peaks and refusals
//! are theirs too. Beside that each account counts the bytes that reservations on it and under it
//! have, so that figures tell them from blocks; and the bytes that [`Reservation::grow`] charged
//! beyond its limit. Nothing here is on a pool's path.

use super::{Account, Node};
use crate::AllocError;
use crate::error::{Mode, Try};
use crate::size::MAX;
use crate::sync::modelled::Ordering::Relaxed;
use core::fmt;

/// Bytes that are charged to an [`Account`] for memory that lies elsewhere: in a `Vec`, a mapped
/// file, a C library's own heap.
///
/// It is a number with an owner: nothing is allocated for it. While it exists the account and those
/// above hold so many bytes more, under the same limits as the blocks of pools; its drop gives them
/// back. It may be used, grown and dropped on any thread, and keeps its account as any handle does.
///
/// What there is of memory and what is reserved for it are told apart by nobody but its user:
/// reserve before the memory is had, shrink after it is gone.
///
/// Made by [`Account::try_reserve`], which fails where there is no room, by [`Account::reserve`],
/// which waits for it, and by [`Account::reservation`], which has nothing yet.
///
/// # Cost
///
/// What a block's charge costs, and one atomic addition for each account up to the root.
///
/// ```
/// use cenote::Account;
/// let queries = Account::root("process").child("queries").with_limit(Some(1 << 20));
/// let mut sort = queries.try_reserve(600_000)?;
/// let spilled = sort.try_grow(600_000).unwrap_err();
/// assert_eq!(spilled.account(), Some(&queries));
/// assert_eq!((sort.bytes(), queries.held(), queries.reserved()), (600_000, 600_000, 600_000));
///
/// let half = sort.split(300_000);
/// std::thread::spawn(move || drop(half)).join().unwrap();
/// assert_eq!((sort.bytes(), queries.held()), (300_000, 300_000));
/// drop(sort);
/// assert_eq!((queries.held(), queries.peak()), (0, 600_000));
/// # Ok::<(), cenote::AllocError>(())
/// ```
#[must_use = "what is reserved goes back when the reservation is dropped"]
pub struct Reservation {
    account: Account,
    bytes: usize,
}

impl Account {
    /// Reserves `bytes` bytes of this account for memory that no pool of it has.
    ///
    /// 0 bytes are always to be had.
    ///
    /// # Errors
    /// A limit of this account or of one above it has no room for so many; nothing has changed then
    /// but accounts' counts of refusals. More than `isize::MAX` bytes are refused as too large.
    ///
    /// ```
    /// use cenote::Account;
    /// let account = Account::root("tables").with_limit(Some(1000));
    /// let reservation = account.try_reserve(800)?;
    /// assert_eq!((account.held(), account.live()), (800, 0));
    /// assert!(account.try_reserve(201).is_err());
    /// assert!(account.try_reserve(200).is_ok());
    /// drop(reservation);
    /// assert_eq!(account.held(), 0);
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    pub fn try_reserve(&self, bytes: usize) -> Result<Reservation, AllocError> {
        let mut reservation = self.reservation();
        reservation.try_grow(bytes)?;
        Ok(reservation)
    }

    /// A reservation of no bytes yet.
    ///
    /// ```
    /// let account = cenote::Account::root("tables");
    /// let mut reservation = account.reservation();
    /// reservation.try_grow(100)?;
    /// assert_eq!(account.held(), 100);
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    pub fn reservation(&self) -> Reservation {
        self.reservation_of(0)
    }

    /// The reservation of bytes that are charged, and counted as reserved, already.
    pub(super) fn reservation_of(&self, bytes: usize) -> Reservation {
        Reservation { account: self.clone(), bytes }
    }

    /// Of the bytes held, those that reservations on this account and on those under it have; the
    /// rest are blocks of pools.
    pub fn reserved(&self) -> usize {
        self.node().reservations.load(Relaxed)
    }

    /// Bytes that [`Reservation::grow`] has charged beyond this very account's limit so far, by
    /// reservations on it and under it. A sum: it does not fall when they are given back.
    pub fn overcommitted(&self) -> u64 {
        self.node().overcommitted.load(Relaxed)
    }
}

impl Reservation {
    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The account that is charged.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Reserves `more` bytes besides.
    ///
    /// # Errors
    /// As for [`Account::try_reserve`]; it keeps what it has.
    pub fn try_grow(&mut self, more: usize) -> Result<(), AllocError> {
        // Bounded, so that the sum of all charges is too, and no sum of reservations wraps.
        if more > MAX {
            return Err(AllocError::too_large(more));
        }
        let node = self.account.node();
        node.charge(more).or_else(|full| Try::refuse(full.refusal(node, more)))?;
        node.count_reserved(more);
        self.bytes += more;
        Ok(())
    }

    /// Reserves `more` bytes besides, whatever limits say: for memory that exists already, whose
    /// owner has to be charged for it. What goes beyond an account's limit is told by
    /// [`Account::overcommitted`]; until so much has gone back, that account refuses all else.
    ///
    /// # Panics
    /// If the account, or one above, were to hold more than half of `isize::MAX` bytes after it: so
    /// much memory does not exist.
    ///
    /// ```
    /// use cenote::Account;
    /// let account = Account::root("tables").with_limit(Some(1000));
    /// let mut reservation = account.try_reserve(900)?;
    /// reservation.grow(300);
    /// assert_eq!((account.held(), account.overcommitted()), (1200, 200));
    /// reservation.shrink(200);
    /// assert!(account.try_reserve(1).is_err());
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    #[track_caller]
    pub fn grow(&mut self, more: usize) {
        if let Err(error) = self.grow_or_tell(more) {
            panic!("{error}");
        }
    }

    /// [`Reservation::grow`], with an error where that panics: for callers that must not unwind.
    ///
    /// # Errors
    /// So much memory does not exist.
    #[doc(hidden)]
    pub fn grow_or_tell(&mut self, more: usize) -> Result<(), AllocError> {
        let node = self.account.node();
        if more > MAX || (node.charge(more).is_err() && !node.charge_beyond(more)) {
            return Err(AllocError::too_large(more));
        }
        node.count_reserved(more);
        self.bytes += more;
        Ok(())
    }

    /// Gives `less` bytes back.
    ///
    /// # Panics
    /// If it has fewer.
    #[track_caller]
    pub fn shrink(&mut self, less: usize) {
        drop(self.split(less));
    }

    /// Grows or shrinks to `bytes` bytes.
    ///
    /// # Errors
    /// As for [`Account::try_reserve`], where it is to grow; it keeps what it has.
    ///
    /// ```
    /// let account = cenote::Account::root("tables").with_limit(Some(1000));
    /// let mut reservation = account.try_reserve(100)?;
    /// reservation.resize(900)?;
    /// reservation.resize(1001).unwrap_err();
    /// assert_eq!((reservation.bytes(), account.held()), (900, 900));
    /// reservation.resize(0)?;
    /// assert_eq!(account.held(), 0);
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    pub fn resize(&mut self, bytes: usize) -> Result<(), AllocError> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.try_grow(more),
            None => {
                self.shrink(self.bytes - bytes);
                Ok(())
            }
        }
    }

    /// Makes `bytes` of its bytes a reservation of their own. The account is charged as before.
    ///
    /// # Panics
    /// If it has fewer.
    #[track_caller]
    pub fn split(&mut self, bytes: usize) -> Reservation {
        let Some(left) = self.bytes.checked_sub(bytes) else {
            panic!("{bytes} of {} reserved bytes", self.bytes);
        };
        self.bytes = left;
        Reservation { account: self.account.clone(), bytes }
    }

    /// Takes over what another reservation on the same account has. The account is charged as
    /// before.
    ///
    /// # Errors
    /// The other one, if it is on another account.
    ///
    /// ```
    /// use cenote::Account;
    /// let account = Account::root("tables");
    /// let (mut one, other) = (account.try_reserve(100)?, account.try_reserve(20)?);
    /// one.merge(other).expect("it is on the same account");
    /// assert_eq!((one.bytes(), account.held()), (120, 120));
    /// let foreign = Account::root("elsewhere").try_reserve(1)?;
    /// assert_eq!(one.merge(foreign).unwrap_err().bytes(), 1);
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    pub fn merge(&mut self, mut other: Reservation) -> Result<(), Reservation> {
        if other.account != self.account {
            return Err(other);
        }
        self.bytes += core::mem::take(&mut other.bytes);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let node = self.account.node();
            // Before the credit, as it is counted after the charge: of what is held, a reader does
            // not find more to be reserved than there is.
            node.uncount_reserved(self.bytes);
            node.give_back(self.bytes);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("account", &self.account.path())
            .field("bytes", &self.bytes)
            .finish()
    }
}

impl Node {
    pub(super) fn count_reserved(&self, bytes: usize) {
        self.each_up(|node| _ = node.reservations.fetch_add(bytes, Relaxed));
    }

    fn uncount_reserved(&self, bytes: usize) {
        self.each_up(|node| _ = node.reservations.fetch_sub(bytes, Relaxed));
    }

    /// Calls `f` with this account and each above.
    pub(super) fn each_up<'a>(&'a self, mut f: impl FnMut(&'a Node)) {
        let mut at = Some(self);
        while let Some(node) = at {
            f(node);
            at = node.parent();
        }
    }
}
