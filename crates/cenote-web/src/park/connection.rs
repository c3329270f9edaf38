//! [`Connection`]: one connection, from its first byte to its end, or until it is idle.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::rt::{Read, ReadBuf, Write};
use hyper::server::conn::http1::{self, UpgradeableConnection};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::times::Times;
use super::watch::{Watch, Watched, WatchedIo};
use super::{App, Hear, Parking};

/// What a client of HTTP/2 says first.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// While something is under way, it is looked so often whether it is done.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A bound that a client has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// A request's head did not come in time.
    Head,
    /// No request came in time.
    Idle,
    /// The connection was old, and had nothing in flight.
    Lifetime,
}

/// How a [`Connection`] ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum End<I, S> {
    /// It was closed, by either side, as HTTP has it; or upgraded.
    Closed,
    /// hyper could not go on with it.
    Failed(hyper::Error),
    /// It was closed since a bound has passed.
    Late(Bound),
    /// It is idle, and may be parked.
    Idle(Idle<I, S>),
    /// It speaks HTTP/2: give it to hyper, as a [`Reread`](super::Reread). See
    /// [`Parking::find_http2`].
    Http2 {
        /// The connection.
        io: I,
        /// What was read.
        read: Bytes,
        /// The service it was to be served by.
        service: S,
    },
}

/// A connection between two requests, or before its first, of which hyper has nothing.
#[derive(Debug)]
pub struct Idle<I, S> {
    pub(super) io: I,
    pub(super) service: S,
    pub(super) times: Times,
    /// Whether something came of it while it was parked.
    pub(super) heard: bool,
}

impl<I, S> Idle<I, S> {
    /// The service that its requests are answered by.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// Its IO.
    pub fn io(&self) -> &I {
        &self.io
    }

    /// The same connection with another IO and service: what it is to wait with in a
    /// [`Lot`](super::Lot), or what it is to be resumed with. Since when it is idle stays.
    ///
    /// # Errors
    /// Those of `map`.
    pub fn try_map<J, T, E>(
        self,
        map: impl FnOnce(I, S) -> Result<(J, T), E>,
    ) -> Result<Idle<J, T>, E> {
        let Self { io, service, times, heard } = self;
        let (io, service) = map(io, service)?;
        Ok(Idle { io, service, times, heard })
    }
}

/// One connection, as a future. It ends when the connection has ended, or when it has been idle for
/// as long as [`Parking::after`] says.
///
/// Must be polled in a runtime of tokio's with time enabled.
#[must_use = "futures do nothing unless polled"]
pub struct Connection<I, S: App> {
    parking: Parking,
    state: State<I, S>,
    born: Instant,
    /// Since when nothing is under way; `None` while something is.
    quiet: Option<Instant>,
    /// Since when there is a part of a head.
    head: Option<Instant>,
    /// Of [`Watch`]'s figures, what has been seen.
    seen: Seen,
    stop: Stop,
    alarm: Alarm,
}

#[derive(Default)]
struct Seen {
    owed: u32,
    calls: u32,
    reads: u32,
}

/// How far it is with ending gracefully.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Stop {
    No,
    /// Asked to, and hyper not told.
    Asked,
    /// Asked to while it was idle: whether its client had spoken was looked at.
    Looked,
    Told,
}

enum State<I, S: App> {
    /// Nothing is there to read; or, where it was heard from while it was parked, the runtime does
    /// not know yet that there is.
    Waiting {
        io: I,
        service: S,
        heard: bool,
    },
    /// What came first may be HTTP/2.
    Finding {
        io: I,
        service: S,
        read: BytesMut,
    },
    Serving {
        http: Box<UpgradeableConnection<WatchedIo<I>, Watched<S>>>,
        watch: Arc<Watch>,
    },
    Gone,
}

// Nothing in it is pinned: the timer is in a box, and hyper has its futures in boxes.
impl<I, S: App> Unpin for Connection<I, S> {}

/// What is to be done about the time.
enum Due {
    Late(Bound),
    Stop,
    Park,
}

impl<I, S: App> Connection<I, S> {
    pub(super) fn new(parking: Parking, io: I, service: S) -> Self {
        let now = Instant::now();
        Self::waiting(parking, io, service, now, now, false)
    }

