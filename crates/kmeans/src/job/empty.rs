//! Clusters without a point get the point that is farthest from its centroid.

use super::{Cluster, Iteration, Job};
use crate::job::JobError;
use crate::part::{Question, Sums};

impl<C: Cluster> Job<'_, C> {
    /// Gives each empty cluster the farthest point that is left, as scikit-learn does: the
    /// point is taken out of the sums of its own cluster. Ties go to the lower row. A cluster is
    /// not robbed of its last point, and a point that lies on its centroid is no improvement.
    pub(super) async fn fill_empty(
        &mut self,
        centers: &[f64],
        sums: &mut Sums,
        report: &mut Iteration,
    ) -> Result<(), JobError> {
        let dimension = self.shift.len();
        let empty: Vec<usize> = (0..sums.counts.len())
            .filter(|&at| sums.counts[at] == 0)
            .collect();
        // Some of them may be the last of their cluster.
        let count = 2 * sums.counts.len();
        let answer = self
            .cluster
            .ask(Question::Farthest { count }, centers)
            .await?;
        let mut rows = answer.rows.into_iter();
        for target in empty {
            let taken = rows.find(|row| row.key > 0.0 && sums.counts[row.center as usize] > 1);
            let Some(row) = taken else {
                report
                    .empty
                    .push(u32::try_from(target).expect("centroids are bounded"));
                continue;
            };
            let source = row.center as usize;
            for (j, &value) in row.values.iter().enumerate() {
                let fixed = self.scale.fixed(value);
                sums.sums[source * dimension + j] -= fixed;
                sums.sums[target * dimension + j] = fixed;
            }
            sums.counts[source] -= 1;
            sums.counts[target] = 1;
            report
                .reseeded
                .push(u32::try_from(target).expect("centroids are bounded"));
        }
        Ok(())
    }
}
