//! `cenote pools --check`: one line and an exit code, as monitoring plugins have them.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::Failure;
use super::draw::size;
use super::look::{Account, Look};

/// What a monitor is told, by its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Critical => "CRITICAL",
            State::Unknown => "UNKNOWN",
        }
    }

    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// From what part of its limit on an account is too full, in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) warn: u8,
    pub(super) critical: u8,
}

/// The line, and what it comes to.
pub(super) fn line(look: Result<Look, Failure>, bounds: Bounds) -> (State, String) {
    match look {
        Ok(look) => {
            let (state, findings) = judge(&look, bounds);
            let mut line = format!("CENOTE {} - {}", state.name(), findings.join("; "));
            figures(&look, bounds, &mut line);
            (state, line)
        }
        Err(failure) => (State::Unknown, format!("CENOTE UNKNOWN - {}", plain(&failure))),
    }
}

/// What is to be said, what is worst first.
fn judge(look: &Look, bounds: Bounds) -> (State, Vec<String>) {
    let mut found = Vec::new();
    for (row, limit) in look.accounts.iter().filter_map(limited) {
        // Of several accounts of one name the sum says nothing of any limit.
        let sum = (row.accounts == 1).then_some(row.held_bytes);
        let Some(held) = row.largest_bytes.or(sum) else { continue };
        let percent = percent(held, limit);
        let state = if percent >= u64::from(bounds.critical) {
            State::Critical
        } else if percent >= u64::from(bounds.warn) {
            State::Warning
        } else {
            continue;
        };
        let (one, path) = (if row.accounts > 1 { "one " } else { "" }, path(&row.path));
        found.push((state, format!("{one}{path} holds {percent} % of its {}", size(limit))));
    }
    for row in look.accounts.iter().filter(|row| row.over_age > 0) {
        let (count, path) = (row.over_age, path(&row.path));
        let s = if count == 1 { "" } else { "s" };
        found.push((State::Warning, format!("{count} pool{s} on {path} over age")));
    }
    for thread in &look.silent {
        found.push((State::Warning, format!("{} did not answer", path(thread))));
    }
    found.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    match found.first() {
        Some(&(worst, _)) => (worst, found.into_iter().map(|(_, words)| words).collect()),
        None => {
            let held = look.accounts.first().map_or(0, |root| root.held_bytes);
            let words = format!("pools hold {}; none near a limit, over age or silent", size(held));
            (State::Ok, vec![words])
        }
    }
}

fn path(names: &[String]) -> String {
    plain(&names.join("/"))
}

/// Text from elsewhere, in a line in which `|` says where the figures begin.
fn plain(text: &str) -> String {
    text.replace(|c: char| c.is_control() || c == '|', "?")
}

fn limited(row: &Account) -> Option<(&Account, u64)> {
    row.limit_bytes.filter(|&limit| limit > 0).map(|limit| (row, limit))
}

fn percent(held: u64, limit: u64) -> u64 {
    (u128::from(held) * 100 / u128::from(limit)) as u64
}

/// Figures for whoever draws them, in the plugins' form: name, value, bounds, least and most.
fn figures(look: &Look, bounds: Bounds, line: &mut String) {
    let Some(root) = look.accounts.first() else { return };
    let _ = write!(line, " | held={}B", root.held_bytes);
    if let Some((_, limit)) = limited(root) {
        let at = |percent: u8| u128::from(limit) * u128::from(percent) / 100;
        let _ = write!(line, ";{};{};0;{limit}", at(bounds.warn), at(bounds.critical));
    }
    if let Some(resident) = look.memory.and_then(|memory| memory.resident_bytes) {
        let _ = write!(line, " resident={resident}B");
    }
    let refused: u64 = look.accounts.iter().map(|row| row.refused).sum();
    let _ = write!(line, " refused={refused}c");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(path: &[&str], held: u64, limit: Option<u64>, accounts: u64) -> serde_json::Value {
        serde_json::json!({ "path": path, "accounts": accounts, "live": accounts,
            "created": accounts, "held_bytes": held, "used_bytes": 0, "peak_bytes": held,
            "limit_bytes": limit, "refused": 2, "age_seconds": null,
            "age_limit_seconds": null, "created_at": "" })
    }

    fn look(accounts: Vec<serde_json::Value>) -> Look {
        serde_json::from_value(serde_json::json!({ "schema": 1, "accounts": accounts }))
            .expect("a look")
    }

    const BOUNDS: Bounds = Bounds { warn: 80, critical: 95 };

    #[test]
    fn the_fullest_account_says_how_bad_it_is() {
        for (held, state, begins) in [
            (79, State::Ok, "CENOTE OK - pools hold 79 B; none near"),
            (80, State::Warning, "CENOTE WARNING - process holds 80 % of its 100 B |"),
            (94, State::Warning, "CENOTE WARNING - process holds 94 % of its 100 B |"),
            (95, State::Critical, "CENOTE CRITICAL - process holds 95 % of its 100 B |"),
            (120, State::Critical, "CENOTE CRITICAL - process holds 120 % of its 100 B |"),
        ] {
            let found = line(Ok(look(vec![account(&["process"], held, Some(100), 1)])), BOUNDS);
            assert_eq!(found.0, state, "{}", found.1);
            assert!(found.1.starts_with(begins), "{}", found.1);
            assert!(found.1.ends_with(&format!("| held={held}B;80;95;0;100 refused=2c")));
        }
    }

    #[test]
    fn what_is_worst_is_said_first_and_all_of_it() {
        let mut old = account(&["process", "request"], 500, Some(100), 7);
        old["over_age"] = 3.into();
        let full = account(&["process", "cache"], 99, Some(100), 1);
        let mut look = look(vec![account(&["process"], 599, None, 1), old, full]);
        look.silent = vec![vec!["process".into(), "worker-1".into()]];
        let (state, line) = line(Ok(look), BOUNDS);
        assert_eq!(state, State::Critical);
        let words = "CENOTE CRITICAL - process/cache holds 99 % of its 100 B; \
                     3 pools on process/request over age; process/worker-1 did not answer \
                     | held=599B refused=6c";
        assert_eq!(line, words);
    }

    #[test]
    fn of_several_accounts_the_largest_one_counts() {
        let mut rows = vec![account(&["request"], 500, Some(100), 7)];
        assert_eq!(line(Ok(look(rows.clone())), BOUNDS).0, State::Ok, "it is not told");
        rows[0]["largest_bytes"] = 79.into();
        assert_eq!(line(Ok(look(rows.clone())), BOUNDS).0, State::Ok);
        rows[0]["largest_bytes"] = 81.into();
        let (state, line) = line(Ok(look(rows)), BOUNDS);
        assert_eq!(state, State::Warning);
        assert!(
            line.starts_with("CENOTE WARNING - one request holds 81 % of its 100 B |"),
            "{line}"
        );
    }

    #[test]
    fn names_do_not_leave_their_place_in_the_line() {
        let rows = vec![account(&["a|b\n\x1b[2J"], 99, Some(100), 1)];
        let (_, line) = line(Ok(look(rows)), BOUNDS);
        assert!(line.starts_with("CENOTE CRITICAL - a?b??[2J holds 99 % "), "{line}");
        assert_eq!((line.matches('|').count(), line.lines().count()), (1, 1));
    }

    #[test]
    fn nobody_there_is_unknown() {
        let (state, line) = line(Err("http://x: refused".into()), BOUNDS);
        assert_eq!((state, &*line), (State::Unknown, "CENOTE UNKNOWN - http://x: refused"));
        assert_eq!(State::Unknown as u8, 3);
    }
}
