//! Rows of the last part of the table in `docs/DESIGN.md`: debug levels, checkers' builds, and what
//! is told when.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "19",
        change: Break {
            file: "crates/cenote/src/pool/placing.rs",
            text: r"            self.shape.set(self.shape.get().watched());
",
            by: "",
            tests: &["-p cenote --test levels_late"],
        },
    },
    Row {
        invariant: "20",
        change: Break {
            file: "crates/cenote/src/debug/watch.rs",
            text: r"        let canary = if levels.contains(Levels::CANARY) { CANARY_BYTES } else { 0 };
        let page =",
            by: r"        static TIMES: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
        let odd = TIMES.fetch_add(1, core::sync::atomic::Ordering::Relaxed) % 2;
        let canary = if levels.contains(Levels::CANARY) { CANARY_BYTES * (1 + odd) } else { 0 };
        let page =",
            tests: &["-p cenote --test levels a_source_that_counts"],
        },
    },
    Row {
        invariant: "21",
        change: Break {
            file: "crates/cenote/src/large/watched.rs",
            text: r"        self.layout & (YOUNG | OLD) != 0
    }

    fn plan",
            by: r"        self.layout & OLD != 0
    }

    fn plan",
            tests: &["-p cenote --test levels"],
        },
    },
    Row {
        invariant: "22",
        change: Break {
            file: "crates/cenote/src/pool/placing.rs",
            text: "if !self.newest.get().is_null() || self.large.address() != 0 {",
            by: "if !self.newest.get().is_null() {",
            tests: &["-p cenote --test levels_late"],
        },
    },
    Row {
        invariant: "23",
        change: Break {
            file: "crates/cenote/src/pool/placing.rs",
            text: r"        match debug::fit_up(last.addr().get(), end.addr().get(), size, align) {
            Some(fit) => Ok(self.accept",
            by: r"        match window::fit_up(last.addr().get(), end.addr().get(), size, align) {
            Some(fit) => Ok(self.accept",
            tests: &["-p cenote --features valgrind --lib objects_lie_a_gap_apart"],
        },
    },
    Row {
        invariant: "24",
        change: Break {
            file: "crates/cenote/src/debug/mempools.rs",
            text: "        if !key.0 != start || block.size > most {",
            by: "        if !key.0 != start || most == 0 {",
            tests: &["-p cenote --features valgrind --lib a_block_is_known_from_when_it_is_made"],
        },
    },
    Row {
        invariant: "25",
        change: Break {
            file: "crates/cenote/src/source/buddy/region.rs",
            text: r"        let result = something(self);
        self.hide();
        result",
            by: "        something(self)",
            tests: &["-p cenote --test levels levels_of_a_region"],
        },
    },
    Row {
        invariant: "26",
        change: Break {
            file: "crates/cenote/src/shared/watched.rs",
            text: r"        let _inside = told::inside(true);
        let rare = self.rare.lock();
        rare.large.dealloc",
            by: r"        let rare = self.rare.lock();
        let _inside = told::inside(true);
        rare.large.dealloc",
            tests: &["-p cenote --lib nobody_is_told_of_a_shared_pools_misuse"],
        },
    },
    Row {
        invariant: "27",
        change: Break {
            file: "crates/cenote/src/told.rs",
            text: "        let may = place.depth.get() == 0 && place.telling",
            by: "        let may = place.telling",
            tests: &["-p cenote --test told what_a_source_is_refused_by_others"],
        },
    },
    Row {
        invariant: "28",
        change: Break {
            file: "crates/cenote/src/pool/placing.rs",
            text: "        self.slow(layout, Want::Packed(size)).or_else(M::refuse)",
            by: "        self.slow(layout, Want::Packed(size)).or_else(M::fail)",
            tests: &["-p cenote --test told what_a_pool_on_pools_is_refused"],
        },
    },
    Row {
        invariant: "29",
        change: Break {
            file: "crates/cenote/src/source/mod.rs",
            text: r"    fn is_plain(&self) -> bool {
        false",
            by: r"    fn is_plain(&self) -> bool {
        true",
            tests: &["-p cenote --test told what_a_source_is_refused_by_others"],
        },
    },
];
