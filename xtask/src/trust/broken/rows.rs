//! The changes: data, a file for each page of invariants. A text stands exactly once in its file;
//! what replaces it compiles.

mod accounts;
mod c;
mod design;
mod global;
mod levels;
mod nginx;
mod njs;
mod parking;
mod server;
mod shared;
mod variance;
mod view;

/// What breaks an invariant, or why nothing small does.
pub(super) struct Row {
    /// The number in its table.
    pub(super) invariant: &'static str,
    pub(super) change: Change,
}

pub(super) enum Change {
    /// With `by` in the place of `text`, one of `tests` goes red: each is what follows `cargo test`,
    /// behind `loom` or `asan` for a build of that kind.
    Break {
        file: &'static str,
        text: &'static str,
        by: &'static str,
        tests: &'static [&'static str],
    },
    /// It cannot be broken by a small change, because of this.
    Cannot(&'static str),
}

/// All rows, page by page.
pub(super) fn all() -> impl Iterator<Item = &'static Row> {
    [
        design::ROWS,
        accounts::ROWS,
        levels::ROWS,
        shared::ROWS,
        nginx::ROWS,
        njs::ROWS,
        variance::ROWS,
        c::ROWS,
        view::ROWS,
        server::ROWS,
        parking::ROWS,
        global::ROWS,
    ]
    .into_iter()
    .flatten()
}
