//! A part of the points, and everything that is ever asked about it.
//!
//! This is what a mapper does; nothing here knows of processes or messages. Every answer depends
//! on the points and the question alone. What is remembered between questions only saves work.

use std::collections::BinaryHeap;
use std::thread;

use kmeans_kernels::{
    Centroids, Exact, Isa, Points, Scale, State, Work, add_rows, distance_squared, for_each_block,
};
use serde::{Deserialize, Serialize};

use crate::chance;
use crate::input::{self, InputError, Segment};

mod near;

use near::Near;

/// What is known of a part once it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) rows: u64,
    pub(crate) magnitude: f32,
}

/// Take rows with this probability.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) seed: u64,
    pub(crate) round: u64,
    pub(crate) probability: f64,
}

/// Counts and scaled sums of the rows of each centroid.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sums {
    pub(crate) counts: Vec<u64>,
    pub(crate) sums: Vec<i64>,
    pub(crate) work: Work,
}

impl Sums {
    pub(crate) fn zero(count: usize, dimension: usize) -> Self {
        Self {
            counts: vec![0; count],
            sums: vec![0; count * dimension],
            work: Work::default(),
        }
    }

    pub(crate) fn add(&mut self, counts: &[u64], sums: &[i64]) {
        self.counts
            .iter_mut()
            .zip(counts)
            .for_each(|(to, from)| *to += from);
        self.sums
            .iter_mut()
            .zip(sums)
            .for_each(|(to, from)| *to += from);
    }
}

/// Something to find out about rows; most of it beside some centres.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    /// The rows with the smallest draws: a choice of rows, all equally likely.
    Smallest { seed: u64, count: usize },
    /// One row, with a probability proportional to its squared distance from the centres.
    Race { seed: u64, round: u64 },
    /// Every row with a probability of `factor` times its squared distance.
    Oversample { seed: u64, round: u64, factor: f64 },
    /// The sum of the squared distances from the nearest centres.
    Potential { largest: f64 },
    /// How many rows are nearest to each centre.
    Weights,
    /// The rows farthest from their centres.
    Farthest { count: usize },
    /// The sum of the squared distances from the assigned centres.
    Inertia { largest: f64, scale: i32 },
    /// Every so many rows.
    Spread { stride: u64 },
    /// The first rows.
    First { count: u64 },
}

impl Question {
    /// Whether it makes sense only with centres.
    pub(crate) const fn is_about_centers(self) -> bool {
        !matches!(
            self,
            Self::Smallest { .. } | Self::Spread { .. } | Self::First { .. }
        )
    }
}

/// A row that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) row: u64,
    /// What it was chosen by.
    pub(crate) key: f64,
    pub(crate) center: u32,
    pub(crate) values: Vec<f32>,
}

/// What a part, or all parts together, know.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) counts: Vec<u64>,
    pub(crate) total: u128,
    pub(crate) rows: Vec<Row>,
}

impl Answer {
    /// Takes in another part's answer.
    pub(crate) fn merge(&mut self, question: Question, other: Self) {
        if self.counts.is_empty() {
            self.counts = other.counts;
        } else {
            self.counts
                .iter_mut()
                .zip(&other.counts)
                .for_each(|(to, from)| *to += from);
        }
        self.total += other.total;
        self.rows.extend(other.rows);
        let limit = match question {
            Question::Race { .. } => 1,
            Question::Smallest { count, .. } | Question::Farthest { count } => count,
            _ => usize::MAX,
        };
        let farthest = matches!(question, Question::Farthest { .. });
        let ranked = limit < usize::MAX;
        self.rows.sort_by(|a, b| {
            let keys = if farthest {
                b.key.total_cmp(&a.key)
            } else {
                a.key.total_cmp(&b.key)
            };
            let keys = if ranked {
                keys
            } else {
                std::cmp::Ordering::Equal
            };
            keys.then(a.row.cmp(&b.row))
        });
        self.rows.truncate(limit);
    }
}

/// Points that one thread works on.
#[derive(Debug)]
struct Shard {
    points: Points,
    /// The rows of the part before.
    before: u64,
    state: State,
    near: Near,
}

