//! What a probe asks and how often: `v1.Probe`, defaults applied, names resolved.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// One probe of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// How to ask.
    pub handler: Handler,
    /// `initialDelaySeconds`, counted from the container's start.
    pub initial_delay: Duration,
    /// `periodSeconds`.
    pub period: Duration,
    /// `timeoutSeconds`.
    pub timeout: Duration,
    /// `successThreshold`.
    pub success_threshold: u32,
    /// `failureThreshold`.
    pub failure_threshold: u32,
    /// `terminationGracePeriodSeconds`, seconds; beats the pod's when this probe kills.
    pub termination_grace_seconds: Option<u64>,
}

/// The probes of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// `livenessProbe`
    pub liveness: Option<Spec>,
    /// `readinessProbe`
    pub readiness: Option<Spec>,
    /// `startupProbe`
    pub startup: Option<Spec>,
}

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// `exec.command`, no shell.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// `httpGet`
    HttpGet {
        /// HTTPS (any certificate is accepted) instead of HTTP.
        https: bool,
        /// `host`; the pod's address if none.
        host: Option<String>,
        /// The port, names resolved.
        port: u16,
        /// Path and query.
        path: String,
        /// `httpHeaders`, in order.
        headers: Vec<(String, String)>,
    },
    /// `tcpSocket`
    TcpSocket {
        /// `host`; the pod's address if none.
        host: Option<String>,
        /// The port, names resolved.
        port: u16,
    },
    /// `grpc`: the health service of the pod's address, in plain text.
    Grpc {
        /// The port; it has no name.
        port: u16,
        /// `service`; the whole server if empty.
        service: String,
    },
}

/// Which of the three probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Restarts the container.
    Liveness,
    /// Decides whether it gets traffic.
    Readiness,
    /// Holds the other two back until it passes.
    Startup,
}

impl fmt::Display for Kind {
    /// The word that events begin with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
            Self::Startup => "Startup",
        })
    }
}
