//! Rows of the table in `docs/design/server.md`.

use super::Row;

pub(super) const ROWS: &[Row] = &[];
