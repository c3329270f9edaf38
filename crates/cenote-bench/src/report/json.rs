//! The rows as JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::harness::Row;

/// Writes `{"rows": [...]}`, a row for each subject of each case that took part.
pub(crate) fn write(file: &Path, rows: &[Row]) -> Result<()> {
    let rows: Vec<Value> = rows.iter().map(row).collect();
    let text = serde_json::to_string_pretty(&json!({ "rows": rows }))?;
    std::fs::write(file, text + "\n").with_context(|| file.display().to_string())
}

fn row(row: &Row) -> Value {
    json!({
        "group": row.group,
        "case": row.case,
        "subject": row.subject,
        "unit": row.unit,
        "ns": row.ns.map(|ns| ns.median),
        "ns_mad": row.ns.map(|ns| ns.mad),
        "ratio": row.ratio.map(|ratio| ratio.median),
        "ratio_mad": row.ratio.map(|ratio| ratio.mad),
        "instructions": row.instructions,
        "held_bytes": row.held,
        "note": row.note,
    })
}
