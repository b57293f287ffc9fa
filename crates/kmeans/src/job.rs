//! The job: seeding, iterations, when to stop, what becomes of empty clusters.
//!
//! It is the same whether the parts are in this process ([`crate::local`]) or behind gRPC
//! ([`crate::remote`]): both are a [`Cluster`]. Everything that is decided here depends on exact
//! sums and on rows in the order of their numbers, so the division into parts never shows.

use std::future::poll_fn;
use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, Instant};

use kmeans_kernels::{Exact, Scale, Work, to_f64};
use serde::Serialize;

use crate::input::InputError;
use crate::options::{Init, Options};
use crate::part::{Answer, Facts, Question, Sample, Sums};

mod empty;
mod seeding;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The input is not usable.
    #[error(transparent)]
    Input(#[from] InputError),
    /// An option is not usable.
    #[error("{0}")]
    Options(String),
    /// There are fewer points than centroids.
    #[error("k is {k}, but the input has only {rows} points")]
    TooFewPoints {
        /// Centroids.
        k: usize,
        /// Points.
        rows: u64,
    },
    /// The file with initial centroids does not fit.
    #[error(
        "{path}: has {found} points of {found_dimension} coordinates; {k} of {dimension} are needed"
    )]
    InitialCentroids {
        /// The file.
        path: PathBuf,
        /// Its points.
        found: usize,
        /// Their coordinates.
        found_dimension: usize,
        /// Centroids.
        k: usize,
        /// Coordinates of the input.
        dimension: usize,
    },
    /// A task was given out again and again.
    #[error("{task} failed {attempts} times; the last answer: {last}")]
    Attempts {
        /// Which task.
        task: String,
        /// How often it was tried.
        attempts: u32,
        /// What was wrong in the end.
        last: String,
    },
    /// A worker could not be started.
    #[error("cannot start a worker")]
    Spawn(#[source] std::io::Error),
    /// No process is left to work on it.
    #[error("no {0} is left: all of them were lost")]
    NobodyLeft(&'static str),
    /// A worker refused, and another would too.
    #[error("{0}")]
    Refused(String),
    /// A result could not be written.
    #[error("cannot write {path}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Where the parts are.
pub(crate) trait Cluster {
    /// Reads the input; the facts of all parts together.
    async fn load(&mut self) -> Result<Facts, JobError>;
    /// One map and one reduce.
    async fn step(
        &mut self,
        centers: &[f64],
        scale: Scale,
        sample: Option<Sample>,
    ) -> Result<Sums, JobError>;
    /// What all parts together answer.
    async fn ask(&mut self, question: Question, centers: &[f64]) -> Result<Answer, JobError>;
    /// The centroid of every row, in order.
    async fn assign(
        &mut self,
        centers: &[f64],
        scale: Scale,
        sink: &mut dyn FnMut(&[u32]) -> Result<(), JobError>,
    ) -> Result<(), JobError>;
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The input was read.
    Loaded {
        /// Points.
        rows: u64,
        /// Their coordinates.
        dimension: usize,
    },
    /// A run has its first centroids (in the input's coordinates).
    Seeded {
        /// Counted from 1.
        run: u32,
        /// Row after row.
        centers: &'a [f64],
    },
    /// An iteration is over.
    Iterated {
        /// Counted from 1.
        run: u32,
        /// What it did.
        report: &'a Iteration,
        /// The new centroids.
        centers: &'a [f64],
    },
}

/// One iteration.
#[derive(Clone, Debug, Serialize)]
pub struct Iteration {
    /// Counted from 1.
    pub iteration: u32,
    /// The sum of squared distances before the centroids moved; absent for a mini-batch.
    pub inertia: Option<f64>,
    /// How far they moved: squares, summed.
    pub shift: f64,
    /// Clusters that were empty and got a new centroid.
    pub reseeded: Vec<u32>,
    /// Clusters that were empty and stayed where they were: no point is apart from its centroid.
    pub empty: Vec<u32>,
    /// Points that their bounds did not decide.
    pub visited: u64,
    /// Distances that were evaluated.
    pub evaluated: u64,
    /// How long it took.
    pub milliseconds: f64,
}

/// What a job found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Points.
    pub rows: u64,
    /// Their coordinates.
    pub dimension: usize,
    /// The centroids of the best run, row after row.
    pub centers: Vec<f64>,
    /// How many points each has.
    pub counts: Vec<u64>,
    /// The sum of squared distances of all points from their centroids.
    pub inertia: f64,
    /// Whether it stopped because the centroids hardly moved.
    pub converged: bool,
    /// The best run's iterations.
    pub iterations: Vec<Iteration>,
    /// Counted from 1.
    pub best_run: u32,
    /// The inertia of every run.
    pub runs: Vec<f64>,
    /// Every so many points, as they were read.
    pub sample: Vec<f64>,
    /// The time of all iterations of all runs, and nothing else.
    pub iterating: Duration,
    pub(crate) scale: Scale,
    /// `centers` as the parts have them.
    pub(crate) centred: Vec<f64>,
}

/// A job under way.
pub(crate) struct Job<'a, C> {
    pub(crate) cluster: &'a mut C,
    pub(crate) options: &'a Options,
    pub(crate) shift: &'a [f64],
    pub(crate) facts: Facts,
    scale: Scale,
    /// The sum of the squared lengths of all (centred) points.
    squares: f64,
    observer: &'a mut dyn FnMut(Event<'_>),
}

