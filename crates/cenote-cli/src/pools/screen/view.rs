//! How the screen looks.
//!
//! Text from elsewhere is shown as `Plain` has it: what would control a terminal is replaced. (The
//! widgets would leave such characters out; here one sees that there was something.)

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as TableRow, Table};

use super::columns::{clip, fitting};
use super::rows::{self, Row};
use super::state::State;
use crate::pools::draw::{Age, Plain, grows_outside, size};
use crate::pools::look::Memory;

const KEYS: [(&str, &str); 9] = [
    ("s  S", "sort by the next column, by the one before (or → ←)"),
    ("r", "the other way round"),
    ("/", "find: what a path, a name, a place or a request has in it"),
    ("Esc", "find no more; or leave"),
    ("↑ ↓", "scroll by a line"),
    ("PgUp PgDn", "by a page"),
    ("Home End", "to the first and the last line"),
    ("p", "pause, and go on"),
    ("q", "leave (or Ctrl-C)"),
];

/// Lines above the list, its own head included, and below it.
fn around(state: &State) -> u16 {
    // Why nobody answers has a line.
    5 + u16::from(state.lost.is_some())
}

/// How many rows there is room for.
pub(super) fn list_height(state: &State, height: u16) -> usize {
    usize::from(height.saturating_sub(around(state)))
}

/// All of the screen.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let above = around(state) - 2;
    let [head, list, foot] =
        Layout::vertical([Constraint::Length(above), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(lines_above(state, head.width)), head);
    let rows = rows::of(state);
    let first = state.first(rows.len(), frame.area().height);
    let shown = list_height(state, frame.area().height);
    let last = rows.len().min(first + shown);
    table(frame, state, &rows, first..last, list);
    let place = if rows.len() > shown {
        format!(" {}-{last} of {} lines", first + 1, rows.len())
    } else {
        String::new()
    };
    footer(frame, state, &place, foot);
    if state.help {
        help(frame, state);
    }
}

fn lines_above(state: &State, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![summary(state, width), memory(state, width)];
    if let Some(lost) = &state.lost {
        lines.push(Line::styled(clip(&Plain(&lost.why).to_string(), width), bad(state)));
    }
    lines.push(notice(state));
    lines
}

fn summary(state: &State, width: u16) -> Line<'static> {
    let Some(look) = &state.look else {
        let address = Plain(&state.address).to_string();
        return Line::styled(clip(&address, width), Modifier::BOLD);
    };
    let sum = look.summary(state.last.as_ref());
    let mut pieces = vec![
        Span::styled(clip(&Plain(sum.name).to_string(), 30), Modifier::BOLD),
        format!("{} held", size(sum.held)).into(),
        format!("{} pools", sum.pools).into(),
    ];
    let mut warn = |words: String| pieces.push(Span::styled(words, bad(state)));
    if sum.refused > 0 {
        warn(format!("{} refused", sum.refused));
    }
    if sum.over_age > 0 {
        warn(format!("{} over age", sum.over_age));
    }
    for path in &look.silent {
        warn(format!("no word from {}", Plain(&path.join("/"))));
    }
    if let Some(made) = sum.made {
        pieces.push(format!("{made:.0} made/s").into());
    }
    pieces.push(format!("up {}", Age(Some(sum.uptime))).into());
    in_line(pieces, width)
}

/// The process's memory, with what it grew by where there is room.
fn memory(state: &State, width: u16) -> Line<'static> {
    let Some(memory) = state.look.as_ref().and_then(|look| look.memory) else {
        return Line::default();
    };
    let long = memory_pieces(state, &memory, true);
    let needed: usize = long.iter().map(|piece| piece.width() + 2).sum();
    let pieces =
        if needed > usize::from(width) { memory_pieces(state, &memory, false) } else { long };
    in_line(pieces, width)
}

fn memory_pieces(state: &State, memory: &Memory, grown: bool) -> Vec<Span<'static>> {
    let piece = |name: &str, bytes: u64, more: Option<i64>| {
        let more = more.filter(|_| grown).map_or_else(String::new, |more| {
            let sign = if more < 0 { '-' } else { '+' };
            format!(" ({sign}{} since the start)", size(more.unsigned_abs()))
        });
        format!("{name} {}{more}", size(bytes))
    };
    let mut pieces = Vec::new();
    if let Some(resident) = memory.resident_bytes {
        pieces.push(piece("resident", resident, None).into());
    }
    pieces.push(piece("in pools", memory.pools_bytes, Some(memory.pools_grown_bytes)).into());
    if let Some(other) = memory.other_bytes {
        let style = if grows_outside(memory) { bad(state) } else { Style::new() };
        let words = piece("in no pool", other, memory.other_grown_bytes);
        pieces.push(Span::styled(words, style));
    }
    pieces.push(piece("cached", memory.block_cache_bytes, None).into());
    pieces
}

