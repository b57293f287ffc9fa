//! Rates, spans, sizes and shares as people write them.

use std::time::Duration;

/// `20mbit` as bits a second.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let scales = [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)];
    let rate = scaled(text, &scales).ok_or("write a rate such as 20mbit or 500kbit")?;
    whole(rate)
        .filter(|&rate| rate > 0)
        .ok_or_else(|| "a rate is above zero".to_owned())
}

/// `25ms` as a span of time.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let scales = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let seconds = scaled(text, &scales).ok_or("write a time such as 25ms or 1.5s")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// `125kB` as bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let scales = [("MB", 1e6), ("kB", 1e3), ("B", 1.0)];
    let size = scaled(text, &scales).and_then(whole);
    size.ok_or_else(|| "write a size such as 125kB or 3000B".to_owned())
}

/// `1%` as 0.01.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share = scaled(text, &[("%", 0.01)]).filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a share such as 1% or 0.5%".to_owned())
}

fn scaled(text: &str, scales: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let (number, scale) = scales
        .iter()
        .find_map(|&(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    let number: f64 = number.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * scale)
}

/// The nearest whole number, if it is one that is counted exactly.
fn whole(value: f64) -> Option<u64> {
    (value < 9e15).then(|| value.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        assert_eq!(rate("20mbit"), Ok(20_000_000));
        assert_eq!(rate("1.5 gbit"), Ok(1_500_000_000));
        assert!(rate("0mbit").is_err());
        assert!(rate("20").is_err());
        assert_eq!(span("25ms"), Ok(Duration::from_millis(25)));
        assert_eq!(span("1.5s"), Ok(Duration::from_millis(1_500)));
        assert!(span("-1s").is_err());
        assert_eq!(bytes("125kB"), Ok(125_000));
        assert!(bytes("x").is_err());
        assert_eq!(share("1%"), Ok(0.01));
        assert!(share("101%").is_err());
        assert!(share("0.1").is_err());
    }
}
