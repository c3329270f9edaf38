//! A pool across `.await`: a future that owns its pool, and keeps what it took from it, is
//! `Send`, so it may move from one thread to another between two polls.
//!
//! `cargo run --example async_await` polls each future on a new thread every time.

use cenote::{Account, AllocError, Pool};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// Waits for one poll, as for a socket that has nothing yet.
async fn elsewhere() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Handles one request in several steps, with other requests' steps in between.
async fn request(account: Account, number: usize) -> Result<String, AllocError> {
    let pool = Pool::on(&account);
    let parts = pool.try_alloc_slice_fill_with(4, |_| "")?;
    for (index, part) in parts.iter_mut().enumerate() {
        elsewhere().await;
        // `&mut` and `&str` of the pool live across the await; `&pool` itself must not.
        *part = pool.try_alloc_fmt(format_args!("{number}.{index}"))?;
    }
    elsewhere().await;
    Ok(parts.join(" "))
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls a future to its end, each time on another thread.
fn block_on<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> (T, usize) {
    let mut future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let mut polls = 0;
    while woken.0.swap(false, Ordering::SeqCst) {
        polls += 1;
        let waker = Waker::from(woken.clone());
        let poll = thread::spawn(move || {
            let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
            (poll, future)
        });
        let Ok((poll, back)) = poll.join() else { panic!("the future panicked") };
        match poll {
            Poll::Ready(value) => return (value, polls),
            Poll::Pending => future = back,
        }
    }
    panic!("nobody will wake this future");
}

/// Runs a few requests; their texts, and how often each was polled.
pub(crate) fn run(count: usize) -> Vec<(String, usize)> {
    // Shared: pools on it are made and dropped on any thread.
    let account = Account::root("process").shared_child("tasks");
    let answers = (0..count)
        .map(|number| {
            let (text, polls) = block_on(request(account.clone(), number));
            (text.unwrap_or_else(|error| error.to_string()), polls)
        })
        .collect();
    assert_eq!((account.live(), account.held()), (0, 0));
    answers
}

#[allow(dead_code, reason = "the tests call `run`")]
fn main() {
    for (text, polls) in run(3) {
        println!("{text} after {polls} polls on {polls} threads");
    }
}
