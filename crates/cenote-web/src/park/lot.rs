//! [`Lot`]: where idle connections wait, all in one place.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep_until};

use super::slots::Slots;
use super::times::{Packed, Times};
use super::{Bound, Idle, Park};

/// So many are looked at in one go.
const EVENTS: usize = 128;
/// Bounds that pass are looked for so often at most: one that falls between is late by this.
const SWEEP: Duration = Duration::from_millis(100);
/// When so many have been parked since it was trimmed last, the allocator is trimmed,
const MANY: usize = 32;
/// once none has been for this long,
const TRIM_AFTER: Duration = Duration::from_secs(1);
/// or at the latest after this.
const TRIM_BY: Duration = Duration::from_secs(4);
/// Where it were fewer: after this. What one of them needed may be hundreds of megabytes.
const TRIM_FEW_BY: Duration = Duration::from_secs(30);

/// A connection that has left a [`Lot`].
pub enum Left<I: Park, S> {
    /// Something came of it: bytes, its end, or an error. [`Parking::resume`](super::Parking::resume)
    /// it, for hyper to find out.
    Heard(Idle<I, S>),
    /// Nothing came of it in time. It is closed once this is dropped.
    Late {
        /// Its socket, which tells whose it was.
        socket: I::Parked,
        /// The service that its requests were answered by.
        service: S,
        /// What has passed.
        bound: Bound,
    },
}

impl<I: Park, S> fmt::Debug for Left<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heard(_) => f.write_str("Heard"),
            Self::Late { bound, .. } => f.debug_tuple("Late").field(bound).finish(),
        }
    }
}

/// Idle connections, parked in one `epoll`: the socket and the service of each, and nothing else.
///
/// They are no tasks, and not among what tokio looks after. A lot is used from one task, which calls
/// [`next`](Lot::next) beside whatever else it waits for.
pub struct Lot<I: Park, S> {
    epoll: AsyncFd<OwnedFd>,
    /// What times of slots are counted from.
    begun: Instant,
    parked: Slots<Parked<I::Parked, S>>,
    /// Out of the `epoll`, and not taken yet.
    left: VecDeque<Left<I, S>>,
    /// No bound passes before this.
    nearest: Option<Instant>,
    swept: Instant,
    alarm: Pin<Box<Sleep>>,
    trim: Trim,
}

/// Small, since it is what a parked connection costs.
struct Parked<P, S> {
    socket: P,
    service: S,
    times: Packed,
}

struct Trim {
    with: Option<Box<dyn FnMut() + Send>>,
    parked: usize,
    first: Option<Instant>,
    at: Option<Instant>,
}

