//! Builds the C and C++ peers: nginx's own pools from nginx's own tree, mimalloc 2 beside the crate's
//! mimalloc 3, and whatever of APR, talloc, obstack and `std::pmr` the system has. What is missing is left out, and the bench says so.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

/// nginx's files that its pools need, and those of the fuller request.
const NGINX_FILES: [&str; 4] = [
    "src/core/ngx_palloc.c",
    "src/os/unix/ngx_alloc.c",
    "src/core/ngx_array.c",
    "src/core/ngx_string.c",
];
const NGINX_INCLUDES: [&str; 5] =
    ["src/core", "src/event", "src/event/modules", "src/os/unix", "objs"];
/// What cenote's pools under nginx's names need of nginx.
const NGINX_FOR_CENOTE: &[&str] = &[
    "--keep-global-symbol=ngx_alloc",
    "--keep-global-symbol=ngx_memalign",
    "--keep-global-symbol=ngx_pagesize",
    "--keep-global-symbol=ngx_log_error_core",
];
/// What nginx's configure gives to gcc when asked for nothing (auto/cc/gcc), less its warnings.
const NGINX_FLAGS: [&str; 2] = ["-pipe", "-g"];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=csrc");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let compiler = cc::Build::new().get_compiler();
    println!("cargo::rustc-env=CENOTE_BENCH_CC={}", version_of(&compiler.to_command()));
    println!(
        "cargo::rustc-env=CENOTE_BENCH_RUSTC={}",
        version_of(&Command::new(env::var("RUSTC")?))
    );
    println!("cargo::rustc-env=CENOTE_BENCH_PROFILE=opt-level {}", env::var("OPT_LEVEL")?);
    println!("cargo::rustc-env=CENOTE_BENCH_TARGET={}", env::var("TARGET")?);
    println!("cargo::rustc-env=CENOTE_BENCH_VERSIONS={}", versions()?);

    // Not a peer: cenote's own C ABI, without which there is no bench.
    cc::Build::new()
        .file("csrc/capi.c")
        .include("../cenote-c/include")
        .opt_level(2)
        .try_compile("cenote_bench_capi")?;
    let found = [
        ("nginx", nginx(&out)),
        ("mimalloc2", mimalloc2(&out)),
        (
            "apr",
            plain("apr.c", &["/usr/include/apr-1.0", "/usr/local/apr/include/apr-1"], &["apr-1"]),
        ),
        ("talloc", plain("talloc.c", &[], &["talloc"])),
        ("obstack", plain("obstack.c", &[], &[])),
        ("pmr", pmr()),
    ];
    for (peer, built) in found {
        println!("cargo::rustc-check-cfg=cfg(has_{peer})");
        match built {
            Ok(()) => println!("cargo::rustc-cfg=has_{peer}"),
            Err(why) => println!("cargo::warning=without {peer}: {why:#}"),
        }
    }
    Ok(())
}

/// The first line that a compiler says of itself.
fn version_of(command: &Command) -> String {
    let mut asked = Command::new(command.get_program());
    asked.arg("--version").output().map_or_else(
        |_| "unknown".into(),
        |out| String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or("unknown").to_owned(),
    )
}

