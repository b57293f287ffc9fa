//! A sorted buffer through a combiner that works like a reducer (a streaming program).

use crate::counters::Counters;
use crate::error::{Stopped, TaskError, UserError};
use crate::function::{Output, Reducer, Values};
use crate::guard;
use crate::map::buffer::SortBuffer;
use crate::progress::Progress;
use crate::run::decode_record;

type Take<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), UserError> + 'a;

/// Gives all groups of `buffer`, which is sorted, to `reducer`, and what it makes to `take`.
pub(crate) fn run(
    buffer: &SortBuffer,
    mut reducer: Box<dyn Reducer>,
    counters: &mut Counters,
    progress: &Progress,
    take: &mut Take<'_>,
) -> Result<(), TaskError> {
    let mut out = Pairs {
        take,
        counters,
        progress,
        failure: None,
    };
    let result = guard::call(|| {
        let mut next = 0;
        while next < buffer.len() {
            let (_, pair) = buffer.pair(next);
            let (key, value, _) = decode_record(pair, 0).expect("this process encoded the pair");
            let key = &pair[key..value];
            let mut values = Group { buffer, key, next };
            reducer.reduce(key, &mut values, &mut out)?;
            while values.next().is_ok_and(|value| value.is_some()) {}
            next = values.next;
        }
        reducer.finish(&mut out)
    });
    let failure = out.failure;
    result.map_err(|error| TaskError::User {
        record: None,
        source: failure.unwrap_or(error),
    })
}

struct Group<'a> {
    buffer: &'a SortBuffer,
    key: &'a [u8],
    next: usize,
}

impl Values for Group<'_> {
    fn next(&mut self) -> Result<Option<&[u8]>, Stopped> {
        if self.next >= self.buffer.len() {
            return Ok(None);
        }
        let (_, pair) = self.buffer.pair(self.next);
        let (key, value, end) = decode_record(pair, 0).expect("this process encoded the pair");
        if &pair[key..value] != self.key {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(&pair[value..end]))
    }
}

struct Pairs<'a, 'b> {
    take: &'a mut Take<'b>,
    counters: &'a mut Counters,
    progress: &'a Progress,
    failure: Option<UserError>,
}

impl Output for Pairs<'_, '_> {
    fn write(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stopped> {
        (self.take)(key, value).map_err(|error| {
            self.failure.get_or_insert(error);
            Stopped
        })
    }

    fn write_line(&mut self, line: &[u8]) -> Result<(), Stopped> {
        let (key, value) = crate::streaming::split_pair(line);
        self.write(key, value)
    }

    fn count(&mut self, group: &str, name: &str, amount: i64) {
        self.counters.add(group, name, amount);
    }

    fn status(&mut self, text: &str) {
        self.progress.set_status(text);
    }
}
