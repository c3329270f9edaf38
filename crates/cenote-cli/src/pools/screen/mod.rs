//! `cenote pools --watch` on a terminal: a screen with keys.
//!
//! Here is what has to do with the terminal, with signals and with time. What keys do is in `state`,
//! what is listed in `rows`, what of it fits in `columns`, and how it looks in `view`; none of them
//! knows a terminal.

mod columns;
mod rows;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, Stdout};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use anstream::{AutoStream, ColorChoice};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use tokio::signal::unix::{SignalKind, signal};

use super::look::Look;
use super::{EVERY, Failure, PoolsArgs, Service};
use state::{Next, State};

/// What the screen waits for.
enum Happening {
    Input(Event),
    Answer(Box<Result<Look, Failure>>),
    /// A signal that ends the command.
    Signal(u8),
    /// No key will come any more.
    Deaf(io::Error),
}

/// Shows the screen until it is left.
pub(super) fn run(service: Service, args: &PoolsArgs) -> Result<ExitCode, Failure> {
    let colours = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
    let mut state = State::new(service.address.clone(), colours, args);
    let (tell, happenings) = mpsc::channel();
    let (ask, asked) = mpsc::channel();
    let begun = listen_to_signals(tell.clone()).and_then(|()| {
        in_thread({
            let tell = tell.clone();
            move || answer(&service, &asked, &tell)
        })?;
        Screen::open()
    });
    let mut screen = begun.map_err(|error| format!("the terminal: {error}"))?;
    // Keys are read once they are no more lines.
    in_thread(move || read_keys(&tell)).map_err(|error| format!("a thread: {error}"))?;
    let code = watch(&mut screen, &mut state, &happenings, &ask)?;
    drop(screen);
    Ok(ExitCode::from(code))
}

fn watch(
    screen: &mut Screen,
    state: &mut State,
    happenings: &Receiver<Happening>,
    ask: &Sender<()>,
) -> Result<u8, Failure> {
    let told = |error: io::Error| format!("the terminal: {error}");
    let gone = || "a thread has ended that should not have".to_owned();
    let start = Instant::now();
    // When the service is asked next; nothing while it is.
    let mut due = Some(start);
    loop {
        if due.is_some_and(|due| due <= Instant::now()) && !state.paused {
            ask.send(()).map_err(|_| gone())?;
            (due, state.asked_at) = (None, start.elapsed());
        }
        state.now = start.elapsed();
        state.height = screen.terminal.size().map_err(told)?.height;
        screen.terminal.draw(|frame| view::draw(frame, state)).map_err(told)?;
        // Ages of what is shown go on, whatever else happens.
        let wait = match due {
            Some(due) if !state.paused => due.saturating_duration_since(Instant::now()),
            _ => EVERY,
        };
        match happenings.recv_timeout(wait) {
            Ok(Happening::Input(event)) => {
                if state.on(&event) == Next::Leave {
                    return Ok(0);
                }
            }
            Ok(Happening::Answer(answer)) => {
                state.now = start.elapsed();
                state.hear(*answer);
                due = Some(Instant::now() + EVERY);
            }
            Ok(Happening::Signal(number)) => return Ok(128 + number),
            Ok(Happening::Deaf(error)) => return Err(told(error)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(gone()),
        }
    }
}

/// Asks the service, each time that it is to be asked: it may take seconds, in which keys are answered.
fn answer(service: &Service, asked: &Receiver<()>, tell: &Sender<Happening>) {
    while asked.recv().is_ok() && tell.send(Happening::Answer(Box::new(service.look()))).is_ok() {}
}

fn read_keys(tell: &Sender<Happening>) {
    loop {
        let (happening, is_last) = match event::read() {
            Ok(event) => (Happening::Input(event), false),
            Err(error) => (Happening::Deaf(error), true),
        };
        if tell.send(happening).is_err() || is_last {
            return;
        }
    }
}

/// Signals that would end the process with the terminal as the screen has it.
fn listen_to_signals(tell: Sender<Happening>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    in_thread(move || {
        let kind = runtime.block_on(async {
            tokio::select! {
                _ = hangup.recv() => SignalKind::hangup(),
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            }
        });
        let number = u8::try_from(kind.as_raw_value()).unwrap_or(0);
        let _ = tell.send(Happening::Signal(number));
    })
}

fn in_thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(drop)
}

/// The terminal, in raw mode and on its other screen until this is dropped.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // What it says would be lost with the other screen; and whichever thread it is, the rest
            // would go on drawing.
            restore();
            next(panic);
            std::process::exit(101);
        }));
        let opened = enable_raw_mode().and_then(|()| {
            execute!(io::stdout(), EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(io::stdout()))
        });
        match opened {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// All of it, as far as there is a terminal left.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
}
