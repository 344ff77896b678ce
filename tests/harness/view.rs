//! A pod as podbox shows it.

use serde_json::Value;

/// A v1 Pod.
#[derive(Clone, Debug)]
pub struct PodView(pub Value);

impl PodView {
    /// What lies at `status.containerStatuses.0.ready`; null if nothing does.
    #[must_use]
    pub fn at(&self, path: &str) -> &Value {
        const NOTHING: &Value = &Value::Null;
        self.0.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(NOTHING)
    }

    /// A text at that path; empty if there is none.
    #[must_use]
    pub fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    /// `status.phase`.
    #[must_use]
    pub fn phase(&self) -> &str {
        self.text("status.phase")
    }

    /// The pod's IPv4 address.
    #[must_use]
    pub fn ip(&self) -> String {
        self.text("status.podIP").to_owned()
    }

    /// The pod's IPv6 address.
    #[must_use]
    pub fn ip6(&self) -> String {
        self.text("status.podIPs.1.ip").to_owned()
    }

    /// The status of a condition: `True`, `False` or empty.
    #[must_use]
    pub fn condition(&self, name: &str) -> &Value {
        const NOTHING: &Value = &Value::Null;
        let conditions = self.0["status"]["conditions"].as_array();
        conditions.and_then(|all| all.iter().find(|one| one["type"] == name)).unwrap_or(NOTHING)
    }

    /// Whether a condition is true.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.condition(name)["status"] == "True"
    }

    /// A container's status.
    #[must_use]
    pub fn container(&self, name: &str) -> &Value {
        const NOTHING: &Value = &Value::Null;
        let all = self.0["status"]["containerStatuses"].as_array();
        all.and_then(|all| all.iter().find(|one| one["name"] == name)).unwrap_or(NOTHING)
    }

    /// The restart count of the first container.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.at("status.containerStatuses.0.restartCount").as_u64().unwrap_or(0)
    }
}
