//! `cenote pools URL`: the pools of a running service, in a terminal.
//!
//! Reads `/pools.json` of anything that serves cenote's view: `cenote serve`, or a service with
//! `cenote-web`. Prints the tree of accounts and the pools that hold most; with `--leaks` who has
//! held what for how long; with `--since` what has grown, is new or is gone; with `--watch` again each
//! second, on a terminal as a screen with keys; with `--check` one line and an exit code for a monitor.

mod check;
mod draw;
#[cfg_attr(
    not(feature = "screen"),
    expect(dead_code, reason = "some columns are the screen's alone")
)]
mod look;
#[cfg(feature = "screen")]
mod screen;
mod since;

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::units::parse_duration;
use look::{Figures, Look};
use since::Since;

/// How often `--watch` asks.
const EVERY: Duration = Duration::from_secs(1);
/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is never larger, unless something else answers.
const LARGEST_ANSWER: u64 = 16 << 20;

/// The options of `cenote pools`.
#[derive(Clone, Debug, Args)]
pub struct PoolsArgs {
    /// Where the service is, such as http://127.0.0.1:8080
    #[arg(value_name = "URL")]
    pub url: String,

    /// Again each second. On a terminal that is a screen with keys (`?` shows them): sort, find, scroll,
    /// pause; elsewhere, and with --leaks or --since, it is printed again
    #[arg(long, short, conflicts_with = "json")]
    pub watch: bool,

    /// Print what the service says, as JSON
    #[arg(long)]
    pub json: bool,

    /// Who still holds what, since when, and whether memory grows outside the pools
    #[arg(long, conflicts_with = "json")]
    pub leaks: bool,

    /// What has grown, is new or is gone since what --json printed into this file; or since so long ago,
    /// as 5m, where the service keeps a history: of accounts what they held, and of pools which are new
    #[arg(long, value_name = "FILE|TIME", conflicts_with = "leaks")]
    pub since: Option<String>,

    /// One line, and the exit code of a monitoring plugin: 0 if all is well, 1 for a warning, 2 if it is
    /// critical, 3 where nobody can say. A pool over age and a silent thread are warnings
    #[arg(long, conflicts_with_all = ["json", "leaks", "since", "watch"])]
    pub check: bool,

    /// From what part of its limit on an account is a warning, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 80, requires = "check",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub warn: u8,

    /// From what part of its limit on it is critical, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 95, requires = "check",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub critical: u8,

    /// What the pools are sorted by [default: held; age with --leaks]
    #[arg(long, value_enum)]
    pub sort: Option<Sort>,

    /// How many pools are shown [default: 10; all of them on the screen of --watch]
    #[arg(long, value_name = "COUNT")]
    pub top: Option<usize>,
}

impl PoolsArgs {
    fn top(&self) -> usize {
        self.top.unwrap_or(10)
    }

    /// Whether `--watch` is the screen: only with a terminal that has a cursor to move and keys to press.
    #[cfg(feature = "screen")]
    fn is_screen(&self) -> bool {
        self.watch
            && !self.leaks
            && self.since.is_none()
            && io::stdout().is_terminal()
            && io::stdin().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

/// What pools are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The fattest first
    Held,
    /// The oldest first
    Age,
    /// Those with the most in use first
    Used,
    /// Those whose account held the most first
    Peak,
    /// Those whose account held the most in the last half a minute to a minute first
    Recent,
    /// Those whose account was refused most often first
    Refused,
    /// By name
    Name,
}

impl Sort {
    /// What comes first; of names the figures know nothing.
    fn order(self, a: &Figures, b: &Figures) -> Ordering {
        let age = |figures: &Figures| figures.age.unwrap_or(-1.0);
        match self {
            Sort::Held => b.held.cmp(&a.held),
            Sort::Age => age(b).total_cmp(&age(a)),
            Sort::Used => b.used.cmp(&a.used),
            Sort::Peak => b.peak.cmp(&a.peak),
            Sort::Recent => b.recent.cmp(&a.recent),
            Sort::Refused => b.refused.cmp(&a.refused),
            Sort::Name => Ordering::Equal,
        }
    }
}

/// Why nothing can be shown; one line.
type Failure = String;

/// Runs the command. Exit code 1, with one line on stderr, when the service does not answer.
///
/// # Errors
/// When it does not, or stdout cannot be written to. With `--check` that is the code 3, and no error.
pub fn run(args: &PoolsArgs) -> Result<ExitCode, Failure> {
    if args.check {
        return Ok(check(args));
    }
    let service = Service::at(&args.url)?;
    #[cfg(feature = "screen")]
    if args.is_screen() {
        return screen::run(service, args);
    }
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    // Leaves colours out where there is no terminal, or nobody wants them (NO_COLOR).
    let mut out = anstream::AutoStream::auto(stdout.lock());
    let then = args.since.as_deref().map(|since| moment(since, &service)).transpose()?;
    if let (true, Some(then)) = (args.json, &then) {
        let now = service.look()?;
        return finish(writeln!(out, "{}", Since::of(then, &now).to_json()));
    }
    if args.json {
        let text = service.text()?;
        // Only what is JSON: whatever else answers there is not for a terminal.
        serde_json::from_str::<serde_json::Value>(&text)
            .map_err(|_| format!("{}: the answer is no JSON", service.address))?;
        return finish(writeln!(out, "{text}"));
    }
    if !args.watch {
        let look = service.look()?;
        return finish(draw::all(&mut out, args, &look, None, then.as_ref(), usize::MAX));
    }
    let mut last: Option<Look> = None;
    let mut lost: Option<Failure> = None;
    loop {
        let next = service.look();
        let mut frame = Vec::new();
        let rows = if terminal { rows_of_terminal() } else { usize::MAX };
        let drawn = match next {
            Ok(look) => {
                let drawn = draw::all(&mut frame, args, &look, last.as_ref(), then.as_ref(), rows);
                (last, lost) = (Some(look), None);
                drawn
            }
            Err(failure) => {
                let first = lost.get_or_insert(failure);
                let drawn = draw::lost(&mut frame, first);
                match &last {
                    Some(look) => drawn.and_then(|()| {
                        let rows = rows.saturating_sub(2);
                        draw::all(&mut frame, args, look, None, then.as_ref(), rows)
                    }),
                    None => drawn,
                }
            }
        };
        let shown = drawn.and_then(|()| show(&mut out, &frame, terminal));
        if shown.is_err() {
            return finish(shown);
        }
        std::thread::sleep(EVERY);
    }
}

/// The moment that is compared with: a file, if there is one of that name, or so long ago.
fn moment(since: &str, service: &Service) -> Result<Look, Failure> {
    let path = Path::new(since);
    match parse_duration(since) {
        Ok(ago) if !path.exists() => service.past(ago),
        _ => read_file(path),
    }
}

/// What `--json` printed into a file at some moment.
fn read_file(path: &Path) -> Result<Look, Failure> {
    let whence = path.display();
    let told = |error: io::Error| {
        format!(
            "{whence}: {error}; --since compares with a file that `cenote pools --json` wrote, or with a \
             time ago, as 5m"
        )
    };
    let mut text = String::new();
    let file = File::open(path).map_err(told)?;
    file.take(LARGEST_ANSWER).read_to_string(&mut text).map_err(told)?;
    Look::read(&text, &whence)
}

/// For a monitor, which reads stdout and the exit code alone.
fn check(args: &PoolsArgs) -> ExitCode {
    let bounds = check::Bounds { warn: args.warn, critical: args.critical };
    let look = Service::at(&args.url).and_then(|service| service.look());
    let (state, line) = check::line(look, bounds);
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => state.code(),
        Err(_) => check::State::Unknown.code(),
    }
}

