//! Percentiles and ratios of what was measured.

/// The value that `share` (0 to 1) of the values do not exceed; the nearest rank.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
    let rank = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len());
    values[rank - 1]
}

/// A count as a number to divide.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub fn count(number: u64) -> f64 {
    number as f64
}
