//! The errors that the pools return, and the two ways of meeting one.

use crate::account::Account;
use alloc::string::String;
use core::alloc::Layout;
use core::convert::Infallible;
use core::fmt;

/// Memory that was asked for could not be had.
///
/// The cases, told apart by [`AllocError::account`] and the message: an account's limit (the
/// account is named), a size or alignment that no object can have, or a system out of memory.
/// Whatever the case, nothing has changed: no object, no pool, and no figure but the accounts'
/// counts of refusals.
///
/// ```
/// use cenote::{Account, Pool};
/// let account = Account::root("mailbox").with_limit(Some(16 << 10));
/// let pool = Pool::on(&account);
/// let error = pool.try_alloc_zeroed_bytes(20_000).unwrap_err();
/// assert_eq!(error.account().map(|a| a.name()), Some("mailbox"));
/// assert!(error.to_string().contains("limit of 16384 bytes"));
/// ```
#[derive(Clone)]
pub struct AllocError {
    cause: Cause,
    size: usize,
}

#[derive(Clone)]
enum Cause {
    /// The system, or a source, has no more.
    Memory,
    /// No object can be that large, or aligned so.
    Size,
    /// What was to be formatted said that it could not be.
    Format,
    /// An account's limit.
    Limit {
        account: Account,
        held: usize,
        limit: usize,
        /// Whom it refused, the same or one below, until it was counted and told.
        asked: Option<Account>,
    },
}

impl AllocError {
    /// The source had no block of `size` bytes. For implementations of
    /// [`BlockSource`](crate::BlockSource).
    #[cold]
    #[must_use]
    pub const fn out_of_memory(size: usize) -> Self {
        Self { cause: Cause::Memory, size }
    }

    /// The size or alignment is beyond what an object can have.
    #[cold]
    pub(crate) const fn too_large(size: usize) -> Self {
        Self { cause: Cause::Size, size }
    }

    /// A `Display` or `Debug` implementation returned an error of its own.
    #[cold]
    pub(crate) const fn not_formatted(size: usize) -> Self {
        Self { cause: Cause::Format, size }
    }

    /// `account` would have passed its limit, since `asked`, the same or one below, was to be
    /// charged.
    #[cold]
    pub(crate) fn over_limit(
        account: Account,
        held: usize,
        limit: usize,
        asked: Account,
        size: usize,
    ) -> Self {
        Self { cause: Cause::Limit { account, held, limit, asked: Some(asked) }, size }
    }

    /// The account whose limit refused, if it was a limit.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        match &self.cause {
            Cause::Limit { account, .. } => Some(account),
            _ => None,
        }
    }

    /// The account that refused, and whom, if that is to be counted and told. It is not a second
    /// time.
    #[cold]
    pub(crate) fn untold(&mut self) -> Option<(&Account, Account)> {
        match &mut self.cause {
            Cause::Limit { account, asked, .. } => Some((account, asked.take()?)),
            _ => None,
        }
    }

    /// Whether the size or the alignment was one that no object can have, however much memory
    /// there is.
    ///
    /// ```
    /// let pool = cenote::Pool::new();
    /// assert!(pool.try_alloc_zeroed_bytes(usize::MAX).unwrap_err().is_too_large());
    /// ```
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self.cause, Cause::Size)
    }

    /// How many bytes were asked for where it failed: a block's size, if a pool needed a block.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// What the calls without `try_` do: an unwinding panic for limits and impossible sizes,
    /// the process's allocation error handler (which aborts) for a system without memory.
    #[cold]
    #[inline(never)]
    pub(crate) fn raise(self) -> ! {
        match self.cause {
            Cause::Memory => {
                let layout = Layout::from_size_align(self.size, 1).unwrap_or(Layout::new::<u8>());
                alloc::alloc::handle_alloc_error(layout)
            }
            _ => panic!("{self}"),
        }
    }
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Memory => write!(f, "out of memory: no {} bytes to be had", self.size),
            Cause::Size => write!(
                f,
                "an object of {} bytes (or {} bytes and its alignment) is larger than any can be",
                self.size, self.size
            ),
            Cause::Format => write!(
                f,
                "a value could not be formatted: its Display or Debug returned an error after {} bytes",
                self.size
            ),
            Cause::Limit { account, held, limit, .. } => write!(
                f,
                "account {} is at its limit of {limit} bytes ({held} held, {} more asked)",
                account.path(),
                self.size
            ),
        }
    }
}

