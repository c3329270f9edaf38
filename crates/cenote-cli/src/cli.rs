//! The command line: what can be asked for, how it fails (one line, exit code 2), and where the log
//! goes.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tracing_subscriber::filter::LevelFilter;

use crate::outlet::{self, LogWriter};
use crate::pools::PoolsArgs;
use crate::serve::{Config, Timeouts};
use crate::units::{Limit, parse_count, parse_duration, parse_limit, parse_size};
use crate::{pools, serve, tour};

/// What the command line says.
#[derive(Debug, Parser)]
#[command(
    name = "cenote",
    version,
    about = "Memory pools for servers: a file server that runs on them, a look into running ones, and a tour."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a folder over HTTP/1.1, with a pool for each worker, connection and request
    Serve(Box<ServeArgs>),
    /// Show the pools of a running service: who holds how much, and since when
    Pools(PoolsArgs),
    /// Watch a pool work, step by step
    Tour,
    /// Print the completions of this command line for a shell
    Completions {
        /// Whose they are to be
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages, cenote.1 and one for each subcommand, into a folder
    Man {
        /// Where to
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// The options of `cenote serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The folder to serve
    #[arg(default_value = ".", value_name = "DIR")]
    pub root: PathBuf,

    /// Address and port to listen on; port 0 takes a free one. Sockets that a service manager hands
    /// over (LISTEN_FDS) are taken instead: one, and one named `view` for --view
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: String,

    /// Threads that serve, each with a runtime of its own [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Most memory that the pool of one request may hold, as 64KiB
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = parse_size)]
    pub request_limit: usize,

    /// Most memory that a connection may hold, its requests included
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = parse_size)]
    pub connection_limit: usize,

    /// Most memory that all pools together may hold, as 512MiB, or as 80% of what the container, or
    /// else the machine, has [default: no limit]
    #[arg(long, value_name = "SIZE|PERCENT", value_parser = parse_limit)]
    pub process_limit: Option<Limit>,

    /// Most connections at once; for one more, the one that is idle for longest is closed
    /// [default: as many as the limit of open files allows, which is raised as far as it goes]
    #[arg(long, value_name = "NUMBER", value_parser = parse_count)]
    pub max_connections: Option<usize>,

    /// While the process itself has more memory than this, idle connections are closed and new ones
    /// refused [default: seven eighths of what its control group may have]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory_limit: Option<usize>,

    /// Answer /pools, /pools.json and /metrics on this address and port instead, from a thread that
    /// shares nothing with the workers: even when all of them are blocked
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub view: Option<String>,

    /// Memory for what accounts held, each second of fifteen minutes and each minute of a day, so that
    /// `cenote pools --since 5m` can tell; a MiB is enough for some fifty paths of accounts. Of a
    /// --process-limit it takes a 64th at most
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_size)]
    pub history: usize,

    /// Keep no history
    #[arg(long, conflicts_with = "history")]
    pub no_history: bool,

    /// Answer /pools, /pools.json and /metrics even when listening on an address that others can
    /// reach. They show what is asked for, and by which address (see --hide-peers)
    #[arg(long)]
    pub expose_pools: bool,

    /// A name by which they may be asked for, besides localhost and addresses; may be repeated
    #[arg(long, value_name = "NAME")]
    pub pools_host: Vec<String>,

    /// Show the addresses of clients nowhere in /pools: only what they ask for, and what they were answered with
    #[arg(long)]
    pub hide_peers: bool,

    /// Mark pools of requests that are older, in /pools
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    pub request_age: Duration,

    /// Mark pools of connections that are older, in /pools; one that is parked has none [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub connection_age: Option<Duration>,

    /// Give back all that HTTP needs of a connection once it was idle for this long, until its client
    /// speaks; none, if that is longer than the header timeout
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub park_after: Duration,

    /// How long a client may take over a request's head, and stay silent between two requests
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub header_timeout: Duration,

    /// How long a client may take to send a request's body, which no answer waits for
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub body_timeout: Duration,

    /// How long a client may pause while it takes a response
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub write_timeout: Duration,

    /// How long requests in flight may take to finish when the server is told to stop
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub stop_timeout: Duration,

    /// What to log on stderr
    #[arg(long, value_enum, default_value_t = LogLevel::Info, value_name = "LEVEL")]
    pub log: LogLevel,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogLevel {
    /// Nothing
    Off,
    /// What stops the server
    Error,
    /// What went wrong on the server's side, limits included
    Warn,
    /// The above, and each request refused
    Info,
    /// The above, and each request served
    Debug,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
        }
    }
}

impl ServeArgs {
    fn into_config(self) -> Config {
        let workers = self
            .workers
            .map(usize::from)
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1);
        Config {
            root: self.root,
            listen: self.listen,
            workers,
            request_limit: Some(self.request_limit),
            connection_limit: Some(self.connection_limit),
            process_limit: self.process_limit,
            max_connections: self.max_connections,
            memory_limit: self.memory_limit,
            view: self.view,
            history: (!self.no_history).then_some(self.history),
            expose_pools: self.expose_pools,
            pools_hosts: self.pools_host,
            hide_peers: self.hide_peers,
            connection_age: self.connection_age,
            request_age: Some(self.request_age),
            park_after: Some(self.park_after),
            timeouts: Timeouts {
                header: self.header_timeout,
                body: self.body_timeout,
                write: self.write_timeout,
                stop: self.stop_timeout,
            },
        }
    }
}

/// The whole command: reads the arguments of the process and does what they ask.
///
/// Exit codes: 0 when all went well, 1 when something broke while running, 2 when it could not
/// start as asked, with one line on stderr that says why.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error),
    };
    match cli.command {
        Command::Serve(args) => {
            if let Err(error) = outlet::start() {
                complain(&format!("a thread cannot be started: {error}"));
                return ExitCode::from(2);
            }
            start_log(args.log);
            let code = serve::run((*args).into_config()).unwrap_or_else(|error| {
                outlet::STDERR.line(format_args!("{error}"));
                ExitCode::from(2)
            });
            outlet::finish();
            code
        }
        Command::Pools(args) => match pools::run(&args) {
            Ok(code) => code,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        },
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cenote", &mut script);
            written(io::stdout().write_all(&script))
        }
        Command::Man { folder } => match clap_mangen::generate_to(Cli::command(), &folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("{}: {error}", folder.display()));
                ExitCode::FAILURE
            }
        },
        Command::Tour => {
            let stdout = io::stdout();
            let colour = stdout.is_terminal();
            written(tour::run(&mut stdout.lock(), colour))
        }
    }
}

/// What comes of writing to stdout.
fn written(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Piped into `head`: nobody is left to be told.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Help and version are printed whole. A mistake becomes one line: clap explains at length, but a
/// line is what ends up in a service's journal.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nothing can be done about a closed stdout.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = Cli::command().print_help();
            ExitCode::from(2)
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or("error: the arguments make no sense");
            complain(line.strip_prefix("error: ").unwrap_or(line));
            // For a monitor 2 would be that the service is ill.
            let is_check = std::env::args_os().any(|argument| argument == "--check");
            ExitCode::from(if is_check { 3 } else { 2 })
        }
    }
}

/// One line on stderr. The line stays one: file names may hold a line break.
fn complain(what: &str) {
    let line = what.replace(['\n', '\r'], " ");
    let _ = writeln!(io::stderr(), "cenote: {line}");
}

fn start_log(level: LogLevel) {
    // A second call in one process (tests) keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(level))
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // It would print to stderr, and panic where that cannot be written to.
        .log_internal_errors(false)
        .with_writer(|| LogWriter)
        .try_init();
}
