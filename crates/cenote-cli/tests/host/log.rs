//! A log that cannot be written, or that nobody reads; and the signal that would have it reopened.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, openat};
use rustix::process::Signal;

use crate::running::{Running, eventually, full, serve};

/// A line of the log is some 300 bytes with it.
fn long_path() -> String {
    format!("/{}", "missing-".repeat(25))
}

#[test]
fn a_log_on_a_full_disk_costs_no_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "x").expect("a file");
    let running = Running::start_with_log(&mut serve(folder.path()), full());
    for _ in 0..20 {
        let mut client = running.client();
        assert_eq!(client.get("/missing").status, 404);
        assert_eq!(client.get("/file").status, 200);
        client.send("nonsense\r\n\r\n");
        assert_eq!(client.response().status, 400);
    }
    let (code, said, _) = running.stop();
    assert_eq!(code, Some(0));
    assert!(said.contains("every request in flight was finished"), "{said}");
}

#[test]
fn a_log_whose_reader_is_gone_costs_no_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = Running::start(&mut serve(folder.path()));
    drop(running.take_log());
    for _ in 0..20 {
        let mut client = running.client();
        assert_eq!(client.get("/missing").status, 404);
        assert_eq!(client.get("/other").status, 404);
    }
    assert_eq!(running.stop().0, Some(0));
}

/// More lines than a pipe and the queue before it take.
const FLOOD: usize = 6000;

fn flood(running: &Running) {
    let path = long_path();
    let mut client = running.client();
    for _ in 0..FLOOD / 100 {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").repeat(100));
        for _ in 0..100 {
            assert_eq!(client.response().status, 404);
        }
    }
}

#[test]
fn a_log_that_nobody_reads_stops_neither_answers_nor_the_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = Running::start(&mut serve(folder.path()));
    let log = running.take_log();
    flood(&running);
    let (code, said, _) = running.stop();
    assert_eq!(code, Some(0));
    assert!(said.contains("every request in flight was finished"), "{said}");
    drop(log);
}

#[test]
fn lines_that_nobody_read_in_time_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = Running::start(&mut serve(folder.path()));
    let log = BufReader::new(running.take_log());
    flood(&running);
    // Now somebody reads.
    let reader = std::thread::spawn(move || {
        let (mut told, mut dropped) = (0, 0);
        for line in log.lines() {
            let line = line.expect("text");
            if line.contains("GET /missing") {
                assert!(line.ends_with(": 404: no such file"), "{line}");
                told += 1;
            } else {
                let count = line.strip_prefix("cenote: ").and_then(|line| {
                    line.strip_suffix(" lines dropped: they were not read in time")
                });
                dropped +=
                    count.unwrap_or_else(|| panic!("{line}")).parse::<usize>().expect("a count");
            }
        }
        (told, dropped)
    });
    assert_eq!(running.stop().0, Some(0));
    let (told, dropped) = reader.join().expect("no panic");
    assert!(dropped > 0);
    assert_eq!(told + dropped, FLOOD);
}

#[test]
fn lines_that_could_not_be_written_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("log");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reader = || openat(CWD, &pipe, flags, Mode::empty()).expect("a reader");
    let first = reader();
    let log = File::options().write(true).open(&pipe).expect("a writer");
    let site = tempfile::tempdir().expect("a folder");
    let running = Running::start_with_log(&mut serve(site.path()), log.into());
    drop(first);
    let mut client = running.client();
    let mut ask = |times: usize| (0..times).for_each(|_| _ = client.get("/missing"));
    let (mut told, mut lost) = (0, 0);
    // It may be slow to try.
    while lost == 0 {
        ask(20);
        // Somebody reads again.
        let reader = reader();
        ask(1);
        let mut text = String::new();
        eventually("all lines are told, or told of", || {
            let mut part = [0; 4096];
            if let Ok(length) = rustix::io::read(&reader, &mut part) {
                text.push_str(str::from_utf8(&part[..length]).expect("text"));
            }
            let ours = |line: &&str| line.ends_with("GET /missing: 404: no such file");
            told = text.lines().filter(ours).count();
            let note = text.lines().filter_map(|line| {
                let (lost, _) = line.split_once(" lost: they could not be written: Broken pipe")?;
                lost.strip_prefix("cenote: ")?.split_once(" line")
            });
            lost = note.map(|(count, _)| count.parse::<usize>().expect("a count")).sum();
            told + lost == 21
        });
    }
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn what_the_server_says_may_be_read_by_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = serve(folder.path());
    let mut child = command.stdout(full()).stderr(Stdio::piped()).spawn().expect("the command");
    let id = rustix::process::Pid::from_child(&child);
    // It does not listen for signals at once; and what a default handler does is no clean end.
    eventually("it hears signals", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let caught = status
            .expect("it runs")
            .lines()
            .find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
        caught.expect("a mask") & (1 << 14) != 0
    });
    rustix::process::kill_process(id, Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

#[test]
fn a_hangup_is_harmless_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "x").expect("a file");
    let mut running = Running::start(&mut serve(folder.path()));
    let mut client = running.client();
    assert_eq!(client.get("/file").status, 200);
    running.signal(Signal::HUP);
    assert!(running.says().starts_with("  pools"));
    assert_eq!(running.says(), "SIGHUP: there is nothing to reopen; going on\n");
    // On the same connection, and on a new one.
    assert_eq!(client.get("/file").status, 200);
    assert_eq!(running.client().get("/file").status, 200);
    assert_eq!(running.stop().0, Some(0));
}
