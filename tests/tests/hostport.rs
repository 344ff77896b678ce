//! A port of the host has one owner: a pod, a pod in the host's network, a Service, or a program.

use e2e::{Host, pod, wait_good};

/// A pod in the host's network that listens on a port, and says so.
fn native(name: &str, port: u16) -> String {
    pod(
        name,
        &format!(
            "  hostNetwork: true\n  containers:\n  - name: c\n    image: podbox.local/toolbox\n    command: [tcp-echo, --port, '{port}']\n    ports: [{{containerPort: {port}}}]\n"
        ),
    )
}

/// A pod that is reached by a port of the host; `more` is added to the port.
fn mapped(name: &str, port: u16, more: &str) -> String {
    let ports = format!("ports: [{{containerPort: 9000, hostPort: {port}{more}}}]");
    pod(
        name,
        &format!(
            "  containers:\n  - name: c\n    image: podbox.local/toolbox\n    command: [tcp-echo, --port, '9000']\n    {ports}\n"
        ),
    )
}

fn node_port(name: &str, port: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: NodePort\n  selector: {{app: web}}\n  ports: [{{port: 80{port}}}]\n"
    )
}

#[test]
fn pods_in_the_hosts_network_hold_the_ports_that_they_name_against_everybody() {
    let host = Host::new();
    let port = host.port(1);
    host.up(&native("first", port));
    wait_good("its server", || host.podbox(["toolbox", "connect", &format!("127.0.0.1:{port}"), "hi"]));
    let held = format!("host port {port}/tcp is held by default/first");
    host.try_up(&native("second", port), &[]).code(3).complains(&held);
    host.podbox(["get", "pod", "second"]).code(2);
    host.try_up(&mapped("third", port, ""), &[]).code(3).complains(&held);
    host.try_up(&mapped("third", port, ", hostIP: 127.0.0.1"), &[])
        .code(3)
        .complains(&held.replace(&format!("{port}/"), &format!("127.0.0.1:{port}/")));
    // Another protocol is no conflict. Whoever takes over keeps the port.
    host.up(&mapped("third", port, ", protocol: UDP"));
    let old = host.next_supervisor("first", None);
    host.kill(old);
    let _ = host.next_supervisor("first", Some(old));
    host.try_up(&native("second", port), &[]).code(3).complains(&held);
    host.down(&["first", "--grace-period", "0"]);
    host.up(&mapped("fourth", port, ""));
    let held = format!("host port {port}/tcp is held by default/fourth");
    host.try_up(&native("second", port), &[]).code(3).complains(&held);
    host.down(&["fourth", "--grace-period", "0"]);
    let program = host.cmd(["toolbox", "tcp-echo", "--port", &port.to_string()]).spawn();
    wait_good("the program", || host.podbox(["toolbox", "connect", &format!("127.0.0.1:{port}"), "hi"]));
    host.try_up(&native("second", port), &[])
        .code(3)
        .complains(&format!("host port {port}/tcp is in use by "))
        .complains(&format!("(process {})", program.pid()));
    drop(program);
    host.up(&native("second", port));
    host.finish();
}

#[test]
fn services_and_pods_do_not_get_each_others_ports_of_the_host() {
    let host = Host::new();
    // The range of node ports begins there, and a Service's port 80 would begin in its very beginning.
    let taken = host.port(30);
    host.up(&mapped("web", taken, ""));
    let program = host.cmd(["toolbox", "tcp-echo", "--port", &host.port(31).to_string()]).spawn();
    let at = format!("127.0.0.1:{}", host.port(31));
    wait_good("the program", || host.podbox(["toolbox", "connect", &at, "hi"]));
    host.up(&node_port("one", ""));
    let given = host.podbox(["get", "svc", "one", "-o", "jsonpath={.spec.ports[0].nodePort}"]).ok();
    let given: u16 = given.text().trim().parse().unwrap();
    assert_eq!(given, host.port(32), "those that are taken are passed over");
    let refused = host.try_up(&node_port("two", &format!(", nodePort: {taken}")), &[]).code(2);
    let why = format!(
        "spec.ports[0].nodePort: Invalid value: {taken}: host port {taken}/tcp is held by default/web"
    );
    let refused = refused.complains(&why);
    assert!(!refused.to_string().contains("removes it"), "there is nothing to remove\n{refused}");
    host.try_up(&node_port("two", &format!(", nodePort: {}", host.port(31))), &[])
        .code(2)
        .complains(&format!("(process {})", program.pid()));
    host.podbox(["get", "svc", "two"]).code(2);
    // And the other way round.
    let held = format!("host port {given}/tcp is held by service default/one");
    host.try_up(&mapped("late", given, ""), &[]).code(3).complains(&held);
    host.try_up(&native("late", given), &[]).code(3).complains(&held);
    // What it has it keeps, whoever listens there by now.
    let late = host.cmd(["toolbox", "tcp-echo", "--port", &given.to_string()]).spawn();
    let at = format!("127.0.0.1:{given}");
    wait_good("the late program", || host.podbox(["toolbox", "connect", &at, "hi"]));
    host.up(&node_port("one", "")).says("service/one unchanged");
    drop((program, late));
    host.podbox(["down", "svc/one"]).ok();
    host.up(&mapped("late", given, ""));
    host.finish();
}

#[test]
fn a_port_at_an_address_that_the_host_does_not_have_is_told_and_leads_there_once_it_does() {
    let host = Host::builder().own_net().build();
    let port = host.port(1);
    let manifest = mapped("first", port, ", hostIP: 198.51.100.7");
    let told = "spec.containers[0].ports[0].hostIP: this host does not have 198.51.100.7 now";
    host.cmd(["plan", "-"]).input(manifest.clone()).run().ok().complains(told);
    host.up(&manifest).complains(told);
    host.beside("ip").args(["addr", "add", "198.51.100.7/32", "dev", "lo"]).run().ok();
    wait_good("the port", || host.podbox(["toolbox", "connect", &format!("198.51.100.7:{port}"), "hi"]));
    for ip in ["127.0.0.1", "0.0.0.0", "198.51.100.7"] {
        let manifest = mapped("second", host.port(2), &format!(", hostIP: {ip}"));
        host.cmd(["plan", "-"]).input(manifest).run().ok().quiet();
    }
    let gateway = mapped("second", host.port(2), &format!(", hostIP: {}", host.gateway()));
    host.cmd(["plan", "-"]).input(gateway).run().ok().quiet();
    host.finish();
}
