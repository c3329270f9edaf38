//! What is read of `/pools.json`. Fields that are not used here are not looked at, and more may
//! come; those that a service does not tell are unknown.

use serde::Deserialize;

use super::draw::Plain;

/// What a view counts the names under that it has no room for.
const OTHERS: &str = "(others)";

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Look {
    pub(super) schema: u32,
    #[serde(default)]
    pub(super) now: f64,
    #[serde(default)]
    pub(super) uptime_seconds: f64,
    pub(super) accounts: Vec<Account>,
    #[serde(default)]
    pub(super) pools: Vec<Pool>,
    #[serde(default)]
    pub(super) pools_shown: usize,
    #[serde(default)]
    pub(super) silent: Vec<Vec<String>>,
    pub(super) memory: Option<Memory>,
    pub(super) general: Option<General>,
    #[serde(default)]
    pub(super) process: Process,
    /// Paths of which a history had no room to keep anything.
    #[serde(default)]
    pub(super) paths_left_out: usize,
    /// Of the past: of accounts nothing is known but what they held, of pools nothing.
    #[serde(skip)]
    pub(super) held_only: bool,
}

/// Whose figures they are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Process {
    host: Option<String>,
    pid: Option<u32>,
    started: Option<f64>,
}

impl Process {
    /// Whether both are known to be one process.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.pid.is_some() && self == other
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Account {
    pub(super) path: Vec<String>,
    #[serde(default)]
    pub(super) accounts: u64,
    #[serde(default)]
    pub(super) live: u64,
    #[serde(default)]
    pub(super) created: u64,
    pub(super) held_bytes: u64,
    pub(super) used_bytes: Option<u64>,
    #[serde(default)]
    pub(super) reserved_bytes: u64,
    /// By one of them.
    pub(super) largest_bytes: Option<u64>,
    #[serde(default)]
    pub(super) peak_bytes: u64,
    pub(super) recent_peak_bytes: Option<u64>,
    pub(super) limit_bytes: Option<u64>,
    #[serde(default)]
    pub(super) refused: u64,
    pub(super) age_seconds: Option<f64>,
    pub(super) age_limit_seconds: Option<f64>,
    #[serde(default)]
    pub(super) over_age: u64,
    #[serde(default)]
    pub(super) created_at: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pool {
    /// By which the view tells pools apart; none for an account whose pools it was not shown.
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) name: String,
    pub(super) path: Vec<String>,
    #[serde(default)]
    pub(super) numbers: Vec<u64>,
    pub(super) created_at: String,
    pub(super) age_seconds: Option<f64>,
    #[serde(default)]
    pub(super) over_age: bool,
    pub(super) held_bytes: u64,
    pub(super) used_bytes: Option<u64>,
    pub(super) peak_bytes: u64,
    pub(super) recent_peak_bytes: Option<u64>,
    pub(super) limit_bytes: Option<u64>,
    pub(super) refused: u64,
    /// Whose it is, as far as the service says.
    #[serde(flatten)]
    pub(super) whose: Whose,
}

/// What a pool is for, what that was answered with, and where its client is.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Whose {
    pub(super) request: Option<String>,
    pub(super) status: Option<u64>,
    pub(super) peer: Option<String>,
}

impl Whose {
    /// Without what controls a terminal.
    pub(super) fn plain(&self) -> Self {
        let plain = |text: &Option<String>| text.as_deref().map(|text| Plain(text).to_string());
        Self { request: plain(&self.request), status: self.status, peer: plain(&self.peer) }
    }

    /// In one line, as long as that is; nothing, where nothing is known.
    pub(super) fn text(&self) -> String {
        let mut words: Vec<_> = self.request.iter().cloned().collect();
        words.extend(self.status.map(|status| status.to_string()));
        words.extend(self.peer.as_ref().map(|peer| format!("from {peer}")));
        words.join(" ")
    }

