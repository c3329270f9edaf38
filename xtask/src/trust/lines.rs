//! Lines that are other programs' runs.

use super::process::{Said, cargo, has, host, run, sanitized, target};
use super::report::{End, Report};
use std::process::Command;
use std::thread;

/// Tests that do nothing at a level, or take minutes there.
const NOT_AT_LEVELS: [&str; 1] = ["compile_fail"];
/// What a quick run tries where a full one tries every test.
const QUICK: [&str; 8] = [
    "values",
    "cleanups",
    "collections",
    "levels",
    "panics",
    "known_mistakes",
    "out_of_memory",
    "counted_collections",
];

/// What runs under valgrind: what neither asks for sizes that it has no memory for, nor takes many
/// minutes in it.
const UNDER_VALGRIND: [&str; 8] = [
    "chain",
    "chunk_buffers",
    "chunk_collections",
    "cleanups",
    "collections",
    "counted_collections",
    "outgrown",
    "shared_pool",
];

fn ended(said: &Said, what: String) -> End {
    if said.good { End::Good(what) } else { End::Bad(said.failures()) }
}

/// The library's test programs.
fn programs() -> Vec<String> {
    let folder = super::process::root().join("crates/cenote/tests");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn select(command: &mut Command, full: bool) {
    for name in programs() {
        let wanted = if full { true } else { QUICK.contains(&&*name) };
        if wanted && !NOT_AT_LEVELS.contains(&&*name) {
            command.arg("--test").arg(name);
        }
    }
    if full {
        command.arg("--lib");
    }
}

pub(super) fn tests(report: &mut Report) {
    report.line("tests of the library", |report| {
        let mut command = cargo("");
        command.args(["test", "-p", "cenote", "--no-fail-fast"]);
        let said = run(command.env("CENOTE_SEED", report.seed.to_string()));
        ended(&said, format!("{} tests, examples in the documentation included", said.passed()))
    });
}

/// The tests at each level.
pub(super) fn levels(report: &mut Report) {
    let full = report.extent.is_full();
    let each = ["poison", "canary", "passthrough", "guard", "quarantine", "all"];
    let levels = if full { &each[..] } else { &each[5..] };
    for level in levels {
        let name: &'static str = match *level {
            "poison" => "tests at level poison",
            "canary" => "tests at level canary",
            "passthrough" => "tests at level passthrough",
            "guard" => "tests at level guard",
            "quarantine" => "tests at level quarantine",
            _ => "tests with all levels on",
        };
        report.line(name, |report| {
            let mut command = cargo("");
            command.args(["test", "-p", "cenote", "--no-fail-fast"]);
            select(&mut command, full);
            command.env("CENOTE_DEBUG", level).env("CENOTE_SEED", report.seed.to_string());
            let said = run(&mut command);
            if !full || !said.good {
                return ended(&said, format!("{} tests, chosen programs", said.passed()));
            }
            // All else that stands on the library, whole.
            let mut command = cargo("");
            command.args(["test", "-p", "cenote-c", "-p", "cenote-web", "-p", "cenote-nginx"]);
            command.args(["-p", "cenote-njs", "--no-fail-fast"]);
            // njs itself runs where it can be had.
            let packages = run(&mut Command::new(".ci/njs-packages"));
            if let (true, Some(folder)) =
                (packages.good, packages.text.lines().find(|line| line.starts_with('/')))
            {
                let module = "usr/lib/nginx/modules/ngx_http_js_module.so";
                command.env("NJS_TEST_NGINX", format!("{folder}/usr/sbin/nginx"));
                command.env("NJS_TEST_MODULE", format!("{folder}/{module}"));
            }
            let others = run(command.env("CENOTE_DEBUG", level));
            let what = format!(
                "{} tests, {} of the C ABI, nginx, njs and the web",
                said.passed(),
                others.passed()
            );
            ended(&others, what)
        });
    }
}

/// The tests under AddressSanitizer, with the pools' free memory poisoned.
pub(super) fn address_sanitizer(report: &mut Report) {
    report.line("tests under AddressSanitizer", |report| {
        let Some(host) = host() else { return End::Skipped("no sanitizers here".into()) };
        let mut command = sanitized("asan");
        command.args(["test", "-p", "cenote", "--no-fail-fast", "--target", host]);
        select(&mut command, report.extent.is_full());
        let said = run(command.env("CENOTE_SEED", report.seed.to_string()));
        let chosen = if report.extent.is_full() { "" } else { ", chosen programs" };
        ended(&said, format!("{} tests{chosen}, leaks looked for", said.passed()))
    });
}