impl fmt::Debug for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AllocError({self})")
    }
}

impl core::error::Error for AllocError {}

/// A configuration that cannot be: the field, the value it had, and the rule it broke.
///
/// ```
/// use cenote::Pool;
/// let error = Pool::builder().first_block(100).build().unwrap_err();
/// assert_eq!(error.field(), "first_block");
/// assert_eq!(
///     error.to_string(),
///     "first_block is 100: it must be a power of two from 256 to 65536 bytes",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: &'static str,
    value: usize,
    rule: &'static str,
}

impl ConfigError {
    pub(crate) const fn new(field: &'static str, value: usize, rule: &'static str) -> Self {
        Self { field, value, rule }
    }

    /// The name of the field, as the builder's method is named.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// The value that was refused.
    #[must_use]
    pub fn value(&self) -> usize {
        self.value
    }

    /// What the value must be.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}: it must be {}", self.field, self.value, self.rule)
    }
}

impl core::error::Error for ConfigError {}

/// What a failing allocation does, so that each operation is written once: [`Try`] returns
/// the error, [`Quiet`] that there is one, and [`Must`] does not return. With [`Hush`] the caller
/// goes on, and it is nobody's refusal yet.
pub(crate) trait Mode {
    /// What the caller gets instead of memory.
    type Error;
    /// Meets an error in this mode's way: one that no account made, or that was told.
    fn fail<T>(error: AllocError) -> Result<T, Self::Error>;
    /// Meets an error with which an operation ends, whatever it is: a refusal is counted and
    /// told, if it was not yet. Called where the operation is over, since who is told may use the
    /// pool; and in cold functions.
    #[inline(always)]
    fn refuse<T>(mut error: AllocError) -> Result<T, Self::Error> {
        crate::told::refused(&mut error);
        Self::fail(error)
    }
}

/// The mode of the `try_` calls: no panic is reachable from them.
pub(crate) enum Try {}

/// The mode of the others.
pub(crate) enum Must {}

/// The mode of allocator traits, which only want to know that it failed: the result is a
/// pointer or null, in one register.
pub(crate) enum Quiet {}

/// The mode of who has another way, or passes the error on to who may have one: pools as sources.
pub(crate) enum Hush {}

/// What [`Quiet`] knows of an error.
pub(crate) struct Denied;

impl Mode for Quiet {
    type Error = Denied;
    #[inline(always)]
    fn fail<T>(_: AllocError) -> Result<T, Denied> {
        Err(Denied)
    }
}

impl Mode for Hush {
    type Error = AllocError;
    #[inline(always)]
    fn fail<T>(error: AllocError) -> Result<T, AllocError> {
        Err(error)
    }
    #[inline(always)]
    fn refuse<T>(error: AllocError) -> Result<T, AllocError> {
        Err(error)
    }
}

impl Mode for Try {
    type Error = AllocError;
    #[inline(always)]
    fn fail<T>(error: AllocError) -> Result<T, AllocError> {
        Err(error)
    }
}

impl Mode for Must {
    type Error = Infallible;
    #[inline(always)]
    fn fail<T>(error: AllocError) -> Result<T, Infallible> {
        error.raise()
    }
}

/// Unwraps what [`Must`] gives.
#[inline(always)]
pub(crate) fn must<T>(result: Result<T, Infallible>) -> T {
    let Ok(value) = result;
    value
}

/// The names from a root to an account, as one text.
pub(crate) fn join_path(names: &[&str]) -> String {
    names.join("/")
}
