//! The pod that a command of one pod is about, where a Service may stand for one of its pods, as kubectl has it
//! (`polymorphichelpers`, attachablePodForObject).

use crate::services::Service;
use crate::store::ObjectKind;

use super::kinds::Kind;
use super::pods::{self, Found};
use super::{Failure, Session, names, stored};

/// A pod, and the Service by which it was named, if it was.
pub(super) struct Chosen {
    pub(super) pod: Found,
    pub(super) service: Option<Service>,
    /// How many others could have been meant.
    pub(super) others: usize,
}

/// The pod of `web`, `pod/web`, `team/web`, or one of those behind `svc/web`: a ready one, else one that runs, else any.
pub(super) fn choose(session: &Session, text: &str, namespace: &str) -> Result<Chosen, Failure> {
    if let Some((kind, name)) = text.split_once('/')
        && Kind::parse(kind) == Some(Kind::Object(ObjectKind::Service))
    {
        return of_service(session, namespace, name);
    }
    let (namespace, name) = names::pod_name(text, namespace);
    Ok(Chosen { pod: pods::find(session, namespace, name)?, service: None, others: 0 })
}

fn of_service(session: &Session, namespace: &str, name: &str) -> Result<Chosen, Failure> {
    let object = stored::find(session, ObjectKind::Service, namespace, name)?;
    let service = Service::of(&object).filter(|service| !service.selector.is_empty()).ok_or_else(|| {
        Failure::wrong(format!("invalid service '{name}': Service is defined without a selector"))
    })?;
    let mut behind = pods::all(session, Some(namespace));
    behind.retain(|found| service.selects(&found.pod.labels));
    let others = behind.len().saturating_sub(1);
    let pod = behind.into_iter().min_by_key(rank).ok_or_else(|| {
        Failure::pod(format!("service {namespace}/{name} has no pod: none fits its selector"))
    })?;
    Ok(Chosen { pod, service: Some(service), others })
}

/// The lower, the better; of two alike the first by name is taken.
fn rank(found: &Found) -> u8 {
    let phase = found.status().0.and_then(|status| status.phase);
    match phase.as_deref() {
        Some("Running") if found.is_ready() => 0,
        Some("Running") => 1,
        _ => 2,
    }
}