/// Tests under memcheck, which is told by the library what is an object and what is free.
pub(super) fn valgrind(report: &mut Report) {
    report.line("tests under valgrind, pools visible to it", |report| {
        if !report.extent.is_full() {
            return End::Skipped("only in a full run".into());
        }
        if !has("valgrind") {
            return End::Skipped("valgrind is not installed".into());
        }
        let Some(host) = host() else { return End::Skipped("not on this machine".into()) };
        let runner = host.to_uppercase().replace('-', "_");
        let mut command = cargo("valgrind");
        command.args(["test", "-p", "cenote", "--features", "valgrind", "--no-fail-fast"]);
        for program in UNDER_VALGRIND {
            command.args(["--test", program]);
        }
        // It reads all of a block, the gaps in it included, which nobody has written.
        command.args(["--", "--skip", "secrets_are_wiped_before_the_blocks_go_back"]);
        command.env(
            format!("CARGO_TARGET_{runner}_RUNNER"),
            "valgrind -q --error-exitcode=99 --leak-check=no --fair-sched=yes",
        );
        let said = run(command.env("CENOTE_SEED", report.seed.to_string()));
        ended(&said, format!("{} tests, chosen programs", said.passed()))
    });
}

/// Plain programs under ThreadSanitizer: the test harness has races of its own.
pub(super) fn thread_sanitizer(report: &mut Report) {
    let counts = [
        ("accounts", report.extent.pick(60, 600)),
        ("hand-over", report.extent.pick(300, 3000)),
        ("come-and-go", report.extent.pick(800, 4000)),
        ("looks", report.extent.pick(200, 2000)),
    ];
    for (kind, apart) in [("threads", ""), ("threads under ThreadSanitizer", "tsan")] {
        report.line(kind, |_| {
            let mut command = if apart.is_empty() { cargo("") } else { sanitized(apart) };
            command.args(["build", "--release", "-p", "cenote", "--example", "threads"]);
            let mut program = target(apart);
            if !apart.is_empty() {
                let Some(host) = host() else { return End::Skipped("no sanitizers here".into()) };
                command.args(["--target", host]);
                program.push(host);
            }
            program.push("release/examples/threads");
            // Inlined, what the standard library does to atomics is seen by the sanitizer.
            let built = run(&mut command);
            if !built.good {
                return End::Bad(built.failures());
            }
            let mut done = Vec::new();
            for (what, count) in counts {
                let known = super::process::root().join("xtask/tsan.suppressions");
                let options = format!("suppressions={}", known.display());
                let mut program = Command::new(&program);
                program.env("TSAN_OPTIONS", options);
                let said = run(program.arg(what).arg(count.to_string()));
                if !said.good || said.text.contains("ThreadSanitizer") {
                    let first = said.text.lines().find(|line| line.contains("ThreadSanitizer"));
                    return End::Bad(format!("{what}: {}", first.unwrap_or(&said.failures())));
                }
                done.push(format!("{what} {count}"));
            }
            End::Good(format!("{}, 8 threads", done.join(", ")))
        });
    }
}

/// Test programs that have a line of their own: they ran before, here their sums are shown.
pub(super) fn named(report: &mut Report) {
    let programs = [
        ("out of memory, once and for ever, and limits at each level", "out_of_memory"),
        ("sizes and alignments", "sizes"),
        ("panics and re-entrancy", "panics"),
        ("known mistakes of others", "known_mistakes"),
        ("shapes that must not compile", "compile_fail"),
    ];
    for (name, program) in programs {
        report.line(name, |_| {
            let mut command = cargo("");
            command.args(["test", "-p", "cenote", "--test", program, "--", "--nocapture"]);
            let said = run(&mut command);
            let (mut sites, mut faults, mut runs) = (0, 0, 0);
            for line in said.text.lines().filter(|line| line.contains(": ")) {
                let words: Vec<&str> = line.split([' ', ',']).collect();
                let before = |word: &str| {
                    let at = words.iter().position(|other| *other == word)?;
                    words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
                };
                sites += before("sites").unwrap_or(0);
                faults += before("refusals").unwrap_or(0);
                runs += before("runs").unwrap_or(0);
            }
            let mut what = format!("{} tests", said.passed());
            if sites > 0 {
                what =
                    format!("{what}: {sites} sites, {faults} refusals, {runs} runs under limits");
            }
            if said.text.contains("SKIPPED") {
                what.push_str(", some SKIPPED: another compiler's words");
            }
            ended(&said, what)
        });
    }
}

