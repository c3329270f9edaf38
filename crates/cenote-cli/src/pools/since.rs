//! Two moments compared: what has grown, is new or is gone since a look that was written down.
//!
//! Accounts are compared by their paths: those of one path are one row. Pools are compared by the
//! numbers that the view gave them, if both looks are of one process; of those that a look left
//! out nothing can be said, and nothing is.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::look::{Account, Look, Pool, Whose};

/// What has changed from one look to a later one.
pub(super) struct Since<'l> {
    /// Seconds between the two.
    pub(super) seconds: f64,
    /// Whether both are of the same process, so that what counts from its start can be compared.
    pub(super) same_process: bool,
    /// Of the first, what accounts held is known, and nothing else.
    pub(super) held_only: bool,
    /// One for each path in either, in the order of the tree.
    pub(super) accounts: Vec<Row<'l>>,
    /// Those that hold more or are new, by how much; without those that hold as much as before.
    pub(super) grown: Vec<Grown<'l>>,
    /// Those that hold less.
    pub(super) shrunk: Sum,
    /// Those that were told then, and are no more.
    pub(super) gone: Sum,
}

/// A path of accounts in one of the looks, or in both.
pub(super) struct Row<'l> {
    pub(super) then: Option<&'l Account>,
    pub(super) now: Option<&'l Account>,
    /// Whether the look that does not have it may have left it out.
    pub(super) untold: bool,
}

/// A pool that holds more than it did.
pub(super) struct Grown<'l> {
    pub(super) pool: &'l Pool,
    pub(super) bytes: i64,
    /// Whether it was made since.
    pub(super) is_new: bool,
}

/// So many pools, and so many bytes fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) pools: usize,
    pub(super) bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.pools += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// `now` less `then`; as far as that goes.
pub(super) fn change(then: u64, now: u64) -> i64 {
    let change = i128::from(now) - i128::from(then);
    change.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

impl<'l> Row<'l> {
    pub(super) fn path(&self) -> &'l [String] {
        self.now.or(self.then).map_or(&[], |account| &account.path)
    }

    /// How much more a figure is, which is nothing where there is no account; as far as that is known.
    pub(super) fn more(&self, figure: fn(&Account) -> u64) -> i64 {
        if self.untold {
            return 0;
        }
        change(self.then.map_or(0, figure), self.now.map_or(0, figure))
    }

    /// A word for rows that are in one of the looks.
    pub(super) fn word(&self) -> &'static str {
        match (self.then, self.now) {
            _ if self.untold => "not told",
            (None, _) => "new",
            (_, None) => "gone",
            _ => "",
        }
    }
}

impl<'l> Since<'l> {
    pub(super) fn of(then: &'l Look, now: &'l Look) -> Self {
        let same_process = then.process.is_same(&now.process);
        let (mut grown, mut shrunk, mut gone) = (Vec::new(), Sum::default(), Sum::default());
        let seconds = now.now - then.now;
        if same_process {
            let known: HashMap<_, _> = by_number(then).collect();
            for (number, pool) in by_number(now) {
                let before = known.get(number).map(|pool| pool.held_bytes);
                let is_new = before.is_none();
                // One that is older than that was left out then.
                if is_new && pool.age_seconds.is_none_or(|age| age > seconds) {
                    continue;
                }
                let bytes = change(before.unwrap_or(0), pool.held_bytes);
                if bytes < 0 {
                    shrunk.add(bytes.unsigned_abs());
                } else if bytes > 0 {
                    grown.push(Grown { pool, bytes, is_new });
                }
            }
            if now.tells_all() {
                let now: HashMap<_, _> = by_number(now).collect();
                for (_, pool) in by_number(then).filter(|(number, _)| !now.contains_key(number)) {
                    gone.add(pool.held_bytes);
                }
            }
        }
        grown.sort_by_key(|grown| std::cmp::Reverse(grown.bytes));
        let (held_only, accounts) = (then.held_only, rows(then, now));
        Self { seconds, same_process, held_only, accounts, grown, shrunk, gone }
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let accounts = self.accounts.iter().map(|row| {
            let figures = |account: &Account| {
                json!({ "accounts": account.accounts, "live": account.live, "created": account.created,
                    "held_bytes": account.held_bytes, "reserved_bytes": account.reserved_bytes,
                    "refused": account.refused })
            };
            let before = |account: &Account| match self.held_only {
                true => json!({ "held_bytes": account.held_bytes }),
                false => figures(account),
            };
            json!({ "path": row.path(), "then": row.then.map(before), "now": row.now.map(figures),
                "held_bytes_more": (!row.untold).then(|| row.more(|account| account.held_bytes)) })
        });
        let grown = self.grown.iter().map(|grown| {
            let mut row = json!({ "id": grown.pool.id, "path": grown.pool.path, "numbers": grown.pool.numbers,
                "created_at": grown.pool.created_at, "age_seconds": grown.pool.age_seconds,
                "held_bytes": grown.pool.held_bytes, "held_bytes_more": grown.bytes,
                "new": grown.is_new });
            let Whose { request, status, peer } = &grown.pool.whose;
            for (name, value) in
                [("request", json!(request)), ("status", json!(status)), ("peer", json!(peer))]
            {
                if !value.is_null() {
                    row[name] = value;
                }
            }
            row
        });
        let sum = |sum: Sum| json!({ "pools": sum.pools, "bytes": sum.bytes });
        json!({ "schema": 1, "seconds": self.seconds, "same_process": self.same_process,
            "accounts": accounts.collect::<Vec<_>>(), "grown": grown.collect::<Vec<_>>(),
            "shrunk": sum(self.shrunk), "gone": sum(self.gone) })
    }
}

