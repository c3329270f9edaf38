//! The pools of a service, seen live: `/pools` (a page), `/pools.json`, `/metrics` (for Prometheus, and in
//! OpenMetrics' format where that is asked for).
//!
//! A [`View`] looks at a tree of accounts, and into the pools that it is shown: each thread notes
//! its own in a [`Local`], shared ones are noted with [`View::watch`]. It answers HTTP requests
//! of any server that speaks in the types of the `http` crate (hyper, axum, tower).
//!
//! ```
//! use cenote::{Account, Pool};
//! use cenote_web::view::View;
//! use http::{HeaderMap, HeaderValue, Method, header};
//! use std::rc::Rc;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # tokio::task::LocalSet::new().block_on(&runtime, async {
//! // Once.
//! let process = Account::root("process");
//! let view = View::builder(&process).age_limit("request", std::time::Duration::from_secs(60)).build();
//!
//! // On each thread that has pools of its own.
//! let worker = process.child("worker-0");
//! let (pools, answering) = view.local(&worker);
//! tokio::task::spawn_local(answering.run());
//!
//! // For each pool.
//! let pool = Rc::new(Pool::on(&worker.child("request")));
//! pools.add(&pool);
//!
//! // For each request that may be the view's.
//! let mut headers = HeaderMap::new();
//! headers.insert(header::HOST, HeaderValue::from_static("localhost:8080"));
//! let peer = Some([127, 0, 0, 1].into());
//! let answer = view.answer(&Method::GET, &"/metrics".parse().unwrap(), &headers, peer);
//! let response = answer.expect("a path of the view").await;
//! let text = String::from_utf8_lossy(response.body());
//! assert!(text.contains("cenote_pools_live{account=\"process/worker-0/request\"} 1\n"));
//! # });
//! ```
//!
//! # What it sees by itself
//!
//! Of an account whose pools it is not shown it knows what the account knows: bytes held, peak,
//! limit, refusals, and where it was made; and since when, if it is [stamped](View::stamp).
//! [`RequestPools::view`](crate::RequestPools::view) and
//! [`PoolListener::view`](crate::PoolListener::view) show it the pools of requests and connections.
//!
//! # For programs
//!
//! [`View::look`] gives what the page shows as a value: the process, the accounts as a tree, the pools.
//! [`View::metrics`] gives what `/metrics` prints as [families of samples](metrics), for services with a
//! registry of their own; `bridge` has some, behind features.
//!
//! # In the log
//!
//! [`events::install`] has refused charges and bad frees told as events of `tracing`, once for the
//! process. Unusual peaks of the layer's requests are told by themselves, and so are the accounts
//! of requests, in the span that they are worked on in.
//!
//! # What it costs
//!
//! Nothing while nobody looks, but the note of each pool: a look at the clock and a push (and for a
//! shared one some 30 bytes, in which is kept whether it is there, and one of the layer's or the listener's a small
//! allocation more, in which is kept whose it is); and as a request ends, two
//! additions to its route's histogram. A look is made by a thread of the view's own: it reads the
//! accounts without stopping anyone, and asks each thread for the figures of its pools, which the
//! thread tells between the polls of its tasks, 64 pools at a time. Into shared pools it looks by
//! itself, without taking anything that those who use them could have to wait for. Requests that come
//! while it looks wait for the next look, and share it.
//!
//! # Who may see it
//!
//! Only GET and HEAD are answered, and only to clients of the same machine, unless
//! [`ViewBuilder::access`] says otherwise. A request must name a host that the view goes by
//! (`localhost`, an address, or one of [`ViewBuilder::hosts`]), so that a page from elsewhere
//! cannot reach it by a name of its own. A proxy on this machine is a client of this machine,
//! whoever asks it: keep it from these paths. The page may use its own script and style and nothing
//! else; it shows names as text. No answer contains memory of a pool, only sizes. Of requests it tells method,
//! route or [shape of the path](Who::asking), status and the client's address, unless that is
//! [hidden](ViewBuilder::hide_peers); queries and headers never.

