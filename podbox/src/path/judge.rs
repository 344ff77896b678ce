//! What became of the packet, from all that is known: the nearest cause first.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use netplugin::Protocol;

use super::{Decision, Hop, Leg};

/// What the sender's socket was told.
#[derive(Debug)]
pub enum Outcome {
    /// The other side answered well, after this time.
    Answered(Duration),
    /// An error.
    Failed(io::Error),
    /// Nothing, in all the time that there was.
    Silent,
}

/// All that is known.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The protocol.
    pub protocol: Protocol,
    /// Where it was to go.
    pub wanted: SocketAddr,
    /// Who sent it: `pod default/a`.
    pub from: &'a str,
    /// Who was meant: `pod default/b`, if that is known.
    pub to: Option<&'a str>,
    /// Where it was seen.
    pub hops: &'a [Hop],
    /// Which rules decided.
    pub decisions: &'a [Decision],
    /// What the sender was told.
    pub outcome: &'a Outcome,
    /// Where the receiver's programs listen for this protocol, if one could look.
    pub listening: Option<&'a [SocketAddr]>,
    /// Whether the sender knows a way.
    pub has_route: bool,
    /// Who was asked for and did not answer: `10.0.0.7 on eth0 of pod default/a (FAILED)`.
    pub lost_neighbour: Option<String>,
    /// What is known of the receiver beforehand and explains it: not ready, no endpoints.
    pub remark: Option<String>,
    /// Where the kernel filters by the way back, and would not send back that way: `rp_filter of eth1: …`.
    pub reverse_filter: Option<String>,
}

/// Whether it arrived, and why, or why not.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> (bool, String) {
    match evidence.outcome {
        Outcome::Answered(after) => {
            let answered = match evidence.protocol {
                Protocol::Tcp => "accepted the connection",
                _ => "answered",
            };
            let who = answerer(evidence).map_or_else(|| evidence.wanted.to_string(), str::to_owned);
            (true, format!("{who} {answered} after {:.3} ms", after.as_secs_f64() * 1000.0))
        }
        _ if arrived_in_silence(evidence) => {
            let to = evidence.to.unwrap_or("the receiver");
            (true, format!("it arrived in {to}, where a program takes it; datagrams need no answer"))
        }
        _ => (false, with_remark(evidence, cause(evidence))),
    }
}

fn with_remark(evidence: &Evidence<'_>, cause: String) -> String {
    match &evidence.remark {
        Some(remark) => format!("{cause}; {remark}"),
        None => cause,
    }
}

/// Who answered, as far as the answer's first hop tells.
fn answerer<'a>(evidence: &Evidence<'a>) -> Option<&'a str> {
    evidence.hops.iter().find(|hop| hop.leg == Leg::Back).map(origin)
}

/// Where a packet begins that is first seen here: in this place if it leaves it, else with whoever it says sent it.
fn origin(first: &Hop) -> &str {
    match first.way {
        "in" => &first.source,
        _ => &first.place,
    }
}

/// The last place that saw the packet on its way there.
fn last_seen<'a>(evidence: &Evidence<'a>) -> Option<&'a Hop> {
    evidence.hops.iter().rev().find(|hop| hop.leg == Leg::Forth)
}

/// Whether the packet came into the receiver's network.
fn came_in(evidence: &Evidence<'_>) -> bool {
    last_seen(evidence).is_some_and(|hop| hop.way == "in" && evidence.to == Some(&*hop.place))
}

fn arrived_in_silence(evidence: &Evidence<'_>) -> bool {
    evidence.protocol == Protocol::Udp
        && matches!(evidence.outcome, Outcome::Silent)
        && !evidence.decisions.iter().any(|decision| decision.dropped)
        && came_in(evidence)
        && listens(evidence) == Some(true)
}

