//! The built-in jobs against plain computations.

use std::collections::{BTreeMap, BTreeSet};

use mapreduce_data::{ShuffleCompression, SpecError, TaskError, builtin_jobs};

use crate::world::{World, builtin, sorted_lines, text, word_counts};

#[test]
fn word_count_counts_whatever_the_splits_and_threads() {
    let mut world = World::new();
    let text = text(1, 400_000);
    let input = [world.write("text", &text)];
    let job = builtin("wordcount", &[]);
    let first = world.run(&job, &input);
    assert_eq!(sorted_lines(&first), word_counts(&text));
    for (split_bytes, threads, compression) in [
        (1 << 30, 1, ShuffleCompression::Always),
        (100_003, 3, ShuffleCompression::Never),
        (1_001, 2, ShuffleCompression::Auto),
    ] {
        world.split_bytes = split_bytes;
        world.threads = threads;
        world.compression = compression;
        assert_eq!(
            world.run(&job, &input),
            first,
            "{split_bytes} bytes a split"
        );
    }
}

#[test]
fn words_can_be_letters_as_in_the_original() {
    let world = World::new();
    let input = [world.write("text", "It's 10 o'clock: it's d\u{e9}j\u{e0}-vu\nO!\n")];
    let lines = world.lines(&builtin("wordcount", &[("words", "letters")]), &input);
    let expected = [
        "It\t1",
        "O\t1",
        "clock\t1",
        "d\u{e9}j\u{e0}\t1",
        "it\t1",
        "o\t1",
        "s\t2",
        "vu\t1",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn sort_gives_a_total_order_over_all_files() {
    let mut world = World::new();
    world.partitions = 5;
    world.threads = 2;
    let text = text(2, 300_000);
    let inputs = [
        world.write("a", &text),
        world.write("b", "last line without an end"),
    ];
    let outputs = world.run(&builtin("sort", &[]), &inputs);
    let mut expected: Vec<&str> = text.lines().collect();
    expected.push("last line without an end");
    expected.sort_unstable();
    let found = outputs.concat();
    let found: Vec<&str> = core::str::from_utf8(&found).unwrap().lines().collect();
    assert_eq!(found, expected);
    let total: usize = outputs.iter().map(Vec::len).sum();
    let largest = outputs.iter().map(Vec::len).max().unwrap();
    assert!(
        largest < total / 2,
        "the sample spreads the keys: {largest} of {total}"
    );
}

#[test]
fn sort_of_few_or_no_lines_has_empty_files() {
    let mut world = World::new();
    world.partitions = 4;
    let input = [world.write("none", "")];
    assert_eq!(world.run(&builtin("sort", &[]), &input).concat(), b"");
    let input = [world.write("two", "b\na\nb\n")];
    assert_eq!(
        world.run(&builtin("sort", &[]), &input).concat(),
        b"a\nb\nb\n"
    );
}

#[test]
fn distinct_gives_each_line_once() {
    let world = World::new();
    let lines: String = (0..5_000).map(|n| format!("line {}\n", n % 700)).collect();
    let input = [world.write("lines", &lines)];
    let expected: BTreeSet<&str> = lines.lines().collect();
    let found = world.lines(&builtin("distinct", &[]), &input);
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn grep_says_where_lines_match() {
    let mut world = World::new();
    world.split_bytes = 10;
    let text = "no\nyes 1\nno\nand yes 2\n";
    let input = [world.write("text", text)];
    let found = world.lines(&builtin("grep", &[("pattern", r"yes \d")]), &input);
    let at = &input[0];
    assert_eq!(
        found,
        [format!("{at}:12:and yes 2"), format!("{at}:3:yes 1")]
    );
}

#[test]
fn the_inverted_index_names_files_in_order() {
    let mut world = World::new();
    world.split_bytes = 8;
    let names = ["c", "a", "b"];
    let inputs = names.map(|name| world.write(name, format!("all all {name} all\nall\n")));
    let found = world.lines(&builtin("inverted-index", &[]), &inputs);
    let [c, a, b] = &inputs;
    let expected = [
        format!("a\t1 {a}"),
        format!("all\t3 {a},{b},{c}"),
        format!("b\t1 {b}"),
        format!("c\t1 {c}"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn join_pairs_the_lines_of_two_inputs() {
    let mut world = World::new();
    world.split_bytes = 20;
    let left: Vec<(u32, u32)> = (0..60).map(|n| (n % 20, n)).collect();
    let right: Vec<(u32, u32)> = (0..40).map(|n| (n % 25 + 5, n)).collect();
    let left_text: String = left
        .iter()
        .map(|(key, n)| format!("l{n},\"{key}\"\n"))
        .collect();
    let right_text: String = right
        .iter()
        .map(|(key, n)| format!("{key},r{n}\n"))
        .collect();
    let inputs = [
        world.write("left.csv", left_text),
        world.write("right.csv", right_text),
    ];
    let job = builtin("join", &[("delimiter", ","), ("key", "2,1")]);
    let mut by_key: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (key, n) in right {
        by_key.entry(key).or_default().push(n);
    }
    let mut expected: Vec<String> = left
        .iter()
        .flat_map(|(key, l)| {
            let right = by_key.get(key).cloned().unwrap_or_default();
            right.into_iter().map(move |r| format!("{key},l{l},r{r}"))
        })
        .collect();
    expected.sort();
    assert_eq!(world.lines(&job, &inputs), expected);
}

#[test]
fn a_job_that_can_not_be_is_refused() {
    let world = World::new();
    let input = [world.write("text", "a\n")];
    let cases = [
        builtin("wordcuont", &[]),
        builtin("wordcount", &[("words", "syllables")]),
        builtin("wordcount", &[("wrods", "letters")]),
        builtin("grep", &[]),
        builtin("grep", &[("pattern", "(")]),
        builtin("join", &[("key", "0")]),
        builtin("join", &[("delimiter", "ab")]),
        builtin("sort", &[("boundaries", "62,61")]),
    ];
    for job in cases {
        let error = world.try_run(&job, &input).unwrap_err();
        let expected = matches!(
            error,
            TaskError::Spec(SpecError::Unknown { .. } | SpecError::Argument { .. })
        );
        assert!(expected, "{job:?}: {error}");
    }
    assert_eq!(builtin_jobs().count(), 6);
}
