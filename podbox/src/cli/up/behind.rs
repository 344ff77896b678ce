//! A Service that is new leads to pods that run already as soon as their supervisors have heard of it. `up` waits for that, so
//! that whoever looks then finds them among the endpoints.

use std::time::{Duration, Instant};

use crate::services::Service;

use super::super::pods::{self, Found};
use super::super::watch::{Watch, Woken};
use super::super::{Failure, Session};
use super::waiting::is_true;

/// A supervisor that takes longer has other troubles.
const PATIENCE: Duration = Duration::from_millis(500);

/// Waits until all ready pods that these Services select have told of themselves.
///
/// # Errors
/// If nothing can be waited for.
pub(super) fn wait(session: &Session, services: &[Service]) -> Result<(), Failure> {
    let is_silent = |service: &Service| {
        let mut pods = pods::all(session, Some(&service.namespace)).into_iter();
        pods.any(|found| service.selects(&found.pod.labels) && is_ready(&found) && !has_told(session, &found))
    };
    let somebody_is_silent = || services.iter().any(is_silent);
    if !somebody_is_silent() {
        return Ok(());
    }
    let watch = Watch::new()?;
    watch.add_nearest(&session.settings.store.endpoints_dir());
    let deadline = Instant::now() + PATIENCE;
    while somebody_is_silent() && watch.wait(None, Some(deadline))? != Woken::TimedOut {}
    Ok(())
}

fn is_ready(found: &Found) -> bool {
    found.status().0.is_some_and(|status| is_true(&status, "Ready"))
}

fn has_told(session: &Session, found: &Found) -> bool {
    session.settings.store.endpoint(&found.pod.namespace, &found.pod.name).exists()
}
