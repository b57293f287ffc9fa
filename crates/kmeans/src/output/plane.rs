//! Two dimensions of many: the first two principal components of a sample.

/// How points are seen from above.
#[derive(Debug)]
pub(super) struct Plane {
    mean: Vec<f64>,
    axes: [Vec<f64>; 2],
    /// The share of the variance that can be seen.
    pub(super) share: f64,
}

/// Directions of a gap of 5 % are found to three digits in this many.
const POWER_ITERATIONS: usize = 100;

impl Plane {
    /// Two dimensions stay as they are; one is drawn on a line.
    pub(super) fn of(sample: &[f64], dimension: usize) -> Self {
        let unit = |at: usize| {
            (0..dimension)
                .map(|j| f64::from(u8::from(j == at)))
                .collect()
        };
        let mut plane = Self {
            mean: vec![0.0; dimension],
            axes: [unit(0), unit(1)],
            share: 1.0,
        };
        if dimension <= 2 || sample.is_empty() {
            return plane;
        }
        let rows = (sample.len() / dimension) as f64;
        for row in sample.chunks_exact(dimension) {
            plane
                .mean
                .iter_mut()
                .zip(row)
                .for_each(|(mean, x)| *mean += x / rows);
        }
        let mean = plane.mean.clone();
        let centred: Vec<f64> = sample
            .iter()
            .zip(mean.iter().cycle())
            .map(|(x, m)| x - m)
            .collect();
        let total: f64 = centred.iter().map(|x| x * x).sum();
        let first = principal(&centred, dimension, None);
        let second = principal(&centred, dimension, Some(&first));
        let seen: f64 = [&first, &second]
            .into_iter()
            .map(|axis| variance(&centred, axis))
            .sum();
        plane.share = if total > 0.0 { seen / total } else { 1.0 };
        plane.axes = [first, second];
        plane
    }

    pub(super) fn project(&self, row: &[f64]) -> [f64; 2] {
        let along = |axis: &[f64]| {
            let terms = row.iter().zip(&self.mean).zip(axis);
            terms.map(|((x, mean), axis)| (x - mean) * axis).sum()
        };
        [along(&self.axes[0]), along(&self.axes[1])]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn variance(centred: &[f64], axis: &[f64]) -> f64 {
    centred
        .chunks_exact(axis.len())
        .map(|row| dot(row, axis).powi(2))
        .sum()
}

/// The direction of the largest variance, orthogonal to another: power iteration, from a start
/// that no symmetry of the data is likely to share.
fn principal(centred: &[f64], dimension: usize, other: Option<&Vec<f64>>) -> Vec<f64> {
    let mut axis: Vec<f64> = (0..dimension)
        .map(|j| 1.0 + 1.0 / (j as f64 + 2.0))
        .collect();
    for _ in 0..POWER_ITERATIONS {
        let mut next = vec![0.0; dimension];
        for row in centred.chunks_exact(dimension) {
            let along = dot(row, &axis);
            next.iter_mut()
                .zip(row)
                .for_each(|(next, x)| *next += along * x);
        }
        if let Some(other) = other {
            let along = dot(&next, other);
            next.iter_mut()
                .zip(other)
                .for_each(|(next, x)| *next -= along * x);
        }
        let length = dot(&next, &next).sqrt();
        if length == 0.0 {
            break;
        }
        axis = next.into_iter().map(|x| x / length).collect();
    }
    // The sign is free: make it the same on every machine.
    let largest = axis.iter().fold(
        0.0f64,
        |most, x| if x.abs() > most.abs() { *x } else { most },
    );
    if largest < 0.0 {
        axis.iter_mut().for_each(|x| *x = -*x);
    }
    axis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_directions_are_found() {
        // A flat cross in the plane of (1, 1, 0) and (0, 0, 1).
        let mut sample = Vec::new();
        for step in -10..=10 {
            let t = f64::from(step);
            sample.extend([5.0 + t, 5.0 + t, 2.0]);
            sample.extend([5.0, 5.0, 2.0 + t / 2.0]);
        }
        let plane = Plane::of(&sample, 3);
        assert!(plane.share > 0.999);
        let [x, y] = plane.project(&[6.0, 6.0, 2.0]);
        assert!((x.abs() - 2f64.sqrt()).abs() < 1e-6, "{x}");
        assert!(y.abs() < 1e-6, "{y}");
    }

    #[test]
    fn two_dimensions_stay_as_they_are() {
        assert_eq!(Plane::of(&[1.0, 2.0], 2).project(&[3.0, 4.0]), [3.0, 4.0]);
        assert_eq!(Plane::of(&[1.0], 1).project(&[3.0]), [3.0, 0.0]);
    }
}
