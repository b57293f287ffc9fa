//! Every bound of the job, by name.

/// Coordinates of a point.
pub(crate) const DIMENSION_MAX: usize = 65_536;
/// Centroids.
pub(crate) const CENTERS_MAX: usize = 1 << 20;
/// Parts, and processes of each kind.
pub(crate) const PARTS_MAX: usize = 4096;
/// Rows whose mean is subtracted from all.
pub(crate) const SHIFT_ROWS: usize = 1024;
/// A message between processes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// How often one task is given out before the job gives up.
pub(crate) const ATTEMPTS_MAX: u32 = 100;
/// How many processes are started to replace lost ones.
pub(crate) const REPLACEMENTS_MAX: u32 = 100;
/// Rounds of k-means||, ...
pub(crate) const ROUNDS: u64 = 4;
/// ... and candidates of a round, for each centroid.
pub(crate) const OVERSAMPLING: f64 = 1.0;
/// Points in the scatter plot.
pub(crate) const PLOT_POINTS: u64 = 4000;
/// Assignments in one message.
pub(crate) const ASSIGNMENTS_PER_MESSAGE: usize = 1 << 18;
