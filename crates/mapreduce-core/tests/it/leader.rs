//! Who leads, on a key that is a variable.

use std::time::Duration;

use mapreduce_core::{Answer, Ask, LeaderTimes, Leadership, Standing, Term};
use stdx::Instant;

#[derive(Default)]
struct Key(Option<(u64, Term)>);

impl Key {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Read => Answer::Found(self.0.clone()),
            Ask::Write { term, expected } => {
                let version = self.0.as_ref().map(|(version, _)| *version);
                if version != expected {
                    return Answer::Conflict;
                }
                let next = version.unwrap_or(0) + 1;
                self.0 = Some((next, term));
                Answer::Written(next)
            }
        }
    }
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(1 + millis * 1_000_000)
}

fn one(owner: u64, millis: u64) -> Leadership {
    let times = LeaderTimes::new(Duration::from_secs(1), Duration::from_secs(5));
    Leadership::new(owner, String::new(), times, at(millis))
}

fn turn(key: &mut Key, one: &mut Leadership, millis: u64) {
    while let Some(ask) = one.poll_ask(at(millis)) {
        let answer = key.answer(ask);
        one.on_answer(at(millis), answer);
    }
}

#[test]
fn a_leader_that_lives_is_left_alone_and_a_dead_one_is_replaced() {
    let (mut key, mut first, mut second) = (Key::default(), one(1, 0), one(2, 0));
    for millis in (0..60_000).step_by(100) {
        turn(&mut key, &mut first, millis);
        turn(&mut key, &mut second, millis);
        assert_eq!(first.standing(), Standing::Leads);
        assert_eq!(second.standing(), Standing::Waiting);
    }
    // The first one dies.
    let mut took = None;
    for millis in (60_000..80_000).step_by(100) {
        turn(&mut key, &mut second, millis);
        if second.standing() == Standing::Leads {
            took = took.or(Some(millis));
        }
    }
    let took = took.unwrap();
    assert!((64_000..66_500).contains(&took), "after {took} ms");
    // It was only asleep.
    turn(&mut key, &mut first, 80_000);
    assert_eq!(first.standing(), Standing::Deposed);
    assert_eq!(second.standing(), Standing::Leads);
}

#[test]
fn a_leader_that_cannot_write_gives_up_before_another_may_take_over() {
    let (mut key, mut first) = (Key::default(), one(1, 0));
    turn(&mut key, &mut first, 0);
    for millis in (100..4_900).step_by(100) {
        while first.poll_ask(at(millis)).is_some() {
            first.on_answer(at(millis), Answer::Failed);
        }
        assert_eq!(first.standing(), Standing::Leads, "{millis}");
    }
    assert_eq!(first.poll_ask(at(5_100)), None);
    assert_eq!(first.standing(), Standing::Deposed);
    assert_eq!(first.poll_timeout(), None);
}

#[test]
fn a_write_whose_answer_was_lost_still_counts() {
    let (mut key, mut first) = (Key::default(), one(1, 0));
    // Taking the key, and renewing it: both are done, and nobody says so.
    for millis in [0, 2_000] {
        loop {
            let ask = first.poll_ask(at(millis)).unwrap();
            let writes = matches!(ask, Ask::Write { .. });
            let answer = key.answer(ask);
            if writes {
                first.on_answer(at(millis), Answer::Failed);
                break;
            }
            first.on_answer(at(millis), answer);
        }
        for later in (millis + 100..millis + 1_000).step_by(100) {
            turn(&mut key, &mut first, later);
        }
        assert_eq!(first.standing(), Standing::Leads, "{millis}");
    }
}
