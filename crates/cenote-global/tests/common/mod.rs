//! What the tests share: the program's own memory as the system sees it, children, and random
//! numbers.
#![allow(dead_code)]

use std::process::{Command, Output};

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Whether the test runs as the child that it starts itself, doing this.
pub(crate) fn is_child(what: &str) -> bool {
    std::env::var("CENOTE_GLOBAL_CHILD").is_ok_and(|name| name == what)
}

/// Runs this test program again, only `test`, as a child that does `what`.
pub(crate) fn child(test: &str, what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env("CENOTE_GLOBAL_CHILD", what);
    command
}

/// Runs it to its end, which has to be good.
pub(crate) fn well(test: &str, what: &str) -> Output {
    let output = child(test, what).output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs it, and sees to it that it is aborted with these words.
pub(crate) fn aborts(test: &str, what: &str, words: &str) {
    use std::os::unix::process::ExitStatusExt;
    let output = child(test, what).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(6), "{what}: {said}");
    assert!(said.contains(words), "{what}: {said}");
}

/// The same numbers each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }
}