    /// In so few cells, by what is `clip`ped to that: what was asked for tells most, so the client is left out
    /// first, and what it was answered with not at all.
    pub(super) fn fitting(&self, width: usize, clip: impl Fn(&str, usize) -> String) -> String {
        let whole = self.text();
        if clip(&whole, width) == whole || self.request.is_none() {
            return clip(&whole, width);
        }
        let request = self.request.as_deref().unwrap_or_default();
        let Some(status) = self.status else { return clip(request, width) };
        let status = format!(" {status}");
        format!("{}{status}", clip(request, width.saturating_sub(status.len())))
    }
}

/// What accounts and pools both have, and are sorted by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) held: u64,
    pub(super) used: Option<u64>,
    pub(super) reserved: u64,
    pub(super) peak: u64,
    pub(super) recent: Option<u64>,
    pub(super) limit: Option<u64>,
    pub(super) refused: u64,
    pub(super) age: Option<f64>,
}

impl Account {
    pub(super) fn figures(&self) -> Figures {
        Figures {
            held: self.held_bytes,
            used: self.used_bytes,
            reserved: self.reserved_bytes,
            peak: self.peak_bytes,
            recent: self.recent_peak_bytes,
            limit: self.limit_bytes,
            refused: self.refused,
            age: self.age_seconds,
        }
    }
}

impl Pool {
    pub(super) fn figures(&self) -> Figures {
        Figures {
            held: self.held_bytes,
            used: self.used_bytes,
            reserved: 0,
            peak: self.peak_bytes,
            recent: self.recent_peak_bytes,
            limit: self.limit_bytes,
            refused: self.refused,
            age: self.age_seconds,
        }
    }
}

/// What one line says of all of it.
pub(super) struct Summary<'l> {
    pub(super) name: &'l str,
    pub(super) uptime: f64,
    pub(super) pools: u64,
    pub(super) held: u64,
    /// Pools made in each second since the look before.
    pub(super) made: Option<f64>,
    pub(super) refused: u64,
    pub(super) over_age: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Memory {
    pub(super) resident_bytes: Option<u64>,
    pub(super) pools_bytes: u64,
    pub(super) block_cache_bytes: u64,
    pub(super) other_bytes: Option<u64>,
    pub(super) pools_grown_bytes: i64,
    pub(super) other_grown_bytes: Option<i64>,
}

/// What the service's general allocator says of what is in no pool.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct General {
    pub(super) name: String,
    pub(super) free_bytes: u64,
    pub(super) in_no_pool_bytes: u64,
    pub(super) elsewhere_bytes: Option<u64>,
}

impl Look {
    /// What a service keeps of a moment, as it said it.
    pub(super) fn read_past(text: &str, whence: &dyn std::fmt::Display) -> Result<Self, String> {
        Ok(Self { held_only: true, ..Self::read(text, whence)? })
    }

    /// What a service said, or a file that it was written to; `whence` begins an error.
    pub(super) fn read(text: &str, whence: &dyn std::fmt::Display) -> Result<Self, String> {
        let look: Self = serde_json::from_str(text)
            .map_err(|error| format!("{whence}: not what is expected: {error}"))?;
        if look.schema != 1 {
            return Err(format!("{whence}: schema {} is not known here", look.schema));
        }
        Ok(look)
    }

