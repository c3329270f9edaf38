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
        invariant: "S4",
        change: Break {
            file: "crates/cenote/src/shared/mod.rs",
            text: "if self.state().handles.fetch_sub(1, Release) != 1 {",
            by: "if self.state().handles.fetch_sub(1, Relaxed) != 1 {",
            tests: &["loom -p cenote --lib the_last_handle_sees_all_that_others_did"],
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
        invariant: "S8",
        change: Break {
            file: "crates/cenote/src/shared/mod.rs",
            text: r"    /// Whether both are handles on the same pool.
",
            by: r"    pub fn reset(&mut self) {}

    /// Whether both are handles on the same pool.
",
            tests: &[
                "-p cenote --test compile_fail -- what_is_right trybuild=shared_pool_is_not_reset",
            ],
        },
    },
    Row {
        invariant: "S9",
        change: Break {
            file: "crates/cenote/src/kept.rs",
            text: r"    pub fn try_new<E>(
        handle: H,
        make: impl for<'p> FnOnce(&'p H::Pool) -> Result<&'p mut T, E>,
    ) -> Result<Self, E> {
        let value = NonNull::from(make(handle.pool())?);",
            by: r"    pub fn try_new<'p, E>(
        handle: H,
        make: impl FnOnce(&'p H::Pool) -> Result<&'p mut T, E>,
    ) -> Result<Self, E>
    where
        H::Pool: 'p,
    {
        // SAFETY: none; that is the point.
        let pool = unsafe { &*core::ptr::from_ref(handle.pool()) };
        let value = NonNull::from(make(pool)?);",
            tests: &[
                "-p cenote --test compile_fail -- what_is_right trybuild=shared_kept_is_also_elsewhere",
            ],
        },
    },
    Row {
        invariant: "S10",
        change: Break {
            file: "crates/cenote/src/source/wandering.rs",
            text: "!unsafe { DEPOT.put(bin, block, at) }",
            by: "!unsafe { DEPOT.put(bin + 1, block, at) }",
            tests: &["-p cenote --lib what_one_thread_gives_too_many"],
        },
    },
    Row {
        invariant: "S11",
        change: Break {
            file: "crates/cenote/src/shared/look.rs",
            text: "self.0.word.fetch_sub(ONE, Release)",
            by: "self.0.word.fetch_sub(ONE, Relaxed)",
            tests: &["loom -p cenote --lib blocks_go_back_after_what_was_seen_of_them"],
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
        invariant: "S14",
        change: Break {
            file: "crates/cenote/src/shared/freeze.rs",
            text: r"    pub fn try_freeze_chain<E: From<AllocError>>(
        &self,
        make: impl for<'p> FnOnce(&mut Chain<'p, Self>) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let mut chain = Chain::new(self);",
            by: r"    pub fn try_freeze_chain<'p, E: From<AllocError>>(
        &self,
        make: impl FnOnce(&mut Chain<'p, Self>) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        // SAFETY: none; that is the point.
        let mut chain = Chain::new(unsafe { &*core::ptr::from_ref(self) });",
            tests: &[
                "-p cenote --features bytes --test compile_fail -- what_is_right trybuild=shared_chain_frozen",
            ],
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
