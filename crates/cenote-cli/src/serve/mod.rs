//! `cenote serve`: a folder over HTTP/1.1, where every worker, connection and request has a pool of
//! its own.
//!
//! ```text
//! process            an account, with a limit if asked for
//!   worker-0         a thread, an account, a pool: the served folder
//!     connection     an account with a limit; while it is not parked a task, and a pool: the client's
//!                    address
//!       request      an account with a limit, a pool: path, headers, pages, files and buffers
//! ```
//!
//! A request that needs more than its account allows is answered with 503 and the account's name.
//! Nothing in here uses an allocation from a pool that could panic or abort.

mod body;
mod conditional;
mod connection;
mod date;
mod errors;
mod file;
mod framing;
mod host;
mod listen;
mod listing;
mod mime;
mod page;
mod path;
mod places;
mod pools;
mod range;
mod request;
mod root;
mod service;
mod socket;
mod text;
mod turns;
mod viewer;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cenote::{Account, ContainerMemory};
use cenote_web::view::{Access, View, events};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc::UnboundedReceiver, watch};
use tracing::warn;

pub use errors::StartError;
use host::{Memory, Minutely};
use places::Places;
use service::Inherited;
use worker::Alive;

use crate::outlet::{self, STDERR, STDOUT};
use crate::units::{Limit, ShortSize};

/// How a server is to be run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder to serve.
    pub root: PathBuf,
    /// `ADDRESS:PORT`; port 0 takes a free one.
    pub listen: String,
    /// Threads, at least one.
    pub workers: usize,
    /// Most bytes that the pool of one request may hold.
    pub request_limit: Option<usize>,
    /// Most bytes that a connection may hold, its requests included.
    pub connection_limit: Option<usize>,
    /// Most that all pools together may hold.
    pub process_limit: Option<Limit>,
    /// Most connections at once; for one more, the one that is idle for longest is closed. `None`:
    /// as many as the limit of open files is enough for, a quarter of what is left of it being kept
    /// for the files that are served.
    pub max_connections: Option<usize>,
    /// While the process has more memory than this of its own, in bytes, idle connections are closed
    /// and new ones refused. `None`: seven eighths of what its control group may have.
    pub memory_limit: Option<usize>,
    /// `ADDRESS:PORT` of a listener of the view's own, with a thread that shares nothing with the
    /// workers. `/pools`, `/pools.json` and `/metrics` are answered there, and only there.
    pub view: Option<String>,
    /// The view keeps what accounts held in so much memory; `None` keeps nothing.
    pub history: Option<usize>,
    /// Show `/pools`, `/pools.json` and `/metrics` even to other machines.
    pub expose_pools: bool,
    /// Names by which they may be asked for, besides `localhost` and addresses.
    pub pools_hosts: Vec<String>,
    /// Show the addresses of clients nowhere in them.
    pub hide_peers: bool,
    /// How old the pool of a connection may become before it is marked there.
    pub connection_age: Option<Duration>,
    /// How old the pool of a request may become before it is marked there.
    pub request_age: Option<Duration>,
    /// How long a connection is idle before it is parked: all that HTTP needs of it is given back
    /// then, until its client speaks. `None` parks none.
    pub park_after: Option<Duration>,
    /// How long clients may take.
    pub timeouts: Timeouts,
}

impl Config {
    /// A server of `root` on a free port of this machine, with one worker and no limits.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            listen: "127.0.0.1:0".to_owned(),
            workers: 1,
            request_limit: None,
            connection_limit: None,
            process_limit: None,
            max_connections: None,
            memory_limit: None,
            view: None,
            history: None,
            expose_pools: false,
            pools_hosts: Vec::new(),
            hide_peers: false,
            connection_age: None,
            request_age: None,
            park_after: Some(Duration::from_secs(5)),
            timeouts: Timeouts::default(),
        }
    }
}

/// How long clients may take over what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Sending the head of a request, the wait for it included.
    pub header: Duration,
    /// Sending a request's body, after which the connection is closed.
    pub body: Duration,
    /// Taking the next piece of a response.
    pub write: Duration,
    /// Finishing the requests in flight when the server stops.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { header: seconds(30), body: seconds(10), write: seconds(30), stop: seconds(10) }
    }
}

/// What all threads of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) process: Account,
    /// Of what memory its limit is a part, if it is one.
    container: Option<ContainerMemory>,
    /// What `/pools` shows.
    pub(crate) view: View,
    pub(crate) pools_shown: bool,
    /// How many workers are not idle.
    pub(crate) busy: AtomicUsize,
    pub(crate) places: Arc<Places>,
    pub(crate) memory: Memory,
    /// Clients for whom there was no place, or no memory; and that could not be accepted.
    pub(crate) crowded: Minutely,
    pub(crate) squeezed: Minutely,
    pub(crate) unaccepted: Minutely,
}