    pub(super) fn summary(&self, last: Option<&Look>) -> Summary<'_> {
        let total =
            |of: fn(&Account) -> u64| self.accounts.iter().map(of).fold(0, u64::saturating_add);
        let root = self.accounts.first();
        let made = last.filter(|last| self.now > last.now).map(|last| {
            let before = last.accounts.iter().map(|row| row.created).fold(0, u64::saturating_add);
            total(|row| row.created).saturating_sub(before) as f64 / (self.now - last.now)
        });
        Summary {
            name: root.and_then(|root| root.path.first()).map_or("", String::as_str),
            uptime: self.uptime_seconds,
            pools: total(|row| row.live),
            held: root.map_or(0, |root| root.held_bytes),
            made,
            refused: total(|row| row.refused),
            over_age: total(|row| row.over_age),
        }
    }

    /// Whether each pool that the view knows is told one by one.
    pub(super) fn tells_all(&self) -> bool {
        let told = self.pools.iter().filter(|pool| pool.id.is_some()).count();
        self.silent.is_empty() && told >= self.pools_shown
    }

    /// Whether a path that it does not have may have been left out: no room for its history, or for its
    /// name, so that it is among the others.
    pub(super) fn may_hide(&self, path: &[String]) -> bool {
        let others = |above: &[String]| {
            let is_there = |row: &Account| {
                row.path.split_last().is_some_and(|(name, rest)| name == OTHERS && rest == above)
            };
            self.accounts.iter().any(is_there)
        };
        self.paths_left_out > 0 || (1..path.len()).any(|depth| others(&path[..depth]))
    }

    /// The names of a pool's accounts, numbered where a name alone does not tell which.
    pub(super) fn label(&self, pool: &Pool) -> String {
        let numbered = |at: usize| at > 1 || at == 1 && self.are_several(&pool.path[..2]);
        let names = pool.path.iter().enumerate().skip(usize::from(pool.path.len() > 1));
        let names: Vec<_> = names
            .map(|(at, name)| match pool.numbers.get(at) {
                Some(number) if numbered(at) => format!("{name}#{number}"),
                _ => name.clone(),
            })
            .collect();
        if names.is_empty() { pool.name.clone() } else { names.join("/") }
    }

    /// Whether an account right under the root is one of several of its name, as connections are
    /// and workers are not.
    fn are_several(&self, path: &[String]) -> bool {
        let row = self.accounts.iter().find(|row| row.path == path);
        row.is_some_and(|row| row.accounts > 1 || row.created > 1 && row.live <= row.accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_of_one_name_are_told_apart_wherever_their_accounts_are() {
        let account = |path: &[&str], accounts: u64, live: u64, created: u64| {
            serde_json::json!({ "path": path, "accounts": accounts, "live": live,
                "created": created, "held_bytes": 0, "used_bytes": 0, "peak_bytes": 0,
                "limit_bytes": null, "refused": 0, "age_seconds": null,
                "age_limit_seconds": null, "created_at": "" })
        };
        let pool = |path: &[&str], numbers: &[u64]| {
            serde_json::json!({ "path": path, "numbers": numbers, "created_at": "",
                "age_seconds": null, "held_bytes": 0, "used_bytes": 0, "peak_bytes": 0,
                "limit_bytes": null, "refused": 0 })
        };
        let look: Look = serde_json::from_value(serde_json::json!({
            "schema": 1,
            "accounts": [
                account(&["process"], 1, 0, 0),
                account(&["process", "worker-0"], 1, 1, 1),
                account(&["process", "worker-0", "request"], 1, 1, 1),
                account(&["process", "cache"], 1, 4, 4),
                account(&["process", "connection"], 2, 2, 9),
                account(&["process", "connection", "request"], 2, 2, 2),
                account(&["process", "job"], 1, 1, 7),
            ],
            "pools": [
                pool(&["process"], &[0]),
                pool(&["process", "worker-0"], &[0, 1]),
                pool(&["process", "worker-0", "request"], &[0, 1, 1]),
                pool(&["process", "cache"], &[0, 2]),
                pool(&["process", "connection"], &[0, 3]),
                pool(&["process", "connection", "request"], &[0, 3, 1]),
                pool(&["process", "connection", "request"], &[0, 9, 1]),
                pool(&["process", "job"], &[0, 12]),
            ],
        }))
        .expect("a look");
        let labels: Vec<_> = look.pools.iter().map(|pool| look.label(pool)).collect();
        assert_eq!(
            labels,
            [
                "process",
                "worker-0",
                "worker-0/request#1",
                "cache",
                "connection#3",
                "connection#3/request#1",
                "connection#9/request#1",
                "job#12"
            ]
        );
    }
}
