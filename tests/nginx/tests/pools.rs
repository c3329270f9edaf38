//! The twelve functions by themselves, driven from C: against nginx's own, and against what they
//! promise.

use cenote_nginx_tests::tree::{Kind, Tree, build, library, run};
use cenote_nginx_tests::{has_all, tree};
use std::path::{Path, PathBuf};
use std::process::Command;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// Compiles a program of `c/` with nginx's headers, and pools to link with.
fn program(tree: &Tree, name: &str, source: &str, more: &[&str]) -> PathBuf {
    let folder = Path::new(TMP).join("nginx/c");
    std::fs::create_dir_all(&folder).unwrap();
    let built = folder.join(name);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("c");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-W", "-Wall", "-Wpointer-arith", "-Wno-unused-parameter", "-Werror"]);
    for include in ["src/core", "src/event", "src/event/modules", "src/event/quic", "src/os/unix"] {
        cc.arg("-I").arg(tree.source.join(include));
    }
    cc.arg("-I").arg(tree.source.join("objs")).arg("-I").arg(&here);
    cc.arg("-o").arg(&built).arg(here.join(source)).arg(here.join("world.c"));
    cc.arg(tree.source.join("src/core/ngx_array.c"));
    run(cc.args(more), "cc");
    built
}

/// The same, with nginx's pools.
fn with_stock(name: &str, source: &str) -> Option<PathBuf> {
    let tree = build(Kind::Stock, TMP)?;
    let pools = tree.source.join("src/core/ngx_palloc.c");
    Some(program(&tree, name, source, &[pools.to_str().unwrap()]))
}

/// The same, with cenote's.
fn with_cenote(name: &str, source: &str, more: &[&str]) -> Option<PathBuf> {
    let tree = build(Kind::Stock, TMP)?;
    let archive = library(Path::new(TMP).parent().unwrap());
    let shim = tree::add_on().join("ngx_cenote.c");
    let mut arguments = vec![shim.to_str().unwrap(), archive.to_str().unwrap()];
    arguments.extend(["-lgcc_s", "-lpthread", "-lm", "-ldl"]);
    arguments.extend(more);
    Some(program(&tree, name, source, &arguments))
}

#[test]
fn a_random_life_goes_as_with_nginxs_own_pools() {
    let (Some(stock), Some(cenote)) =
        (with_stock("script-stock", "script.c"), with_cenote("script", "script.c", &[]))
    else {
        return;
    };
    let theirs = run(&mut Command::new(stock), "stock");
    let ours = run(&mut Command::new(cenote), "cenote");
    assert!(theirs.lines().count() > 3000, "{} steps", theirs.lines().count());
    for (step, (their, our)) in theirs.lines().zip(ours.lines()).enumerate() {
        assert_eq!(their, our, "step {step}");
    }
    assert_eq!(theirs.lines().count(), ours.lines().count());
}

#[test]
fn the_functions_keep_what_they_promise() {
    let Some(contract) = with_cenote("contract", "contract.c", &[]) else { return };
    run(Command::new(&contract).env_remove("CENOTE_DEBUG"), "contract");
    run(Command::new(&contract).env("CENOTE_DEBUG", "passthrough"), "contract, passthrough");
}

#[test]
fn sanitizers_see_each_object() {
    let more = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let Some(contract) = with_cenote("contract-asan", "contract.c", &more) else { return };
    // Sizes that nobody can have are asked for, which is no mistake.
    let options = ("ASAN_OPTIONS", "allocator_may_return_null=1");
    for level in [None, Some("passthrough")] {
        let mut command = Command::new(&contract);
        command.env(options.0, options.1).env_remove("CENOTE_DEBUG");
        run(command.envs(level.map(|level| ("CENOTE_DEBUG", level))), "contract under ASan");
    }
    // A mistake that goes unseen in a block is seen where objects have memory of their own.
    let Some(wrong) = with_cenote("overflow-asan", "overflow.c", &more) else { return };
    run(Command::new(&wrong).env_remove("CENOTE_DEBUG"), "an overflow inside a block");
    let seen = Command::new(&wrong).env("CENOTE_DEBUG", "passthrough").output().unwrap();
    let text = String::from_utf8_lossy(&seen.stderr);
    assert!(text.contains("AddressSanitizer: heap-buffer-overflow"), "{text}");
}

#[test]
fn valgrind_finds_no_error_and_no_leak() {
    if !has_all("the pool functions under valgrind", &["valgrind"]) {
        return;
    }
    let Some(contract) = with_cenote("contract-valgrind", "contract.c", &[]) else { return };
    for level in [None, Some("passthrough")] {
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=9", "--leak-check=full"]);
        command.args(["--errors-for-leak-kinds=definite,indirect,possible"]);
        // Sizes that nobody can have are asked for, which is no mistake.
        command.arg("--show-mismatched-frees=yes").arg(&contract).env_remove("CENOTE_DEBUG");
        command.envs(level.map(|level| ("CENOTE_DEBUG", level)));
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let real = errors.lines().filter(|line| !line.contains("fishy (possibly negative) value"));
        assert!(output.status.code() != Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        let bad = ["Invalid", "uninitialised", "lost", "Mismatched", "overlap"];
        let found: Vec<_> =
            real.filter(|line| bad.iter().any(|word| line.contains(word))).collect();
        assert!(found.is_empty(), "{errors}");
    }
}

#[test]
fn freeing_a_large_object_takes_the_same_however_many_are_live() {
    if !has_all("the cost of freeing large objects", &["valgrind"]) {
        return;
    }
    let Some(contract) = with_cenote("contract-counted", "contract.c", &[]) else { return };
    let instructions = |live: &str| -> u64 {
        let out = Path::new(TMP).join(format!("nginx/c/callgrind.{live}"));
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--toggle-collect=ngx_pfree"]);
        command.arg(format!("--callgrind-out-file={}", out.display()));
        command.arg(&contract).args(["free", live]).env_remove("CENOTE_DEBUG");
        run(&mut command, "callgrind");
        let text = std::fs::read_to_string(out).unwrap();
        let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
        total.and_then(|total| total.trim().parse().ok()).expect("callgrind's sum")
    };
    // Ten thousand frees each time. nginx's own scan would take a thousand times as long.
    let (few, many) = (instructions("20"), instructions("20000"));
    assert!(many < few * 3 / 2, "{few} instructions with 20 live, {many} with 20,000");
}