/// A running server. Dropping it stops it, without waiting.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<usize>>,
    viewer: Option<Viewer>,
    /// Threads that are at their end.
    ended: UnboundedReceiver<String>,
}

/// The thread with the view's own listener.
struct Viewer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server; when this returns, it serves.
    ///
    /// # Errors
    /// When the folder cannot be opened or the address cannot be listened on.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_on(config, Inherited::default())
    }

    /// Starts a server, on sockets that were handed over if there are any.
    fn start_on(config: Config, inherited: Inherited) -> Result<Self, StartError> {
        if let Some(bytes) = config.history
            && bytes < View::LEAST_HISTORY
        {
            return Err(StartError(format!(
                "--history {bytes}: {} bytes is the least that is of use; --no-history keeps none",
                View::LEAST_HISTORY
            )));
        }
        let folder = config.root.display();
        let is_folder = config
            .root
            .metadata()
            .map_err(|error| StartError(format!("{folder}: {error}")))?
            .is_dir();
        if !is_folder {
            return Err(StartError(format!("{folder}: not a folder")));
        }
        let count = config.workers.max(1);
        let (address, listeners) = match inherited.files {
            Some(listener) => listen::share(listener, count)?,
            None => listen::bind(&config.listen, count)?,
        };
        let mut viewed = match (inherited.view, &config.view) {
            (Some(listener), _) => Some(listen::share(listener, 1)?),
            (None, Some(view)) => Some(listen::bind(view, 1)?),
            (None, None) => None,
        };
        if let Some((address, _)) = &viewed
            && !(config.expose_pools || address.ip().is_loopback())
        {
            return Err(StartError(format!(
                "the view would listen on {address}, which others can reach: give --expose-pools, \
                 too, or an address such as 127.0.0.1:9090"
            )));
        }
        let process = Account::root("process");
        let container = match config.process_limit {
            None => None,
            Some(Limit::Bytes(bytes)) => {
                process.set_limit(Some(bytes));
                None
            }
            Some(Limit::Part(part)) => {
                let memory = process.limit_of_container(part);
                Some(memory.map_err(|error| StartError(format!("--process-limit: {error}")))?)
            }
        };
        let pools_shown = viewed.is_none() && (config.expose_pools || address.ip().is_loopback());
        let access = if config.expose_pools { Access::Anyone } else { Access::Loopback };
        let mut view = View::builder(&process)
            .access(access)
            .hosts(config.pools_hosts.iter())
            .version(env!("CARGO_PKG_VERSION"));
        if config.hide_peers {
            view = view.hide_peers();
        }
        for (account, age) in
            [("connection", config.connection_age), ("request", config.request_age)]
        {
            if let Some(age) = age {
                view = view.age_limit(account, age);
            }
        }
        if let Some(bytes) = config.history {
            view = view.history(bytes);
        }
        let view = view.build();
        view.stamp(&process);
        let shared = Arc::new(Shared {
            places: Arc::new(Places::new(listeners.len())),
            memory: Memory::new(config.memory_limit),
            config,
            process,
            container,
            view,
            pools_shown,
            busy: AtomicUsize::new(0),
            crowded: Minutely::default(),
            squeezed: Minutely::default(),
            unaccepted: Minutely::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let (ready, wait) = mpsc::channel();
        let (ends, ended) = tokio::sync::mpsc::unbounded_channel();
        let mut server = Self { shared, address, stop, workers: Vec::new(), viewer: None, ended };
        let no_thread = |error| StartError(format!("a thread cannot be started: {error}"));
        for (index, listener) in listeners.into_iter().enumerate() {
            let (shared, stop, ready) = (server.shared.clone(), stopped.clone(), ready.clone());
            let alive = Some(Alive::new(format!("worker-{index}"), ends.clone()));
            let start = worker::Start { shared, index, listener, stop, ready, alive };
            let thread = thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || worker::run(start));
            server.workers.push(thread.map_err(no_thread)?);
        }
        if let Some((address, listener)) = viewed.as_mut().map(|(at, all)| (*at, all.pop()))
            && let Some(listener) = listener
        {
            let (stop, stopped) = watch::channel(false);
            let (shared, alive) = (server.shared.clone(), Alive::new("the view".to_owned(), ends));
            let thread = thread::Builder::new()
                .name("view".to_owned())
                .spawn(move || viewer::run(shared, listener, stopped, alive));
            let thread = thread.map_err(no_thread)?;
            server.viewer = Some(Viewer { address, stop, thread });
        }
        for _ in &server.workers {
            wait.recv()
                .unwrap_or_else(|_| Err(StartError("a worker stopped as it started".to_owned())))?;
        }
        // Only now: all that the server itself needs is open.
        let Shared { config, places, .. } = &*server.shared;
        let room = host::room_for_connections();
        let asked = config.max_connections.unwrap_or(room);
        if asked > room {
            warn!("open files are limited to enough for {room} connections, not {asked}");
        }
        places.limit(asked.min(room).max(1));
        Ok(server)
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The account of everything that the server's pools hold.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.shared.process
    }

    /// What `/pools` shows. A program that runs the server beside other work can have it show the
    /// pools of that work too.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.shared.view
    }

    /// Where the view listens by itself, if it does.
    #[must_use]
    pub fn view_address(&self) -> Option<SocketAddr> {
        self.viewer.as_ref().map(|viewer| viewer.address)
    }

    /// Waits until a thread is at its end though nobody told it to stop: it has panicked, or cannot
    /// accept connections any more. Returns its name. Its clients are served by nobody, so the
    /// process should end.
    pub async fn thread_ended(&mut self) -> String {
        match self.ended.recv().await {
            Some(name) => name,
            // All are gone, and have been told.
            None => std::future::pending().await,
        }
    }

    /// Stops accepting, and waits for the requests in flight, but no longer than
    /// [`Timeouts::stop`]. Returns how many connections were cut off after that.
    pub fn stop(self) -> usize {
        self.stop.send_replace(true);
        // A worker that has panicked has nothing left to cut off.
        let cut = self.workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum();
        // Till then it can be looked at.
        if let Some(Viewer { stop, thread, .. }) = self.viewer {
            stop.send_replace(true);
            let _ = thread.join();
        }
        cut
    }
}