fn cause(evidence: &Evidence<'_>) -> String {
    if let Some(drop) = evidence.decisions.iter().find(|decision| decision.dropped) {
        return dropped_by(drop);
    }
    if !evidence.has_route {
        return format!("{} knows no way to {}", evidence.from, evidence.wanted.ip());
    }
    let answer = evidence.hops.iter().find(|hop| hop.leg == Leg::Back);
    if let Some(answer) = answer {
        return refused(evidence, answer);
    }
    if let Some(neighbour) = &evidence.lost_neighbour {
        return format!("nobody answered for {neighbour}");
    }
    let Some(last) = last_seen(evidence) else {
        return match evidence.outcome {
            Outcome::Failed(error) => format!("the kernel refused to send it: {}", without_number(error)),
            _ => "it was never seen on an interface".to_owned(),
        };
    };
    if let Some(filter) = &evidence.reverse_filter {
        return format!("dropped by {filter}");
    }
    let place = format!("{} of {} ({})", last.interface, last.place, last.way);
    if came_in(evidence) {
        return match (listens(evidence), listeners(evidence)) {
            (Some(false), Some(list)) => format!("it arrived on {place}, but {list}"),
            _ => format!(
                "it arrived on {place} and was not answered: a program that does not take connections, or a rule there"
            ),
        };
    }
    format!("it was seen last on {place}; nobody says what became of it")
}

fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn dropped_by(decision: &Decision) -> String {
    let Decision { place, table, chain, .. } = decision;
    match (&decision.rule, decision.handle) {
        (Some(rule), Some(handle)) => {
            format!("dropped by rule `{rule}` (handle {handle}) of chain {chain} of {table} in {place}")
        }
        (None, Some(handle)) => format!("dropped by rule {handle} of chain {chain} of {table} in {place}"),
        (_, None) => format!("dropped by the policy of chain {chain} of {table} in {place}"),
    }
}

/// Somebody said no.
fn refused(evidence: &Evidence<'_>, answer: &Hop) -> String {
    let said = match (&*answer.what, &evidence.outcome) {
        (what, _) if what.starts_with("tcp") && what.contains('R') => "refused the connection".to_owned(),
        (what, Outcome::Failed(_)) if !what.starts_with("tcp") => format!("said: {what}"),
        (what, _) => format!("answered ({what}), but the answer did not come back to {}", evidence.from),
    };
    match (listens(evidence), listeners(evidence)) {
        (Some(false), Some(list)) if evidence.to == Some(&*answer.place) => {
            format!("{} {said}: {list}", answer.place)
        }
        _ => format!("{} {said}", origin(answer)),
    }
}

/// The port that it came to, after all translation.
fn port_there(evidence: &Evidence<'_>) -> u16 {
    let there: Option<SocketAddr> = last_seen(evidence).and_then(|hop| hop.destination.parse().ok());
    there.unwrap_or(evidence.wanted).port()
}

fn listens(evidence: &Evidence<'_>) -> Option<bool> {
    let port = port_there(evidence);
    let reachable = |at: &&SocketAddr| at.port() == port && !at.ip().is_loopback();
    Some(evidence.listening?.iter().any(|at| reachable(&at)))
}

/// `nothing listens on port 81/tcp (listening: 80, 443)`
fn listeners(evidence: &Evidence<'_>) -> Option<String> {
    let all = evidence.listening?;
    let (port, protocol) = (port_there(evidence), evidence.protocol);
    if let Some(loopback) = all.iter().find(|at| at.port() == port && at.ip().is_loopback()) {
        return Some(format!(
            "what listens on port {port}/{protocol} takes only what comes to {}",
            loopback.ip()
        ));
    }
    let mut ports: Vec<u16> = all.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let shown: Vec<String> = ports.iter().take(16).map(u16::to_string).collect();
    let others = match shown.as_slice() {
        [] => format!("nor on any other {protocol} port"),
        shown => format!("{protocol} ports that are listened on: {}", shown.join(", ")),
    };
    Some(format!("nothing listens on port {port}/{protocol} ({others})"))
}
