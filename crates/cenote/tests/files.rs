//! Proves what a pool does with files at its end: descriptors are closed, paths deleted, and
//! what could not be deleted is reported.

#![cfg(unix)]

use cenote::{Account, CleanupKey, Pool};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// A stream whose other end is handed to `attach`; whether that end is closed.
fn closed(stream: &mut UnixStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_descriptor_is_closed_at_the_pools_end_and_not_before() {
    let (mut here, there) = UnixStream::pair().unwrap();
    let mut pool = Pool::new();
    let number = pool.attach_fd(there.into()).unwrap();
    assert!(number >= 0);
    assert!(!closed(&mut here));
    assert!(pool.cleanup(CleanupKey::descriptor(number)).is_some());
    pool.reset();
    assert!(closed(&mut here));
}

#[test]
fn a_descriptor_may_be_closed_early_or_kept_open() {
    let pool = Pool::new();
    let (mut early, there) = UnixStream::pair().unwrap();
    let number = pool.attach_fd(there.into()).unwrap();
    let (mut other, there) = UnixStream::pair().unwrap();
    let second = pool.attach_fd(there.into()).unwrap();
    assert!(pool.cleanup(CleanupKey::descriptor(number)).unwrap().run());
    assert!(closed(&mut early) && !closed(&mut other));
    assert!(pool.cleanup(CleanupKey::descriptor(number)).is_none());
    // Cancelling drops what was captured, and that is the descriptor.
    assert!(pool.cleanup(CleanupKey::descriptor(second)).unwrap().cancel());
    assert!(closed(&mut other));
}

#[test]
fn a_descriptor_that_finds_no_room_is_closed_at_once() {
    let account = Account::root("full").with_limit(Some(0));
    let pool = Pool::on(&account);
    let (mut here, there) = UnixStream::pair().unwrap();
    let error = pool.attach_fd(OwnedFd::from(there)).unwrap_err();
    assert_eq!(error.account(), Some(&account));
    assert!(closed(&mut here));
}

#[test]
fn a_file_owned_by_a_pool_is_written_and_closed() {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    there.write_all(b"x").unwrap();
    let pool = Pool::new();
    pool.own(there).write_all(b"y").unwrap();
    drop(pool);
    let mut read = String::new();
    here.read_to_string(&mut read).unwrap();
    assert_eq!(read, "xy");
}

/// A folder of this test's own, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("cenote-cleanups-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, "for the time of a request").unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What was reported; the report is one for the process, so its test asks for its own.
static REPORTS: Mutex<Vec<(PathBuf, ErrorKind)>> = Mutex::new(Vec::new());

fn report(path: &Path, error: &std::io::Error) {
    REPORTS.lock().unwrap().push((path.to_owned(), error.kind()));
}

#[test]
fn a_path_is_deleted_at_the_end_and_what_cannot_be_deleted_is_reported() {
    Pool::on_delete_error(report);
    let folder = Folder::new("paths");
    let (gone, stays, missing) = (folder.file("gone"), folder.file("stays"), folder.file("m"));
    let unusual = folder.file("with spaces, ünïcödé and \u{7f}");
    let inside = folder.0.join("folder");
    fs::create_dir(&inside).unwrap();
    let ran = Arc::new(AtomicBool::new(false));
    let noted = ran.clone();
    let mut pool = Pool::new();
    pool.defer(move || noted.store(true, SeqCst));
    for path in [&gone, &missing, &unusual, &inside] {
        assert!(pool.delete_path(path).unwrap().is_pending());
    }
    assert!(pool.delete_path(&stays).unwrap().cancel());
    // A name with a NUL is no file's; that is an error of its own, not a crash.
    pool.delete_path("a\0b").unwrap();
    fs::remove_file(&missing).unwrap();
    assert!(gone.exists() && unusual.exists());
    pool.reset();
    assert!(!gone.exists() && !unusual.exists() && stays.exists() && inside.exists());
    assert!(ran.load(SeqCst), "a failure kept an older cleanup from running");
    let reports = std::mem::take(&mut *REPORTS.lock().unwrap());
    let told: Vec<_> = reports.iter().map(|(path, _)| path.as_path()).collect();
    assert_eq!(told, [Path::new("a\0b"), &inside]);
    assert_eq!(reports[0].1, ErrorKind::InvalidInput);
}

#[test]
fn a_path_that_is_deleted_early_is_not_deleted_again() {
    let folder = Folder::new("early");
    let path = folder.file("file");
    let pool = Pool::new();
    assert!(pool.delete_path(&path).unwrap().run());
    assert!(!path.exists());
    folder.file("file");
    drop(pool);
    assert!(path.exists());
}

#[test]
fn a_path_that_finds_no_room_stays() {
    let folder = Folder::new("no-room");
    let path = folder.file("file");
    let account = Account::root("full").with_limit(Some(0));
    let pool = Pool::on(&account);
    assert!(pool.delete_path(&path).is_err());
    drop(pool);
    assert!(path.exists());
}
