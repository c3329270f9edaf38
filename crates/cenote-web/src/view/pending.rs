//! What a program asks a view for: a look, or its metrics.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::View;
use super::look::Look;
use super::metrics::Family;
use super::observer::{Found, Given, Observer, WAITING, Wanted};

impl View {
    /// What the accounts hold, and the pools, at one moment: for programs that have something of their own
    /// to show it with, or to do about it.
    ///
    /// The view's own thread looks, when this is awaited or [waited for](Pending::wait); who asks meanwhile
    /// shares the next look. A thread with a [`Local`](super::Local) that has no time to tell of its pools is
    /// waited for 0.7 s at most, then what it told last is shown.
    ///
    /// ```
    /// use cenote::{Account, Pool};
    /// use cenote_web::view::View;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let process = Account::root("process");
    /// let view = View::builder(&process).build();
    /// let cache = process.child("cache").with_limit(Some(1 << 20));
    /// let pool = Pool::on(&cache);
    /// pool.alloc([0_u8; 100]);
    ///
    /// let look = view.look().await?;
    /// let row = look.account(&["process", "cache"]).unwrap();
    /// assert_eq!((row.held_bytes, row.limit_bytes), (pool.held_bytes(), Some(1 << 20)));
    /// assert!(row.peak_bytes >= row.recent_peak_bytes && row.refused == 0);
    /// let names: Vec<_> = look.below(&look.accounts[0]).map(|row| row.name()).collect();
    /// assert_eq!(names, ["cache"]);
    /// # Ok::<(), cenote_web::view::Unavailable>(())
    /// # }).unwrap();
    /// ```
    pub fn look(&self) -> Pending<Arc<Look>> {
        self.pending(Wanted::Look, |given| match given {
            Given::Look(look) => Some(look),
            _ => None,
        })
    }

    /// The figures of a look as [metrics](super::metrics): what `/metrics` prints, as data, for services
    /// that have a registry of their own. There are no more series than there.
    pub fn metrics(&self) -> Pending<Arc<[Family]>> {
        self.pending(Wanted::Families, |given| match given {
            Given::Families(families) => Some(families),
            _ => None,
        })
    }

    fn pending<T>(&self, wanted: Wanted, take: fn(Given) -> Option<T>) -> Pending<T> {
        Pending { observer: self.observer.clone(), wanted, take, asked: None }
    }
}

/// What a view is asked for, in the making: a future. It is asked when this is first polled.
#[must_use = "nothing is asked for unless this is awaited or waited for"]
pub struct Pending<T> {
    observer: Observer,
    wanted: Wanted,
    take: fn(Given) -> Option<T>,
    asked: Option<oneshot::Receiver<Found>>,
}

impl<T> Pending<T> {
    /// Waits for it on this thread: where there is nothing to await in, such as a callback of a registry.
    ///
    /// A thread that waits here cannot tell of pools in a [`Local`](super::Local) of its own, so that the
    /// look takes 0.7 s: call it from another one (`tokio::task::spawn_blocking`). Shared pools are no
    /// thread's, so services whose pools are all made by the layer or the listener may call it anywhere.
    ///
    /// # Errors
    /// Where the view cannot answer.
    pub fn wait(self) -> Result<T, Unavailable> {
        given(self.observer.ask_and_wait(self.wanted)?, self.take)
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Unavailable>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let answer = match &mut this.asked {
            Some(answer) => answer,
            None => match this.observer.ask(this.wanted.clone()) {
                Ok(answer) => this.asked.insert(answer),
                Err(unavailable) => return Poll::Ready(Err(unavailable)),
            },
        };
        let found = ready!(Pin::new(answer).poll(cx));
        // Polled again it asks again.
        this.asked = None;
        Poll::Ready(found.map_err(|_| Unavailable::NoThread).and_then(|it| given(it, this.take)))
    }
}

/// Only what is there no more is missing, and neither looks nor metrics are.
fn given<T>(found: Found, take: fn(Given) -> Option<T>) -> Result<T, Unavailable> {
    found.ok().and_then(take).ok_or(Unavailable::NoThread)
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// Why a view cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// Its thread could not be started, or has ended.
    NoThread,
    /// Too many wait for it.
    Busy,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThread => f.write_str(
                "the view has no thread that could look: the system did not start one when the view was made",
            ),
            Self::Busy => write!(
                f,
                "{WAITING} questions wait for the view already: ask less often, or share what it answers",
            ),
        }
    }
}

impl std::error::Error for Unavailable {}
