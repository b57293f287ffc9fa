//! The same as scikit-learn from the same start: inertia, iterations, clusters and centroids.

use serde_json::Value;

use crate::{fixture, testdata};

fn check(name: &str) {
    let text = std::fs::read_to_string(testdata("expected.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let expected = &all[name];
    let k = usize::try_from(expected["k"].as_u64().unwrap()).unwrap();
    for parts in [1, 3] {
        let (outcome, assigned) = fixture(name, k, parts);
        let inertia = expected["inertia"].as_f64().unwrap();
        let error = (outcome.inertia / inertia - 1.0).abs();
        assert!(error < 1e-6, "{name}: {} but {inertia}", outcome.inertia);
        assert!(outcome.converged);
        assert_eq!(
            outcome.iterations.len() as u64,
            expected["iterations"].as_u64().unwrap()
        );
        let counts: Vec<u64> = serde_json::from_value(expected["counts"].clone()).unwrap();
        assert_eq!(outcome.counts, counts, "{name}");
        let centers: Vec<Vec<f64>> = serde_json::from_value(expected["centers"].clone()).unwrap();
        for (ours, theirs) in outcome.centers.iter().zip(centers.iter().flatten()) {
            assert!(
                (ours - theirs).abs() < 1e-5 * (1.0 + theirs.abs()),
                "{ours} but {theirs}"
            );
        }
        let mut counted = vec![0; k];
        assigned
            .iter()
            .for_each(|&center| counted[center as usize] += 1);
        assert_eq!(counted, counts);
        // The inertia from the sums agrees with the one from the distances.
        let last = outcome.iterations.last().unwrap().inertia.unwrap();
        assert!((last / outcome.inertia - 1.0).abs() < 1e-9, "{last}");
    }
}

#[test]
fn iris() {
    check("iris");
}

#[test]
fn digits() {
    check("digits");
}

#[test]
fn blobs() {
    check("blobs");
}
