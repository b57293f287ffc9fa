//! Empty clusters, restarts, prediction, and the files that a job writes.

use std::fs;
use std::path::PathBuf;

use kmeans::output::Results;
use kmeans::{Dataset, Init, Isa, Options};

use crate::{fit, names, testdata};

fn write(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn an_empty_cluster_gets_the_farthest_point() {
    let directory = tempfile::tempdir().unwrap();
    let points = write(
        &directory,
        "p.csv",
        "0,0\n1,0\n0,1\n1,1\n20,20\n21,20\n50,0\n",
    );
    // Nothing is nearest to the last two.
    let start = write(&directory, "start.csv", "0,0\n20,20\n900,900\n950,950\n");
    for mappers in 1..=3 {
        let options = Options {
            k: 4,
            mappers,
            init: Init::File(start.clone()),
            ..Options::default()
        };
        let (outcome, assigned) = fit(std::slice::from_ref(&points), &options).unwrap();
        assert_eq!(outcome.iterations[0].reseeded, [2, 3]);
        assert!(outcome.counts.iter().all(|&count| count > 0));
        // The farthest is (50, 0): it is the third cluster, and stays alone.
        assert_eq!(assigned[6], 2);
        assert_eq!(outcome.counts[2], 1);
    }
}

#[test]
fn fewer_different_points_than_clusters_leave_some_empty() {
    let directory = tempfile::tempdir().unwrap();
    let points = write(&directory, "p.csv", &"1,1\n2,2\n".repeat(10));
    for init in [Init::Parallel, Init::PlusPlus, Init::Random] {
        let options = Options {
            k: 5,
            init,
            ..Options::default()
        };
        let (outcome, _) = fit(std::slice::from_ref(&points), &options).unwrap();
        assert_eq!(
            outcome.counts.iter().filter(|&&count| count == 0).count(),
            3
        );
        assert_eq!(outcome.inertia, 0.0);
        assert_eq!(outcome.iterations.last().unwrap().empty.len(), 3);
    }
}

#[test]
fn the_best_of_several_runs_is_kept() {
    let options = |restarts| Options {
        k: 12,
        restarts,
        seed: 3,
        init: Init::Random,
        ..Options::default()
    };
    let input = [testdata("blobs.csv")];
    let (one, _) = fit(&input, &options(1)).unwrap();
    let (many, _) = fit(&input, &options(8)).unwrap();
    assert_eq!(many.runs.len(), 8);
    assert_eq!(many.runs[0], one.inertia);
    let least = many.runs.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(many.inertia, least);
    assert_eq!(many.runs[many.best_run as usize - 1], least);
    assert!(
        many.runs.iter().any(|&run| run != least),
        "other starts end elsewhere"
    );
}

#[test]
fn better_seeding_costs_less() {
    let potential = |init: Init| {
        let run = |seed| {
            let options = Options {
                k: 12,
                seed,
                max_iterations: 1,
                init: init.clone(),
                ..Options::default()
            };
            let (outcome, _) = fit(&[testdata("blobs.csv")], &options).unwrap();
            outcome.iterations[0].inertia.unwrap()
        };
        (0..10).map(run).sum::<f64>()
    };
    let (random, plus_plus) = (potential(Init::Random), potential(Init::PlusPlus));
    let parallel = potential(Init::Parallel);
    assert!(plus_plus < random, "{plus_plus} {random}");
    assert!(parallel < 0.9 * plus_plus, "{parallel} {plus_plus}");
}

#[test]
fn a_step_never_makes_it_worse() {
    let options = Options {
        k: 12,
        tolerance: 0.0,
        init: Init::Random,
        ..Options::default()
    };
    let (outcome, _) = fit(&[testdata("blobs.csv")], &options).unwrap();
    let history: Vec<f64> = outcome
        .iterations
        .iter()
        .filter_map(|it| it.inertia)
        .collect();
    assert!(history.len() > 5);
    assert!(
        history
            .windows(2)
            .all(|pair| pair[1] <= pair[0] * (1.0 + 1e-12)),
        "{history:?}"
    );
    assert!(outcome.inertia <= history[history.len() - 1] * (1.0 + 1e-12));
}

#[test]
fn files_are_complete_and_predict_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        k: 10,
        ..Options::default()
    };
    let dataset = Dataset::inspect(&names(&[testdata("digits.csv")])).unwrap();
    let (outcome, assigned) =
        kmeans::local::fit(&dataset, &options, Isa::detect(), &mut |_| {}).unwrap();
    for binary in [false, true] {
        let mut results = Results::create(directory.path(), 10, binary).unwrap();
        results.assign(&assigned[..1000]).unwrap();
        results.assign(&assigned[1000..]).unwrap();
        let files = results.finish(&outcome, &options).unwrap();
        assert_eq!(files.len(), 6);
    }
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    let lines: Vec<u32> = read("assignments.csv")
        .lines()
        .map(|l| l.parse().unwrap())
        .collect();
    assert_eq!(lines, assigned);
    let npy = directory.path().join("assignments.npy");
    let (columns, values) = kmeans::read_small(&npy.display().to_string()).unwrap();
    assert_eq!(columns, 1);
    assert!(
        values
            .iter()
            .zip(&assigned)
            .all(|(a, &b)| *a == f64::from(b))
    );
    assert_eq!(values.len(), assigned.len());
    let centroids = directory.path().join("centroids.csv");
    let (dimension, centers) = kmeans::read_small(&centroids.display().to_string()).unwrap();
    assert_eq!((dimension, &centers), (64, &outcome.centers));
    let found = kmeans::predict(&dataset, (dimension, &centers), 3, Isa::detect()).unwrap();
    assert_eq!(found.assigned, assigned);
    assert!((found.inertia / outcome.inertia - 1.0).abs() < 1e-9);
    let summary: serde_json::Value = serde_json::from_str(&read("summary.json")).unwrap();
    assert_eq!(summary["rows"], 1797);
    assert_eq!(
        summary["history"].as_array().unwrap().len(),
        outcome.iterations.len()
    );
    assert_eq!(
        read("iterations.csv").lines().count(),
        1 + outcome.iterations.len()
    );
    for (name, circles) in [
        ("clusters.svg", 1797 + 10),
        ("convergence.svg", 1 + outcome.iterations.len()),
    ] {
        let svg = read(name);
        assert!(
            svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
            "{name}"
        );
        assert_eq!(svg.matches("<circle ").count(), circles, "{name}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
    }
}
