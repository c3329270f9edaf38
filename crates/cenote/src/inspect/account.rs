//! [`AccountSnapshot`]: an account and all under it.

use super::Bytes;
use crate::Account;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::panic::Location;

pub(crate) fn place(location: &Location<'_>) -> String {
    format!("{}:{}", location.file(), location.line())
}

/// How deep below a root accounts are shown.
const DEEPEST: usize = 64;

/// An account at one moment, and those under it. Printed, it is a table, indented as the tree.
///
/// ```
/// use cenote::{Account, Pool};
/// let process = Account::root("process");
/// let worker = process.child("worker-0").with_limit(Some(1 << 20));
/// let pool = Pool::on(&worker);
/// pool.alloc(1);
/// let snapshot = process.snapshot();
/// assert_eq!(snapshot.held_bytes, 4096);
/// assert_eq!(snapshot.children[0].path, ["process", "worker-0"]);
/// assert_eq!(snapshot.children[0].live, 1);
/// println!("{snapshot}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AccountSnapshot {
    /// The names from the root to this account.
    pub path: Vec<String>,
    /// Its own name.
    pub name: String,
    /// How many accounts these figures are of: 1, or more after [`AccountSnapshot::merged`];
    /// 0 where all of that name have closed.
    pub accounts: usize,
    /// Pools on it now.
    pub live: usize,
    /// Pools ever made on it.
    pub created: u64,
    /// Bytes held by pools on it and on accounts under it.
    pub held_bytes: usize,
    /// Of these, bytes of [reservations](crate::Reservation); the rest are blocks.
    pub reserved_bytes: usize,
    /// The most ever held; of several accounts, by any one of them.
    pub peak_bytes: usize,
    /// The most held of late: in half a minute to a minute (without `std`: ever); of several
    /// accounts, by any one of them that is there still.
    pub recent_peak_bytes: usize,
    /// Its limit, if it has one of its own; of several accounts, the largest.
    pub limit_bytes: Option<usize>,
    /// How often its limit refused a charge.
    pub refused: u64,
    /// Bytes that reservations have charged beyond its limit so far, by
    /// [`Reservation::grow`](crate::Reservation::grow).
    pub overcommitted_bytes: u64,
    /// Bytes of blocks that its pools have given back so far.
    pub recycled_bytes: u64,
    /// File and line where it was made.
    pub created_at: String,
    /// The accounts under it, the oldest first.
    pub children: Vec<AccountSnapshot>,
    /// What accounts under it that have closed have left, by name.
    pub closed: Vec<AccountSnapshot>,
}

impl AccountSnapshot {
    pub(crate) fn take(account: &Account) -> Self {
        let mut path = Vec::new();
        let mut above = account.parent();
        while let Some(account) = above {
            path.push(account.name().to_owned());
            above = account.parent();
        }
        path.reverse();
        Self::read(account, &path)
    }

    fn read(account: &Account, above: &[String]) -> Self {
        let mut path = above.to_vec();
        path.push(account.name().to_owned());
        let mut children = Vec::new();
        if path.len() <= DEEPEST {
            account.each_child(|child| children.push(Self::read(child, &path)));
        }
        let closed = account.closed();
        let closed = closed.iter().map(|history| Self::recall(history, &path)).collect();
        children.reverse();
        Self {
            name: account.name().to_owned(),
            accounts: 1,
            live: account.live(),
            created: account.created(),
            held_bytes: account.held(),
            reserved_bytes: account.reserved(),
            peak_bytes: account.peak(),
            #[cfg(feature = "std")]
            recent_peak_bytes: account.recent_peak(),
            #[cfg(not(feature = "std"))]
            recent_peak_bytes: account.peak(),
            limit_bytes: account.limit(),
            refused: account.refused(),
            overcommitted_bytes: account.overcommitted(),
            recycled_bytes: account.recycled(),
            created_at: place(account.created_at()),
            children,
            closed,
            path,
        }
    }

    fn recall(history: &crate::account::History, above: &[String]) -> Self {
        let mut path = above.to_vec();
        path.push(history.name.to_string());
        Self {
            name: history.name.to_string(),
            accounts: 0,
            live: 0,
            created: history.sums.created,
            held_bytes: 0,
            reserved_bytes: 0,
            peak_bytes: history.sums.peak,
            recent_peak_bytes: 0,
            limit_bytes: history.sums.limit(),
            refused: history.sums.refused,
            overcommitted_bytes: history.sums.overcommitted,
            recycled_bytes: history.sums.recycled,
            created_at: place(history.created_at),
            children: Vec::new(),
            closed: history.children().iter().map(|child| Self::recall(child, &path)).collect(),
            path,
        }
    }

    /// The same with accounts of one name under one parent folded into one, those that have
    /// closed included: a tree that does not grow with the number of connections.
    #[must_use]
    pub fn merged(mut self) -> Self {
        let mut folded: Vec<Self> = Vec::new();
        for child in self.children.drain(..).chain(self.closed.drain(..)) {
            match folded.iter_mut().find(|known| known.name == child.name) {
                Some(known) => known.absorb(child),
                None => folded.push(child),
            }
        }
        self.children = folded.into_iter().map(Self::merged).collect();
        self
    }

    fn absorb(&mut self, other: Self) {
        self.accounts += other.accounts;
        self.live += other.live;
        self.created += other.created;
        self.held_bytes += other.held_bytes;
        self.reserved_bytes += other.reserved_bytes;
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
        self.recent_peak_bytes = self.recent_peak_bytes.max(other.recent_peak_bytes);
        self.limit_bytes = self.limit_bytes.max(other.limit_bytes);
        self.refused += other.refused;
        self.overcommitted_bytes += other.overcommitted_bytes;
        self.recycled_bytes += other.recycled_bytes;
        self.children.extend(other.children);
        self.closed.extend(other.closed);
    }

    /// This account and all under it, each before those under it.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        let mut next = vec![self];
        core::iter::from_fn(move || {
            let account = next.pop()?;
            next.extend(account.children.iter().rev());
            Some(account)
        })
    }
}

impl fmt::Display for AccountSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A column that only those see who reserve.
        let reserves = self.all().any(|account| account.reserved_bytes > 0);
        let column = |text: &str| if reserves { format!(" {text:>10}") } else { String::new() };
        writeln!(
            f,
            "{:<32} {:>6} {:>10} {:>10}{} {:>10} {:>10} {:>8}",
            "account",
            "pools",
            "created",
            "held",
            column("reserved"),
            "peak",
            "limit",
            "refused"
        )?;
        for account in self.all() {
            let depth = 2 * (account.path.len() - self.path.len());
            let mut name = format!("{:depth$}{}", "", account.name);
            if account.accounts > 1 {
                name.push_str(&format!(" x{}", account.accounts));
            }
            let limit =
                account.limit_bytes.map_or("-".to_owned(), |bytes| Bytes(bytes).to_string());
            writeln!(
                f,
                "{name:<32} {:>6} {:>10} {:>10}{} {:>10} {limit:>10} {:>8}",
                account.live,
                account.created,
                Bytes(account.held_bytes),
                column(&Bytes(account.reserved_bytes).to_string()),
                Bytes(account.peak_bytes),
                account.refused,
            )?;
        }
        Ok(())
    }
}
