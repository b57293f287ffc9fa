//! All parts in this process: for callers that have no use for others, and for tests.

use kmeans_kernels::{Isa, Scale};

use crate::input::Dataset;
use crate::job::{self, Cluster, Event, JobError, Outcome};
use crate::options::Options;
use crate::part::{Answer, Facts, Part, Question, Sample, Sums};

/// Parts in memory.
struct Local<'a> {
    dataset: &'a Dataset,
    parts: Vec<Part>,
    count: usize,
    isa: Isa,
}

/// Runs a job without other processes; `options.mappers` is the number of parts.
///
/// # Errors
///
/// As the same job with processes, except for what can happen to them.
pub fn fit(
    dataset: &Dataset,
    options: &Options,
    isa: Isa,
    observer: &mut dyn FnMut(Event<'_>),
) -> Result<(Outcome, Vec<u32>), JobError> {
    let mut local = Local {
        dataset,
        parts: Vec::new(),
        count: options.mappers,
        isa,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(JobError::Spawn)?.block_on(async {
        let outcome = job::run(&mut local, options, dataset.shift(), observer).await?;
        let mut assigned = Vec::new();
        let mut sink = |centers: &[u32]| {
            assigned.extend_from_slice(centers);
            Ok(())
        };
        local
            .assign(&outcome.centred, outcome.scale, &mut sink)
            .await?;
        Ok((outcome, assigned))
    })
}

impl Cluster for Local<'_> {
    async fn load(&mut self) -> Result<Facts, JobError> {
        let mut all = Facts::default();
        for segments in self.dataset.split(self.count) {
            let mut part = Part::read(&segments, self.dataset.shift(), 1, self.isa)?;
            part.first_row = all.rows;
            let facts = part.facts();
            all.rows += facts.rows;
            all.magnitude = all.magnitude.max(facts.magnitude);
            self.parts.push(part);
        }
        Ok(all)
    }

    async fn step(
        &mut self,
        centers: &[f64],
        scale: Scale,
        sample: Option<Sample>,
    ) -> Result<Sums, JobError> {
        let dimension = self.dataset.dimension();
        let mut total = Sums::zero(centers.len() / dimension, dimension);
        for part in &mut self.parts {
            let sums = match sample {
                None => part.step(centers, scale),
                Some(sample) => part.sample(centers, scale, sample),
            };
            total.add(&sums.counts, &sums.sums);
            total.work.add(sums.work);
        }
        Ok(total)
    }

    async fn ask(&mut self, question: Question, centers: &[f64]) -> Result<Answer, JobError> {
        let mut all = Answer::default();
        for part in &mut self.parts {
            all.merge(question, part.ask(question, centers));
        }
        Ok(all)
    }

    async fn assign(
        &mut self,
        centers: &[f64],
        scale: Scale,
        sink: &mut dyn FnMut(&[u32]) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        for part in &mut self.parts {
            sink(&part.assign(centers, scale))?;
        }
        Ok(())
    }
}
