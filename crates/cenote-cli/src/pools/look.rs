//! What is read of `/pools.json`. Fields that are not used here are not looked at, and more may
//! come; those that a service does not tell are unknown.

use serde::Deserialize;

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
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Account {
    pub(super) path: Vec<String>,
    #[serde(default)]
    pub(super) accounts: u64,
    pub(super) live: u64,
    pub(super) created: u64,
    pub(super) held_bytes: u64,
    pub(super) used_bytes: Option<u64>,
    pub(super) peak_bytes: u64,
    pub(super) limit_bytes: Option<u64>,
    pub(super) refused: u64,
    pub(super) age_seconds: Option<f64>,
    pub(super) age_limit_seconds: Option<f64>,
    #[serde(default)]
    pub(super) over_age: u64,
    pub(super) created_at: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pool {
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
    pub(super) limit_bytes: Option<u64>,
    pub(super) refused: u64,
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

impl Pool {
    /// The names of its accounts, numbered where a name alone does not tell which.
    pub(super) fn label(&self) -> String {
        let names = self.path.iter().enumerate().skip(usize::from(self.path.len() > 1));
        let names: Vec<_> = names
            .map(|(at, name)| match self.numbers.get(at) {
                Some(number) if at > 1 => format!("{name}#{number}"),
                _ => name.clone(),
            })
            .collect();
        if names.is_empty() { self.name.clone() } else { names.join("/") }
    }
}
