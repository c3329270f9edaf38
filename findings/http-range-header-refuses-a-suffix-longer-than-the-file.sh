#!/usr/bin/env bash
# http-range-header 0.4.2 (the crate that tower-http reads Range headers with).
#
# A good guess: `parse_range_header(value)?.validate(size)` gives the parts of a file that RFC 9110 (14.1.2) has
# a server send, or says that there is none.
# Seen, of well-formed headers:
#   - a suffix longer than the file is an error; by the RFC it is the whole file
#   - one part beyond the file makes an error of those that are inside; by the RFC they are sent
#   - `0-` of an empty file is the part 0..=0, which the file does not have: its length would be one
#   - a last byte above 2^64 - 1 is malformed; below, it is cut to the file's end
# nginx 1.22 sends the whole file for the first and the third (by 206 and 200), and the part inside for the second.
# Printed:
#   bytes=-500 of 100: an error
#   bytes=0-1,200-300 of 100: an error
#   bytes=0- of 0: Ok([0..=0])
#   bytes=10-99999999999999999999 of 100: malformed
#   bytes=10-9999999999999999999 of 100: Ok([10..=99])
#
# Fails if that changes. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "ranges"
version = "0.0.0"
edition = "2021"
[dependencies]
http-range-header = "=0.4.2"
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
fn main() {
    for (value, size) in [
        ("bytes=-500", 100),
        ("bytes=0-1,200-300", 100),
        ("bytes=0-", 0),
        ("bytes=10-99999999999999999999", 100),
        ("bytes=10-9999999999999999999", 100),
    ] {
        let said = match http_range_header::parse_range_header(value) {
            Err(_) => "malformed".to_owned(),
            Ok(parsed) => match parsed.validate(size) {
                Ok(parts) => format!("Ok({parts:?})"),
                Err(_) => "an error".to_owned(),
            },
        };
        println!("{value} of {size}: {said}");
    }
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
bytes=-500 of 100: an error
bytes=0-1,200-300 of 100: an error
bytes=0- of 0: Ok([0..=0])
bytes=10-99999999999999999999 of 100: malformed
bytes=10-9999999999999999999 of 100: Ok([10..=99])
EXPECTED
