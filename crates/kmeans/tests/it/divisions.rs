//! Nothing depends on how the input is divided.

use std::fs;

use kmeans::{Init, Options, Outcome};

use crate::{bits, fit, fixture, testdata};

fn same(a: &(Outcome, Vec<u32>), b: &(Outcome, Vec<u32>)) -> bool {
    bits(&a.0.centers) == bits(&b.0.centers)
        && a.0.inertia.to_bits() == b.0.inertia.to_bits()
        && a.1 == b.1
}

#[test]
fn one_to_seven_parts_give_the_same_bits() {
    for (name, k) in [("iris", 3), ("blobs", 12), ("digits", 10)] {
        let whole = fixture(name, k, 1);
        for parts in 2..=7 {
            assert!(same(&whole, &fixture(name, k, parts)), "{name} in {parts}");
        }
    }
}

#[test]
fn every_seeding_is_the_same_for_any_division() {
    for init in [Init::Parallel, Init::PlusPlus, Init::Random, Init::First] {
        let run = |parts| {
            let options = Options {
                k: 12,
                mappers: parts,
                seed: 7,
                init: init.clone(),
                max_iterations: 3,
                restarts: 2,
                ..Options::default()
            };
            fit(&[testdata("blobs.csv")], &options).unwrap()
        };
        let whole = run(1);
        assert!(same(&whole, &run(4)), "{init}");
        assert!(same(&whole, &run(7)), "{init}");
    }
}

#[test]
fn mini_batches_are_the_same_for_any_division() {
    let run = |parts| {
        let options = Options {
            k: 12,
            mappers: parts,
            mini_batch: Some(300),
            max_iterations: 40,
            ..Options::default()
        };
        fit(&[testdata("blobs.csv")], &options).unwrap()
    };
    let whole = run(1);
    assert!(same(&whole, &run(5)));
    // And they find clusters: not much worse than all points would.
    let exact = fixture("blobs", 12, 1).0.inertia;
    assert!(
        whole.0.inertia < 1.3 * exact,
        "{} beside {exact}",
        whole.0.inertia
    );
    assert_eq!(whole.0.iterations.len(), 40);
}

#[test]
fn one_file_or_many_files_or_a_directory() {
    let text = fs::read_to_string(testdata("blobs.csv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = [0..1000, 1000..1001, 1001..3000]
        .into_iter()
        .enumerate()
        .map(|(at, range)| {
            let path = directory.path().join(format!("part-{at}.csv"));
            // With a header, Windows line ends, and no line end at the end.
            let body = lines[range].join("\r\n");
            fs::write(&path, format!("a,b,c,d,e,f,g,h\r\n{body}")).unwrap();
            path
        })
        .collect();
    let options = Options {
        k: 12,
        mappers: 3,
        tolerance: 0.0,
        init: Init::File(testdata("blobs-start.csv")),
        ..Options::default()
    };
    let whole = fixture("blobs", 12, 1);
    assert!(same(&whole, &fit(&paths, &options).unwrap()));
    assert!(same(
        &whole,
        &fit(&[directory.path().to_path_buf()], &options).unwrap()
    ));
}

#[test]
fn more_parts_than_points() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("points.txt");
    fs::write(&path, "0.4, 7.2 \n\n9.5, 1.0 \n0.1,8.1\n").unwrap();
    let run = |mappers| {
        let options = Options {
            k: 2,
            mappers,
            ..Options::default()
        };
        fit(std::slice::from_ref(&path), &options).unwrap()
    };
    let (outcome, assigned) = run(1);
    assert_eq!(outcome.rows, 3);
    assert_eq!(assigned[0], assigned[2]);
    assert_ne!(assigned[0], assigned[1]);
    assert!(same(&(outcome, assigned), &run(40)));
}

#[test]
fn data_far_from_the_origin_keeps_its_digits() {
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(testdata("iris.csv")).unwrap();
    let far = text.lines().map(|line| {
        let numbers = line
            .split(',')
            .map(|x| format!("{}", 1e8 + x.parse::<f64>().unwrap()));
        numbers.collect::<Vec<_>>().join(",") + "\n"
    });
    let path = directory.path().join("far.csv");
    fs::write(&path, far.collect::<String>()).unwrap();
    let run = |path| {
        let options = Options {
            k: 3,
            init: Init::First,
            ..Options::default()
        };
        fit(&[path], &options).unwrap()
    };
    let (near, far) = (run(testdata("iris.csv")), run(path));
    assert_eq!(near.1, far.1);
    assert!(
        (near.0.inertia / far.0.inertia - 1.0).abs() < 1e-5,
        "{}",
        far.0.inertia
    );
}