/// Runs a server until it is told to stop by SIGINT or SIGTERM; a second signal stops it at once.
/// If a thread ends by itself, all are stopped, and the exit code is 1.
///
/// Listens on sockets that a service manager hands over (`LISTEN_FDS`) in place of those that
/// `config` names, and tells it when it is ready (`NOTIFY_SOCKET`).
///
/// # Errors
/// When it cannot be started.
pub fn run(config: Config) -> Result<ExitCode, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime =
        runtime.map_err(|error| StartError(format!("a runtime cannot be made: {error}")))?;
    runtime.block_on(async {
        let listen = |kind| {
            signal(kind).map_err(|error| StartError(format!("signals cannot be heard: {error}")))
        };
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let mut hangup = listen(SignalKind::hangup())?;
        let grace = config.timeouts.stop;
        host::raise_files();
        let mut server = Server::start_on(config, service::inherited()?)?;
        // Only now: what cannot be started is one line.
        events::install();
        greet(&server);
        service::notify("READY=1\nSTATUS=Serving");
        let failed = loop {
            tokio::select! {
                _ = interrupt.recv() => break None,
                _ = terminate.recv() => break None,
                _ = hangup.recv() => say(format_args!("SIGHUP: there is nothing to reopen; going on")),
                name = server.thread_ended() => break Some(name),
            }
        };
        service::notify("STOPPING=1");
        if let Some(name) = &failed {
            STDERR.line(format_args!("{name} ended by itself; stopping"));
        }
        say(format_args!("stopping; requests in flight may finish"));
        let stopping = tokio::task::spawn_blocking(move || server.stop());
        let cut = tokio::select! {
            cut = stopping => cut.unwrap_or(0),
            _ = interrupt.recv() => leave_at_once(),
            _ = terminate.recv() => leave_at_once(),
        };
        match cut {
            0 => say(format_args!("stopped; every request in flight was finished")),
            cut => say(format_args!("stopped; {cut} connections were cut off after {grace:?}")),
        }
        let Some(name) = failed else { return Ok(ExitCode::SUCCESS) };
        STDERR.line(format_args!("stopped because {name} ended by itself"));
        Ok(ExitCode::FAILURE)
    })
}

/// Says where to look.
fn greet(server: &Server) {
    let Shared { config, pools_shown, process, container, .. } = &*server.shared;
    let address = server.address;
    let folder = config.root.canonicalize().unwrap_or_else(|_| config.root.clone());
    let workers = server.workers.len();
    let s = if workers == 1 { "" } else { "s" };
    say(format_args!("serving {} with {workers} worker{s}", folder.display()));
    if let (Some(memory), Some(limit)) = (container, process.limit()) {
        // Before the addresses, after which a program that reads this may stop reading.
        say(format_args!("  limit  {} for all pools, of {memory}", ShortSize(limit as u64)));
    }
    say(format_args!("  files  http://{address}/"));
    if let Some(address) = server.view_address() {
        say(format_args!("  pools  http://{address}/pools"));
    } else if *pools_shown {
        say(format_args!("  pools  http://{address}/pools"));
    } else {
        say(format_args!(
            "  pools  not shown on an address that others can reach, unless --expose-pools is given"
        ));
    }
}

/// One line on stdout.
fn say(line: std::fmt::Arguments<'_>) {
    STDOUT.line(line);
}

/// The runtime would wait for the thread that waits for the workers.
fn leave_at_once() -> ! {
    say(format_args!("stopped at once"));
    outlet::finish();
    std::process::exit(1)
}
