//! Finds nginx's source, which the package `nginx-src` carries.
//!
//! That package tells where it lies by lines for cargo that a build script prints. So this one
//! runs itself a second time, to read them.

use std::path::Path;
use std::process::Command;

const AGAIN: &str = "NGINX_TESTS_PRINT";

fn main() {
    if std::env::var_os(AGAIN).is_some() {
        return nginx_src::print_cargo_metadata();
    }
    let myself = std::env::current_exe().expect("a build script is a program");
    let output = Command::new(myself).env(AGAIN, "1").output().expect("it runs");
    let lines = String::from_utf8(output.stdout).expect("cargo's lines are text");
    let file = lines
        .lines()
        .find_map(|line| line.split_once("rerun-if-changed=")?.1.strip_suffix("/src/lib.rs"))
        .expect("nginx-src tells where it lies");
    let source = Path::new(file).join("nginx");
    assert!(source.join("auto/configure").is_file(), "no nginx in {}", source.display());
    println!("cargo::rustc-env=NGINX_SOURCE={}", source.display());
    println!("cargo::rerun-if-changed=build.rs");
}