    pub(super) fn resumed(parking: Parking, idle: Idle<I, S>) -> Self {
        let Idle { io, service, times, heard } = idle;
        Self::waiting(parking, io, service, times.born, times.quiet, heard)
    }

    fn waiting(
        parking: Parking,
        io: I,
        service: S,
        born: Instant,
        quiet: Instant,
        heard: bool,
    ) -> Self {
        Self {
            parking,
            state: State::Waiting { io, service, heard },
            born,
            quiet: Some(quiet),
            head: None,
            seen: Seen::default(),
            stop: Stop::No,
            alarm: Alarm::default(),
        }
    }

    /// Ends the connection when what is in flight is done, without beginning anything after it. A
    /// request that has come, and was not looked at yet, is answered.
    ///
    /// Poll it afterwards, to its end.
    pub fn graceful_shutdown(&mut self) {
        if self.stop == Stop::No {
            self.stop = Stop::Asked;
        }
    }

    /// When it is closed if nothing comes: the next of its bounds.
    fn closed(&self) -> Option<(Instant, Bound)> {
        let quiet = self.quiet?;
        let bounds = &*self.parking.inner;
        let wait = match (self.head, bounds.idle) {
            (None, Some(idle)) => Some((quiet + idle, Bound::Idle)),
            (Some(head), Some(_)) => bounds.head.map(|bound| (head + bound, Bound::Head)),
            (_, None) => bounds.head.map(|bound| (quiet + bound, Bound::Head)),
        };
        let old = self.old().map(|at| (at, Bound::Lifetime));
        [wait, old].into_iter().flatten().min_by_key(|&(at, _)| at)
    }

    /// When it is too old.
    fn old(&self) -> Option<Instant> {
        self.parking.inner.lifetime.filter(|_| self.stop == Stop::No).map(|life| self.born + life)
    }

    /// When it is to be parked.
    fn parked(&self) -> Option<Instant> {
        let quiet = self.quiet?;
        // What has begun is waited for here.
        let may = self.head.is_none()
            && self.stop == Stop::No
            && match &self.state {
                State::Waiting { heard, .. } => !heard,
                State::Serving { watch, .. } => watch.is_as_new(),
                State::Finding { .. } | State::Gone => false,
            };
        self.parking.inner.after.filter(|_| may).map(|after| quiet + after)
    }

    /// When to look at the time next.
    fn next(&self) -> Option<Instant> {
        let closed = self.closed().map(|(at, _)| at);
        [closed, self.old(), self.parked()].into_iter().flatten().min()
    }

    /// When to see whether something is still under way: nobody says so when a body is dropped that
    /// was read whole after its answer.
    fn look_again(&self) -> Option<Instant> {
        self.quiet.is_none().then(|| Instant::now() + LOOK_AGAIN)
    }

    fn due(&self, now: Instant) -> Option<Due> {
        match self.closed() {
            Some((at, Bound::Lifetime)) if at <= now => return Some(Due::Stop),
            Some((at, bound)) if at <= now => return Some(Due::Late(bound)),
            _ => {}
        }
        if self.old().is_some_and(|at| at <= now) {
            return Some(Due::Stop);
        }
        self.parked().is_some_and(|at| at <= now).then_some(Due::Park)
    }

    /// After hyper said pending: notes what has changed. Returns the time, if it was looked at.
    fn note(&mut self, found: u32) -> Option<Instant> {
        let State::Serving { watch, .. } = &self.state else { return None };
        let (owed, quiet) = watch.poll_ends(found, self.seen.owed);
        let (calls, reads) = (watch.calls(), watch.reads());
        let before = mem::replace(&mut self.seen, Seen { owed, calls, reads });
        if !quiet {
            (self.quiet, self.head) = (None, None);
            return None;
        }
        if self.quiet.is_none() || before.calls != calls {
            let now = Instant::now();
            (self.quiet, self.head) = (Some(now), None);
            return Some(now);
        }
        if self.head.is_none() && before.reads != reads {
            self.head = Some(Instant::now());
        }
        None
    }
}

