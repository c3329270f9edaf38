//! The rows of the view: one for each path of accounts, and one for each pool that is told by
//! itself. `/pools.json`, the page, the metrics and the command all print these.

use std::time::Duration;

use cenote::Account;
use serde::Serialize;

use super::watched::Gist;
use super::who::Who;

/// All accounts of one path. Held, used and peak bytes include what is below, as accounts
/// charge; the other figures are of their own pools. What nobody told is `None`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AccountRow {
    /// The names from the root.
    pub path: Vec<String>,
    /// How many there are now.
    pub accounts: u64,
    /// Pools on them now.
    pub live: usize,
    /// Pools ever made on them.
    pub created: u64,
    /// Bytes held, on them and below.
    pub held_bytes: usize,
    /// The part of it that is held by pools on these very accounts.
    pub own_held_bytes: usize,
    /// Bytes used, on them and below, as far as the view was shown the pools there.
    pub used_bytes: Option<usize>,
    /// Bytes held, on them and below, by pools that the view was not shown.
    pub unknown_bytes: usize,
    /// Bytes used by objects in pools on these very accounts.
    pub own_used_bytes: Option<usize>,
    /// Of what is held, bytes of reservations: memory that no pool has, so it is in none of the
    /// figures of what is used or unknown.
    pub reserved_bytes: usize,
    /// Of these, those reserved on these very accounts.
    pub own_reserved_bytes: usize,
    /// Bytes that reservations charged beyond their limits so far.
    pub overcommitted_bytes: u64,
    /// The most that any one of them holds.
    pub largest_bytes: usize,
    /// The most that any one of them held.
    pub peak_bytes: usize,
    /// The most that any one of those that are there held in the last half a minute to a minute.
    pub recent_peak_bytes: usize,
    /// The largest limit of theirs.
    pub limit_bytes: Option<usize>,
    /// How often their limits refused a charge.
    pub refused: u64,
    /// Bytes of blocks given back so far.
    pub recycled_bytes: u64,
    /// Blocks of their pools.
    pub blocks: Option<usize>,
    /// Large objects of their pools.
    pub large: Option<usize>,
    /// Cleanups that are still to run in their pools.
    pub cleanups: Option<usize>,
    /// Age of the oldest of them, or of the oldest pool on them.
    pub age_seconds: Option<f64>,
    /// The age that a pool on them may reach before it is marked.
    pub age_limit_seconds: Option<f64>,
    /// Pools on them that are older.
    pub over_age: usize,
    /// File and line where one of them was made.
    pub created_at: String,
}

/// One pool; or, of kind `account`, an account whose pools the view was not shown.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PoolRow {
    /// What to ask for its block map with; `None` where there is none to be had.
    pub id: Option<String>,
    /// `pool`, `counted`, `chunk`, `shared`, or `account`.
    pub kind: &'static str,
    /// Its own name.
    pub name: String,
    /// The names of the accounts it charges, from the root.
    pub path: Vec<String>,
    /// Which of many with the same name each of them is.
    pub numbers: Vec<u64>,
    /// File and line where it was made.
    pub created_at: String,
    /// How long it has been there; `None` where nobody noted when it was made.
    pub age_seconds: Option<f64>,
    /// Whether that is longer than its account's limit of age.
    pub over_age: bool,
    /// Bytes it holds.
    pub held_bytes: usize,
    /// Bytes that objects in it take.
    pub used_bytes: Option<usize>,
    /// The most that its account held.
    pub peak_bytes: usize,
    /// The most that its account held in the last half a minute to a minute.
    pub recent_peak_bytes: usize,
    /// Its account's limit.
    pub limit_bytes: Option<usize>,
    /// How often its account's limit refused a charge.
    pub refused: u64,
    /// Blocks, or clusters.
    pub blocks: Option<usize>,
    /// Large objects.
    pub large: Option<usize>,
    /// Cleanups that are still to run.
    pub cleanups: Option<usize>,
    /// Handles on it, if it is a shared one: how many still hold it.
    pub handles: Option<usize>,
    /// What it is for: the method and the shape of the path of a request, such as `GET /notes/N`; see
    /// [`Who`]. Of a connection, the request that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What that was answered with, once it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The client's address and port, unless they are [hidden](super::ViewBuilder::hide_peers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

impl AccountRow {
    /// Its own name, the last of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// The path of the accounts above; `None`: it is the root.
    #[must_use]
    pub fn parent(&self) -> Option<&[String]> {
        let (_, above) = self.path.split_last()?;
        (!above.is_empty()).then_some(above)
    }
}

impl PoolRow {
    pub(super) fn of_pool(
        id: String,
        gist: &Gist,
        account: Option<&Account>,
        age: Duration,
        over_age: bool,
    ) -> Self {
        let (path, numbers) = account.map(lineage).unwrap_or_default();
        Self {
            id: Some(id),
            kind: gist.kind,
            name: gist.name.to_owned(),
            path,
            numbers,
            created_at: gist.created_at.to_string_short(),
            age_seconds: Some(seconds(age)),
            over_age,
            held_bytes: gist.held_bytes,
            used_bytes: Some(gist.used_bytes),
            peak_bytes: account.map_or(gist.held_bytes, Account::peak),
            recent_peak_bytes: account.map_or(gist.held_bytes, Account::recent_peak),
            limit_bytes: account.and_then(Account::limit),
            refused: account.map_or(0, Account::refused),
            blocks: Some(gist.blocks),
            large: Some(gist.large),
            cleanups: Some(gist.cleanups),
            handles: gist.handles,
            request: None,
            status: None,
            peer: None,
        }
    }

    /// With whose it is.
    pub(super) fn of_whom(mut self, who: Who, hide_peers: bool) -> Self {
        (self.request, self.status, self.peer) = who.shown(hide_peers);
        self
    }

    pub(super) fn of_account(account: &Account, age: Option<Duration>, over_age: bool) -> Self {
        let (path, numbers) = lineage(account);
        Self {
            id: None,
            kind: "account",
            name: account.name().to_owned(),
            path,
            numbers,
            created_at: account.created_at().to_string_short(),
            age_seconds: age.map(seconds),
            over_age,
            // Its blocks: what it has reserved is told with the accounts.
            held_bytes: account.held().saturating_sub(account.reserved()),
            used_bytes: None,
            peak_bytes: account.peak(),
            recent_peak_bytes: account.recent_peak(),
            limit_bytes: account.limit(),
            refused: account.refused(),
            blocks: None,
            large: None,
            cleanups: None,
            handles: None,
            request: None,
            status: None,
            peer: None,
        }
    }
}

/// A place in a program as `file:line`.
pub(super) trait Place {
    fn to_string_short(&self) -> String;
}

impl Place for std::panic::Location<'_> {
    fn to_string_short(&self) -> String {
        format!("{}:{}", self.file(), self.line())
    }
}

/// Seconds with three decimals: more is noise, and longer to send.
pub(super) fn seconds(length: Duration) -> f64 {
    length.as_millis() as f64 / 1000.0
}

/// The names and numbers of an account and those above, from the root.
fn lineage(account: &Account) -> (Vec<String>, Vec<u64>) {
    let above = || std::iter::successors(Some(account), |account| account.parent());
    let mut path: Vec<_> = above().map(|account| account.name().to_owned()).collect();
    let mut numbers: Vec<_> = above().map(Account::number).collect();
    path.reverse();
    numbers.reverse();
    (path, numbers)
}
