//! Rows of the table in `docs/design/njs.md`.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "J1",
        change: Break {
            file: "crates/cenote-c/njs/src/pool.rs",
            text: "        let record = unsafe { chunk.add(ASIDE) }.cast();",
            by: "        let record = chunk.cast();",
            tests: &["-p cenote-njs --test contract a_free_of_a_cleanup"],
        },
    },
    Row {
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
            tests: &["-p cenote-njs --test contract a_cleanup_added_while"],
        },
    },
    Row {
        invariant: "J3",
        change: Break {
            file: "crates/cenote-c/njs/src/memory.rs",
            text: r"        if self.is_cluster(layout) {
            // SAFETY: the caller's promise; `acquire`",
            by: r"        if layout.align() < 16 {
            // SAFETY: the caller's promise; `acquire`",
            tests: &["-p cenote-njs --test contract an_emptied_cluster"],
        },
    },
    Row {
        invariant: "J4",
        change: Break {
            file: "crates/cenote/src/source/blocks/cache.rs",
            text: "        crate::debug::unmark(head.cast(), size);",
            by: "        let _ = size;",
            tests: &["-p cenote-njs --test contract all_cases_are_clean_under_address"],
        },
    },
];