/// One frame: in place on a terminal, one after the other elsewhere.
fn show(out: &mut impl Write, frame: &[u8], terminal: bool) -> io::Result<()> {
    if !terminal {
        out.write_all(frame)?;
        return out.write_all(b"\n");
    }
    // Line by line over what was there, so that nothing flickers; lines that are too long end at
    // the right side, since the rows were counted as if they did.
    let mut text = b"\x1b[H\x1b[?7l".to_vec();
    for line in frame.split_inclusive(|&byte| byte == b'\n') {
        text.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        text.extend_from_slice(b"\x1b[K\n");
    }
    text.extend_from_slice(b"\x1b[J\x1b[?7h");
    out.write_all(&text)?;
    out.flush()
}

fn rows_of_terminal() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 => usize::from(size.ws_row).saturating_sub(1),
        _ => 50,
    }
}

/// Nobody is left to be told when a pipe is closed.
fn finish(written: io::Result<()>) -> Result<ExitCode, Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A service that shows its pools.
struct Service {
    agent: ureq::Agent,
    address: String,
}

impl Service {
    fn at(url: &str) -> Result<Self, Failure> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => {
                return Err(format!(
                    "{scheme}: only http is spoken here, as in http://localhost:8080"
                ));
            }
            None => url,
        };
        // With or without the page's own path.
        let host = rest.split(['?', '#']).next().unwrap_or("").trim_end_matches('/');
        let host = ["/pools.json", "/pools"]
            .iter()
            .find_map(|path| host.strip_suffix(path))
            .unwrap_or(host);
        if host.is_empty() {
            return Err(format!("`{url}` is no address such as http://localhost:8080"));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            // The service is meant, not what a proxy would find by its name.
            .proxy(None)
            .build()
            .new_agent();
        Ok(Self { agent, address: format!("http://{host}/pools.json") })
    }

    fn text(&self) -> Result<String, Failure> {
        self.text_of(&self.address)
    }

    fn text_of(&self, address: &str) -> Result<String, Failure> {
        let told = |error: ureq::Error| format!("{address}: {error}");
        let mut response = self.agent.get(address).call().map_err(told)?;
        let text = response
            .body_mut()
            .with_config()
            .limit(LARGEST_ANSWER)
            .read_to_string()
            .map_err(told)?;
        if !response.status().is_success() {
            let why = text.lines().next().unwrap_or("");
            return Err(format!("{address}: {} {why}", response.status().as_u16()));
        }
        Ok(text)
    }

    /// What was so long ago, if the service knows.
    fn past(&self, ago: Duration) -> Result<Look, Failure> {
        let seconds = ago.as_secs() + u64::from(ago.subsec_nanos() > 0);
        let address = format!("{}?ago={seconds}", self.address);
        Look::read_past(&self.text_of(&address)?, &address)
    }

    fn look(&self) -> Result<Look, Failure> {
        Look::read(&self.text()?, &self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_one_row_of_a_terminal_however_long_it_is() {
        let frame = format!("{}\nshort\n", "x".repeat(500));
        let mut out = Vec::new();
        show(&mut out, frame.as_bytes(), true).expect("room");
        let text = String::from_utf8(out).expect("text");
        let (begin, rest) = text.split_once('x').expect("the line");
        let (_, end) = rest.split_once("short").expect("the other");
        // Long lines end at the right side while the frame is drawn, and only then.
        assert!(begin.ends_with("\x1b[?7l") && !rest.contains("\x1b[?7l"), "{text:?}");
        assert!(end.ends_with("\x1b[?7h") && !begin.contains("\x1b[?7h"), "{text:?}");
        let mut out = Vec::new();
        show(&mut out, frame.as_bytes(), false).expect("room");
        assert_eq!(out, format!("{frame}\n").into_bytes());
    }
}
