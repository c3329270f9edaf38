//! The figures as text: a tree, a table, and what stands out.

use std::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use cenote::inspect::Bytes;

use super::look::{Account, Look, Memory, Pool};
use super::since::{Since, change};
use super::{PoolsArgs, Sort};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();

/// Growth that is worth a word.
const GROWN: i64 = 8 << 20;

/// All that was asked for, in at most `rows` lines.
pub(super) fn all(
    out: &mut impl Write,
    args: &PoolsArgs,
    look: &Look,
    last: Option<&Look>,
    then: Option<&Look>,
    rows: usize,
) -> io::Result<()> {
    let mut lines = Vec::new();
    head(&mut lines, look, last)?;
    if let Some(then) = then {
        since(&mut lines, args, then, look)?;
    } else if args.leaks {
        leaks(&mut lines, args, look)?;
    } else {
        writeln!(lines)?;
        tree(&mut lines, look)?;
        writeln!(lines)?;
        table(&mut lines, look, args.sort.unwrap_or(Sort::Held), args.top(), |_| true)?;
    }
    for line in lines.split_inclusive(|&byte| byte == b'\n').take(rows) {
        out.write_all(line)?;
    }
    Ok(())
}

/// Says that nothing was heard.
pub(super) fn lost(out: &mut impl Write, why: &str) -> io::Result<()> {
    writeln!(out, "{BAD}no answer: {}; trying again{BAD:#}", Plain(why))
}

fn head(out: &mut impl Write, look: &Look, last: Option<&Look>) -> io::Result<()> {
    let sum = look.summary(last);
    write!(
        out,
        "{BOLD}{}{BOLD:#}  up {}  {} pools  {} held",
        Plain(sum.name),
        Age(Some(sum.uptime)),
        sum.pools,
        size(sum.held),
    )?;
    if let Some(made) = sum.made {
        write!(out, "  {made:.0} made/s")?;
    }
    if sum.refused > 0 {
        write!(out, "  {BAD}{} refused{BAD:#}", sum.refused)?;
    }
    if sum.over_age > 0 {
        write!(out, "  {BAD}{} over age{BAD:#}", sum.over_age)?;
    }
    for path in &look.silent {
        write!(out, "  {BAD}no word from {}{BAD:#}", Plain(&path.join("/")))?;
    }
    writeln!(out)
}

fn tree(out: &mut impl Write, look: &Look) -> io::Result<()> {
    // A column for those who reserve, as in the library's own table.
    let reserves = look.accounts.iter().any(|row| row.reserved_bytes > 0);
    let reserved = |text: String| if reserves { format!(" {text:>10}") } else { String::new() };
    writeln!(
        out,
        "{DIM}{:<32} {:>6} {:>10} {:>10}{} {:>5} {:>10} {:>10} {:>8} {:>8}  made at{DIM:#}",
        "account",
        "pools",
        "made",
        "held",
        reserved("reserved".to_owned()),
        "used",
        "peak",
        "limit",
        "refused",
        "oldest"
    )?;
    for row in &look.accounts {
        let depth = 2 * row.path.len().saturating_sub(1);
        let mut name =
            format!("{:depth$}{}", "", Plain(row.path.last().map_or("", String::as_str)));
        if row.accounts > 1 {
            name.push_str(&format!(" x{}", row.accounts));
        }
        let style = if row.over_age > 0 { BAD } else { Style::new() };
        writeln!(
            out,
            "{style}{:<32}{style:#} {:>6} {:>10} {:>10}{} {:>5} {:>10} {:>10} {:>8} {:>8}  {DIM}{}{DIM:#}",
            clip(&name, 32),
            row.live,
            row.created,
            size(row.held_bytes),
            reserved(size(row.reserved_bytes)),
            percent(row.used_bytes, row.held_bytes - row.reserved_bytes.min(row.held_bytes)),
            size(row.peak_bytes),
            row.limit_bytes.map_or_else(|| "-".to_owned(), size),
            row.refused,
            Age(row.age_seconds),
            Plain(&row.created_at),
        )?;
    }
    Ok(())
}