/// The pools that have a number, by it.
fn by_number(look: &Look) -> impl Iterator<Item = (&str, &Pool)> {
    look.pools.iter().filter_map(|pool| Some((pool.id.as_deref()?, pool)))
}

/// The rows of now in their order, and each that is gone after what it was after.
fn rows<'l>(then: &'l Look, now: &'l Look) -> Vec<Row<'l>> {
    let place = |look: &'l Look| -> HashMap<&'l [String], &'l Account> {
        look.accounts.iter().map(|account| (&*account.path, account)).collect()
    };
    let (before, after) = (place(then), place(now));
    let mut rows: Vec<Row<'l>> = now
        .accounts
        .iter()
        .map(|account| {
            let known = before.get(&*account.path).copied();
            let untold = known.is_none() && then.may_hide(&account.path);
            Row { then: known, now: Some(account), untold }
        })
        .collect();
    for (at, account) in then.accounts.iter().enumerate() {
        if after.contains_key(&*account.path) {
            continue;
        }
        let previous = at.checked_sub(1).map(|at| &*then.accounts[at].path);
        let untold = now.may_hide(&account.path);
        let after = rows.iter().position(|row| Some(row.path()) == previous);
        rows.insert(after.map_or(0, |at| at + 1), Row { then: Some(account), now: None, untold });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(path: &[&str], held: u64) -> Value {
        json!({ "path": path, "accounts": 1, "live": 1, "created": 1, "held_bytes": held,
            "used_bytes": 0, "peak_bytes": held, "limit_bytes": null, "refused": 0,
            "age_seconds": null, "age_limit_seconds": null, "created_at": "" })
    }

    fn pool(id: &str, held: u64, age: f64) -> Value {
        json!({ "id": id, "path": ["process"], "created_at": "main.rs:1", "age_seconds": age,
            "held_bytes": held, "used_bytes": 0, "peak_bytes": held, "limit_bytes": null,
            "refused": 0 })
    }

    fn look(now: f64, pid: u32, accounts: &[Value], pools: &[Value], shown: usize) -> Look {
        serde_json::from_value(json!({ "schema": 1, "now": now, "accounts": accounts,
            "pools": pools, "pools_shown": shown,
            "process": { "host": "here", "pid": pid, "started": 5.0 } }))
        .expect("a look")
    }

    #[test]
    fn each_path_of_either_look_is_a_row_in_the_order_of_the_tree() {
        let then = [
            account(&["p"], 100),
            account(&["p", "a"], 50),
            account(&["p", "a", "old"], 20),
            account(&["p", "b"], 50),
        ];
        let now = [
            account(&["p"], 300),
            account(&["p", "a"], 30),
            account(&["p", "b"], 50),
            account(&["p", "c"], 220),
        ];
        let (then, now) = (look(10.0, 1, &then, &[], 0), look(15.0, 1, &now, &[], 0));
        let since = Since::of(&then, &now);
        let rows: Vec<_> = since
            .accounts
            .iter()
            .map(|row| (row.path().join("/"), row.more(|account| account.held_bytes), row.word()))
            .collect();
        let wanted = [
            ("p", 200, ""),
            ("p/a", -20, ""),
            ("p/a/old", -20, "gone"),
            ("p/b", 0, ""),
            ("p/c", 220, "new"),
        ];
        assert_eq!(rows, wanted.map(|(path, more, word)| (path.to_owned(), more, word)));
        assert!((since.seconds - 5.0).abs() < 1e-9);
    }

    #[test]
    fn what_may_have_been_left_out_is_neither_new_nor_gone() {
        let words = |then: &Look, now: &Look| -> Vec<_> {
            let since = Since::of(then, now);
            let rows = since.accounts.iter();
            rows.map(|row| (row.path().join("/"), row.more(|row| row.held_bytes), row.word()))
                .map(|(path, more, word)| format!("{path} {more} {word}"))
                .collect()
        };
        let few = [account(&["p"], 10), account(&["p", "a"], 4)];
        let full = [account(&["p"], 20), account(&["p", "b"], 4), account(&["p", "(others)"], 9)];
        let (few, full) = (look(10.0, 1, &few, &[], 0), look(20.0, 1, &full, &[], 0));
        assert_eq!(
            words(&few, &full),
            ["p 10 ", "p/a 0 not told", "p/b 4 new", "p/(others) 9 new"]
        );
        assert_eq!(
            words(&full, &few),
            ["p -10 ", "p/b -4 gone", "p/(others) -9 gone", "p/a 0 not told"]
        );
        // Of which paths a history had no room is not known.
        let mut past = few.clone();
        past.paths_left_out = 3;
        assert_eq!(words(&past, &full)[2..], ["p/b 0 not told", "p/(others) 0 not told"]);
        let json = Since::of(&past, &full).to_json();
        assert!(json["accounts"][2]["held_bytes_more"].is_null(), "{json}");
    }

    #[test]
    fn pools_are_told_apart_by_number_and_the_most_grown_come_first() {
        let then =
            [pool("1", 100, 50.0), pool("2", 100, 50.0), pool("3", 70, 40.0), pool("4", 9, 1.0)];
        let now = [
            pool("1", 150, 60.0),
            pool("2", 60, 60.0),
            pool("4", 9, 11.0),
            pool("5", 500, 3.0),
            // It was there, and not told.
            pool("6", 900, 600.0),
        ];
        let then = look(10.0, 1, &[], &then, 5);
        let now = look(20.0, 1, &[], &now, 5);
        let since = Since::of(&then, &now);
        let grown: Vec<_> = since
            .grown
            .iter()
            .map(|grown| (grown.pool.id.as_deref(), grown.bytes, grown.is_new))
            .collect();
        assert_eq!(grown, [(Some("5"), 500, true), (Some("1"), 50, false)]);
        assert_eq!(since.shrunk, Sum { pools: 1, bytes: 40 });
        assert_eq!(since.gone, Sum { pools: 1, bytes: 70 });
    }

    #[test]
    fn what_is_left_out_now_is_not_said_to_be_gone() {
        let then = look(10.0, 1, &[], &[pool("1", 100, 50.0)], 1);
        let now = look(20.0, 1, &[], &[], 1);
        assert_eq!(Since::of(&then, &now).gone, Sum::default());
        let now = look(20.0, 1, &[], &[], 0);
        assert_eq!(Since::of(&then, &now).gone, Sum { pools: 1, bytes: 100 });
    }

    #[test]
    fn numbers_of_another_process_tell_nothing() {
        let then = look(10.0, 1, &[account(&["p"], 7)], &[pool("1", 100, 5.0)], 1);
        let now = look(20.0, 2, &[account(&["p"], 9)], &[pool("1", 900, 5.0)], 1);
        let since = Since::of(&then, &now);
        assert!(!since.same_process && since.grown.is_empty());
        assert_eq!((since.gone, since.shrunk), (Sum::default(), Sum::default()));
        assert_eq!(since.accounts[0].more(|account| account.held_bytes), 2);
    }

    #[test]
    fn changes_are_right_at_both_ends() {
        assert_eq!((change(u64::MAX, 0), change(0, u64::MAX)), (i64::MIN, i64::MAX));
        assert_eq!((change(5, 3), change(3, 5)), (-2, 2));
    }
}
