//! Rows of the table in `docs/design/shared.md`.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "S1",
        change: Break {
            file: "crates/cenote/src/shared/window.rs",
            text: r"            let fit = window::fit_up(base + last, base + end, size, align)?;
            match self.swap(seen, word(fit.last - base, end)) {",
            by: r"            let fit = window::fit_up(base + last, base + end, size, align)?;
            match self.swap(self.0.load(Relaxed), word(fit.last - base, end)) {",
            tests: &["loom -p cenote --lib objects_placed_at_once_from_both_ends_are_apart"],
        },
    },
    Row {
        invariant: "S2",
        change: Break {
            file: "crates/cenote/src/shared/window.rs",
            text: "compare_exchange_weak(seen, next, AcqRel, Relaxed)",
            by: "compare_exchange_weak(seen, next, Relaxed, Relaxed)",
            tests: &["loom -p cenote --lib what_one_thread_frees_another_may_have"],
        },
    },
    Row {
        invariant: "S3",
        change: Break {
            file: "crates/cenote/src/shared/window.rs",
            text: r"            let Some(next) = window::resize_newest(last, end, start, old, new) else {
                return false;
            };",
            by: r"            let next = start + window::taken(new);
            if next > end || start + window::taken(old) > last {
                return false;
            }",
            tests: &["-p cenote --test shared_threads --test shared_pool"],
        },
    },
    Row {
        invariant: "S5",
        change: Break {
            file: "crates/cenote/src/shared/state.rs",
            text: r"            self.current.store(block.as_ptr(), Release);
        }
        placed",
            by: r"            self.current.store(block.as_ptr(), Relaxed);
        }
        placed",
            tests: &[
                "loom -p cenote --lib threads_that_need_a_new_block_at_once_get_what_is_theirs",
            ],
        },
    },
    Row {
        invariant: "S6",
        change: Break {
            file: "crates/cenote/src/shared/layouts.rs",
            text: r"                // Or it would be taken for a small one later, with its layout of then.
                && state.needs_large(new).is_none()
",
            by: "",
            tests: &["-p cenote --test regressions a_large_object_of_a_shared_pool"],
        },
    },
    Row {
        invariant: "S7",
        change: Break {
            file: "crates/cenote/src/shared/state.rs",
            text: r"        self.place_in_new(&mut rare, need, want)
",
            by: r"        let (large, cleanups) = (LargeObjects::new(), Cleanups::new());
        let mut own = Rare { next: rare.next, large, cleanups };
        drop(rare);
        self.place_in_new(&mut own, need, want)
",
            tests: &["-p cenote --lib the_source_is_used_under_the_lock"],
        },
    },
    Row {
        invariant: "S10",
        change: Break {
            file: "crates/cenote/src/source/wandering.rs",
            text: r"    // SAFETY: the caller's promise, passed on.
    unsafe { DEPOT.release(ptr, block) }",
            by: r"    // SAFETY: none; that is the point.
    let twice = unsafe { Layout::from_size_align_unchecked(2 * block.size(), block.align()) };
    // SAFETY: none.
    unsafe { DEPOT.release(ptr, twice) }",
            tests: &["-p cenote --lib what_one_thread_gives_too_many"],
        },
    },
    Row {
        invariant: "S12",
        change: Break {
            file: "crates/cenote/src/shared/mod.rs",
            text: "        while seen != 0 && seen <= MOST_HANDLES {",
            by: "        while seen <= MOST_HANDLES {",
            tests: &["-p cenote --test shared_look a_cleanup_may_look_at_its_own_pool"],
        },
    },
    Row {
        invariant: "S13",
        change: Break {
            file: "crates/cenote/src/shared/state.rs",
            text: "        self.newest.store(block.as_ptr(), Release);",
            by: "        self.newest.store(block.as_ptr(), Relaxed);",
            tests: &["loom -p cenote --lib who_looks_finds_every_block_that_it_finds_whole"],
        },
    },
    Row {
        invariant: "S15",
        change: Break {
            file: "crates/cenote/src/shared/window.rs",
            text: "if start != end || window::top_after(0, size) > block - end {",
            by: "if start != end {",
            tests: &["-p cenote --lib what_begins_right_behind_a_block"],
        },
    },
];
