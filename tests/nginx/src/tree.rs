//! nginx built from the source that the package `nginx-src` carries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// What both nginx are configured with: what needs no library but libc, without what no test asks
/// for.
const OPTIONS: &[&str] = &[
    "--without-http_rewrite_module",
    "--without-http_gzip_module",
    "--without-http_fastcgi_module",
    "--without-http_uwsgi_module",
    "--without-http_scgi_module",
    "--without-http_grpc_module",
    "--without-http_memcached_module",
    "--without-http_auth_basic_module",
    "--without-http_userid_module",
    "--without-http_browser_module",
    "--without-http_referer_module",
    "--without-http_empty_gif_module",
    "--with-http_realip_module",
    "--with-http_addition_module",
    "--with-http_sub_module",
    "--with-http_stub_status_module",
    "--with-http_v2_module",
    "--with-stream",
    "--with-stream_realip_module",
    "--with-threads",
];

/// Which nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it comes, built for debugging.
    Stock,
    /// With cenote's pools, built for debugging.
    Cenote,
    /// With cenote's pools and AddressSanitizer, built as it is run in production.
    Sanitized,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Cenote => "cenote",
            Self::Sanitized => "sanitized",
        }
    }

    fn own_options(self) -> Vec<String> {
        let add_on = format!("--add-module={}", add_on().display());
        match self {
            Self::Stock => vec!["--with-debug".into()],
            Self::Cenote => vec!["--with-debug".into(), add_on],
            Self::Sanitized => vec![
                "--with-cc-opt=-fsanitize=address -fno-omit-frame-pointer".into(),
                "--with-ld-opt=-fsanitize=address".into(),
                add_on,
            ],
        }
    }
}

/// The folder of the add-on.
#[must_use]
pub fn add_on() -> PathBuf {
    root().join("crates/cenote-c/nginx")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// A built nginx.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The copy of the source.
    pub source: PathBuf,
    /// The program.
    pub program: PathBuf,
}

/// Builds nginx, or what has changed since the last time, under `tmp`: the tests' own folder in
/// the target folder (`CARGO_TARGET_TMPDIR`). `None`, loudly, where there is no make or cc.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn build(kind: Kind, tmp: &str) -> Option<Tree> {
    /// One at a time in this process; cargo runs the test programs one after the other.
    static BUILDING: Mutex<()> = Mutex::new(());
    if !crate::has_all("nginx", &["make", "cc", "sh"]) {
        return None;
    }
    let _one = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = Path::new(tmp).join("nginx").join(kind.name());
    let target = Path::new(tmp).parent().expect("cargo's tmp folder is in the target folder");
    let source = folder.join("source");
    let origin = Path::new(env!("NGINX_SOURCE"));

    let options: Vec<String> =
        OPTIONS.iter().map(|option| (*option).to_owned()).chain(kind.own_options()).collect();
    let config = fs::read_to_string(add_on().join("config")).expect("the add-on");
    let wanted = format!("{}\n{}\n{config}", origin.display(), options.join("\n"));
    let stamp = folder.join("stamp");
    if kind != Kind::Stock {
        // What the configuration script does by itself where there is no archive, and what a
        // make file cannot know: whether the archive is that of the present source.
        library(target);
    }
    if fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
        let _ = fs::remove_dir_all(&folder);
        copy(origin, &source);
        let mut configure = Command::new("sh");
        configure.arg("auto/configure").args(&options).current_dir(&source);
        run(configure.env("CARGO_TARGET_DIR", target), "configure");
        fs::write(&stamp, wanted).expect("a stamp");
    }
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    run(Command::new("make").arg(format!("-j{jobs}")).arg("-s").current_dir(&source), "make");
    Some(Tree { program: source.join("objs/nginx"), source })
}

/// Builds cenote for nginx, as `cargo build --release` does; where the archive is.
///
/// # Panics
/// If it does not build.
pub fn library(target: &Path) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--quiet", "--package", "cenote-nginx"]);
    run(cargo.current_dir(root()).env("CARGO_TARGET_DIR", target), "cargo build");
    target.join("release/libcenote_nginx.a")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("a type").is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, &copied).expect("a copy");
        }
    }
}

/// Runs a command to its end; what it printed.
///
/// # Panics
/// If it fails.
pub fn run(command: &mut Command, what: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{what}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text.into_owned()
}
