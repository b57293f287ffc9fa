//! What a worker remembers about its points between iterations, and the step that uses it.

use std::ops::Range;

use crate::BLOCK;
use crate::block::Block;
use crate::centroids::{Centroids, apart};
use crate::fixed::{Moved, NOWHERE, Scale};
use crate::isa::Isa;
use crate::number::{above, short};
use crate::points::Points;
use crate::simd::accumulate;

/// A rounding of an addition and a product, generously.
const ENOUGH: f32 = 1.0 / 1_048_576.0;
/// Points are looked at in chunks that stay in the second-level cache, ...
const CHUNK_ROWS_MIN: usize = 8192;
/// ... but in larger ones if there are so many centroids that groups would be small, ...
const ROWS_PER_CENTROID: usize = 256;
/// ... up to this.
const CHUNK_ROWS_MAX: usize = 1 << 18;
/// Candidates are taken from a little farther than necessary, for a better lower bound.
const REACH: f32 = 1.15;
/// A pruned step that evaluated more than this share of all distances was not worth it.
const WORTH: f64 = 0.8;
/// After such a step one goes without bounds, after the next such step two, up to this many.
const PAUSE_MAX: u8 = 8;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Work {
    /// Points that failed their bounds.
    pub visited: u64,
    /// Distances that were evaluated for them, of `rows * k`.
    pub evaluated: u64,
    /// Points that changed their centroid.
    pub moved: u64,
}

impl Work {
    /// Adds another step's.
    pub const fn add(&mut self, other: Self) {
        self.visited += other.visited;
        self.evaluated += other.evaluated;
        self.moved += other.moved;
    }
}

/// Assignments, bounds and sums of one shard of points.
///
/// A cache: a fresh one gives the same assignments and sums, bit for bit.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The centroids that all the below is about; `None` before the first step.
    reference: Option<Centroids>,
    scale: Option<Scale>,
    assigned: Vec<u32>,
    /// Above the distance to the point's centroid.
    upper: Vec<f32>,
    /// Below the distance to every other centroid.
    lower: Vec<f32>,
    sums: Vec<i64>,
    counts: Vec<u64>,
    /// Steps left without bounds.
    pause: u8,
    /// How many there were the last time.
    last_pause: u8,
}

/// How one centroid and the others have moved.
#[derive(Clone, Copy, Debug)]
struct Drift {
    own: f32,
    others: f32,
    nearest: f32,
}

/// The tools of one step.
struct Step<'a> {
    points: &'a Points,
    centroids: &'a Centroids,
    factor: f64,
    slop: f32,
    isa: Isa,
    block: Block,
    candidates: Vec<u32>,
    moved: Vec<Moved>,
    work: Work,
}

impl State {
    /// Assigns every point to its nearest centroid and brings the sums up to date.
    ///
    /// # Panics
    ///
    /// If the points are not those of the last step, or have another dimension than the
    /// centroids.
    pub fn step(&mut self, isa: Isa, points: &Points, centroids: &Centroids, scale: Scale) -> Work {
        assert_eq!(points.dimension(), centroids.dimension(), "one space");
        let count = centroids.count();
        let usable = self.scale == Some(scale)
            && self
                .reference
                .as_ref()
                .is_some_and(|old| old.count() == count);
        if !usable {
            *self = Self {
                scale: Some(scale),
                assigned: vec![NOWHERE; points.rows()],
                upper: vec![0.0; points.rows()],
                lower: vec![0.0; points.rows()],
                sums: vec![0; count * points.dimension()],
                counts: vec![0; count],
                ..Self::default()
            };
        }
        assert_eq!(
            self.assigned.len(),
            points.rows(),
            "the points are those of the last step"
        );
        let mut step = Step {
            points,
            centroids,
            factor: scale.factor(),
            slop: centroids.slop(points.norm()),
            isa,
            block: Block::new(isa, points.dimension()),
            candidates: Vec::with_capacity(count),
            moved: Vec::with_capacity(BLOCK),
            work: Work::default(),
        };
        match self.reference.take() {
            Some(reference) if self.pause == 0 => {
                let table = drifts(&reference, centroids);
                self.pruned(&mut step, &table);
                let all = points.rows() as f64 * count as f64;
                if step.work.evaluated as f64 > WORTH * all {
                    self.pause = (2 * self.last_pause).clamp(1, PAUSE_MAX);
                    self.last_pause = self.pause;
                } else {
                    self.last_pause = 0;
                }
            }
            _ => {
                self.pause = self.pause.saturating_sub(1);
                self.dense(&mut step);
            }
        }
        self.reference = Some(centroids.clone());
        step.work
    }

