//! Rows of the table in `docs/design/njs.md`.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[Row {
    invariant: "J2",
    change: Break {
        file: "crates/cenote-c/njs/src/cleanup.rs",
        text: r"            self.newest.set(cleanup.next);
            if let Some(handler) = cleanup.handler {
                // SAFETY: the caller's promise.
                unsafe { handler(cleanup.data) };
            }",
        by: r"            if let Some(handler) = cleanup.handler {
                // SAFETY: the caller's promise.
                unsafe { handler(cleanup.data) };
            }
            self.newest.set(cleanup.next);",
        tests: &["-p cenote-njs --test contract"],
    },
}];
