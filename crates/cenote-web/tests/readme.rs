//! Proves that what the README and the recipes show of the examples is what these are: each piece of
//! it stands in the example as it stands there, line for line.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The program in the README's section of this title.
fn shown(readme: &str, section: &str) -> String {
    let (_, rest) = readme.split_once(&format!("\n## {section}\n")).expect("the section");
    let (_, rest) = rest.split_once("\n```rust").expect("a program");
    let (_, rest) = rest.split_once('\n').expect("a line");
    rest.split_once("\n```").expect("its end").0.to_owned()
}

/// The pieces of the program that are not in the example as they stand, lines one after another.
fn strangers<'s>(shown: &'s str, example: &str) -> Vec<&'s str> {
    let whole = format!("\n{example}\n");
    let pieces = shown.split("\n\n").map(|piece| piece.trim_matches('\n'));
    pieces.filter(|piece| !whole.contains(&format!("\n{piece}\n"))).collect()
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let shown = shown(&read("../../README.md"), "In an async service");
    let strangers = strangers(&shown, &read("examples/notes.rs"));
    assert!(strangers.is_empty(), "not in examples/notes.rs:\n{}", strangers.join("\n\n"));
    let lines = shown.lines().filter(|line| !line.is_empty()).count();
    assert!((15..=25).contains(&lines), "some twenty lines, not {lines}");
}

#[test]
fn the_recipes_show_the_examples_as_they_are() {
    let recipes = read("../../docs/RECIPES.md");
    let sections = [
        ("A WebSocket", "live"),
        ("Server-sent events", "live"),
        ("One event for all", "live"),
        ("gRPC", "grpc"),
        ("actix-web", "actix"),
    ];
    for (section, example) in sections {
        let (shown, path) = (shown(&recipes, section), format!("examples/{example}.rs"));
        let strangers = strangers(&shown, &read(&path));
        assert!(strangers.is_empty(), "not in {path}:\n{}", strangers.join("\n\n"));
    }
    assert_eq!(recipes.matches("```rust\n").count(), sections.len(), "each is one of these");
}

#[test]
fn a_line_that_is_not_the_examples_is_noticed() {
    let example = "fn a() {\n    b();\n}\n\nfn c() {}\n";
    assert!(strangers("fn a() {\n    b();\n}\n\nfn c() {}", example).is_empty());
    assert_eq!(strangers("fn a() {\n    d();\n}\n\nfn c() {}", example).len(), 1);
    assert_eq!(strangers("fn c()", example), ["fn c()"]);
}
