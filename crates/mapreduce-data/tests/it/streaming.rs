//! Programs: the protocol, failures, and pipes that must not lock up.

use std::fs;
use std::process::Command;

use mapreduce_data::{FunctionSpec, StreamingSpec, TaskError, UserError};

use crate::world::{World, have, text, word_counts};

const MAP: &str = r#"
import sys
for line in sys.stdin:
    for word in line.split():
        print(word + "\t1")
sys.stderr.write("reporter:counter:words,tasks,1\nreporter:status:mapped\nhello\n")
"#;

const REDUCE: &str = r#"
import sys
last, count = None, 0
for line in sys.stdin:
    word, _, n = line.rstrip("\n").partition("\t")
    if word != last:
        if last is not None:
            print(last + "\t" + str(count))
        last, count = word, 0
    count += int(n)
if last is not None:
    print(last + "\t" + str(count))
"#;

fn streaming(map: &str, reduce: Option<&str>) -> FunctionSpec {
    FunctionSpec::Streaming(StreamingSpec {
        map: map.to_owned(),
        reduce: reduce.map(str::to_owned),
        ..StreamingSpec::default()
    })
}

#[test]
fn scripts_count_words_with_and_without_a_combiner() {
    if !have("python3") {
        return;
    }
    let mut world = World::new();
    let map = format!("python3 '{}'", world.write("a map.py", MAP));
    let reduce = format!("python3 '{}'", world.write("reduce.py", REDUCE));
    let text = text(6, 150_000);
    let input = [world.write("text", &text)];
    let made = world
        .try_run(&streaming(&map, Some(&reduce)), &input)
        .unwrap();
    let tasks: i64 = made
        .maps
        .iter()
        .filter_map(|map| map.counters.value("words:tasks"))
        .sum();
    assert_eq!(usize::try_from(tasks), Ok(made.maps.len()));
    let outputs: Vec<Vec<u8>> = made
        .reduces
        .iter()
        .map(|reduce| fs::read(&reduce.file).unwrap())
        .collect();
    assert_eq!(crate::world::sorted_lines(&outputs), word_counts(&text));
    let FunctionSpec::Streaming(mut spec) = streaming(&map, Some(&reduce)) else {
        unreachable!()
    };
    spec.combine = Some(reduce);
    world.memory_bytes = 4 << 20;
    let combined = world
        .try_run(&FunctionSpec::Streaming(spec), &input)
        .unwrap();
    let pairs = |made: &mapreduce_data::local::LocalOutput| {
        let extents = made.maps.iter().flat_map(|map| &map.extents);
        extents.map(|extent| extent.records).sum::<u64>()
    };
    assert!(
        pairs(&combined) < pairs(&made) / 2,
        "the combiner merged pairs"
    );
    let again: Vec<Vec<u8>> = combined
        .reduces
        .iter()
        .map(|reduce| fs::read(&reduce.file).unwrap())
        .collect();
    assert_eq!(again, outputs);
}

#[test]
fn lines_without_a_tab_are_keys_and_no_reducer_means_sorted_pairs() {
    let mut world = World::new();
    world.partitions = 1;
    let input = [world.write("text", "b\tx\ty\na\nb\t\n")];
    let found = world.run(&streaming("cat", None), &input);
    assert_eq!(found, [b"a\nb\tx\ty\nb\n"]);
    let found = world.run(&streaming("cat", Some("cat")), &input);
    assert_eq!(found, [b"a\t\nb\tx\ty\nb\t\n"]);
}

#[test]
fn a_program_that_writes_far_more_than_it_reads_does_not_lock_up() {
    let mut world = World::new();
    world.split_bytes = 1 << 30;
    // Each line becomes 200; nothing is read while they are written.
    let map = r#"sh -c 'while read line; do yes "$line" | head -n 200; echo noise >&2; done'"#;
    let text: String = (0..60)
        .map(|n| format!("{n:03}-{}\n", "x".repeat(2_000)))
        .collect();
    let input = [world.write("text", &text)];
    let lines = world.lines(&streaming(map, None), &input);
    assert_eq!(lines.len(), 60 * 200);
    assert!(
        lines
            .iter()
            .step_by(200)
            .map(String::as_str)
            .eq(text.lines())
    );
}

#[test]
fn a_program_that_stops_reading_is_fine_if_it_ends_well() {
    let mut world = World::new();
    world.split_bytes = 1 << 30;
    let input = [world.write("text", "line\n".repeat(500_000))];
    assert_eq!(
        world.lines(&streaming("head -n 2", None), &input),
        ["line", "line"]
    );
}

#[test]
fn a_failure_has_the_exit_code_and_the_end_of_standard_error() {
    let world = World::new();
    let input = [world.write("text", "line\n")];
    let fails = "sh -c 'cat >/dev/null; echo reporter:status:x >&2; echo it broke >&2; exit 3'";
    for job in [streaming(fails, None), streaming("cat", Some(fails))] {
        let error = world.try_run(&job, &input).unwrap_err();
        let TaskError::User {
            record: None,
            source: UserError::Exit { status, stderr, .. },
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(
            (status.as_str(), stderr.as_str()),
            ("exit code 3", "it broke")
        );
    }
    let killed = streaming("sh -c 'kill -9 $$'", None);
    let error = world.try_run(&killed, &input).unwrap_err();
    let TaskError::User {
        source: UserError::Exit { status, .. },
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(status, "signal 9");
}

#[test]
fn a_program_that_is_not_there_can_not_be_started() {
    let world = World::new();
    let input = [world.write("text", "line\n")];
    let error = world
        .try_run(&streaming("no-such-program-here", None), &input)
        .unwrap_err();
    let expected = matches!(
        error,
        TaskError::User {
            source: UserError::Start { .. },
            ..
        }
    );
    assert!(expected, "{error:?}");
}

#[test]
fn programs_know_their_task() {
    let mut world = World::new();
    world.partitions = 2;
    let map = "sh -c 'cat >/dev/null; echo $mapreduce_job_reduces $mapreduce_task_partition $mapreduce_map_input_file'";
    let input = [world.write("text", "line\n")];
    assert_eq!(
        world.lines(&streaming(map, None), &input),
        [format!("2 0 {}", input[0])]
    );
}

#[test]
fn a_failed_task_leaves_no_program_behind() {
    let world = World::new();
    let mark = world.path("mark").display().to_string();
    // The mapper's child holds the pipe; the second record is too much for the task.
    let map = format!("sh -c 'sleep 987654 & echo $! >{mark}; head -c 70000000 /dev/zero; wait'");
    let input = [world.write("text", "line\n")];
    let error = world.try_run(&streaming(&map, None), &input).unwrap_err();
    assert!(
        matches!(
            error,
            TaskError::User {
                source: UserError::Failed(_),
                ..
            }
        ),
        "{error:?}"
    );
    let pid = fs::read_to_string(&mark).unwrap();
    let alive = Command::new("sh")
        .args([
            "-c",
            &format!(
                "grep -q sleep /proc/{}/comm && ! grep -q Z /proc/{}/stat",
                pid.trim(),
                pid.trim()
            ),
        ])
        .status()
        .unwrap();
    assert!(
        !alive.success(),
        "the sleeping child was killed with its group"
    );
}
