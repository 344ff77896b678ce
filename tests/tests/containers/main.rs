//! What a container finds around it.

use e2e::pod;

mod namespaces;
mod resources;
mod rights;
mod surroundings;
mod volumes;

/// A pod of one container that only sleeps; `extra` are more lines of the spec.
fn sleeper(name: &str, image: &str, extra: &str) -> String {
    pod(
        name,
        &format!(
            "  containers:\n  - {{name: c, image: {image}, command: [sleep, infinity]}}\n{}",
            extra.trim_matches('\n')
        ),
    )
}