fn table(
    out: &mut impl Write,
    look: &Look,
    sort: Sort,
    top: usize,
    shown: impl Fn(&Pool) -> bool,
) -> io::Result<()> {
    let mut pools: Vec<_> = look.pools.iter().filter(|pool| shown(pool)).collect();
    match sort {
        Sort::Name => pools.sort_by_cached_key(|pool| look.label(pool)),
        _ => pools.sort_by(|a, b| sort.order(&a.figures(), &b.figures())),
    }
    // A column only where some service says whose they are.
    let whose = Column::of(pools.iter().take(top).copied());
    writeln!(
        out,
        "{DIM}  {:<44} {:>8} {:>10} {:>5} {:>10} {:>10} {:>8}{}  made at{DIM:#}",
        "pool",
        "age",
        "held",
        "used",
        "peak",
        "limit",
        "refused",
        whose.head()
    )?;
    for pool in pools.iter().take(top) {
        let (style, mark) = if pool.over_age { (BAD, '!') } else { (Style::new(), ' ') };
        writeln!(
            out,
            "{style}{mark} {:<44} {:>8}{style:#} {:>10} {:>5} {:>10} {:>10} {:>8}{}  {DIM}{}{DIM:#}",
            clip(&Plain(&look.label(pool)).to_string(), 44),
            Age(pool.age_seconds),
            size(pool.held_bytes),
            percent(pool.used_bytes, pool.held_bytes),
            size(pool.peak_bytes),
            pool.limit_bytes.map_or_else(|| "-".to_owned(), size),
            pool.refused,
            whose.cell(pool),
            Plain(&pool.created_at),
        )?;
    }
    let more = look.pools_shown.saturating_sub(pools.len().min(top));
    if more > 0 {
        writeln!(out, "{DIM}  and {more} more{DIM:#}")?;
    }
    Ok(())
}

/// Who still holds what, since when; and what that comes to.
fn leaks(out: &mut impl Write, args: &PoolsArgs, look: &Look) -> io::Result<()> {
    if let Some(memory) = &look.memory {
        writeln!(out)?;
        place(out, "in pools", memory.pools_bytes, Some(memory.pools_grown_bytes))?;
        place(out, "cached blocks", memory.block_cache_bytes, None)?;
        if let Some(other) = memory.other_bytes {
            place(out, "in no pool", other, memory.other_grown_bytes)?;
        }
        if let Some(general) = &look.general {
            place(out, "  objects", general.in_no_pool_bytes, None)?;
            let (free, name) = (size(general.free_bytes), Plain(&general.name));
            writeln!(out, "{:<14} {free:>10}   in {name}", "  free")?;
            if let Some(elsewhere) = general.elsewhere_bytes {
                place(out, "  elsewhere", elsewhere, None)?;
            }
        }
        if let Some(resident) = memory.resident_bytes {
            place(out, "resident", resident, None)?;
        }
    }
    writeln!(out)?;
    table(out, look, args.sort.unwrap_or(Sort::Age), args.top(), |_| true)?;
    writeln!(out)?;
    let mut found = false;
    for row in look.accounts.iter().filter(|row| row.over_age > 0) {
        found = true;
        // Where the pools were made says more than where their accounts were.
        let makers = makers(look, &row.path);
        writeln!(
            out,
            "{BAD}pools:{BAD:#} {} on {} older than {}, the oldest {}; made at {}",
            row.over_age,
            Plain(&row.path.join("/")),
            Age(row.age_limit_seconds),
            Age(row.age_seconds),
            Plain(if makers.is_empty() { &row.created_at } else { &makers }),
        )?;
    }
    if let Some(memory) = look.memory.as_ref().filter(|memory| grows_outside(memory)) {
        found = true;
        writeln!(
            out,
            "{BAD}in no pool:{BAD:#} {} more than at the start, while pools hold {}: other allocations, of whatever library",
            size(memory.other_grown_bytes.unwrap_or(0).unsigned_abs()),
            match memory.pools_grown_bytes {
                grown if grown < 0 => format!("{} less", size(grown.unsigned_abs())),
                grown => format!("{} more", size(grown.unsigned_abs())),
            },
        )?;
    }
    if !found {
        writeln!(out, "{GOOD}nothing stands out{GOOD:#}")?;
    }
    Ok(())
}

