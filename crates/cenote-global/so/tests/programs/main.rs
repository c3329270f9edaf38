//! Programs that were not made for it run on the library; and C and C++ find each call as glibc has it.

mod servers;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The library that cargo has built beside this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.with_file_name("libcenote_malloc.so");
    assert!(library.is_file(), "cargo has built no {}", library.display());
    library
}

fn output(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Whether there is this program; says so if not.
fn have(program: &str) -> bool {
    let there =
        Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
    if !there {
        eprintln!("SKIPPED: there is no {program} here, so it is not run on the library");
    }
    there
}

/// Runs a command that must succeed.
fn succeed(command: &mut Command) -> Output {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {}: {said}", out.status);
    assert!(!said.contains("cenote-global:"), "{command:?}: {said}");
    out
}

/// A command that runs on the library.
fn on_it(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", library());
    command
}

fn says(command: &mut Command) -> String {
    String::from_utf8_lossy(&succeed(command).stdout).trim().to_owned()
}

fn compile(compiler: &str, name: &str, program: &str) -> PathBuf {
    let program = output(program);
    let mut command = Command::new(compiler);
    command.args(["-O1", "-g", "-Wall", "-Wno-unused-result", "-fno-builtin", "-pthread", "-I"]);
    command.arg(source("include")).arg(source(name)).arg("-o").arg(&program).arg(library());
    let folder = library().parent().unwrap().display().to_string();
    succeed(command.arg(format!("-Wl,-rpath,{folder}")));
    program
}

#[test]
fn each_call_is_as_glibc_has_it_at_its_edges_linked_and_preloaded() {
    if !have("cc") {
        return;
    }
    let program = compile("cc", "tests/c/edges.c", "edges");
    assert!(says(&mut Command::new(&program)).ends_with("edges: ok"));
    assert!(says(&mut on_it(program.to_str().unwrap())).ends_with("edges: ok"));
}

#[test]
fn new_and_delete_in_all_forms_are_ours() {
    if !have("c++") {
        return;
    }
    let program = compile("c++", "tests/c/new.cc", "new");
    assert_eq!(says(&mut Command::new(program)), "new: ok");
}

/// The loader holds its lock while a constructor runs, and a thread that is begun there has its first
/// memory and its end under it: an allocator that needed the lock for either would wait for ever.
#[test]
fn constructors_of_libraries_that_are_loaded_late_allocate_in_threads_of_their_own() {
    if !have("cc") {
        return;
    }
    let late = output("late.so");
    let mut command = Command::new("cc");
    command.args(["-O1", "-Wall", "-fno-builtin", "-pthread", "-shared", "-fPIC", "-DLATE", "-o"]);
    succeed(command.arg(&late).arg(source("tests/c/late.c")));
    let program = compile("cc", "tests/c/late.c", "late");
    assert_eq!(says(Command::new(&program).arg(&late)), "late: ok");
    // Where the program does not know of the library.
    let plain = output("late-plain");
    let mut command = Command::new("cc");
    command.args(["-O1", "-Wall", "-fno-builtin", "-pthread", "-o"]).arg(&plain);
    succeed(command.arg(source("tests/c/late.c")));
    assert_eq!(says(on_it(plain.to_str().unwrap()).arg(&late)), "late: ok");
}

#[test]
fn every_name_that_glibc_has_is_exported() {
    if !have("nm") {
        return;
    }
    let out = succeed(Command::new("nm").args(["-D", "--defined-only"]).arg(library()));
    let text = String::from_utf8_lossy(&out.stdout);
    let names: Vec<_> = text.lines().filter_map(|line| line.split(' ').next_back()).collect();
    let wanted = "malloc free calloc realloc reallocarray reallocf cfree aligned_alloc posix_memalign \
        memalign valloc pvalloc malloc_usable_size malloc_trim mallinfo mallinfo2 malloc_stats \
        malloc_info mallopt free_sized free_aligned_sized _Znwm _Znam _ZdlPv _ZdaPv";
    for name in wanted.split_whitespace() {
        assert!(names.contains(&name), "{name}");
    }
    assert!(!names.contains(&"cenote_global_word"), "the thread's word is nobody else's");
}

#[test]
fn python_runs_on_it() {
    if !have("python3") {
        return;
    }
    let script = "
import json, threading, subprocess, zlib, re, ssl, sqlite3, decimal
def work():
    for n in range(30):
        data = {str(i): list(range(i % 50)) for i in range(500)}
        text = json.dumps(data)
        assert json.loads(text) == data
        assert zlib.decompress(zlib.compress(text.encode())) == text.encode()
        assert len(re.findall('[0-9]+', text)) > 1000
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
assert subprocess.run(['true']).returncode == 0
db = sqlite3.connect(':memory:')
db.execute('create table t (a, b)')
db.executemany('insert into t values (?, ?)', [(i, 'x' * (i % 100)) for i in range(20000)])
print(db.execute('select count(*), sum(length(b)) from t').fetchone())
";
    for malloc in ["pymalloc", "malloc"] {
        let mut command = on_it("python3");
        command.env("PYTHONMALLOC", malloc).args(["-c", script]);
        assert_eq!(says(&mut command), "(20000, 990000)");
    }
}

#[test]
fn git_runs_on_it() {
    if !have("git") {
        return;
    }
    let folder = output("repository");
    let _ = std::fs::remove_dir_all(&folder);
    let git = |arguments: &[&str]| {
        let mut command = on_it("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").current_dir(&folder);
        says(&mut command)
    };
    std::fs::create_dir(&folder).unwrap();
    git(&["init", "-q"]);
    for number in 0..200 {
        let text = format!("line {number}\n").repeat(number + 1);
        std::fs::write(folder.join(format!("file {number}")), text).unwrap();
    }
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "many"]);
    git(&["gc", "-q", "--aggressive"]);
    assert_eq!(git(&["ls-files"]).lines().count(), 200);
    git(&["fsck", "--strict"]);
}