mod access;
mod answer;
pub mod events;
mod exposition;
mod families;
mod history;
mod local;
mod look;
mod map;
mod memory;
pub mod metrics;
mod observer;
mod page;
mod pending;
mod process;
pub(crate) mod requests;
mod rows;
pub(crate) mod service;
mod shared;
mod telling;
mod tree;
mod watched;
pub(crate) mod who;

pub use access::Access;
pub use answer::Answer;
pub use local::{Answering, Local, Noted};
pub use look::{BlockCache, Look, Memory};
pub use map::{Block, BlockMap, Cluster, Page};
pub use memory::{General, GeneralRow};
pub use pending::{Pending, Unavailable};
pub use process::Process;
pub use rows::{AccountRow, PoolRow};
pub use service::{Peer, ViewService};
pub use watched::{Gist, Watched, WatchedWeak};
pub use who::{Purpose, Who};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cenote::Account;
use tokio::sync::mpsc::UnboundedSender;

use access::Policy;
use local::Ask;

/// A live view of a tree of accounts and of the pools on them. See the [module](self).
///
/// Cloning it gives another handle. Its thread ends with the last one.
#[derive(Clone)]
pub struct View {
    state: Arc<State>,
    observer: observer::Observer,
}

/// What handles on a view and its thread share.
pub(crate) struct State {
    root: Account,
    ages: AgeLimits,
    hide_peers: bool,
    policy: Policy,
    since: Instant,
    process: Process,
    general: Option<memory::GeneralAllocator>,
    baseline: look::Baseline,
    links: Mutex<Vec<Link>>,
    shared: shared::Shared,
    known: Mutex<look::Known>,
    /// What each thread told last, for when it has no time to answer.
    last: Mutex<look::Last>,
    /// The paths of accounts that metrics name, first come, first served.
    named: Mutex<families::Named>,
    history: Mutex<Option<history::History>>,
    /// What requests needed, by route.
    requests: Arc<requests::Requests>,
}

/// The way to a thread with pools of its own.
struct Link {
    index: usize,
    path: Vec<String>,
    asks: UnboundedSender<Ask>,
}

/// How old pools may become, by the name of the account that they are on, or their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgeLimits(BTreeMap<String, Duration>);

impl AgeLimits {
    fn limit(&self, name: &str) -> Option<Duration> {
        self.0.get(name).copied()
    }

    fn exceeded(&self, name: &str, age: Duration) -> bool {
        self.limit(name).is_some_and(|limit| age > limit)
    }
}

/// How a view is to be made.
#[derive(Debug)]
pub struct ViewBuilder {
    root: Account,
    ages: AgeLimits,
    hide_peers: bool,
    policy: Policy,
    version: Option<String>,
    history: Option<usize>,
    general: Option<memory::GeneralAllocator>,
}

impl ViewBuilder {
    /// How old a pool may become that is on an account of this name, or has this name itself and
    /// is on one for which nothing else is said; an older one is marked. The pools of the layer
    /// are named `request`, whatever their accounts are, those of the listener `connection`.
    #[must_use]
    pub fn age_limit(mut self, name: impl Into<String>, age: Duration) -> Self {
        self.ages.0.insert(name.into(), age);
        self
    }

    /// Shows the addresses of clients nowhere. What they ask for, and what they were answered with, is shown all
    /// the same, as [`Who`] has it.
    ///
    /// ```
    /// use cenote::Account;
    /// use cenote_web::view::View;
    /// let view = View::builder(&Account::root("process")).hide_peers().build();
    /// ```
    #[must_use]
    pub fn hide_peers(mut self) -> Self {
        self.hide_peers = true;
        self
    }

