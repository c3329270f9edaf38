//! Folders with a hundred thousand files.

use std::fs::File;
use std::path::Path;

use rustix::fs::inotify;

use crate::running::{Running, serve_with};

const MANY: usize = 100_000;

fn fill(folder: &Path, count: usize) {
    for n in 0..count {
        File::create(folder.join(format!("file-{n:06}.txt"))).expect("a file");
    }
}

/// Milliseconds of processor that the server has used.
fn processor(running: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.id())).expect("it runs");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let ticks = |field: usize| rest.split_ascii_whitespace().nth(field)?.parse::<u64>().ok();
    let hertz = rustix::param::clock_ticks_per_second();
    (ticks(11).expect("user") + ticks(12).expect("system")) * 1000 / hertz
}

/// A figure of the requests' accounts.
fn figure(running: &Running, name: &str) -> u64 {
    let metrics = running.client().get("/metrics").text();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let ours = lines.filter(|line| line.contains("/request\"}"));
    ours.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn a_folder_too_large_for_its_limit_is_refused_early_and_once() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("many")).expect("a folder");
    fill(&folder.path().join("many"), MANY);
    let running = Running::start(&mut serve_with(folder.path(), "1"));
    let mut client = running.client();
    assert_eq!(client.get("/missing").status, 404);
    for times in 1..=3 {
        let before = processor(&running);
        let response = client.get("/many/");
        let used = processor(&running) - before;
        assert_eq!(response.status, 503);
        assert!(response.text().contains("request is at its limit of 8388608 bytes"));
        println!("a folder of {MANY} files is refused with {used} ms of processor");
        assert_eq!(figure(&running, "cenote_pool_refused_total"), times, "refusals");
        let metrics = running.client().get("/metrics").text();
        assert!(metrics.contains(&format!("\ncenote_requests_refused_total {times}\n")));
    }
    assert_eq!(running.stop().0, Some(0));

    // Where there is room for all names and not for the page, nothing that they stand for is opened.
    let seen = folder.path().join("seen");
    File::create(&seen).expect("a file");
    std::os::unix::fs::symlink("../seen", folder.path().join("many/link")).expect("a link");
    let limits = ["--request-limit", "16MiB", "--connection-limit", "32MiB"];
    let running = Running::start(serve_with(folder.path(), "1").args(limits));
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("a watch");
    inotify::add_watch(&watch, &seen, inotify::WatchFlags::OPEN).expect("a watch");
    let opened = || rustix::io::read(&watch, &mut [0; 256][..]).is_ok();
    let response = running.client().get("/many/");
    assert_eq!(response.status, 503);
    assert!(response.text().contains("request is at its limit of 16777216 bytes"));
    assert!(!opened());
    // It would have been seen.
    assert_eq!(running.client().get("/many/link").status, 200);
    assert!(opened());
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn others_are_answered_while_a_large_folder_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path(), 20_000);
    let running = Running::start(&mut serve_with(folder.path(), "1"));
    let mut other = running.client();
    assert_eq!(other.get("/file-000000.txt").status, 200);
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.stream().set_nonblocking(true).expect("a socket");
    let mut answered = 0;
    while client.stream().peek(&mut [0]).is_err() {
        assert_eq!(other.get("/file-000001.txt").status, 200);
        answered += 1;
    }
    client.stream().set_nonblocking(false).expect("a socket");
    let page = client.response().text();
    println!("{answered} requests answered while 20,000 files were listed");
    assert!(answered >= 5, "{answered}");
    assert_eq!(page.matches("<a href=").count(), 20_000);
    let names = page.split("href=\"./").skip(1).filter_map(|rest| rest.split('"').next());
    assert!(names.is_sorted());
    assert_eq!(running.stop().0, Some(0));
}
