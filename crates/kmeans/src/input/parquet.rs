//! Parquet files whose columns are the coordinates.

use mapreduce_data::{Found, NumberTable};

use crate::input::{Format, InputError, Segment, objection};

/// The row groups of a file that have rows: each is read as a whole.
pub(crate) fn inspect(found: &Found) -> Result<Option<(Vec<Segment>, usize)>, InputError> {
    let table = NumberTable::inspect(&found.location, found.len)?;
    let mut before = 0;
    let mut segments = Vec::new();
    for (group, facts) in (0..).zip(&table.groups) {
        if facts.rows > 0 {
            segments.push(Segment {
                location: found.location.clone(),
                size: found.len,
                format: Format::Parquet { group, before },
                start: 0,
                length: facts.bytes.max(1),
            });
        }
        before += facts.rows;
    }
    let columns = table.columns.len();
    Ok((!segments.is_empty() && columns > 0).then_some((segments, columns)))
}

/// Calls `visit` with every row of a row group until it answers false.
pub(crate) fn read(
    segment: &Segment,
    (group, before): (u64, u64),
    dimension: usize,
    mut visit: impl FnMut(&[f64]) -> bool,
) -> Result<(), InputError> {
    let mut row = before;
    let mut wrong = None;
    let check = |values: &[f64]| {
        let what = match values.iter().find_map(|&value| objection(value)) {
            _ if values.len() != dimension => Some("has another length".to_owned()),
            Some(what) => Some(what + " (so does a null read)"),
            None => None,
        };
        if let Some(what) = what {
            wrong = Some(InputError::Row {
                path: segment.location.clone(),
                row,
                what,
            });
            return false;
        }
        row += 1;
        visit(values)
    };
    NumberTable::read(&segment.location, segment.size, group, check)?;
    wrong.map_or(Ok(()), Err)
}