/// The end of one run.
struct Run {
    centers: Vec<f64>,
    inertia: f64,
    converged: bool,
    iterations: Vec<Iteration>,
    iterating: Duration,
}

/// Loads, runs as often as asked, and keeps the best.
pub(crate) async fn run<C: Cluster>(
    cluster: &mut C,
    options: &Options,
    shift: &[f64],
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, JobError> {
    options.validate().map_err(JobError::Options)?;
    let facts = cluster.load().await?;
    let dimension = shift.len();
    observer(Event::Loaded {
        rows: facts.rows,
        dimension,
    });
    if facts.rows < options.k as u64 {
        return Err(JobError::TooFewPoints {
            k: options.k,
            rows: facts.rows,
        });
    }
    let mut job = Job {
        scale: Scale::new(facts.magnitude, facts.rows),
        cluster,
        options,
        shift,
        facts,
        squares: 0.0,
        observer,
    };
    let origin = vec![0.0; dimension];
    job.squares = job.potential(&origin).await?;
    let mut best: Option<(u32, Run)> = None;
    let mut runs = Vec::new();
    let mut iterating = Duration::ZERO;
    for number in 1..=options.restarts {
        let run = job.once(number).await?;
        iterating += run.iterating;
        runs.push(run.inertia);
        if best
            .as_ref()
            .is_none_or(|(_, best)| run.inertia < best.inertia)
        {
            best = Some((number, run));
        }
    }
    let (best_run, run) = best.expect("there is at least one run");
    job.outcome(best_run, run, runs, iterating).await
}

impl<C: Cluster> Job<'_, C> {
    async fn outcome(
        &mut self,
        best_run: u32,
        run: Run,
        runs: Vec<f64>,
        iterating: Duration,
    ) -> Result<Outcome, JobError> {
        let sums = self.cluster.step(&run.centers, self.scale, None).await?;
        let stride = self.facts.rows.div_ceil(crate::limits::PLOT_POINTS);
        let sample = self.cluster.ask(Question::Spread { stride }, &[]).await?;
        let rows = sample.rows.iter().flat_map(|row| {
            let pairs = row.values.iter().zip(self.shift);
            pairs.map(|(&value, shift)| f64::from(value) + shift)
        });
        Ok(Outcome {
            rows: self.facts.rows,
            dimension: self.shift.len(),
            centers: self.uncentred(&run.centers),
            counts: sums.counts,
            inertia: run.inertia,
            converged: run.converged,
            iterations: run.iterations,
            best_run,
            runs,
            sample: rows.collect(),
            iterating,
            scale: self.scale,
            centred: run.centers,
        })
    }

    /// Seeds and iterates once.
    async fn once(&mut self, number: u32) -> Result<Run, JobError> {
        let mut centers = self.seed(number).await?;
        let uncentred = self.uncentred(&centers);
        (self.observer)(Event::Seeded {
            run: number,
            centers: &uncentred,
        });
        let begun = Instant::now();
        let mut iterations = Vec::new();
        let mut seen = vec![0; self.options.k];
        let mut threshold = 0.0;
        let mut converged = false;
        for iteration in 1..=self.options.max_iterations {
            let started = Instant::now();
            let (next, sums, mut report) = match self.options.mini_batch {
                None => self.iterate(&centers).await?,
                Some(rows) => {
                    self.batch(&centers, &mut seen, rows, (number, iteration))
                        .await?
                }
            };
            if iteration == 1 {
                threshold = self.options.tolerance * self.variance(&sums);
            }
            report.iteration = iteration;
            report.shift = squared_distance(&centers, &next);
            report.milliseconds = started.elapsed().as_secs_f64() * 1e3;
            // A mini-batch always moves them a little.
            converged = report.shift <= threshold && self.options.mini_batch.is_none();
            centers = next;
            let uncentred = self.uncentred(&centers);
            (self.observer)(Event::Iterated {
                run: number,
                report: &report,
                centers: &uncentred,
            });
            iterations.push(report);
            if converged {
                break;
            }
        }
        let iterating = begun.elapsed();
        Ok(Run {
            inertia: self.inertia(&centers).await?,
            centers,
            converged,
            iterations,
            iterating,
        })
    }

    /// One exact iteration: the new centroids, the sums, and a report without its number.
    async fn iterate(&mut self, centers: &[f64]) -> Result<(Vec<f64>, Sums, Iteration), JobError> {
        let mut sums = self.cluster.step(centers, self.scale, None).await?;
        let mut report = Iteration::of(sums.work);
        report.inertia = Some(self.inertia_of_sums(centers, &sums));
        if sums.counts.contains(&0) {
            self.fill_empty(centers, &mut sums, &mut report).await?;
        }
        let dimension = self.shift.len();
        let mut next = centers.to_vec();
        for (center, &count) in sums
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let range = center * dimension..(center + 1) * dimension;
            for (to, &sum) in next[range.clone()].iter_mut().zip(&sums.sums[range]) {
                *to = self.scale.mean(sum, count);
            }
        }
        Ok((next, sums, report))
    }

    /// One step with a sample: each centroid moves to the mean of all points it ever got.
    async fn batch(
        &mut self,
        centers: &[f64],
        seen: &mut [u64],
        rows: u64,
        (run, iteration): (u32, u32),
    ) -> Result<(Vec<f64>, Sums, Iteration), JobError> {
        let sample = Sample {
            seed: self.seed_of(run),
            round: 1 << 40 | u64::from(iteration),
            probability: rows as f64 / self.facts.rows as f64,
        };
        let sums = self.cluster.step(centers, self.scale, Some(sample)).await?;
        let dimension = self.shift.len();
        let mut next = centers.to_vec();
        for (center, &count) in sums
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            seen[center] += count;
            let rate = count as f64 / seen[center] as f64;
            let range = center * dimension..(center + 1) * dimension;
            for (to, &sum) in next[range.clone()].iter_mut().zip(&sums.sums[range]) {
                *to += rate * (self.scale.mean(sum, count) - *to);
            }
        }
        let report = Iteration::of(sums.work);
        Ok((next, sums, report))
    }

    /// The inertia before a step, from its sums alone: `sum |x|^2 - 2 c.S + n |c|^2`.
    fn inertia_of_sums(&self, centers: &[f64], sums: &Sums) -> f64 {
        let dimension = self.shift.len();
        let mut inertia = self.squares;
        for (center, &count) in sums.counts.iter().enumerate() {
            let range = center * dimension..(center + 1) * dimension;
            for (c, &sum) in centers[range.clone()].iter().zip(&sums.sums[range]) {
                inertia += c * (count as f64 * c - 2.0 * self.scale.mean(sum, 1));
            }
        }
        inertia.max(0.0)
    }

    /// The mean variance of a coordinate.
    fn variance(&self, sums: &Sums) -> f64 {
        let dimension = self.shift.len();
        let rows: u64 = sums.counts.iter().sum();
        let mut totals = vec![0.0; dimension];
        for row in sums.sums.chunks_exact(dimension) {
            totals
                .iter_mut()
                .zip(row)
                .for_each(|(total, &sum)| *total += to_f64(sum));
        }
        let factor = self.scale.mean(1, rows.max(1));
        let mean: f64 = totals.iter().map(|total| (total * factor).powi(2)).sum();
        (self.squares / self.facts.rows as f64 - mean).max(0.0) / dimension as f64
    }

    async fn inertia(&mut self, centers: &[f64]) -> Result<f64, JobError> {
        let largest = self.largest(centers);
        let question = Question::Inertia {
            largest,
            scale: self.scale.exponent(),
        };
        self.total(question, centers, largest).await
    }

    /// The sum of squared distances from the nearest of some centres.
    pub(crate) async fn potential(&mut self, centers: &[f64]) -> Result<f64, JobError> {
        let largest = self.largest(centers);
        self.total(Question::Potential { largest }, centers, largest)
            .await
    }

    async fn total(
        &mut self,
        question: Question,
        centers: &[f64],
        largest: f64,
    ) -> Result<f64, JobError> {
        let answer = self.cluster.ask(question, centers).await?;
        let mut total = Exact::new(largest);
        total.add_raw(answer.total);
        Ok(total.value())
    }

    /// A bound on a squared distance between a point and a centre.
    fn largest(&self, centers: &[f64]) -> f64 {
        let most = centers
            .iter()
            .fold(f64::from(self.facts.magnitude), |most, c| most.max(c.abs()));
        8.0 * most * most * self.shift.len() as f64
    }

    pub(crate) fn uncentred(&self, centers: &[f64]) -> Vec<f64> {
        let shifts = self.shift.iter().cycle();
        centers
            .iter()
            .zip(shifts)
            .map(|(center, shift)| center + shift)
            .collect()
    }

    /// Another seed for every run.
    pub(crate) fn seed_of(&self, run: u32) -> u64 {
        crate::chance::bits(self.options.seed, 0, u64::from(run))
    }

    async fn seed(&mut self, run: u32) -> Result<Vec<f64>, JobError> {
        match &self.options.init {
            Init::Parallel => self.seed_parallel(run).await,
            Init::PlusPlus => self.seed_plus_plus(run).await,
            Init::Random => self.seed_random(run).await,
            Init::First => self.seed_first().await,
            Init::File(path) => self.seed_from_file(path),
        }
    }
}

impl Iteration {
    const fn of(work: Work) -> Self {
        Self {
            iteration: 0,
            inertia: None,
            shift: 0.0,
            reseeded: Vec::new(),
            empty: Vec::new(),
            visited: work.visited,
            evaluated: work.evaluated,
            milliseconds: 0.0,
        }
    }
}

/// Waits for all of some futures, on this task.
pub(crate) async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures
        .map(|future| (Some(Box::pin(future)), None))
        .collect();
    poll_fn(|context| {
        let mut ready = true;
        for (future, output) in &mut pending {
            if let Some(running) = future {
                match running.as_mut().poll(context) {
                    Poll::Ready(value) => {
                        *output = Some(value);
                        *future = None;
                    }
                    Poll::Pending => ready = false,
                }
            }
        }
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    pending
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
