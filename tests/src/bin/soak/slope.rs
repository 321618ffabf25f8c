//! How fast something grows, whatever single values do.

/// The median of the slopes between all pairs of values, per step (Theil and Sen): up to three in
/// ten values may be anything.
pub(super) fn slope(values: &[f64]) -> f64 {
    let pairs = values.iter().enumerate().flat_map(|(from, first)| {
        let later = values.iter().enumerate().skip(from + 1);
        later.map(move |(to, second)| (second - first) / (to - from) as f64)
    });
    let mut slopes: Vec<f64> = pairs.collect();
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_growth_is_found_under_outliers() {
        let values: Vec<f64> = (0..100)
            .map(|step| {
                if step % 5 == 0 {
                    1e9
                } else {
                    3.0 * f64::from(step)
                }
            })
            .collect();
        assert!((slope(&values) - 3.0).abs() < 0.5, "{}", slope(&values));
    }

    #[test]
    fn what_goes_up_and_down_does_not_grow() {
        let values: Vec<f64> = (0..100).map(|step| 1000.0 * f64::from(step % 7)).collect();
        assert!(slope(&values).abs() < 20.0, "{}", slope(&values));
        assert!(slope(&[]).abs() < f64::EPSILON && slope(&[5.0]).abs() < f64::EPSILON);
    }
}