#[test]
fn sqlite_runs_on_it() {
    if !have("sqlite3") {
        return;
    }
    let script = "create table t (a integer primary key, b text);
        with recursive c(x) as (select 1 union all select x + 1 from c where x < 50000)
        insert into t select x, hex(randomblob(x % 200)) from c;
        create index i on t (b);
        select count(*) from (select * from t a join t b on a.b = b.b where a.a % 7 = 0 and a.a > 1000);
        pragma integrity_check;";
    let text = says(on_it("sqlite3").args([":memory:", script]));
    assert!(text.ends_with("ok"), "{text}");
}

#[test]
fn compilers_run_on_it() {
    if !have("c++") {
        return;
    }
    let (source, program) = (source("tests/c/new.cc"), output("compiled"));
    let mut command = on_it("c++");
    succeed(command.args(["-O2", "-std=c++17", "-pthread", "-o"]).arg(&program).arg(source));
    // On glibc's own allocator, and on ours by preload.
    assert_eq!(says(&mut Command::new(&program)), "new: ok");
    assert_eq!(says(&mut on_it(program.to_str().unwrap())), "new: ok");
}

#[test]
fn perl_runs_on_it() {
    if Command::new("perl").arg("-v").output().is_err() {
        eprintln!("SKIPPED: there is no perl here, so it is not run on the library");
        return;
    }
    let script = "my %h; for my $i (1..100000) { $h{$i % 5000} .= chr(65 + $i % 26); }
        my $n = 0; $n += length for values %h; my @s = sort { $h{$a} cmp $h{$b} } keys %h;
        if (my $pid = fork) { waitpid($pid, 0); die if $?; } else { my @a = (1..10000); exit 0; }
        print $n, ' ', scalar(@s);";
    assert_eq!(says(on_it("perl").args(["-e", script])), "100000 5000");
}

#[test]
fn a_shell_with_little_address_space_runs_on_it() {
    let script = "ulimit -v 262144; for i in 1 2 3; do ls / | sort | wc -l >/dev/null || exit 1; done; echo ok";
    assert_eq!(says(on_it("sh").args(["-c", script])), "ok");
}

#[test]
fn a_wrong_free_in_a_program_is_named() {
    if !have("cc") {
        return;
    }
    let file = output("wrong.c");
    let text = "#include <stdlib.h>\nint main(void) { char *volatile p = malloc(50); free(p); free(p); return 0; }\n";
    std::fs::write(&file, text).unwrap();
    let program = output("wrong");
    succeed(Command::new("cc").args(["-w", "-o"]).arg(&program).arg(&file));
    let out = on_it(program.to_str().unwrap()).output().unwrap();
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("cenote-global: double free of 0x"));
}
