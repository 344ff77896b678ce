//! A client and a server, for tests about what goes on between them.

use crate::{Host, pod, wait_good};

const CLIENT: &str = "  containers: [{name: shell, image: podbox.local/toolbox, command: [sleep, infinity]}]";

/// Starts the pods `server`, which is to answer by TCP at 9000 and by UDP at 9001, and `client`, and waits until they can
/// talk. Their IPv4 addresses, the server's first.
///
/// # Panics
/// If they do not come to talk.
pub fn client_and_server(host: &Host, server: &str) -> (String, String) {
    host.up(&pod("server", server));
    host.up(&pod("client", CLIENT));
    let server = host.pod("server").ip();
    for (flag, port) in [("-a", 9000), ("-u", 9001)] {
        let at = format!("{server}:{port}");
        wait_good("the server", || host.podbox(["exec", "client", "--", "connect", flag, &at, "hi"]));
    }
    (server, host.pod("client").ip())
}