    /// Who may see it; only clients of this machine unless set.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.policy.access = access;
        self
    }

    /// Names that the service goes by, besides `localhost` and plain addresses: what requests
    /// may give as their host, without a port.
    #[must_use]
    pub fn hosts(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.policy.hosts.extend(names.into_iter().map(|name| name.into().to_ascii_lowercase()));
        self
    }

    /// What the service calls its version: shown at the head of the page, and in its JSON.
    ///
    /// ```
    /// use cenote::Account;
    /// use cenote_web::view::View;
    /// let process = Account::root("process");
    /// let view = View::builder(&process).version(env!("CARGO_PKG_VERSION")).build();
    /// ```
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Keeps what the accounts held: each second of the last fifteen minutes, and each minute of the
    /// last day. Without, nothing is kept.
    ///
    /// It takes at most so many bytes, charged to an account `history` under the root: 92 KiB, and 18 KiB
    /// for each path of accounts; a MiB is enough for fifty. With less than [`View::LEAST_HISTORY`] there is
    /// none. Of those for which there is no room
    /// nothing is kept, and where the root has a limit, it takes a 64th of that at most. Once a second the view's
    /// thread reads all accounts.
    ///
    /// `/pools.json?ago=300` is what was five minutes ago, in the form of a look; `/pools.json?history` is
    /// all of it.
    ///
    /// ```
    /// use cenote::Account;
    /// use cenote_web::view::View;
    /// let process = Account::root("process");
    /// let view = View::builder(&process).history(1 << 20).build();
    /// assert!(process.held() > 70_000);
    /// ```
    #[must_use]
    pub fn history(mut self, bytes: usize) -> Self {
        self.history = Some(bytes);
        self
    }

    /// Tells what is in no pool apart, by what the process's general allocator says of itself: objects in no
    /// pool, what the allocator keeps and nobody uses, and what is from elsewhere. It is a part of each look, of the
    /// page, of the metrics and of `cenote pools --leaks`.
    ///
    /// `ask` is called by the view's own thread as it looks, and should neither wait long nor panic.
    ///
    /// ```
    /// use cenote::Account;
    /// use cenote_web::view::{General, View};
    /// #[global_allocator]
    /// static ALLOCATOR: cenote_global::Global = cenote_global::Global::new();
    ///
    /// let view = View::builder(&Account::root("process"))
    ///     .general("cenote-global", || {
    ///         let stats = cenote_global::stats();
    ///         General {
    ///             live_bytes: stats.live,
    ///             free_bytes: stats.held - stats.live + stats.cached,
    ///         }
    ///     })
    ///     .build();
    /// let general = view.look().wait().expect("a look").general.clone().expect("it was given");
    /// assert!(general.in_no_pool_bytes <= general.live_bytes);
    /// ```
    #[must_use]
    pub fn general(
        mut self,
        name: impl Into<String>,
        ask: impl Fn() -> General + Send + Sync + 'static,
    ) -> Self {
        self.general = Some(memory::GeneralAllocator { name: name.into(), ask: Arc::new(ask) });
        self
    }

    /// The view. Starts its thread; where that cannot be, requests are answered with 503.
    #[must_use]
    pub fn build(self) -> View {
        let history = self.history.and_then(|bytes| history::History::new(&self.root, bytes));
        let state = Arc::new(State {
            history: Mutex::new(history),
            baseline: look::Baseline::now(&self.root),
            root: self.root,
            ages: self.ages,
            hide_peers: self.hide_peers,
            policy: self.policy,
            since: Instant::now(),
            process: Process::now(self.version),
            general: self.general,
            links: Mutex::default(),
            shared: shared::Shared::default(),
            known: Mutex::default(),
            last: Mutex::default(),
            named: Mutex::default(),
            requests: Arc::default(),
        });
        View { observer: observer::Observer::start(state.clone()), state }
    }
}

impl View {
    /// How to make a view of a root account and of all accounts under it.
    #[must_use]
    pub fn builder(root: &Account) -> ViewBuilder {
        let (root, ages) = (root.clone(), AgeLimits::default());
        let policy = Policy::default();
        let (version, history, general) = Default::default();
        ViewBuilder { root, ages, hide_peers: false, policy, version, history, general }
    }

    /// A note for the pools of the calling thread, and the task that answers for it, to be
    /// spawned on this thread. `account` is the thread's, by which it is called.
    pub fn local(&self, account: &Account) -> (Local, Answering) {
        let (asks, asked) = tokio::sync::mpsc::unbounded_channel();
        let mut path: Vec<_> = std::iter::successors(Some(account), |account| account.parent())
            .map(|account| account.name().to_owned())
            .collect();
        path.reverse();
        let index = self.state.with_links(|links| {
            // Not the length: threads that are gone are taken out.
            let index = links.last().map_or(0, |link| link.index + 1);
            links.push(Link { index, path, asks });
            index
        });
        let local = Local::new();
        let state = Arc::downgrade(&self.state);
        (local.clone(), Answering { local, state, index, asks: asked })
    }

