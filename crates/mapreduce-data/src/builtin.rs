//! The jobs that every build has.

use std::sync::Arc;

use crate::error::SpecError;
use crate::function::Job;
use crate::spec::Args;

pub(crate) fn resolve(name: &str, _args: &Args) -> Result<Arc<dyn Job>, SpecError> {
    Err(SpecError::Unknown {
        name: name.to_owned(),
        known: "none in this build".to_owned(),
    })
}
