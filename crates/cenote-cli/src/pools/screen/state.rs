//! What the screen knows, and what keys and answers change in it.

use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::rows;
use super::view::list_height;
use crate::pools::look::Look;
use crate::pools::{Failure, PoolsArgs, Sort};

/// What keys go through, in this order.
const SORTS: [Sort; 7] =
    [Sort::Held, Sort::Used, Sort::Peak, Sort::Recent, Sort::Refused, Sort::Age, Sort::Name];
/// Nobody looks for more, and a key that is stuck may type it.
const LONGEST_FILTER: usize = 200;

/// Figures of a service that answers are younger; one that hangs is not told from it earlier.
const OLD: f64 = 3.0;

/// Whether the screen goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    Leave,
}

/// Times are since the screen began.
pub(super) struct State {
    pub(super) address: String,
    pub(super) colours: bool,
    pub(super) look: Option<Look>,
    /// The one before, if nothing was missed between them.
    pub(super) last: Option<Look>,
    pub(super) lost: Option<Lost>,
    pub(super) sort: Sort,
    pub(super) reverse: bool,
    pub(super) filter: String,
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// The most pools that are listed.
    pub(super) most: usize,
    pub(super) now: Duration,
    /// When the service was asked last.
    pub(super) asked_at: Duration,
    /// Of the terminal.
    pub(super) height: u16,
    /// The first row that is shown, unless there are too few.
    first: usize,
    looked_at: Duration,
}

/// The service does not answer.
pub(super) struct Lost {
    since: Duration,
    pub(super) why: Failure,
}

impl State {
    pub(super) fn new(address: String, colours: bool, args: &PoolsArgs) -> Self {
        Self {
            address,
            colours,
            look: None,
            last: None,
            lost: None,
            sort: args.sort.unwrap_or(Sort::Held),
            reverse: false,
            filter: String::new(),
            typing: false,
            paused: false,
            help: false,
            most: args.top.unwrap_or(usize::MAX),
            now: Duration::ZERO,
            asked_at: Duration::ZERO,
            height: 24,
            first: 0,
            looked_at: Duration::ZERO,
        }
    }

    /// How old the figures are, in seconds.
    pub(super) fn age(&self) -> f64 {
        self.now.saturating_sub(self.looked_at).as_secs_f64()
    }

    /// For how long nothing was heard, in seconds.
    pub(super) fn lost_for(&self, lost: &Lost) -> f64 {
        self.now.saturating_sub(lost.since).as_secs_f64()
    }

    /// Whether the figures are not those of now.
    pub(super) fn is_old(&self) -> bool {
        self.paused || self.lost.is_some() || self.age() > OLD
    }

    /// The first row that is shown, of so many.
    pub(super) fn first(&self, rows: usize, height: u16) -> usize {
        self.first.min(rows.saturating_sub(list_height(self, height)))
    }

    /// What the service says, or why it does not.
    pub(super) fn hear(&mut self, answer: Result<Look, Failure>) {
        if self.paused {
            // Figures that are being read stay as they are.
            return;
        }
        match answer {
            Ok(look) => {
                let before = self.look.replace(look);
                self.last = before.filter(|_| self.lost.is_none());
                self.lost = None;
                self.looked_at = self.now;
            }
            Err(why) => {
                let since = self.lost.take().map_or(self.asked_at, |lost| lost.since);
                self.lost = Some(Lost { since, why });
            }
        }
    }

    pub(super) fn on(&mut self, event: &Event) -> Next {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.press(key),
            // The screen is drawn after each event, as large as the terminal is then.
            _ => Next::Stay,
        }
    }

    fn press(&mut self, key: &KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Next::Leave,
                KeyCode::Char('u') if self.typing => self.find(String::new()),
                _ => Next::Stay,
            };
        }
        match key.code {
            KeyCode::Up => self.scroll(|first, _| first.saturating_sub(1)),
            KeyCode::Down => self.scroll(|first, _| first + 1),
            KeyCode::PageUp => self.scroll(usize::saturating_sub),
            KeyCode::PageDown => self.scroll(|first, page| first + page),
            KeyCode::Home => self.scroll(|_, _| 0),
            KeyCode::End => self.scroll(|_, _| usize::MAX),
            KeyCode::Esc => self.escape(),
            _ if self.typing => self.type_in(key.code),
            KeyCode::Char('q') => Next::Leave,
            KeyCode::Char('s') | KeyCode::Right => self.sort_by(1),
            KeyCode::Char('S') | KeyCode::Left => self.sort_by(SORTS.len() - 1),
            KeyCode::Char('r') => toggle(&mut self.reverse),
            KeyCode::Char('p') => toggle(&mut self.paused),
            KeyCode::Char('?') => toggle(&mut self.help),
            KeyCode::Char('/') => toggle(&mut self.typing),
            _ => Next::Stay,
        }
    }

    /// From what is on top of the rest: the help, the filter, and then the screen.
    fn escape(&mut self) -> Next {
        if self.help {
            self.help = false;
        } else if self.typing || !self.filter.is_empty() {
            self.typing = false;
            self.find(String::new());
        } else {
            return Next::Leave;
        }
        Next::Stay
    }

    fn type_in(&mut self, key: KeyCode) -> Next {
        let mut text = self.filter.clone();
        match key {
            KeyCode::Enter => return toggle(&mut self.typing),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(letter) if text.chars().count() < LONGEST_FILTER => text.push(letter),
            _ => {}
        }
        self.find(text)
    }

    fn find(&mut self, text: String) -> Next {
        (self.filter, self.first) = (text, 0);
        Next::Stay
    }

    fn sort_by(&mut self, step: usize) -> Next {
        let at = SORTS.iter().position(|&sort| sort == self.sort).unwrap_or(0);
        self.sort = SORTS[(at + step) % SORTS.len()];
        Next::Stay
    }

    fn scroll(&mut self, to: impl FnOnce(usize, usize) -> usize) -> Next {
        let rows = rows::of(self).len();
        let page = list_height(self, self.height).max(1);
        self.first = to(self.first(rows, self.height), page);
        // Not beyond the end, or a list that grows would move.
        self.first = self.first(rows, self.height);
        Next::Stay
    }
}

fn toggle(what: &mut bool) -> Next {
    *what = !*what;
    Next::Stay
}