/// Whether the figures are those of now; and if not, why.
fn notice(state: &State) -> Line<'static> {
    let mut words = Vec::new();
    if state.paused {
        words.push("paused".to_owned());
    }
    if let Some(lost) = &state.lost {
        let again = if state.paused { "" } else { ", asking again" };
        words.push(format!("no answer for {}{again}", Age(Some(state.lost_for(lost)))));
    }
    match &state.look {
        Some(_) if state.is_old() => {
            words.push(format!("the figures are {} old", Age(Some(state.age()))));
        }
        None if words.is_empty() => words.push("asking".to_owned()),
        _ => {}
    }
    let style = if state.lost.is_some() { bad(state) } else { Modifier::BOLD.into() };
    Line::styled(words.join("; "), style)
}

fn table(
    frame: &mut Frame<'_>,
    state: &State,
    rows: &[Row],
    shown: std::ops::Range<usize>,
    area: Rect,
) {
    let lines = || {
        rows.iter().filter_map(|row| match row {
            Row::Figures(line) => Some(line),
            Row::Words(_) => None,
        })
    };
    let longest = lines().map(|line| Span::raw(&line.name).width()).max().unwrap_or(0);
    let whose = lines().map(|line| Span::raw(line.whose.text()).width()).max().unwrap_or(0);
    // A column for those who reserve, as in what is printed.
    let reserves = lines().any(|line| line.figures.reserved > 0);
    let columns = fitting(area.width, state.sort, longest, whose, reserves);
    let cell = |text: String, is_text: bool| {
        let line = Line::raw(text);
        Cell::from(if is_text { line } else { line.right_aligned() })
    };
    let head = columns
        .iter()
        .map(|(column, _)| cell(column.head(state.sort, state.reverse), column.is_text()));
    let old = if state.is_old() { Style::from(Modifier::DIM) } else { Style::new() };
    let body = rows[shown].iter().map(|row| match row {
        Row::Words(words) => TableRow::new([words.clone()]).style(Modifier::BOLD),
        Row::Figures(line) => {
            let cells = columns
                .iter()
                .map(|&(column, width)| cell(column.cell(line, width), column.is_text()));
            TableRow::new(cells).style(if line.over_age { bad(state) } else { Style::new() })
        }
    });
    let table = Table::new(body, columns.iter().map(|&(_, width)| Constraint::Length(width)))
        .column_spacing(super::columns::GAP)
        .style(old)
        .header(TableRow::new(head).style(Modifier::UNDERLINED));
    frame.render_widget(table, area);
}

/// What is looked for, or the keys; and where in the list one is.
fn footer(frame: &mut Frame<'_>, state: &State, place: &str, area: Rect) {
    let room = u16::try_from(place.chars().count()).unwrap_or(0);
    let [left, right] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(room)]).areas(area);
    let filter = Plain(&state.filter).to_string();
    if state.typing {
        // The end, where letters are added, and a cell for the cursor.
        let text = format!("find: {}", clip(&filter, left.width.saturating_sub(7)));
        let end = u16::try_from(Span::raw(&text).width()).unwrap_or(left.width);
        frame.render_widget(Paragraph::new(text), left);
        if left.width > 0 && left.height > 0 {
            frame.set_cursor_position((left.x + end.min(left.width - 1), left.y));
        }
    } else {
        let mut pieces = Vec::new();
        if !filter.is_empty() {
            let words = format!("find: {}", clip(&filter, left.width.saturating_sub(6)));
            pieces.push(Span::styled(words, Modifier::BOLD));
        }
        let keys = ["? keys", "q leave", "s sort", "/ find", "p pause", "r reverse"];
        pieces.extend(keys.map(|words| Span::styled(words, Modifier::DIM)));
        frame.render_widget(in_line(pieces, left.width), left);
    }
    frame.render_widget(Paragraph::new(place.to_owned()), right);
}

fn help(frame: &mut Frame<'_>, state: &State) {
    let lines: Vec<_> =
        KEYS.iter().map(|(key, what)| Line::raw(format!(" {key:<10} {what}"))).collect();
    let widest = lines.iter().map(Line::width).max().unwrap_or(0);
    let (width, height) = (widest as u16 + 3, KEYS.len() as u16 + 2);
    let area = frame.area().centered(Constraint::Length(width), Constraint::Length(height));
    frame.render_widget(Clear, area);
    let box_style = if state.colours { Style::from(Color::Cyan) } else { Style::new() };
    let block = Block::bordered().title(" keys ").border_style(box_style);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// The pieces that there is room for, from the first on.
fn in_line(pieces: Vec<Span<'static>>, width: u16) -> Line<'static> {
    let mut left = usize::from(width);
    let mut line = Line::default();
    for piece in pieces {
        let gap = if line.spans.is_empty() { 0 } else { 2 };
        // The first is cut rather than left out.
        if gap > 0 && gap + piece.width() > left {
            break;
        }
        left = left.saturating_sub(gap + piece.width());
        line.push_span(" ".repeat(gap));
        line.push_span(piece);
    }
    line
}

/// What stands out.
fn bad(state: &State) -> Style {
    let style = Style::from(Modifier::BOLD);
    if state.colours { style.fg(Color::Red) } else { style }
}