/// The points of one mapper.
#[derive(Debug)]
pub(crate) struct Part {
    shards: Vec<Shard>,
    isa: Isa,
    dimension: usize,
    /// The rows of the parts before this one.
    pub(crate) first_row: u64,
}

impl Part {
    /// Reads a part with some threads.
    pub(crate) fn read(
        segments: &[Segment],
        shift: &[f64],
        threads: usize,
        isa: Isa,
    ) -> Result<Self, InputError> {
        let dimension = shift.len();
        let shares = input::share(segments, dimension, threads.max(1));
        let read = |share: &Vec<Segment>| input::read(share, dimension, shift);
        let points: Vec<Result<Points, InputError>> = thread::scope(|scope| {
            let handles: Vec<_> = shares
                .iter()
                .map(|share| scope.spawn(move || read(share)))
                .collect();
            let joined = handles.into_iter().map(thread::ScopedJoinHandle::join);
            joined
                .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        Self::new(
            points.into_iter().collect::<Result<_, _>>()?,
            dimension,
            isa,
        )
    }

    fn new(points: Vec<Points>, dimension: usize, isa: Isa) -> Result<Self, InputError> {
        let mut before = 0;
        let mut shards = Vec::with_capacity(points.len());
        for points in points {
            let rows = points.rows() as u64;
            shards.push(Shard {
                points,
                before,
                state: State::default(),
                near: Near::default(),
            });
            before += rows;
        }
        Ok(Self {
            shards,
            isa,
            dimension,
            first_row: 0,
        })
    }

    pub(crate) fn facts(&self) -> Facts {
        let magnitudes = self.shards.iter().map(|shard| shard.points.magnitude());
        Facts {
            rows: self
                .shards
                .iter()
                .map(|shard| shard.points.rows() as u64)
                .sum(),
            magnitude: magnitudes.fold(0.0, f32::max),
        }
    }

    /// Assigns every row and adds up the rows of each centre.
    pub(crate) fn step(&mut self, centers: &[f64], scale: Scale) -> Sums {
        let (isa, dimension) = (self.isa, self.dimension);
        let centroids = Centroids::new(dimension, centers).with_distances();
        let work = self.each(|shard, _| shard.state.step(isa, &shard.points, &centroids, scale));
        let mut total = Sums::zero(centroids.count(), dimension);
        for shard in &self.shards {
            total.add(shard.state.counts(), shard.state.sums());
        }
        work.into_iter().for_each(|work| total.work.add(work));
        total
    }

    /// The same for some of the rows, without remembering anything.
    pub(crate) fn sample(&mut self, centers: &[f64], scale: Scale, sample: Sample) -> Sums {
        let (isa, dimension) = (self.isa, self.dimension);
        let centroids = Centroids::new(dimension, centers);
        let sums = self.each(|shard, first| {
            let mut sums = Sums::zero(centroids.count(), dimension);
            let rows = shard.points.ids().filter(|&row| {
                let row = first + u64::from(row);
                chance::unit(sample.seed, sample.round, row) < sample.probability
            });
            for_each_block(isa, &shard.points, rows, &centroids, |rows, block| {
                let pairs = rows.iter().copied().zip(block.indexes().iter().copied());
                add_rows(
                    &shard.points,
                    pairs,
                    scale,
                    &mut sums.sums,
                    &mut sums.counts,
                );
                sums.work.visited += rows.len() as u64;
                sums.work.evaluated += rows.len() as u64 * centroids.count() as u64;
            });
            sums
        });
        let mut total = Sums::zero(centroids.count(), dimension);
        for sums in sums {
            total.add(&sums.counts, &sums.sums);
            total.work.add(sums.work);
        }
        total
    }

    /// The centre of every row, in order.
    pub(crate) fn assign(&mut self, centers: &[f64], scale: Scale) -> Vec<u32> {
        self.step(centers, scale);
        let assigned = self.shards.iter().flat_map(|shard| shard.state.assigned());
        assigned.copied().collect()
    }

    /// Rows as they were read, for the original's files.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[f32], u32)> {
        self.shards.iter().flat_map(|shard| {
            let assigned = shard.state.assigned().iter().enumerate();
            assigned.map(|(row, &center)| (shard.points.row(row), center))
        })
    }

    /// Answers a question.
    pub(crate) fn ask(&mut self, question: Question, centers: &[f64]) -> Answer {
        let (isa, dimension) = (self.isa, self.dimension);
        let answers = self.each(|shard, first| {
            let Shard {
                points,
                state,
                near,
                ..
            } = shard;
            match question {
                Question::Smallest { seed, count } => smallest(points, first, seed, count),
                Question::Race { seed, round } => {
                    near.update(isa, points, centers, dimension);
                    near.race(points, |row| chance::unit(seed, round, first + row), first)
                }
                Question::Oversample {
                    seed,
                    round,
                    factor,
                } => {
                    near.update(isa, points, centers, dimension);
                    near.oversample(
                        points,
                        |row| chance::unit(seed, round, first + row),
                        factor,
                        first,
                    )
                }
                Question::Potential { largest } => {
                    near.update(isa, points, centers, dimension);
                    inertia(points, near.nearest(), centers, Exact::new(largest))
                }
                Question::Weights => {
                    near.update(isa, points, centers, dimension);
                    near.weights(centers.len() / dimension)
                }
                Question::Farthest { count } => {
                    near.restart(isa, points, centers, dimension);
                    near.farthest(points, centers, count, first)
                }
                Question::Inertia { largest, scale } => {
                    let centroids = Centroids::new(dimension, centers).with_distances();
                    state.step(isa, points, &centroids, Scale::from_exponent(scale));
                    inertia(points, state.assigned(), centers, Exact::new(largest))
                }
                Question::Spread { stride } => {
                    chosen(points, first, |row| row.is_multiple_of(stride))
                }
                Question::First { count } => chosen(points, first, |row| row < count),
            }
        });
        let mut merged = Answer::default();
        for answer in answers {
            merged.merge(question, answer);
        }
        merged
    }

    /// Runs on every shard, each on its own thread; `work` gets the shard's first row number.
    fn each<T: Send>(&mut self, work: impl Fn(&mut Shard, u64) -> T + Sync) -> Vec<T> {
        let first_row = self.first_row;
        if let [shard] = self.shards.as_mut_slice() {
            let first = first_row + shard.before;
            return vec![work(shard, first)];
        }
        thread::scope(|scope| {
            let work = &work;
            let spawn = |shard| {
                scope.spawn(move || {
                    let shard: &mut Shard = shard;
                    let first = first_row + shard.before;
                    work(shard, first)
                })
            };
            let handles: Vec<_> = self.shards.iter_mut().map(spawn).collect();
            let joined = handles.into_iter().map(thread::ScopedJoinHandle::join);
            joined
                .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }
}

/// The rows with the smallest draws.
fn smallest(points: &Points, first: u64, seed: u64, count: usize) -> Answer {
    let mut heap = BinaryHeap::with_capacity(count + 1);
    for row in points.ids() {
        heap.push((chance::bits(seed, 0, first + u64::from(row)) >> 11, row));
        if heap.len() > count {
            heap.pop();
        }
    }
    let rows = heap.into_iter().map(|(draw, row)| Row {
        row: first + u64::from(row),
        key: draw as f64,
        center: 0,
        values: points.row(row as usize).to_vec(),
    });
    Answer {
        rows: rows.collect(),
        ..Answer::default()
    }
}

/// The rows whose number is chosen.
fn chosen(points: &Points, first: u64, choose: impl Fn(u64) -> bool) -> Answer {
    let rows = points.ids().filter(|&row| choose(first + u64::from(row)));
    let rows = rows.map(|row| Row {
        row: first + u64::from(row),
        key: 0.0,
        center: 0,
        values: points.row(row as usize).to_vec(),
    });
    Answer {
        rows: rows.collect(),
        ..Answer::default()
    }
}

/// The sum of squared distances, in `f64`.
fn inertia(points: &Points, assigned: &[u32], centers: &[f64], mut total: Exact) -> Answer {
    for (row, &center) in assigned.iter().enumerate() {
        total.add(distance(points, row, centers, center));
    }
    Answer {
        total: total.raw(),
        ..Answer::default()
    }
}

/// The squared distance of a row from a centre.
fn distance(points: &Points, row: usize, centers: &[f64], center: u32) -> f64 {
    let dimension = points.dimension();
    let center = &centers[center as usize * dimension..][..dimension];
    distance_squared(points.row(row), center)
}
