//! Assigning new points to centroids that were found before.

use kmeans_kernels::{Isa, Scale};

use crate::input::Dataset;
use crate::job::JobError;
use crate::part::{Part, Question};

/// What became of new points.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The nearest centroid of every row.
    pub assigned: Vec<u32>,
    /// The sum of squared distances.
    pub inertia: f64,
}

/// Assigns the points of a dataset, in this process.
///
/// # Errors
///
/// If the input can't be read, or the centroids are of another dimension.
pub fn predict(
    dataset: &Dataset,
    (dimension, centers): (usize, &[f64]),
    threads: usize,
    isa: Isa,
) -> Result<Prediction, JobError> {
    if dimension != dataset.dimension() {
        return Err(JobError::Options(format!(
            "the centroids have {dimension} coordinates, the points {}",
            dataset.dimension()
        )));
    }
    let shift = dataset.shift();
    let whole = dataset.split(1).concat();
    let mut part = Part::read(&whole, shift, threads, isa)?;
    let facts = part.facts();
    let shifts = shift.iter().cycle();
    let centred: Vec<f64> = centers
        .iter()
        .zip(shifts)
        .map(|(c, shift)| c - shift)
        .collect();
    let scale = Scale::new(facts.magnitude, facts.rows);
    let most = centred
        .iter()
        .fold(f64::from(facts.magnitude), |most, c| most.max(c.abs()));
    let largest = 8.0 * most * most * dimension as f64;
    let question = Question::Inertia {
        largest,
        scale: scale.exponent(),
    };
    let answer = part.ask(question, &centred);
    let mut inertia = kmeans_kernels::Exact::new(largest);
    inertia.add_raw(answer.total);
    Ok(Prediction {
        assigned: part.assign(&centred, scale),
        inertia: inertia.value(),
    })
}