    /// Notes a pool that several threads use, and that it is there from now on; it needs no word
    /// when it goes. The view's own thread looks into it, and makes nobody wait who allocates in
    /// it or drops it.
    ///
    /// [`RequestPools::view`](crate::RequestPools::view) and
    /// [`PoolListener::view`](crate::PoolListener::view) do so for the pools that they make.
    ///
    /// ```
    /// use cenote::{Account, SharedPool};
    /// use cenote_web::view::View;
    /// let view = View::builder(&Account::root("process")).build();
    /// let pool = SharedPool::try_on(view.root())?;
    /// view.watch(pool.downgrade());
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    pub fn watch(&self, pool: impl WatchedWeak) {
        self.state.shared.add(shared::Noted::Other(Arc::new(pool)), None);
    }

    /// [`View::watch`] with whose pool it is, which the view shows in its row.
    ///
    /// `who` is asked by the view's own thread when somebody looks. It is kept as long as the pool is there, and
    /// until that is noticed by a look or by who notes another: so a pool that outlives what it was made for is
    /// told with it. Nobody waits for it but the view.
    ///
    /// ```
    /// use cenote::{Account, SharedPool};
    /// use cenote_web::view::{Purpose, View, Who};
    /// use std::sync::Arc;
    /// struct Session { peer: std::net::SocketAddr }
    /// impl Purpose for Session {
    ///     fn who(&self) -> Who {
    ///         Who::of("session").with_peer(self.peer)
    ///     }
    /// }
    /// let view = View::builder(&Account::root("process")).build();
    /// let pool = SharedPool::try_on(view.root())?;
    /// view.watch_for(pool.downgrade(), Arc::new(Session { peer: ([10, 0, 0, 7], 4711).into() }));
    /// let row = &view.look().wait().expect("a look").pools[0];
    /// assert_eq!(row.request.as_deref(), Some("session"));
    /// assert_eq!(row.peer.as_deref(), Some("10.0.0.7:4711"));
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    pub fn watch_for(
        &self,
        pool: impl WatchedWeak,
        who: Arc<impl Purpose + Send + Sync + 'static>,
    ) {
        self.state.shared.add(shared::Noted::Other(Arc::new(pool)), Some(who));
    }

    /// [`View::watch`] for the layer's pools.
    pub(crate) fn watch_shared(
        &self,
        pool: &cenote::SharedPool,
        whose: Option<Arc<dyn Purpose + Send + Sync>>,
    ) {
        self.state.shared.add(shared::Noted::Request(pool.downgrade()), whose);
    }

    /// Where requests that end are counted.
    pub(crate) fn requests(&self) -> &Arc<requests::Requests> {
        &self.state.requests
    }

    /// Marks an account with the time, so that the view can tell its age. Worth it for accounts
    /// whose pools the view is not shown; the age of pools that it is shown it knows.
    pub fn stamp(&self, account: &Account) {
        let millis = self.state.since.elapsed().as_millis() as u64;
        account.set_stamp(millis + 1);
    }

    /// The least bytes that are of use for a [history](ViewBuilder::history).
    pub const LEAST_HISTORY: usize = history::LEAST;

    /// The root of the tree that it looks at.
    #[must_use]
    pub fn root(&self) -> &Account {
        &self.state.root
    }
}

impl State {
    fn with_links<T>(&self, f: impl FnOnce(&mut Vec<Link>) -> T) -> T {
        f(&mut self.links.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The age that a stamp tells; `None`: there is none.
    fn age_at(&self, stamp: u64) -> Option<Duration> {
        let since = Duration::from_millis(stamp.checked_sub(1)?);
        Some(self.since.elapsed().saturating_sub(since))
    }

    fn age_of(&self, account: &Account) -> Option<Duration> {
        self.age_at(account.stamp())
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("root", &self.state.root).finish_non_exhaustive()
    }
}