    /// The centroid of each point.
    #[must_use]
    pub fn assigned(&self) -> &[u32] {
        &self.assigned
    }

    /// The sum of the points of each centroid, scaled; one row each.
    #[must_use]
    pub fn sums(&self) -> &[i64] {
        &self.sums
    }

    /// How many points each centroid has.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Looks at every point.
    fn dense(&mut self, step: &mut Step<'_>) {
        let mut rows = Vec::with_capacity(BLOCK);
        for start in (0..step.points.rows()).step_by(BLOCK) {
            rows.clear();
            rows.extend(short(start)..short((start + BLOCK).min(step.points.rows())));
            step.block.gather(step.points, &rows);
            step.block.scan(step.centroids, step.centroids.all());
            step.work.evaluated += rows.len() as u64 * step.centroids.count() as u64;
            self.settle(step, &rows, None);
        }
        step.work.visited += step.points.rows() as u64;
    }

    /// Looks at the points whose bounds do not decide, grouped by their centroid.
    fn pruned(&mut self, step: &mut Step<'_>, table: &[Drift]) {
        let rows = step.points.rows();
        let chunk_rows = (step.centroids.count() * ROWS_PER_CENTROID)
            .clamp(CHUNK_ROWS_MIN, CHUNK_ROWS_MAX)
            .min(rows.max(1));
        let mut survivors = vec![0; chunk_rows];
        let mut grouped = vec![0; chunk_rows];
        let mut ends = vec![0usize; step.centroids.count()];
        for start in (0..rows).step_by(chunk_rows) {
            let chunk = start..(start + chunk_rows).min(rows);
            let count = self.test(chunk, table, step.slop, &mut survivors);
            let survivors = &survivors[..count];
            step.work.visited += count as u64;
            // A counting sort by centroid.
            ends.fill(0);
            for &row in survivors {
                ends[self.assigned[row as usize] as usize] += 1;
            }
            let mut total = 0;
            for end in &mut ends {
                total += *end;
                *end = total;
            }
            for &row in survivors.iter().rev() {
                let end = &mut ends[self.assigned[row as usize] as usize];
                *end -= 1;
                grouped[*end] = row;
            }
            // What were ends are now starts.
            for group in 0..ends.len() {
                let end = ends.get(group + 1).copied().unwrap_or(count);
                for rows in grouped[ends[group]..end].chunks(BLOCK) {
                    self.visit(step, group, rows);
                }
            }
        }
    }

    /// Moves the bounds of a chunk with the centroids and lists the points they don't decide.
    fn test(
        &mut self,
        chunk: Range<usize>,
        table: &[Drift],
        margin: f32,
        survivors: &mut [u32],
    ) -> usize {
        let mut count = 0;
        let rows = short(chunk.start)..;
        let bounds = self.upper[chunk.clone()]
            .iter_mut()
            .zip(&mut self.lower[chunk.clone()]);
        for (row, ((upper, lower), &assigned)) in rows.zip(bounds.zip(&self.assigned[chunk])) {
            let drift = table[assigned as usize];
            let up = (*upper + drift.own) * (1.0 + ENOUGH);
            let low = (*lower - drift.others).max(drift.nearest - up) * (1.0 - ENOUGH);
            let low = low.max(0.0);
            *upper = up;
            *lower = low;
            survivors[count] = row;
            let decided = low * low * (1.0 - ENOUGH) > up * up * (1.0 + ENOUGH) + margin;
            count += usize::from(!decided);
        }
        count
    }

