//! The library's public interface as a list under version control, so that a change to it is
//! seen: every public item, method, field and variant by its path, from rustdoc's own data.

use super::process::{cargo, root, run, target};
use super::report::{End, Report};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::ExitCode;

const FILE: &str = "crates/cenote/api.txt";

/// The list as it is now.
fn list() -> Result<String, String> {
    let mut command = cargo("api");
    command.args(["rustdoc", "-p", "cenote", "--lib", "--features", "bytes,serde"]);
    command.args(["--", "-Zunstable-options", "--output-format", "json"]);
    let said = run(command.env("RUSTC_BOOTSTRAP", "1"));
    if !said.good {
        return Err(said.failures());
    }
    let path = target("api").join("doc/cenote.json");
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let data: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut lines = BTreeSet::new();
    let walk = Walk { index: &data["index"] };
    walk.item(&data["root"], "", &mut lines, 0);
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

struct Walk<'a> {
    index: &'a Value,
}

impl Walk<'_> {
    fn get(&self, id: &Value) -> &Value {
        let key = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        &self.index[key]
    }

    fn all(&self, ids: &Value, path: &str, lines: &mut BTreeSet<String>, depth: usize) {
        for id in ids.as_array().into_iter().flatten() {
            self.item(id, path, lines, depth + 1);
        }
    }

    fn item(&self, id: &Value, path: &str, lines: &mut BTreeSet<String>, depth: usize) {
        let item = self.get(id);
        let Some((kind, inner)) = item["inner"].as_object().and_then(|inner| inner.iter().next())
        else {
            return;
        };
        let hidden = item["attrs"].to_string().contains("doc(hidden)");
        if depth > 12 || hidden {
            return;
        }
        if kind == "use" {
            // What is shown here under its own name, or another.
            let name = inner["name"].as_str().unwrap_or_default();
            return self.named(&inner["id"], name, path, lines, depth);
        }
        self.named(id, item["name"].as_str().unwrap_or_default(), path, lines, depth);
    }

    fn named(
        &self,
        id: &Value,
        name: &str,
        path: &str,
        lines: &mut BTreeSet<String>,
        depth: usize,
    ) {
        let item = self.get(id);
        let Some((kind, inner)) = item["inner"].as_object().and_then(|inner| inner.iter().next())
        else {
            return;
        };
        let full = if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") };
        let signature = match kind.as_str() {
            "function" => signature(inner),
            "struct_field" | "constant" | "assoc_const" => type_name(&inner["type"]),
            _ => String::new(),
        };
        lines.insert(format!("{kind} {full}{signature}"));
        self.all(&inner["items"], &full, lines, depth);
        self.all(&inner["variants"], &full, lines, depth);
        self.all(&inner["kind"]["plain"]["fields"], &full, lines, depth);
        for block in inner["impls"].as_array().into_iter().flatten() {
            let block = &self.get(block)["inner"]["impl"];
            if block["is_synthetic"] == true || !block["blanket_impl"].is_null() {
                continue;
            }
            match block["trait"]["path"].as_str() {
                None => self.all(&block["items"], &full, lines, depth),
                Some(name) => drop(lines.insert(format!("impl {name} for {full}"))),
            }
        }
    }
}

/// A function's arguments and result, by the names of their types.
fn signature(function: &Value) -> String {
    let inputs = function["sig"]["inputs"].as_array().into_iter().flatten();
    let inputs: Vec<String> = inputs
        .map(|input| format!("{}{}", input[0].as_str().unwrap_or("_"), type_name(&input[1])))
        .collect();
    let header = &function["header"];
    let is_unsafe = if header["is_unsafe"] == true { " unsafe" } else { "" };
    let output = type_name(&function["sig"]["output"]);
    format!("({}){}{is_unsafe}", inputs.join(", "), output.replacen(": ", " -> ", 1))
}

/// A type in short: its name, and those of its parameters.
fn type_name(of: &Value) -> String {
    fn short(of: &Value) -> String {
        let Some((kind, inner)) = of.as_object().and_then(|of| of.iter().next()) else {
            return String::from("_");
        };
        match kind.as_str() {
            "resolved_path" => {
                let arguments = inner["args"]["angle_bracketed"]["args"].as_array();
                let arguments: Vec<String> = arguments
                    .into_iter()
                    .flatten()
                    .filter_map(|argument| argument.get("type").map(short))
                    .collect();
                let name = inner["path"].as_str().unwrap_or("_");
                match arguments.is_empty() {
                    true => name.to_owned(),
                    false => format!("{name}<{}>", arguments.join(", ")),
                }
            }
            "generic" | "primitive" => inner.as_str().unwrap_or("_").to_owned(),
            "borrowed_ref" => {
                let mutable = if inner["is_mutable"] == true { "mut " } else { "" };
                format!("&{mutable}{}", short(&inner["type"]))
            }
            "slice" => format!("[{}]", short(inner)),
            "tuple" => {
                let parts = inner.as_array().into_iter().flatten().map(short);
                format!("({})", parts.collect::<Vec<_>>().join(", "))
            }
            other => other.to_owned(),
        }
    }
    if of.is_null() { String::new() } else { format!(": {}", short(of)) }
}

/// Compares the list with the one under version control.
pub(super) fn check(report: &mut Report) {
    report.line("public interface as listed", |_| {
        let now = match list() {
            Ok(now) => now,
            Err(error) => return End::Bad(error),
        };
        let listed = std::fs::read_to_string(root().join(FILE)).unwrap_or_default();
        if now == listed {
            return End::Good(format!("{} items, as in {FILE}", now.lines().count()));
        }
        let (now, listed): (BTreeSet<&str>, BTreeSet<&str>) =
            (now.lines().collect(), listed.lines().collect());
        let more =
            now.difference(&listed).next().map_or(String::new(), |line| format!("+ {line} "));
        let less =
            listed.difference(&now).next().map_or(String::new(), |line| format!("- {line} "));
        End::Bad(format!(
            "{} new, {} gone, such as {more}{less}; if that is meant: cargo xtask api",
            now.difference(&listed).count(),
            listed.difference(&now).count(),
        ))
    });
}

/// Writes the list anew.
pub(super) fn write() -> ExitCode {
    let written = list().and_then(|list| {
        std::fs::write(root().join(FILE), list).map_err(|error| error.to_string())
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