/// Shadow models. Built together, then run all at once.
pub(super) fn models(report: &mut Report) {
    report.line("models", |report| {
        let times = report.extent.pick(1, 70).to_string();
        let programs = ["pool_model", "counted_model", "chunk_model", "buddy_model"];
        let test = |programs: &[&str]| {
            let mut command = cargo("");
            command.args(["test", "--release", "-p", "cenote"]);
            for program in programs {
                command.args(["--test", program]);
            }
            command
        };
        let built = run(test(&programs).arg("--no-run"));
        if !built.good {
            return End::Bad(built.failures());
        }
        let seed = report.seed.to_string();
        let said = thread::scope(|scope| {
            let runs = programs.map(|program| {
                let mut command = test(&[program]);
                command.args(["--", "--nocapture"]);
                command.env("CENOTE_TIMES", &times).env("CENOTE_SEED", &seed);
                scope.spawn(move || run(&mut command))
            });
            runs.map(|run| run.join().expect("no panic"))
        });
        if let Some(bad) = said.iter().find(|said| !said.good) {
            return End::Bad(bad.failures());
        }
        let lines = said.iter().flat_map(|said| said.text.lines());
        let operations = lines.filter_map(|line| {
            let at = line.find("operations: ")?;
            line[at + 12..].split_whitespace().next()?.parse::<u64>().ok()
        });
        let millions = operations.sum::<u64>() as f64 / 1e6;
        End::Good(format!("{millions:.1} million operations against simple models"))
    });
}

/// Code of the program's that pools call, made hostile at each call: from many seeds, and of every
/// kind each time.
pub(super) fn hostile(report: &mut Report) {
    report.line("hostile callers", |report| {
        let times = report.extent.pick(1, 40).to_string();
        let mut command = cargo("");
        command.args([
            "test",
            "--release",
            "-p",
            "cenote",
            "--test",
            "hostile",
            "--",
            "--nocapture",
        ]);
        command.env("CENOTE_TIMES", &times).env("CENOTE_SEED", report.seed.to_string());
        let said = run(&mut command);
        let runs = said.text.lines().find_map(|line| line.strip_prefix("runs: "));
        let what = format!("harm done in {} runs", runs.unwrap_or("?"));
        ended(&said, what)
    });
}

/// What clients send to a server that parks at each idle moment, and to hyper's own.
pub(super) fn parking(report: &mut Report) {
    report.line("parked connections beside hyper's own", |report| {
        let requests = report.extent.pick(50_000, 2_000_000).to_string();
        let mut command = cargo("");
        command.arg("test");
        if report.extent.is_full() {
            command.arg("--release");
        }
        command.args(["-p", "cenote-web", "--test", "parking", "whatever_clients_send"]);
        command.args(["--", "--nocapture"]).env("CENOTE_PARKING_REQUESTS", &requests);
        let said = run(command.env("CENOTE_PARKING_SEED", report.seed.to_string()));
        let line = said.text.lines().find(|line| line.contains(" requests in "));
        ended(&said, format!("{}; no byte differs", line.unwrap_or_default()))
    });
}

/// Children of a process whose threads allocate.
pub(super) fn fork(report: &mut Report) {
    report.line("fork under load", |report| {
        let children = report.extent.pick(300, 1000).to_string();
        let mut command = cargo("");
        command.args(["run", "-p", "cenote", "--example", "threads", "fork", &children]);
        let said = run(&mut command);
        let line = said.text.lines().find(|line| line.contains("children:"));
        match line {
            Some(line) if said.good => End::Good(line.to_owned()),
            Some(line) => End::Bad(line.to_owned()),
            None => End::Bad(said.failures()),
        }
    });
}

/// The compiler's lints for casts between pointers and integers.
pub(super) fn provenance(report: &mut Report) {
    report.line("strict provenance", |_| {
        let mut command = cargo("provenance");
        command.args(["rustc", "-p", "cenote", "--lib", "--", "--emit=metadata"]);
        command.arg("-Zcrate-attr=feature(strict_provenance_lints)");
        command.args(["-Dfuzzy_provenance_casts", "-Dlossy_provenance_casts"]);
        let said = run(command.env("RUSTC_BOOTSTRAP", "1"));
        ended(&said, "no cast from an integer to a pointer, none the other way by `as`".into())
    });
}

/// The fuzz targets, each built with debug assertions and without, from the corpus that is kept.
pub(super) fn fuzz(report: &mut Report) {
    report.line("fuzz targets", |report| {
        if !has("cargo-fuzz") {
            return End::Skipped("cargo-fuzz is not installed".into());
        }
        let seconds = report.extent.pick(5, 60);
        let builds = if report.extent.is_full() { "debug release" } else { "release" };
        let mut command = Command::new(".ci/fuzz");
        let said = run(command.arg(seconds.to_string()).env("CENOTE_FUZZ_BUILDS", builds));
        if !said.good {
            let wrong = said.text.lines().find(|line| {
                ["ERROR", "panicked", "mistake", "failed"].iter().any(|word| line.contains(word))
            });
            return End::Bad(wrong.map_or_else(|| said.failures(), str::to_owned));
        }
        let inputs = said.sum_after("stat::number_of_executed_units:");
        let runs = said.text.lines().filter(|line| line.starts_with("==>")).count();
        End::Good(format!(
            "{runs} runs of {seconds} s each under AddressSanitizer ({builds}): {:.1} million inputs",
            inputs as f64 / 1e6
        ))
    });
}