/// What has changed since another look.
fn since(out: &mut impl Write, args: &PoolsArgs, then: &Look, now: &Look) -> io::Result<()> {
    let since = Since::of(then, now);
    let (which, seconds) =
        if since.seconds < 0.0 { ("later", -since.seconds) } else { ("ago", since.seconds) };
    write!(out, "compared with {} {which}", Age(Some(seconds)))?;
    if !since.same_process {
        write!(
            out,
            "; {BAD}another process{BAD:#}: pools cannot be told apart, and counts began anew"
        )?;
    }
    writeln!(out)?;
    if let (Some(before), Some(memory)) = (&then.memory, &now.memory) {
        writeln!(out)?;
        let mut place = |name, before: Option<u64>, bytes: Option<u64>| match (before, bytes) {
            (Some(before), Some(bytes)) => {
                writeln!(out, "{name:<14} {:>10} {:>11}", size(bytes), more(change(before, bytes)))
            }
            _ => Ok(()),
        };
        place("in pools", Some(before.pools_bytes), Some(memory.pools_bytes))?;
        place("cached blocks", Some(before.block_cache_bytes), Some(memory.block_cache_bytes))?;
        place("in no pool", before.other_bytes, memory.other_bytes)?;
        place("resident", before.resident_bytes, memory.resident_bytes)?;
    }
    writeln!(
        out,
        "\n{DIM}{:<32} {:>6} {:>8} {:>10} {:>11} {:>11} {:>8} {:>9}{DIM:#}",
        "account", "pools", "", "held", "", "reserved +", "made +", "refused +"
    )?;
    for row in &since.accounts {
        let path = row.path();
        let depth = 2 * path.len().saturating_sub(1);
        let name = format!("{:depth$}{}", "", Plain(path.last().map_or("", String::as_str)));
        let held = row.more(|account| account.held_bytes);
        // What is not known of the first has not changed, as far as can be told.
        let known =
            |figure: fn(&Account) -> u64| if since.held_only { 0 } else { row.more(figure) };
        let refused = known(|account| account.refused);
        writeln!(
            out,
            "{:<32} {:>6} {:>8} {:>10} {:>11} {:>11} {:>8} {}{:>9}{}  {}",
            clip(&name, 32),
            row.now.map_or(0, |account| account.live),
            count(known(|account| account.live)),
            size(row.now.map_or(0, |account| account.held_bytes)),
            more(held),
            more(known(|account| account.reserved_bytes)),
            count(known(|account| account.created)),
            if refused > 0 { BAD.render() } else { Style::new().render() },
            count(refused),
            if refused > 0 { BAD.render_reset() } else { Style::new().render_reset() },
            row.word(),
        )?;
    }
    if !since.same_process {
        return Ok(());
    }
    let whose = Column::of(since.grown.iter().take(args.top()).map(|grown| grown.pool));
    writeln!(
        out,
        "\n{DIM}  {:<44} {:>8} {:>10} {:>11}      {}  made at{DIM:#}",
        "pool that grew",
        "age",
        "held",
        "",
        whose.head()
    )?;
    for grown in since.grown.iter().take(args.top()) {
        writeln!(
            out,
            "  {:<44} {:>8} {:>10} {:>11}  {:<4}{}  {DIM}{}{DIM:#}",
            clip(&Plain(&now.label(grown.pool)).to_string(), 44),
            Age(grown.pool.age_seconds),
            size(grown.pool.held_bytes),
            more(grown.bytes),
            if grown.is_new { "new" } else { "" },
            whose.cell(grown.pool),
            Plain(&grown.pool.created_at),
        )?;
    }
    if since.grown.len() > args.top() {
        writeln!(out, "{DIM}  and {} more{DIM:#}", since.grown.len() - args.top())?;
    }
    for (sum, what) in [(since.shrunk, "hold less"), (since.gone, "are gone")] {
        if sum.pools > 0 {
            writeln!(out, "  {} {what}: {} fewer", sum.pools, size(sum.bytes))?;
        }
    }
    Ok(())
}

/// Whose pools are: as wide as these need, and not there where nobody says.
struct Column(usize);

impl Column {
    const WIDEST: usize = 64;

    fn of<'l>(pools: impl Iterator<Item = &'l Pool>) -> Self {
        let width = |pool: &Pool| pool.whose.text().chars().count();
        Self(pools.map(width).max().unwrap_or(0).min(Self::WIDEST))
    }

    fn head(&self) -> String {
        self.padded("whose")
    }

    fn cell(&self, pool: &Pool) -> String {
        self.padded(&pool.whose.plain().fitting(self.0, clip))
    }

    fn padded(&self, text: &str) -> String {
        if self.0 == 0 { String::new() } else { format!("  {text:<width$}", width = self.0) }
    }
}

/// A change in bytes, with its sign; nothing, if there is none.
fn more(bytes: i64) -> String {
    match bytes {
        0 => String::new(),
        1.. => format!("+{}", size(bytes.unsigned_abs())),
        _ => format!("-{}", size(bytes.unsigned_abs())),
    }
}

/// A change in a number, likewise.
fn count(change: i64) -> String {
    if change == 0 { String::new() } else { format!("{change:+}") }
}

