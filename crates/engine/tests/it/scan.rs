//! The guarantee of `SCAN`: what stays is returned, whatever happens between two steps.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use engine::{Engine, FjallEngine, Options};
use kv_core::{Batch, Command, begin_payload};
use stdx::{ByteSize, Prng, Term};

use crate::workload::temporary;

fn apply(engine: &FjallEngine, batch: &Batch) {
    let mut payload = BytesMut::new();
    begin_payload(&mut payload, 1);
    payload.extend_from_slice(batch.bytes());
    engine
        .apply(engine.applied().next(), Term::new(1), &payload, None)
        .unwrap();
}

fn put_all(engine: &FjallEngine, keys: impl Iterator<Item = String>) {
    let mut batch = Batch::new();
    keys.for_each(|key| batch.put(key.as_bytes(), b"value"));
    apply(engine, &batch);
}

#[test]
fn what_stays_is_returned_while_tables_split_shrink_and_leave_memory() {
    let dir = temporary();
    let roomy = Options::default();
    let mut engine = FjallEngine::open(dir.path(), roomy).unwrap();
    // Half of them in one slot, enough to split it; half everywhere.
    let name = |number: u64| match number % 2 {
        0 => format!("{{tag}}:{number}"),
        _ => format!("key:{number}"),
    };
    put_all(&engine, (0..8_000).map(name));
    let stays: BTreeSet<_> = (0..8_000).map(|number| Bytes::from(name(number))).collect();
    let mut prng = Prng::from_seed(1);
    let (mut cursor, mut steps, mut seen) = (0, 0, BTreeSet::new());
    let mut number = 8_000;
    loop {
        let page = engine.view().scan(cursor, 100, &|_| true).unwrap();
        assert!(
            page.keys.len() < 2_000,
            "a step of bounded size: {}",
            page.keys.len()
        );
        seen.extend(page.keys);
        cursor = page.cursor;
        if cursor == 0 {
            break;
        }
        steps += 1;
        match steps % 7 {
            // Others come, by and by enough to split parts again.
            0 => {
                put_all(&engine, (number..number + 2_000).map(name));
                number += 2_000;
            }
            // And go.
            1 => {
                let gone: Vec<_> = (0..50)
                    .map(|_| name(8_000 + prng.below(number - 7_999)))
                    .collect();
                let mut batch = Batch::new();
                let keys = gone.iter().map(String::as_bytes).collect();
                batch.push(&Command::Delete { keys });
                apply(&engine, &batch);
            }
            2 => drop(engine.checkpoint().unwrap()),
            // The node restarts, with less memory or with more.
            3 => {
                engine.persist().unwrap();
                drop(engine);
                let small = Options {
                    memory_bytes_max: ByteSize::kib(300),
                    ..roomy
                };
                let options = if steps % 2 == 0 { roomy } else { small };
                engine = FjallEngine::open(dir.path(), options).unwrap();
            }
            _ => {}
        }
    }
    assert!(steps > 8, "{steps}");
    let missing: Vec<_> = stays.difference(&seen).collect();
    assert_eq!(missing, Vec::<&Bytes>::new());
}

#[test]
fn a_filter_and_a_foreign_cursor() {
    let dir = temporary();
    let engine = FjallEngine::open(dir.path(), Options::default()).unwrap();
    put_all(&engine, (0..100).map(|number| format!("key:{number}")));
    let view = engine.view();
    view.warm(&[b"key:1", b"absent"]);
    let every = view.scan(0, 1_000, &|key| key.ends_with(b"7")).unwrap();
    assert_eq!((every.cursor, every.keys.len()), (0, 10));
    let none = view.scan(u64::MAX, 10, &|_| true).unwrap();
    assert_eq!((none.cursor, none.keys.len()), (0, 0));
    assert_eq!(view.keys(5, &|_| true).unwrap().len(), 5);
    assert_eq!(view.keys(0, &|_| true).unwrap().len(), 0);
    assert_eq!(view.keys_in_slot(u16::MAX, 5).unwrap().len(), 0);
    let page = view.list(b"key:", None, 0).unwrap();
    assert_eq!((page.items.len(), page.more), (0, true));
}
