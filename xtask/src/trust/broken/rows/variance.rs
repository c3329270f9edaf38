//! Rows of the table in `docs/design/variance.md`.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "T1",
        change: Break {
            file: "crates/cenote/src/kept.rs",
            text: "    _type: PhantomData<*mut T>,",
            by: "    _type: PhantomData<*const T>,",
            tests: &["-p cenote --test compile_fail -- what_is_right trybuild=kept_shortened"],
        },
    },
    Row {
        invariant: "T2",
        change: Break {
            file: "crates/cenote/src/counted/boxed.rs",
            text: "    owns: PhantomData<T>,",
            by: "    owns: PhantomData<*mut T>,",
            tests: &["-p cenote --test compile_fail -- what_is_right trybuild=variance"],
        },
    },
    Row {
        invariant: "T3",
        change: Break {
            file: "crates/cenote/src/pool/cleanups.rs",
            text: r"    pub fn own<T: Send + 'static>(&self, value: T) -> &mut T {
        must(self.own_in::<Must, T>(value))
    }
",
            by: r"    pub fn own<T: 'static>(&self, value: T) -> &mut T {
        struct Sent<T>(T);
        // SAFETY: none; that is the point.
        unsafe impl<T> Send for Sent<T> {}
        &mut must(self.own_in::<Must, Sent<T>>(Sent(value))).0
    }
",
            tests: &["-p cenote --test compile_fail -- what_is_right trybuild=own_not_send"],
        },
    },
];
