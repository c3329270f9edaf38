//! Rows of the table in `docs/design/global.md`.

use super::Row;

pub(super) const ROWS: &[Row] = &[];
