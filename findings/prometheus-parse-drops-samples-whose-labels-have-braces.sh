#!/usr/bin/env bash
# prometheus-parse 0.2.5 (a reader of Prometheus's text format), and labels as axum's routes are.
#
# A good guess: of a valid exposition it gives every sample, or an error.
# Seen: a label's value ends for it before a brace, a comma or a sign of equality inside of the quotation marks. A
# sample whose value has a closing brace, as the route `GET /notes/{id}` has, is dropped; one with a comma is cut
# there; a label whose value has a sign of equality is left out. No error says so.
# Printed: what became of each of four samples of one gauge.
#   GET /notes: 1 sample, l = GET /notes
#   GET /notes/{id}: no sample
#   a,b: 1 sample, l = a
#   a=b: 1 sample, no label l
#
# Fails if that changes. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "samples"
version = "0.0.0"
edition = "2021"
[dependencies]
prometheus-parse = "=0.2.5"
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use prometheus_parse::Scrape;

fn main() {
    for value in ["GET /notes", "GET /notes/{id}", "a,b", "a=b"] {
        let text = format!("# TYPE held gauge\nheld{{l=\"{value}\"}} 1\n");
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let said = match Scrape::parse(lines) {
            Err(error) => format!("an error: {error}"),
            Ok(read) => match read.samples.as_slice() {
                [] => "no sample".to_owned(),
                [one] => match one.labels.get("l") {
                    Some(label) => format!("1 sample, l = {label}"),
                    None => "1 sample, no label l".to_owned(),
                },
                all => format!("{} samples", all.len()),
            },
        };
        println!("{value}: {said}");
    }
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
GET /notes: 1 sample, l = GET /notes
GET /notes/{id}: no sample
a,b: 1 sample, l = a
a=b: 1 sample, no label l
EXPECTED
