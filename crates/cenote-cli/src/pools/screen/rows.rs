//! What is listed: the accounts as a tree, and the pools; those that are looked for, in order.

use super::state::State;
use crate::pools::Sort;
use crate::pools::draw::Plain;
use crate::pools::look::{Account, Figures, Look, Pool, Whose};

/// A line of the list. Its text can be shown: nothing in it controls a terminal.
pub(super) enum Row {
    /// What follows, or a word on it.
    Words(String),
    Figures(Box<Line>),
}

pub(super) struct Line {
    pub(super) name: String,
    pub(super) figures: Figures,
    /// Pools that are there, and pools ever made; a pool itself has neither.
    pub(super) pools: Option<(u64, u64)>,
    /// Whose a pool is.
    pub(super) whose: Whose,
    pub(super) made_at: String,
    pub(super) over_age: bool,
}

/// All rows, whether the terminal has room for them or not.
pub(super) fn of(state: &State) -> Vec<Row> {
    let Some(look) = &state.look else { return Vec::new() };
    let wanted = state.filter.to_lowercase();
    let mut rows = vec![Row::Words("accounts".to_owned())];
    let accounts: Vec<_> = look.accounts.iter().collect();
    let mut ordered = Vec::with_capacity(accounts.len());
    order_tree(&accounts, state, &mut ordered);
    let found = ordered.into_iter().filter(|row| {
        wanted.is_empty() || matches(&format!("{} {}", path(row), row.created_at), &wanted)
    });
    rows.extend(found.map(|row| Row::of_account(row, wanted.is_empty())));
    rows.push(Row::Words(String::new()));
    rows.push(Row::Words("pools".to_owned()));
    let pools = pools(look, state, &wanted);
    let (told, shown) = (look.pools.len(), pools.len().min(state.most));
    let all = pools.len();
    rows.extend(pools.into_iter().take(shown).map(|(label, pool)| Row::of_pool(&label, pool)));
    // What was not told cannot be looked through.
    let more = look.pools_shown.saturating_sub(told) + (all - shown);
    if more > 0 {
        rows.push(Row::Words(format!("and {more} more")));
    }
    rows
}

/// Siblings in order, each followed by those below it.
fn order_tree<'l>(rows: &[&'l Account], state: &State, ordered: &mut Vec<&'l Account>) {
    let mut families = Vec::new();
    let mut rest = rows;
    while let Some((first, others)) = rest.split_first() {
        let depth = first.path.len();
        let below = others.iter().take_while(|row| row.path.len() > depth).count();
        families.push((*first, &others[..below]));
        rest = &others[below..];
    }
    families.sort_by(|(a, _), (b, _)| {
        let (a, b) = if state.reverse { (b, a) } else { (a, b) };
        match state.sort {
            Sort::Name => a.path.cmp(&b.path),
            sort => sort.order(&a.figures(), &b.figures()),
        }
    });
    for (first, below) in families {
        ordered.push(first);
        order_tree(below, state, ordered);
    }
}

/// The pools that are looked for, in order, with what they are called.
fn pools<'l>(look: &'l Look, state: &State, wanted: &str) -> Vec<(String, &'l Pool)> {
    let mut pools: Vec<_> = look
        .pools
        .iter()
        .map(|pool| (look.label(pool), pool))
        .filter(|(label, pool)| {
            let text =
                || format!("{label} {} {} {}", pool.name, pool.created_at, pool.whose.text());
            wanted.is_empty() || matches(&text(), wanted)
        })
        .collect();
    pools.sort_by(|a, b| {
        let (a, b) = if state.reverse { (b, a) } else { (a, b) };
        match state.sort {
            Sort::Name => a.0.cmp(&b.0),
            sort => sort.order(&a.1.figures(), &b.1.figures()),
        }
    });
    pools
}

fn matches(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(wanted)
}

/// The root's name is left out, as in the pools' labels: it is everywhere.
fn path(account: &Account) -> String {
    let names = &account.path;
    names[usize::from(names.len() > 1)..].join("/")
}

impl Row {
    /// Where some are left out the tree says nothing, and each has its whole path.
    fn of_account(row: &Account, as_tree: bool) -> Self {
        let mut name = if as_tree {
            let depth = row.path.len().saturating_sub(1);
            "  ".repeat(depth) + row.path.last().map_or("", String::as_str)
        } else {
            path(row)
        };
        if row.accounts > 1 {
            name.push_str(&format!(" x{}", row.accounts));
        }
        Row::Figures(Box::new(Line {
            name: Plain(&name).to_string(),
            figures: row.figures(),
            pools: Some((row.live, row.created)),
            whose: Whose::default(),
            made_at: Plain(&row.created_at).to_string(),
            over_age: row.over_age > 0,
        }))
    }

    fn of_pool(label: &str, pool: &Pool) -> Self {
        Row::Figures(Box::new(Line {
            name: Plain(label).to_string(),
            figures: pool.figures(),
            pools: None,
            whose: pool.whose.plain(),
            made_at: Plain(&pool.created_at).to_string(),
            over_age: pool.over_age,
        }))
    }
}
