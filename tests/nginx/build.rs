//! Tells the tests which platform they are for, by which cargo is asked for nginx's source.

fn main() {
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=NGINX_TESTS_TARGET={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