    /// Looks at up to 64 points of one centroid: its neighbours only, if that is enough.
    fn visit(&mut self, step: &mut Step<'_>, group: usize, rows: &[u32]) {
        step.block.gather(step.points, rows);
        let Some(distances) = step.centroids.distances(group) else {
            step.block.scan(step.centroids, step.centroids.all());
            step.work.evaluated += rows.len() as u64 * step.centroids.count() as u64;
            return self.settle(step, rows, None);
        };
        step.block.scan(step.centroids, &[short(group)]);
        let own = step.block.uppers(step.slop);
        let farthest = own[..rows.len()].iter().fold(0.0f32, |a, &b| a.max(b));
        // A centroid beyond this is farther than the own one by more than the margin, for
        // every point of the block.
        let enough = farthest + (farthest * farthest + step.slop).sqrt();
        let reach = enough * (1.0 + 4.0 * ENOUGH) * REACH;
        let mut beyond = f32::INFINITY;
        step.candidates.clear();
        for (at, &distance) in distances.iter().enumerate() {
            if distance <= reach || at == group {
                step.candidates.push(short(at));
            } else {
                beyond = beyond.min(distance);
            }
        }
        step.work.evaluated += rows.len() as u64 * (step.candidates.len() as u64 + 1);
        if step.candidates.len() > 1 {
            step.block.scan(step.centroids, &step.candidates);
        }
        self.settle(step, rows, Some((&own, beyond)));
    }

    /// Takes over what a scan found. With `limit`, the scan left out centroids that are
    /// `limit.1` or farther from the old one, which is at most `limit.0` away.
    fn settle(&mut self, step: &mut Step<'_>, rows: &[u32], limit: Option<(&[f32; BLOCK], f32)>) {
        let uppers = step.block.uppers(step.slop);
        let mut lowers = step.block.lowers(step.slop);
        if let Some((own, beyond)) = limit {
            for (lower, own) in lowers.iter_mut().zip(own) {
                *lower = lower.min((beyond - own).max(0.0) * (1.0 - ENOUGH));
            }
        }
        step.moved.clear();
        for (lane, (&row, &target)) in rows.iter().zip(step.block.indexes()).enumerate() {
            let at = row as usize;
            self.upper[at] = uppers[lane];
            self.lower[at] = lowers[lane];
            let source = self.assigned[at];
            if source != target {
                self.assigned[at] = target;
                self.counts[target as usize] += 1;
                if source != NOWHERE {
                    self.counts[source as usize] -= 1;
                }
                step.moved.push(Moved {
                    row,
                    source,
                    target,
                });
            }
        }
        step.work.moved += step.moved.len() as u64;
        accumulate(
            step.isa,
            step.points,
            &step.moved,
            step.factor,
            &mut self.sums,
        );
    }
}

/// How far each centroid has moved, and how far any other has.
fn drifts(old: &Centroids, new: &Centroids) -> Vec<Drift> {
    let count = new.count();
    let moves: Vec<f32> = (0..count)
        .map(|at| above(apart(old.row(at), new.row(at))))
        .collect();
    let farthest = (0..count).fold(0, |a, b| if moves[b] > moves[a] { b } else { a });
    let rest = moves.iter().enumerate().filter(|(at, _)| *at != farthest);
    let second = rest.fold(0.0f32, |most, (_, &drift)| most.max(drift));
    let drift = |at: usize| Drift {
        own: moves[at],
        others: if at == farthest {
            second
        } else {
            moves[farthest]
        },
        nearest: new.nearest(at),
    };
    (0..count).map(drift).collect()
}
