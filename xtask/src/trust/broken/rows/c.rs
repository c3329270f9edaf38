//! Rows of the table in `docs/design/c.md`.

use super::Row;

pub(super) const ROWS: &[Row] = &[];