impl<I, S> Connection<I, S>
where
    I: Hear + Read + Write + Unpin + Send + 'static,
    S: App,
{
    /// Has hyper serve it.
    fn build(&mut self, io: I, service: S, read: Bytes) {
        let inner = self.parking.inner.clone();
        let watch = Arc::new(Watch::default());
        let io = WatchedIo::new(io, read, watch.clone(), inner.wide.is_some());
        self.serve(&inner.http, io, service, watch);
    }

    fn serve(&mut self, http: &http1::Builder, io: WatchedIo<I>, service: S, watch: Arc<Watch>) {
        let service = Watched { service, watch: watch.clone() };
        let http = http.serve_connection(io, service).with_upgrades();
        let http = Box::new(http);
        self.seen = Seen::default();
        self.state = State::Serving { http, watch };
    }

    /// Has a hyper serve it that takes more headers, from the head on that has too many for this one.
    fn widen(&mut self) -> Option<End<I, S>> {
        let State::Serving { http, .. } = mem::replace(&mut self.state, State::Gone) else {
            return None;
        };
        let Some((io, service, read, refusal)) = apart(*http) else { return Some(End::Closed) };
        let inner = self.parking.inner.clone();
        let watch = Arc::new(Watch::default());
        let io = WatchedIo::wide(io, read, watch.clone(), refusal);
        self.serve(inner.wide.as_ref().unwrap_or(&inner.http), io, service, watch);
        self.head.get_or_insert_with(Instant::now);
        None
    }

    /// Takes hyper's part of it apart. `None` if it has to go on after all.
    fn take_apart(&mut self) -> Option<End<I, S>> {
        let quiet = self.quiet?;
        let closed = self.closed();
        let times = Times { born: self.born, quiet, closed };
        match mem::replace(&mut self.state, State::Gone) {
            State::Waiting { io, service, .. } => {
                Some(End::Idle(Idle { io, service, times, heard: false }))
            }
            State::Serving { http, .. } => {
                // Of an upgraded one there would be nothing; but that does not say pending.
                let Some((io, service, read, _)) = apart(*http) else { return Some(End::Closed) };
                if read.is_empty() {
                    return Some(End::Idle(Idle { io, service, times, heard: false }));
                }
                // Part of a head, which came with what was before it. It is read again by a new
                // build, which is not parked before the head is whole.
                self.build(io, service, read);
                self.head = Some(quiet);
                None
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Has hyper end the connection, if that was asked for; the end, if that is here.
    ///
    /// One that is idle is not told so: hyper would close it unread where its client has spoken and
    /// the runtime does not know yet. So it is taken apart, and the socket is asked itself.
    fn tell_to_stop(&mut self) -> Option<End<I, S>> {
        let State::Serving { http, watch } = &mut self.state else { return None };
        if self.stop == Stop::Asked
            && self.quiet.is_some()
            && self.head.is_none()
            && watch.is_as_new()
        {
            self.stop = Stop::Looked;
            return match self.take_apart() {
                Some(End::Idle(Idle { io, service, .. })) => {
                    self.state = State::Waiting { io, service, heard: false };
                    None
                }
                end => end,
            };
        }
        if matches!(self.stop, Stop::Asked | Stop::Looked) {
            self.stop = Stop::Told;
            Pin::new(&mut **http).graceful_shutdown();
        }
        None
    }

    /// Reads what came first until it is, or cannot be, HTTP/2's.
    fn find(&mut self, context: &mut Context<'_>) -> Poll<Option<End<I, S>>> {
        let State::Finding { io, read, .. } = &mut self.state else { return Poll::Ready(None) };
        let whole = loop {
            let length = read.len();
            if read[..] != HTTP2[..length] {
                break false;
            }
            if length == HTTP2.len() {
                break true;
            }
            let mut bytes = [0; HTTP2.len()];
            let mut buffer = ReadBuf::new(&mut bytes[length..]);
            match Pin::new(&mut *io).poll_read(context, buffer.unfilled()) {
                Poll::Pending => {
                    if length > 0 {
                        self.head.get_or_insert_with(Instant::now);
                    }
                    return Poll::Pending;
                }
                // The end, or an error: hyper finds it again.
                Poll::Ready(result) if result.is_err() || buffer.filled().is_empty() => {
                    break false;
                }
                Poll::Ready(_) => read.extend_from_slice(buffer.filled()),
            }
        };
        let State::Finding { io, service, read } = mem::replace(&mut self.state, State::Gone)
        else {
            return Poll::Ready(None);
        };
        let read = read.freeze();
        if whole {
            return Poll::Ready(Some(End::Http2 { io, read, service }));
        }
        self.build(io, service, read);
        Poll::Ready(None)
    }
}

/// hyper's part of a connection: its IO, its service, what was read and not understood yet, in memory
/// of its own; and the refusal that was held back.
fn apart<I, S: App>(
    http: UpgradeableConnection<WatchedIo<I>, Watched<S>>,
) -> Option<(I, S, Bytes, Bytes)>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let parts = http.into_parts()?;
    let (io, refusal) = parts.io.into_parts();
    let (io, unread) = io.into_parts();
    let read = [&parts.read_buf[..], &unread[..]].concat().into();
    Some((io, parts.service.service, read, refusal))
}

impl<I, S> Future for Connection<I, S>
where
    I: Hear + Read + Write + Unpin + Send + 'static,
    S: App,
{
    type Output = End<I, S>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End<I, S>> {
        let this = self.get_mut();
        // The time, once it has to be looked at.
        let mut now = None;
        loop {
            match &mut this.state {
                State::Waiting { io, heard, .. } => {
                    if io.poll_heard(context).is_ready() {
                        this.begin();
                        continue;
                    }
                    // The runtime may not know yet what is there.
                    if this.stop != Stop::No && !*heard && !io.is_heard() {
                        // Nothing came that would have to be answered.
                        return Poll::Ready(End::Closed);
                    }
                    if this.parking.is_eager() {
                        now = Some(Instant::now());
                    }
                }
                State::Finding { .. } => {
                    match this.find(context) {
                        Poll::Ready(Some(end)) => return Poll::Ready(end),
                        Poll::Ready(None) => continue,
                        Poll::Pending => {}
                    }
                    if this.stop != Stop::No {
                        this.give_up_finding();
                        continue;
                    }
                }
                State::Serving { http, watch } => {
                    let (found, told_before) = (watch.poll_begins(), this.stop);
                    if let Poll::Ready(result) = Pin::new(&mut **http).poll(context) {
                        return Poll::Ready(result.map_or_else(End::Failed, |()| End::Closed));
                    }
                    if watch.has_too_many_headers() {
                        match this.widen() {
                            Some(end) => return Poll::Ready(end),
                            None => continue,
                        }
                    }
                    if let Some(quiet) = this.note(found) {
                        now = Some(quiet);
                    }
                    // Only now: what has come is looked at first, and answered.
                    if let Some(end) = this.tell_to_stop() {
                        return Poll::Ready(end);
                    }
                    if this.stop != told_before {
                        continue;
                    }
                }
                State::Gone => panic!("a connection that has ended is polled"),
            }
            if this.alarm.rings(context) {
                now = Some(Instant::now());
            }
            match now.take().and_then(|now| this.due(now)) {
                Some(Due::Late(bound)) => return Poll::Ready(End::Late(bound)),
                Some(Due::Stop) => {
                    if let State::Waiting { heard: false, .. } = this.state {
                        return Poll::Ready(End::Late(Bound::Lifetime));
                    }
                    this.stop = Stop::Asked;
                    continue;
                }
                Some(Due::Park) => match this.take_apart() {
                    Some(end) => return Poll::Ready(end),
                    None => continue,
                },
                None => {}
            }
            if let Some(next) = this.next().or_else(|| this.look_again()) {
                this.alarm.set(next);
                if this.alarm.rings(context) {
                    now = Some(Instant::now());
                    continue;
                }
            }
            return Poll::Pending;
        }
    }
}

impl<I, S> Connection<I, S>
where
    I: Hear + Read + Write + Unpin + Send + 'static,
    S: App,
{
    /// Its first byte has come, or that of its next request.
    fn begin(&mut self) {
        let State::Waiting { io, service, .. } = mem::replace(&mut self.state, State::Gone) else {
            return;
        };
        let first = self.quiet == Some(self.born);
        if self.parking.inner.http2 && first {
            let read = BytesMut::with_capacity(HTTP2.len());
            self.state = State::Finding { io, service, read };
        } else {
            self.build(io, service, Bytes::new());
        }
    }

    /// hyper decides what becomes of a connection that has not said much yet.
    fn give_up_finding(&mut self) {
        if let State::Finding { io, service, read } = mem::replace(&mut self.state, State::Gone) {
            self.build(io, service, read.freeze());
        }
    }
}

impl<I, S: App> fmt::Debug for Connection<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("born", &self.born)
            .field("quiet", &self.quiet)
            .finish_non_exhaustive()
    }
}
