//! The process's two outlets, stdout and stderr, for a server that must not wait for who reads
//! them.
//!
//! A line is put into a bounded queue and written by a thread of the outlet's own. What does not
//! fit, since nobody reads, is dropped and counted; what cannot be written, since the disk is full
//! or the reader gone, is lost and counted; both are told by one line as soon as one can be
//! written. Putting a line there never waits and never fails.
//!
//! The descriptors are written to directly: the standard library's handles have locks, and the
//! thread that is stuck in a write would hold one.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// This much text waits at most, in bytes: some ten thousand lines.
const MOST_WAITING: usize = 1 << 20;
/// A queue that has grown beyond this is given back once it has been written.
const KEPT: usize = 64 << 10;

/// The log.
pub(crate) static STDERR: Outlet = Outlet::new(rustix::stdio::stderr, "cenote: ");
/// What the server says.
pub(crate) static STDOUT: Outlet = Outlet::new(rustix::stdio::stdout, "");

/// One of the two.
pub(crate) struct Outlet {
    to: fn() -> BorrowedFd<'static>,
    /// What the outlet's own lines begin with.
    prefix: &'static str,
    queue: Mutex<Queue>,
    /// Something waits.
    filled: Condvar,
    /// Nothing waits any more.
    emptied: Condvar,
}

struct Queue {
    text: Vec<u8>,
    /// Whether there is a thread that writes.
    started: bool,
    /// Whether it is writing now.
    writing: bool,
    /// Lines that did not fit.
    dropped: u64,
}

impl Outlet {
    const fn new(to: fn() -> BorrowedFd<'static>, prefix: &'static str) -> Self {
        let queue = Queue { text: Vec::new(), started: false, writing: false, dropped: 0 };
        Self {
            to,
            prefix,
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    /// Starts the thread that writes, once.
    pub(crate) fn start(&'static self, name: &str) -> io::Result<()> {
        if std::mem::replace(&mut self.queue().started, true) {
            return Ok(());
        }
        let started = thread::Builder::new().name(name.to_owned()).spawn(|| self.work());
        started.map(drop).inspect_err(|_| self.queue().started = false)
    }

    /// Puts whole lines there, to be written in their turn.
    pub(crate) fn put(&self, lines: &[u8]) {
        let mut queue = self.queue();
        if queue.text.len() + lines.len() > MOST_WAITING {
            queue.dropped += count(lines);
            return;
        }
        queue.text.extend_from_slice(lines);
        self.filled.notify_one();
    }

    /// Puts a line there. It stays one line: names may hold a line break.
    pub(crate) fn line(&self, line: fmt::Arguments<'_>) {
        let line = format!("{}{line}", self.prefix).replace(['\n', '\r'], " ");
        self.put(format!("{line}\n").as_bytes());
    }

    /// Waits until all has been written, but no longer than this.
    pub(crate) fn flush(&self, patience: Duration) {
        let queue = self.queue();
        if !queue.started {
            return;
        }
        let waiting = |queue: &mut Queue| queue.writing || !queue.text.is_empty();
        drop(self.emptied.wait_timeout_while(queue, patience, waiting));
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut text = Vec::new();
        let mut lost = Lost::default();
        loop {
            let mut queue = self.queue();
            queue.writing = false;
            if queue.text.is_empty() && queue.dropped == 0 {
                self.emptied.notify_all();
            }
            let idle = |queue: &mut Queue| queue.text.is_empty() && queue.dropped == 0;
            queue = self.filled.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
            queue.writing = true;
            std::mem::swap(&mut queue.text, &mut text);
            let dropped = std::mem::take(&mut queue.dropped);
            drop(queue);
            self.write(&text, &mut lost);
            if dropped > 0 {
                let s = if dropped == 1 { "" } else { "s" };
                let note = format!(
                    "{}{dropped} line{s} dropped: they were not read in time\n",
                    self.prefix
                );
                self.write(note.as_bytes(), &mut lost);
            }
            text.clear();
            text.shrink_to(KEPT);
        }
    }

    /// Writes lines, and before them how many were lost, if any were.
    fn write(&self, lines: &[u8], lost: &mut Lost) {
        if let Some(why) = lost.why {
            let Lost { lines, .. } = lost;
            let s = if *lines == 1 { "" } else { "s" };
            let note =
                format!("{}{lines} line{s} lost: they could not be written: {why}\n", self.prefix);
            match write_all((self.to)(), note.as_bytes()) {
                Ok(()) => *lost = Lost::default(),
                // Half a note is no note.
                Err((_, why)) => lost.why = Some(why),
            }
        }
        if let Err((rest, why)) = write_all((self.to)(), lines) {
            lost.lines += count(rest);
            lost.why = Some(why);
        }
    }
}

/// Lines that could not be written, and why the last could not.
#[derive(Default)]
struct Lost {
    lines: u64,
    why: Option<Errno>,
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Writes all of it, or says what was left and why. Waits for a reader as long as it takes.
fn write_all<'a>(to: BorrowedFd<'_>, mut text: &'a [u8]) -> Result<(), (&'a [u8], Errno)> {
    while !text.is_empty() {
        match rustix::io::write(to, text) {
            Ok(0) => return Err((text, Errno::IO)),
            Ok(count) => text = &text[count..],
            Err(Errno::INTR) => {}
            // Somebody with whom it is shared made it so.
            Err(Errno::AGAIN) => {
                let mut wait = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                let _ = poll(&mut wait, None);
            }
            Err(error) => return Err((text, error)),
        }
    }
    Ok(())
}

/// The log as `tracing` writes to it: a whole line at a time.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        STDERR.put(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts both, and has panics told by the log: the usual way to tell them waits for a reader.
pub(crate) fn start() -> io::Result<()> {
    STDERR.start("stderr")?;
    STDOUT.start("stdout")?;
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("a thread");
        STDERR.line(format_args!("{name} panicked: {panic}"));
        // If it ends the process, that is to be known first.
        STDERR.flush(Duration::from_millis(100));
    }));
    Ok(())
}

/// Waits until both have written what they were given, but no longer than a second.
pub(crate) fn finish() {
    let deadline = Instant::now() + Duration::from_secs(1);
    STDOUT.flush(deadline.saturating_duration_since(Instant::now()));
    STDERR.flush(deadline.saturating_duration_since(Instant::now()));
}
