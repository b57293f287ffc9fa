//! Programs that speak Hadoop Streaming's protocol.

use std::sync::Arc;

use crate::error::SpecError;
use crate::function::Job;
use crate::spec::StreamingSpec;

pub(crate) fn resolve(spec: &StreamingSpec) -> Result<Arc<dyn Job>, SpecError> {
    Err(SpecError::Unknown {
        name: spec.map.clone(),
        known: "no streaming jobs in this build".to_owned(),
    })
}