/// What cargo resolved for this package, which is where versions and nginx's source are told.
fn metadata() -> Result<serde_json::Value> {
    let manifest = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let out = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--manifest-path"])
        .arg(manifest)
        .output()?;
    ensure!(
        out.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// `name version` of the peers, separated by semicolons.
fn versions() -> Result<String> {
    let wanted = [
        "blink-alloc",
        "buddy-alloc",
        "buddy_system_allocator",
        "bump-scope",
        "bumpalo",
        "cenote",
        "cenote-global",
        "hashbrown",
        "libmimalloc-sys",
        "multitude",
        "nginx-src",
        "oxc_allocator",
        "plurality",
        "rallocator",
        "rusty_alloc",
        "snmalloc-rs",
        "tikv-jemallocator",
        "typed-arena",
    ];
    let all = metadata()?;
    let mut found = BTreeMap::new();
    for package in all["packages"].as_array().context("no packages")? {
        let name = package["name"].as_str().unwrap_or_default();
        if wanted.contains(&name) {
            found.insert(
                name.to_owned(),
                package["version"].as_str().unwrap_or_default().to_owned(),
            );
        }
    }
    Ok(found
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect::<Vec<_>>()
        .join(";"))
}

/// Where cargo keeps a package's own files.
fn sources_of(name: &str) -> Result<PathBuf> {
    let all = metadata()?;
    let packages = all["packages"].as_array().context("no packages")?;
    let package = packages
        .iter()
        .find(|one| one["name"] == name)
        .with_context(|| format!("{name} is not fetched"))?;
    let manifest = package["manifest_path"].as_str().context("no manifest")?;
    Ok(Path::new(manifest).with_file_name(""))
}

/// mimalloc 2, as libmimalloc-sys builds it with its feature `v2`, under names of its own: `mi2_malloc`
/// for `mi_malloc`. The crate itself is version 3, and one program can have it once.
fn mimalloc2(out: &Path) -> Result<()> {
    let source = sources_of("libmimalloc-sys")?.join("c_src/mimalloc/v2");
    let object = out.join("mimalloc2.o");
    let compiler = cc::Build::new().get_compiler();
    run(Command::new(compiler.path())
        .args(["-O3", "-fPIC", "-w", "-ftls-model=initial-exec", "-c"])
        .args(["-DMI_DEBUG=0", "-DMI_BUILD_RELEASE", "-DNDEBUG"])
        .arg("-I")
        .arg(source.join("include"))
        .arg("-I")
        .arg(source.join("src"))
        .arg(source.join("src/static.c"))
        .arg("-o")
        .arg(&object))?;
    let listed = Command::new("nm").args(["-g", "--defined-only", "-P"]).arg(&object).output()?;
    ensure!(listed.status.success(), "nm: {}", String::from_utf8_lossy(&listed.stderr).trim());
    let names = out.join("mimalloc2.names");
    let text = String::from_utf8_lossy(&listed.stdout);
    let lines = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(|name| format!("{name} {}\n", name.replacen("mi_", "mi2_", 1)));
    fs::write(&names, lines.collect::<String>())?;
    let mut option = OsString::from("--redefine-syms=");
    option.push(&names);
    run(Command::new("objcopy").arg(option).arg(&object))?;
    Ok(cc::Build::new().object(object).try_compile("cenote_bench_mimalloc2")?)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let out = command.output().with_context(|| format!("{command:?}"))?;
    if !out.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

/// nginx's pools twice, as its configure compiles them (-O) and at -O2, each with the loops, made
/// one object of which only the loops are seen: so both can be in one program. And the loops once
/// more without nginx's pools: those of cenote under the same names take their place.
fn nginx(out: &Path) -> Result<()> {
    let tree = out.join("nginx");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let source = sources_of("nginx-src")?.join("nginx");
    println!("cargo::rustc-env=CENOTE_BENCH_NGINX_SOURCE={}", source.display());
    copy_tree(&source, &tree)?;
    run(Command::new("sh").current_dir(&tree).args([
        "auto/configure",
        "--without-http",
        "--without-pcre",
        "--without-http_gzip_module",
    ]))?;
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let compiler = cc::Build::new().get_compiler();
    let mut objects = Vec::new();
    for (name, level) in [("o1", "-O"), ("o2", "-O2"), ("cenote", "-O")] {
        let mut parts = Vec::new();
        let loops = here.join("csrc/nginx_pool.c");
        let own = |file: &&&str| name != "cenote" || !file.ends_with("ngx_palloc.c");
        let files = NGINX_FILES
            .iter()
            .filter(own)
            .map(|file| (tree.join(file), level))
            .chain([(loops, "-O2")]);
        for (file, level) in files {
            let object = out.join(format!(
                "{name}_{}.o",
                file.file_stem().context("no name")?.to_string_lossy()
            ));
            let mut command = Command::new(compiler.path());
            command
                .args(NGINX_FLAGS)
                .arg(level)
                .arg("-w")
                .arg("-fPIC")
                .arg("-c")
                .arg(&file)
                .arg("-o")
                .arg(&object);
            command.arg(format!("-DBENCH(x)=nginx_{name}_##x"));
            command.arg("-I").arg(here.join("csrc"));
            for include in NGINX_INCLUDES {
                command.arg("-I").arg(tree.join(include));
            }
            run(&mut command)?;
            parts.push(object);
        }
        let whole = out.join(format!("nginx_{name}.o"));
        run(Command::new(compiler.path())
            .args(["-r", "-nostdlib", "-o"])
            .arg(&whole)
            .args(&parts))?;
        run(Command::new("objcopy")
            .args(["--wildcard", &format!("--keep-global-symbol=nginx_{name}_*")])
            .args(if name == "cenote" { NGINX_FOR_CENOTE } else { &[] })
            .arg(&whole))?;
        objects.push(whole);
    }
    let mut archive = cc::Build::new();
    for object in objects {
        archive.object(object);
    }
    archive.try_compile("cenote_bench_nginx")?;
    println!("cargo::rustc-env=CENOTE_BENCH_NGINX_FLAGS={} -O (and -O2)", NGINX_FLAGS.join(" "));
    Ok(())
}

/// One C file over a system library.
fn plain(file: &str, includes: &[&str], libraries: &[&str]) -> Result<()> {
    let mut build = cc::Build::new();
    build
        .file(format!("csrc/{file}"))
        .opt_level(2)
        .cargo_warnings(false)
        .includes(includes)
        .define("_GNU_SOURCE", None);
    build.try_compile(&format!("cenote_bench_{}", file.trim_end_matches(".c")))?;
    for library in libraries {
        println!("cargo::rustc-link-lib={library}");
    }
    Ok(())
}

fn pmr() -> Result<()> {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").file("csrc/pmr.cc").opt_level(2).cargo_warnings(false);
    Ok(build.try_compile("cenote_bench_pmr")?)
}
