//! Which columns fit, how wide they are, and what stands in them.

use unicode_truncate::UnicodeTruncateStr;

use super::rows::Line;
use crate::pools::Sort;
use crate::pools::draw::{Age, percent, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Pools,
    Made,
    Held,
    Reserved,
    Used,
    Peak,
    Recent,
    Limit,
    Refused,
    Age,
    Whose,
    MadeAt,
}

/// From left to right.
const COLUMNS: [Column; 13] = [
    Column::Name,
    Column::Pools,
    Column::Made,
    Column::Held,
    Column::Reserved,
    Column::Used,
    Column::Peak,
    Column::Recent,
    Column::Limit,
    Column::Refused,
    Column::Age,
    Column::Whose,
    Column::MadeAt,
];

/// What is left out last comes first. The name is always there, and so is what is sorted by.
const RANK: [Column; 12] = [
    Column::Held,
    Column::Used,
    Column::Peak,
    Column::Age,
    Column::Whose,
    Column::Refused,
    Column::Limit,
    Column::Recent,
    Column::Pools,
    Column::Made,
    Column::Reserved,
    Column::MadeAt,
];

/// What a name has before it.
const MARK: u16 = 2;
/// Between two columns.
pub(super) const GAP: u16 = 1;

impl Column {
    fn of(sort: Sort) -> Self {
        match sort {
            Sort::Held => Column::Held,
            Sort::Used => Column::Used,
            Sort::Peak => Column::Peak,
            Sort::Recent => Column::Recent,
            Sort::Refused => Column::Refused,
            Sort::Age => Column::Age,
            Sort::Name => Column::Name,
        }
    }

    /// The least, where it takes what is left.
    fn width(self) -> u16 {
        match self {
            Column::Name | Column::Whose | Column::MadeAt => 20,
            Column::Pools => 6,
            Column::Used => 6,
            Column::Refused | Column::Age => 8,
            _ => 10,
        }
    }

    pub(super) fn is_text(self) -> bool {
        matches!(self, Column::Name | Column::Whose | Column::MadeAt)
    }

    fn word(self) -> &'static str {
        match self {
            Column::Name => "name",
            Column::Pools => "pools",
            Column::Made => "made",
            Column::Held => "held",
            Column::Reserved => "reserved",
            Column::Used => "used",
            Column::Peak => "peak",
            Column::Recent => "recent",
            Column::Limit => "limit",
            Column::Refused => "refused",
            Column::Age => "age",
            Column::Whose => "whose",
            Column::MadeAt => "made at",
        }
    }

    /// What stands over it; an arrow says that the rows are sorted by it, and which way they go.
    pub(super) fn head(self, sort: Sort, reverse: bool) -> String {
        if self != Column::of(sort) {
            return self.word().to_owned();
        }
        // Names begin with the least, all else with the most.
        let arrow = if reverse == (sort == Sort::Name) { '↓' } else { '↑' };
        format!("{}{arrow}", self.word())
    }

    pub(super) fn cell(self, line: &Line, width: u16) -> String {
        let figures = &line.figures;
        let or_dash = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), size);
        match self {
            Column::Name => {
                // A sign, and not only a colour.
                let mark = if line.over_age { '!' } else { ' ' };
                format!("{mark} {}", clip(&line.name, width.saturating_sub(MARK)))
            }
            Column::Pools => line.pools.map_or_else(String::new, |(live, _)| live.to_string()),
            Column::Made => line.pools.map_or_else(String::new, |(_, made)| made.to_string()),
            Column::Held => size(figures.held),
            Column::Reserved => size(figures.reserved),
            Column::Used => {
                percent(figures.used, figures.held - figures.reserved.min(figures.held))
            }
            Column::Peak => size(figures.peak),
            Column::Recent => or_dash(figures.recent),
            Column::Limit => or_dash(figures.limit),
            Column::Refused => figures.refused.to_string(),
            Column::Age => Age(figures.age).to_string(),
            Column::Whose => line.whose.fitting(width.into(), |text, width| {
                clip(text, u16::try_from(width).unwrap_or(u16::MAX))
            }),
            Column::MadeAt => clip(&line.made_at, width),
        }
    }
}

/// The columns for so many cells of width, each with its own.
pub(super) fn fitting(
    width: u16,
    sort: Sort,
    longest_name: usize,
    longest_whose: usize,
    reserves: bool,
) -> Vec<(Column, u16)> {
    let by = Column::of(sort);
    let others = RANK.into_iter().filter(|&column| column != by);
    let by_rank = std::iter::once(by).filter(|&column| column != Column::Name).chain(others);
    let mut taken = vec![Column::Name];
    let mut left = width.saturating_sub(Column::Name.width());
    let is_told = |column: Column| match column {
        Column::Reserved => reserves,
        Column::Whose => longest_whose > 0,
        _ => true,
    };
    for column in by_rank.filter(|&column| is_told(column)) {
        // Rank is rank: a narrow one does not take the place of one that says more.
        let Some(rest) = left.checked_sub(GAP + column.width()) else { break };
        left = rest;
        taken.push(column);
    }
    // Names take what is left as far as they need it, then whose they are, and places the rest.
    let needs = |column: Column, longest: usize| {
        u16::try_from(longest).unwrap_or(u16::MAX).saturating_sub(column.width())
    };
    let [is_whose, is_placed] =
        [Column::Whose, Column::MadeAt].map(|column| taken.contains(&column));
    let more = needs(Column::Name, longest_name.saturating_add(MARK.into())).min(left);
    let more = if is_whose || is_placed { more } else { left };
    let whose = if is_whose { needs(Column::Whose, longest_whose).min(left - more) } else { 0 };
    let whose = if is_placed || !is_whose { whose } else { left - more };
    let wide = |column: Column| match column {
        Column::Name => (column.width() + more).min(width),
        Column::Whose => column.width() + whose,
        Column::MadeAt => column.width() + left - more - whose,
        _ => column.width(),
    };
    let fits = COLUMNS.into_iter().filter(|column| taken.contains(column));
    fits.map(|column| (column, wide(column))).collect()
}

/// The end of a long text, by the cells that it takes: names differ there.
pub(super) fn clip(text: &str, width: u16) -> String {
    let width = usize::from(width);
    let (kept, _) = text.unicode_truncate_start(width);
    if kept.len() == text.len() || width < 2 {
        return kept.to_owned();
    }
    let (end, _) = text.unicode_truncate_start(width - 2);
    format!("..{end}")
}
