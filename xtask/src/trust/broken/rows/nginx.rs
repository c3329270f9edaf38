//! Rows of the table in `docs/design/nginx.md`.

use super::Change::{Break, Cannot};
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "N1",
        change: Cannot(
            "Sizes and offsets are asserted when compiling, in Rust and by nginx's own headers: a change of them is no test that goes red, but a build that fails.",
        ),
    },
    Row {
        invariant: "N2",
        change: Break {
            file: "crates/cenote-c/nginx/src/window.rs",
            text: "if end.wrapping_sub(start) as isize >= size as isize {",
            by: "if end.wrapping_sub(start) >= size {",
            tests: &["-p cenote-nginx-tests --test window"],
        },
    },
    Row {
        invariant: "N3",
        change: Break {
            file: "crates/cenote-c/nginx/src/block.rs",
            text: "        self.last.set(last.with_addr(start + size));",
            by: "        self.last.set(last.with_addr(start + size + 8));",
            tests: &["-p cenote-nginx-tests --test pools a_random_life"],
        },
    },
    Row {
        invariant: "N4",
        change: Break {
            file: "crates/cenote-c/nginx/src/large.rs",
            text: r"        entry.alloc.set(newest.alloc.get());
",
            by: "",
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "N5",
        change: Break {
            file: "crates/cenote-c/nginx/src/large.rs",
            text: r"    head.large.set(newest.next.get());
    spare(pool, first);",
            by: "    head.large.set(newest.next.get());",
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "N6",
        change: Break {
            file: "crates/cenote-c/nginx/src/cleanup.rs",
            text: r#"    head.cleanup.set(entry.next.get());
    if let Some(handler) = entry.handler.get() {
        log::debug_address(head.log.get(), c"run cleanup: %p", record.as_ptr().cast());
        // SAFETY: whoever set the handler made it fit the data.
        unsafe { handler(entry.data.get()) };
    }"#,
            by: r#"    if let Some(handler) = entry.handler.get() {
        log::debug_address(head.log.get(), c"run cleanup: %p", record.as_ptr().cast());
        // SAFETY: whoever set the handler made it fit the data.
        unsafe { handler(entry.data.get()) };
    }
    head.cleanup.set(entry.next.get());"#,
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "N7",
        change: Break {
            file: "crates/cenote-c/nginx/src/life.rs",
            text: r"    if log::debugging() {
        // Before anything is freed: the log may lie in the pool.
        log_end(pool);
    }
    large::free_all(pool);",
            by: r"    large::free_all(pool);
    if log::debugging() {
        log_end(pool);
    }",
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "N8",
        change: Break {
            file: "crates/cenote-c/nginx/src/life.rs",
            text: "    let near = unsafe { block::give(pool.block(), bytes, seen) };",
            by: "    let near = unsafe { block::give(pool.block(), bytes * 2, seen) };",
            tests: &["-p cenote-nginx-tests --test pools sanitizers_see_each_object"],
        },
    },
    Row {
        invariant: "N9",
        change: Break {
            file: "crates/cenote-c/nginx/src/block.rs",
            text: "            Standing::Other => false,",
            by: "            Standing::Other => true,",
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
    Row {
        invariant: "N10",
        change: Break {
            file: "crates/cenote-c/nginx/src/life.rs",
            text: "        if seen { (start, start) } else",
            by: "        if seen { (start, start.map_addr(|addr| addr + size)) } else",
            tests: &["-p cenote-nginx-tests --test pools the_functions_keep_what_they_promise"],
        },
    },
];
