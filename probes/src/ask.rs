//! How to ask: one `Spec`, one `Outcome`, nothing kept.
//!
//! Whatever goes wrong between here and the container is the container's failure: nobody answered. Only when
//! asking itself broke (a command that could not be started, an answer that stopped in the middle of its
//! body) is it an error; then it is tried again at once, and after the third time thrown away.
//!
//! Source: kubelet `pkg/kubelet/prober/prober.go` (`runProbeWithRetries`, which retries errors and not
//! failures) and `pkg/probe/*`.

mod call;
mod dial;
mod grpc;
mod http;
mod tcp;
mod tls;
mod url;
mod wire;

use std::{net::IpAddr, time::Duration};

use tokio::time::timeout;

use crate::{Exec, ExecResult, Handler, Outcome, Spec, words};

pub use call::{Call, Called};

const TRIES: u32 = 3;

/// How much of an answer (a body, a command's output) is looked at, bytes.
const MAX_ANSWER: usize = 10 * 1024;

/// What a probe calls itself: the version whose behaviour this is.
const USER_AGENT_VALUE: &str = "kube-probe/1.36";

/// How much longer than its time a command may take to be reported as timed out.
const EXEC_MARGIN: Duration = Duration::from_millis(500);

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The pod's address; the host's own for a pod in the host's network.
    pub ip: IpAddr,
}

/// Asks once (three times if the asking breaks). Takes at most about `spec.timeout` for each try.
pub(crate) async fn ask(spec: &Spec, target: Target, exec: &dyn Exec) -> Outcome {
    let mut outcome = Outcome::Success;
    for _ in 0..TRIES {
        outcome = try_once(spec, target, exec).await;
        if !outcome.is_void() {
            break;
        }
    }
    outcome
}

async fn try_once(spec: &Spec, target: Target, exec: &dyn Exec) -> Outcome {
    match &spec.handler {
        Handler::Exec { command } => run(exec, command, spec.timeout).await,
        Handler::HttpGet { https, host, port, path, headers } => {
            let scheme = if *https { "https" } else { "http" };
            let url = url::Url::of_probe(scheme, host_or(host.as_deref(), target), *port, path);
            http::get(url, headers, spec.timeout).await
        }
        Handler::TcpSocket { host, port } => {
            tcp::open(&host_or(host.as_deref(), target), *port, spec.timeout).await
        }
        Handler::Grpc { port, service } => grpc::check(target.ip, *port, service, spec.timeout).await,
    }
}

fn host_or(host: Option<&str>, target: Target) -> String {
    match host {
        Some(host) if !host.is_empty() => host.to_owned(),
        _ => target.ip.to_string(),
    }
}

/// Source: kubelet `pkg/probe/exec/exec.go`; the words of a timeout are those of its CRI client.
async fn run(exec: &dyn Exec, command: &[String], time: Duration) -> Outcome {
    let result = timeout(time + EXEC_MARGIN, exec.run(command, time)).await;
    match result.unwrap_or(ExecResult::TimedOut) {
        ExecResult::Exited { code: 0, .. } => Outcome::Success,
        ExecResult::Exited { mut output, .. } => {
            output.truncate(MAX_ANSWER);
            Outcome::Failure(words::lossy(output))
        }
        ExecResult::TimedOut => Outcome::Failure(format!(
            "command timed out: {} timed out after {}",
            words::quote(command.join(" ").as_bytes()),
            words::duration(time)
        )),
        ExecResult::NotStarted(cause) => Outcome::Error(cause),
    }
}

#[cfg(test)]
mod tests;
