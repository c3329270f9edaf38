//! What `ops/` gives to operators fits what the server exports: the rules, the dashboard, the
//! container's commands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::Site;

fn ops() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(ops().join(path)).expect(path)
}

/// The names in a text that begin so.
fn names(text: &str, prefix: &str) -> BTreeSet<String> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !in_name(c));
    words.filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_ask_for_what_is_exported() {
    let site = Site::with(|_| {});
    let metrics = site.get("/metrics").text();
    let (rules, board) = (read("prometheus/cenote.rules.yml"), read("grafana/cenote.json"));
    let recorded: BTreeSet<String> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: ").map(str::to_owned))
        .collect();
    assert!(!recorded.is_empty());
    let mut asked = 0;
    for text in [&rules, &board] {
        for name in names(text, "cenote_") {
            let is = |name: &str, kind: &str| metrics.contains(&format!("# TYPE {name} {kind}"));
            let of_histogram = name.strip_suffix("_bucket").is_some_and(|it| is(it, "histogram"));
            assert!(of_histogram || is(&name, ""), "{name} is not exported");
            asked += 1;
        }
        for name in names(text, "cenote:") {
            assert!(recorded.contains(&name), "{name} is not recorded");
        }
    }
    assert!(asked > 10, "{asked}");
}

#[test]
fn the_dashboard_is_one_whose_panels_have_places_of_their_own() {
    let board: Value = serde_json::from_str(&read("grafana/cenote.json")).expect("JSON");
    let number = |value: &Value| value.as_u64().expect("a number");
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in board["panels"].as_array().expect("panels") {
        assert!(ids.insert(number(&panel["id"])), "{}", panel["title"]);
        let at = |name: &str| number(&panel["gridPos"][name]);
        assert!(at("x") + at("w") <= 24 && at("w") > 0 && at("h") > 0, "{}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
        for text in ["title", "description"] {
            assert!(panel[text].as_str().is_some_and(|text| !text.is_empty()), "{panel}");
        }
        assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()));
    }
    // As many rows as the lowest reaches, without a hole.
    let rows = taken.iter().map(|&(_, y)| y + 1).max().expect("panels");
    assert_eq!(taken.len() as u64, rows * 24);
}

/// Where Prometheus' own checker is: by name, or in the path.
fn promtool() -> Option<String> {
    let tool = std::env::var("CENOTE_PROMTOOL").unwrap_or_else(|_| "promtool".into());
    Command::new(&tool).arg("--version").output().is_ok().then_some(tool)
}

#[test]
fn promtool_takes_the_rules_and_their_tests_pass() {
    let Some(tool) = promtool() else {
        eprintln!("SKIPPED: no promtool here (Debian: apt-get install prometheus)");
        return;
    };
    for arguments in [["check", "rules", "cenote.rules.yml"], ["test", "rules", "cenote.test.yml"]]
    {
        let mut command = Command::new(&tool);
        let output = command.args(arguments).current_dir(ops().join("prometheus")).output();
        let output = output.expect("it is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    let site = Site::with(|_| {});
    let mut child = Command::new(&tool)
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it is there");
    let metrics = site.get("/metrics").text();
    let mut input = child.stdin.take().expect("it was asked for");
    std::io::Write::write_all(&mut input, metrics.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_containers_command_and_its_health_are_of_this_command() {
    let file = read("Containerfile");
    let list = |word: &str| -> Vec<String> {
        let line = file.lines().find_map(|line| line.strip_prefix(word)).expect(word);
        serde_json::from_str(line.trim()).expect("a list of words")
    };
    for words in [list("ENTRYPOINT"), list("HEALTHCHECK CMD")] {
        assert_eq!(words[0], "/usr/bin/cenote");
        // Nothing is done: the last word is one that is not known. All before it are.
        let mut command = Command::new(env!("CARGO_BIN_EXE_cenote"));
        let output = command.args(&words[1..]).arg("--nothing-of-the-kind").output();
        let said = String::from_utf8(output.expect("the command").stderr).expect("text");
        assert!(said.contains("--nothing-of-the-kind"), "{said}");
    }
}
