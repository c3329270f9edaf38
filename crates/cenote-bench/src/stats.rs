//! Medians, and how far the rounds lie from them.

/// A median and the median distance from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// The median of the distances from the median (MAD): half the rounds lie within it.
    pub(crate) mad: f64,
}

/// The middle of `values`.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The value that so many of a hundred do not exceed; nothing of nothing.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Median and spread; nothing of nothing.
pub(crate) fn spread(values: &[f64]) -> Option<Spread> {
    let middle = median(values)?;
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    Some(Spread { median: middle, mad: median(&distances)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_round_moves_neither_median_nor_spread() {
        let calm = spread(&[10.0, 11.0, 12.0, 13.0, 14.0]).unwrap();
        let wild = spread(&[10.0, 11.0, 12.0, 13.0, 9_000.0]).unwrap();
        assert_eq!(calm, Spread { median: 12.0, mad: 1.0 });
        assert_eq!(wild, calm);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=70).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 10), Some(7.0));
        assert_eq!(percentile(&values, 100), Some(70.0));
        assert_eq!(percentile(&[5.0, 4.0], 10), Some(4.0));
        assert_eq!(percentile(&[], 10), None);
    }
}