impl<I: Park, S> Lot<I, S> {
    /// An empty one, in the runtime that this is called in.
    ///
    /// # Errors
    /// If there is no descriptor left for it.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Deprecated since it is sound only if the descriptor stays open and is the same, which an
        // `OwnedFd` sees to; what is to be used instead is `unsafe`, and this crate has none.
        #[allow(deprecated)]
        let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
        let now = Instant::now();
        Ok(Self {
            epoll,
            begun: now,
            parked: Slots::new(),
            left: VecDeque::new(),
            nearest: None,
            swept: now,
            alarm: Box::pin(sleep_until(now)),
            trim: Trim { with: None, parked: 0, first: None, at: None },
        })
    }

    /// Has this called when many have been parked, a second after the last one; and half a minute
    /// after few have been, or [have ended](Lot::ended). What hyper and requests held for them is free
    /// then, but mostly kept by the allocator. `cenote::System::trim` is what to
    /// do with glibc's.
    #[must_use]
    pub fn trim_with(mut self, trim: impl FnMut() + Send + 'static) -> Self {
        self.trim.with = Some(Box::new(trim));
        self
    }

    /// How many are parked.
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A connection has ended without having been parked, and may have held much: has the allocator
    /// trimmed in half a minute, if that is not to be done before.
    pub fn ended(&mut self) {
        self.trim.few();
    }

    /// Has the allocator trimmed in a second, even if nothing is parked until then.
    pub fn trim_soon(&mut self) {
        let soon = Instant::now() + TRIM_AFTER;
        self.trim.at = Some(self.trim.at.map_or(soon, |at| at.min(soon)));
    }

    /// Parks a connection, and says where, for [`remove`](Lot::remove). One that cannot be waited for
    /// here comes out at once.
    pub fn park(&mut self, idle: Idle<I, S>) -> Option<usize> {
        let Idle { io, service, times, .. } = idle;
        // Closed, if it cannot even leave the runtime.
        let socket = io.park().ok()?;
        self.trim.parked();
        let index = self.parked.next();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        // Descriptors are below 2^31, so that these are.
        let data = epoll::EventData::new_u64(u64::from(index));
        if epoll::add(&self.epoll, &socket, data, flags).is_err() {
            self.leave(socket, service, times, false);
            return None;
        }
        let times = Packed::of(times, self.begun);
        self.parked.put(Parked { socket, service, times });
        if let Some((at, _)) = times.closed(self.begun) {
            self.nearest = Some(self.nearest.map_or(at, |nearest| nearest.min(at)));
        }
        Some(index as usize)
    }

    /// Takes one out that is parked there, to be resumed, or shut down gracefully. Where it was parked
    /// is used again once it has left, by another.
    pub fn remove(&mut self, index: usize) -> Option<Idle<I, S>> {
        let (socket, service, times) = self.take(index)?;
        Some(Idle { io: I::unpark(socket).ok()?, service, times, heard: false })
    }

    /// The next one that is heard from, or late.
    ///
    /// Nothing is lost where this is dropped before it is done.
    pub async fn next(&mut self) -> Left<I, S> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Lot::next), polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Left<I, S>> {
        loop {
            if let Some(left) = self.left.pop_front() {
                return Poll::Ready(left);
            }
            // Those that are heard from before those that are late: a client that speaks at the last
            // moment is heard.
            if let Poll::Ready(Ok(mut guard)) = self.epoll.poll_read_ready(context) {
                let events = ready(guard.get_inner());
                if events.is_empty() {
                    guard.clear_ready();
                }
                self.take_heard(&events);
                continue;
            }
            let Some(at) = self.rings_at() else { return Poll::Pending };
            if self.alarm.deadline() != at {
                self.alarm.as_mut().reset(at);
            }
            if self.alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.rang(Instant::now());
        }
    }

    /// Closes the one that has been idle longest; its service, if there is one. Looks at all.
    pub fn close_longest(&mut self) -> Option<S> {
        let (index, _) = self.parked.iter().min_by_key(|(_, parked)| parked.times.quiet())?;
        self.take(index).map(|(_, service, _)| service)
    }

    /// Closes all, but for those that something came of: these are still to be answered.
    pub fn close(mut self) -> Vec<Idle<I, S>> {
        loop {
            let events = ready(self.epoll.get_ref());
            if events.is_empty() {
                break;
            }
            self.take_heard(&events);
        }
        let heard = |left| match left {
            Left::Heard(idle) => Some(idle),
            Left::Late { .. } => None,
        };
        std::mem::take(&mut self.left).into_iter().filter_map(heard).collect()
    }

    fn take_heard(&mut self, events: &[epoll::Event]) {
        for event in events {
            let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if let Some((socket, service, times)) = self.take(index) {
                self.leave(socket, service, times, true);
            }
        }
    }

    fn leave(&mut self, socket: I::Parked, service: S, times: Times, heard: bool) {
        // Closed, if it cannot come back.
        if let Ok(io) = I::unpark(socket) {
            self.left.push_back(Left::Heard(Idle { io, service, times, heard }));
        }
    }

    /// Takes one out of its slot and of the `epoll`.
    fn take(&mut self, index: usize) -> Option<(I::Parked, S, Times)> {
        let Parked { socket, service, times } = self.parked.take(index)?;
        let _ = epoll::delete(&self.epoll, &socket);
        Some((socket, service, times.unpacked(self.begun)))
    }

    /// When there is something to do, if nobody is heard from.
    fn rings_at(&self) -> Option<Instant> {
        let sweep = self.nearest.map(|nearest| nearest.max(self.swept + SWEEP));
        let trim = self.trim.at.filter(|_| self.trim.with.is_some());
        [sweep, trim].into_iter().flatten().min()
    }

    fn rang(&mut self, now: Instant) {
        if self.trim.at.is_some_and(|at| at <= now) {
            self.trim.trim();
        }
        if self.nearest.is_none_or(|nearest| nearest > now) {
            return;
        }
        self.swept = now;
        self.nearest = None;
        for index in 0..self.parked.end() {
            let Some(Parked { times, .. }) = self.parked.get(index) else { continue };
            let Some((at, bound)) = times.closed(self.begun) else { continue };
            if at > now {
                self.nearest = Some(self.nearest.map_or(at, |nearest| nearest.min(at)));
            } else if let Some((socket, service, _)) = self.take(index) {
                self.left.push_back(Left::Late { socket, service, bound });
            }
        }
    }
}

/// Those that something came of, as many as are looked at in one go.
fn ready(epoll: impl AsFd) -> Vec<epoll::Event> {
    let mut events = Vec::with_capacity(EVENTS);
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Fails for descriptors that are none, and if a signal interrupts a wait, which this is not.
    let _ = epoll::wait(epoll, spare_capacity(&mut events), Some(&now));
    events
}

impl Trim {
    fn parked(&mut self) {
        self.parked += 1;
        if self.with.is_none() {
            return;
        }
        let now = Instant::now();
        let first = *self.first.get_or_insert(now);
        if self.parked >= MANY {
            self.at = Some((now + TRIM_AFTER).min(first + TRIM_BY));
        } else {
            self.few();
        }
    }

    fn few(&mut self) {
        if self.with.is_some() {
            self.at.get_or_insert_with(|| Instant::now() + TRIM_FEW_BY);
        }
    }

    fn trim(&mut self) {
        (self.parked, self.first, self.at) = (0, None, None);
        if let Some(trim) = &mut self.with {
            trim();
        }
    }
}

impl<I: Park, S> fmt::Debug for Lot<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lot").field("parked", &self.len()).finish_non_exhaustive()
    }
}
