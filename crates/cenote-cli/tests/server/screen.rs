//! `cenote pools --watch` on a terminal: the command at one end of a pseudo-terminal, and at the other
//! an emulator that keys are typed into and whose screen is read.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::command::{Running, serve};
use crate::support::{Site, eventually};

const CENOTE: &str = env!("CARGO_BIN_EXE_cenote");

/// A terminal in which `cenote pools --watch` runs.
struct Emulator {
    child: Child,
    keys: File,
    /// The command's end, to ask which modes it is in.
    line: OwnedFd,
    before: Termios,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
}

impl Emulator {
    fn start(address: &str, environment: &[(&str, &str)]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags).expect("a terminal");
        grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("its other end");
        let line = ioctl_tiocgptpeer(&terminal, flags).expect("its other end");
        let before = tcgetattr(&line).expect("its modes");
        let end = || Stdio::from(line.try_clone().expect("a descriptor"));
        let mut command = Command::new(CENOTE);
        command.args(["pools", address, "--watch"]).env("TERM", "xterm-256color");
        for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command.envs(environment.iter().copied());
        command.stdin(end()).stdout(end()).stderr(end());
        let mut reader = File::from(terminal.try_clone().expect("a descriptor"));
        let (tell, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // It ends with an error once nobody is at the other end.
            while let Ok(length @ 1..) = reader.read(&mut chunk) {
                if tell.send(chunk[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        tcsetwinsize(&terminal, size(24, 80)).expect("a size");
        let child = command.spawn().expect("the command");
        let (rows, columns) = cells(24, 80);
        let parser = vt100::Parser::new(rows, columns, 0);
        Self { child, keys: File::from(terminal), line, before, output, parser }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("keys");
    }

    fn resize(&mut self, rows: u16, columns: u16) {
        let (high, wide) = cells(rows, columns);
        self.parser.set_size(high, wide);
        tcsetwinsize(&self.keys, size(rows, columns)).expect("a size");
        // The terminal controls no process group here, which the kernel would tell.
        self.signal(Signal::WINCH);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits until the screen is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&vt100::Screen, &str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let screen = self.parser.screen();
            let text = screen.contents();
            if is_so(screen, &text) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(error) => panic!("{what}: {error}:\n{text}"),
            }
        }
    }

    fn shows(&mut self, text: &str) {
        self.until(text, |_, screen| screen.contains(text));
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.line).expect("its modes").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// How it ends, with the terminal as it was.
    fn ends(mut self) -> Option<i32> {
        self.until("the screen is as it was", |screen, _| {
            !screen.alternate_screen() && !screen.hide_cursor()
        });
        let mut code = None;
        eventually("it ends", || {
            code = self.child.try_wait().expect("a child");
            code.is_some()
        });
        let (before, after) = (&self.before, tcgetattr(&self.line).expect("its modes"));
        assert_eq!(before.local_modes, after.local_modes);
        assert_eq!(before.input_modes, after.input_modes);
        assert_eq!(before.output_modes, after.output_modes);
        assert_eq!(before.control_modes, after.control_modes);
        code.and_then(|code| code.code())
    }

    fn is_coloured(screen: &vt100::Screen) -> bool {
        let (rows, columns) = screen.size();
        let cells = (0..rows.get()).flat_map(|y| (0..columns.get()).map(move |x| (y, x)));
        cells
            .filter_map(|(y, x)| screen.cell(y, x))
            .any(|cell| cell.fgcolor() != vt100::Color::Default)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn cells(rows: u16, columns: u16) -> (NonZeroU16, NonZeroU16) {
    let some = |count| NonZeroU16::new(count).expect("some");
    (some(rows), some(columns))
}

#[test]
fn the_screen_does_as_keys_say_and_leaves_the_terminal_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Running::start(&mut serve(folder.path()));
    let address = server.address.to_string();
    let mut terminal = Emulator::start(&address, &[]);
    terminal.until("the figures", |screen, text| {
        screen.alternate_screen()
            && ["process  ", "in pools ", "held↓", "accounts", "worker-0 ", "worker-1 "]
                .iter()
                .all(|word| text.contains(word))
    });
    assert!(terminal.is_raw());
    // It asks again.
    terminal.shows(" made/s");
    terminal.press("s");
    terminal.shows("used↓");
    terminal.press("/worker-1");
    terminal.until("worker-1 alone", |screen, text| {
        text.contains("find: worker-1") && !text.contains("worker-0") && !screen.hide_cursor()
    });
    terminal.press("\r");
    terminal
        .until("the keys again", |screen, text| text.contains("? keys") && screen.hide_cursor());
    terminal.press("\x1b");
    terminal.shows("worker-0 ");
    terminal.press("?");
    terminal.shows("pause, and go on");
    terminal.press("?p");
    terminal.until("a pause", |_, text| text.contains("paused") && !text.contains("and go on"));
    terminal.press("p");
    terminal.until("no pause", |_, text| !text.contains("paused"));
    terminal.until("80 columns", |_, text| !text.contains("made at"));
    terminal.resize(12, 160);
    terminal.until("160 columns", |_, text| text.contains("made at") && text.contains(" lines"));
    terminal.press("\x1b[F");
    terminal.until("the end", |_, text| !text.contains("accounts") && text.contains("pools"));
    terminal.press("\x1b[H");
    terminal.shows("accounts");

    // A server that goes and comes back.
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
    terminal.until("it is lost", |_, text| {
        ["no answer for ", "efused", "the figures are ", "worker-0 "]
            .iter()
            .all(|word| text.contains(word))
    });
    let mut again = Command::new(CENOTE);
    again.arg("serve").arg(folder.path()).args(["--listen", &address, "--workers", "2"]);
    let server = Running::start(&mut again);
    terminal.until("it is back", |_, text| !text.contains("no answer"));
    terminal.press("q");
    assert_eq!(terminal.ends(), Some(0));
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn the_terminal_is_as_it_was_however_the_screen_is_left() {
    let site = Site::with(|config| config.workers = 1);
    let address = site.address().to_string();
    let begun = || {
        let mut terminal = Emulator::start(&address, &[]);
        terminal.shows("worker-0 ");
        assert!(terminal.is_raw());
        terminal
    };
    for keys in ["\x03", "\x1b"] {
        let mut terminal = begun();
        terminal.press(keys);
        assert_eq!(terminal.ends(), Some(0), "{keys:?}");
    }
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let terminal = begun();
        terminal.signal(signal);
        assert_eq!(terminal.ends(), Some(128 + signal.as_raw()));
    }
    // Nobody is there from the beginning: keys are answered.
    drop(site);
    let mut terminal = Emulator::start(&address, &[]);
    terminal.shows("no answer for ");
    terminal.press("q");
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn colours_are_the_terminals_unless_nobody_wants_them() {
    let site = Site::with(|config| config.workers = 1);
    let address = site.address().to_string();
    for (variable, coloured) in [("SOMETHING", true), ("NO_COLOR", false)] {
        let mut terminal = Emulator::start(&address, &[(variable, "1")]);
        terminal.shows("worker-0 ");
        terminal.press("?");
        terminal.shows("pause, and go on");
        // All of what the help is has been drawn with it.
        terminal.until(variable, |screen, _| Emulator::is_coloured(screen) == coloured);
        terminal.press("?q");
        assert_eq!(terminal.ends(), Some(0));
    }
    // One that has no cursor to move has the figures line by line.
    let mut terminal = Emulator::start(&address, &[("TERM", "dumb")]);
    terminal.shows("made/s");
    assert!(!terminal.parser.screen().alternate_screen() && !terminal.is_raw());
}