/// Where the pools over age on accounts of this path were made, those of most pools first.
fn makers(look: &Look, path: &[String]) -> String {
    let mut makers: Vec<(&str, usize)> = Vec::new();
    for pool in look.pools.iter().filter(|pool| pool.over_age && pool.path == path) {
        match makers.iter_mut().find(|(place, _)| *place == pool.created_at) {
            Some((_, count)) => *count += 1,
            None => makers.push((&pool.created_at, 1)),
        }
    }
    makers.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let places: Vec<_> = makers.iter().take(3).map(|(place, _)| *place).collect();
    places.join(", ")
}

/// Whether what is in no pool has grown, and by more than what is in pools.
pub(super) fn grows_outside(memory: &Memory) -> bool {
    memory
        .other_grown_bytes
        .is_some_and(|grown| grown >= GROWN && grown > 2 * memory.pools_grown_bytes.max(0))
}

fn place(out: &mut impl Write, name: &str, bytes: u64, grown: Option<i64>) -> io::Result<()> {
    write!(out, "{name:<14} {:>10}", size(bytes))?;
    if let Some(grown) = grown {
        let sign = if grown < 0 { '-' } else { '+' };
        write!(out, "   {sign}{} since the start", size(grown.unsigned_abs()))?;
    }
    writeln!(out)
}

pub(super) fn size(bytes: u64) -> String {
    Bytes(usize::try_from(bytes).unwrap_or(usize::MAX)).to_string()
}

pub(super) fn percent(part: Option<u64>, whole: u64) -> String {
    match part {
        // Whatever a service says.
        Some(part) if whole > 0 => format!("{}%", 100 * u128::from(part) / u128::from(whole)),
        Some(_) => "0%".to_owned(),
        None => "-".to_owned(),
    }
}

/// The end of a long text: names differ there.
fn clip(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let rest: String = text.chars().skip(length - width + 2).collect();
    format!("..{rest}")
}

/// Text from elsewhere, without what would move a cursor or colour a terminal.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            // Control characters, and those that turn the direction of writing.
            let harmless = !c.is_control()
                && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            fmt::Write::write_char(f, if harmless { c } else { '\u{fffd}' })
        })
    }
}

/// A length of time in seconds: `7.3s`, `40s`, `12min`, `5h`, `3d`.
pub(super) struct Age(pub(super) Option<f64>);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            None => "-".to_owned(),
            Some(s) if s < 10.0 => format!("{s:.1}s"),
            Some(s) if s < 120.0 => format!("{s:.0}s"),
            Some(s) if s < 7200.0 => format!("{:.0}min", (s / 60.0).floor()),
            Some(s) if s < 172_800.0 => format!("{:.0}h", (s / 3600.0).floor()),
            Some(s) => format!("{:.0}d", (s / 86_400.0).floor()),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_move_the_cursor_or_hide_the_end() {
        assert_eq!(Plain("a\x1b[2Jb\n\u{202e}c").to_string(), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(clip("process/worker-0/connection#17", 16), "../connection#17");
        assert_eq!(clip("short", 16), "short");
    }

    #[test]
    fn whose_pools_are_is_harmless_and_as_wide_as_it_has_to_be() {
        let pool = |whose: serde_json::Value| -> Pool {
            let mut pool = serde_json::json!({ "path": ["p"], "created_at": "", "held_bytes": 0, "peak_bytes": 0,
                "refused": 0 });
            for (name, value) in whose.as_object().expect("fields") {
                pool[name] = value.clone();
            }
            serde_json::from_value(pool).expect("a pool")
        };
        let none = pool(serde_json::json!({}));
        assert_eq!(Column::of([&none].into_iter()).cell(&none), "");
        let evil = pool(
            serde_json::json!({ "request": "GET /\x1b[2J\n\u{202e}", "status": 200, "peer": "::1" }),
        );
        let column = Column::of([&none, &evil].into_iter());
        assert_eq!(column.cell(&evil), "  GET /\u{fffd}[2J\u{fffd}\u{fffd} 200 from ::1");
        assert_eq!(column.cell(&none).len(), column.head().len());
        let long = format!("GET /{}/end", "x".repeat(90));
        let long =
            pool(serde_json::json!({ "request": long, "status": 404, "peer": "10.0.0.7:1" }));
        let cell = Column::of([&long].into_iter()).cell(&long);
        assert!(cell.starts_with("  ..xx") && cell.ends_with("x/end 404"), "{cell}");
        assert_eq!(cell.len(), 2 + Column::WIDEST);
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [
            (0.04, "0.0s"),
            (7.26, "7.3s"),
            (61.0, "61s"),
            (300.0, "5min"),
            (7300.0, "2h"),
            (1e6, "11d"),
        ] {
            assert_eq!(Age(Some(seconds)).to_string(), text);
        }
        assert_eq!(format!("{:>5}", Age(None)), "    -");
    }
}
