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
            tests: &["-p cenote --test levels"],
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
];
