//! Asking whether a port accepts connections.
//!
//! The connection is closed at once, in the ordinary way. A kubelet also sets a linger time of one second;
//! closing could then block the one thread that everything runs on, and nothing is ever left unsent.
//!
//! Source: kubelet `pkg/probe/tcp/tcp.go`.

use std::time::Duration;

use tokio::time::timeout;

use super::dial::{dial, join};
use crate::Outcome;

pub(super) async fn open(host: &str, port: u16, time: Duration) -> Outcome {
    match timeout(time, dial(host, port)).await {
        Ok(Ok(stream)) => {
            drop(stream);
            Outcome::Success
        }
        Ok(Err(text)) => Outcome::Failure(text),
        Err(_) => Outcome::Failure(format!("dial tcp {}: i/o timeout", join(host, port))),
    }
}
