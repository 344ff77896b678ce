//! `podbox debug`.

use std::fs;

use e2e::{Host, PATIENCE, PodView, pod, wait_until};
use serde_json::Value;

use super::on_a_terminal;

const TOOLBOX: [&str; 2] = ["--image", "podbox.local/toolbox"];

/// Two containers that do nothing; `spec` is more of the Pod.
fn idle(name: &str, spec: &str) -> String {
    let container = |name: &str| {
        format!(
            "  - {{name: {name}, image: podbox.local/toolbox, command: [sleep, infinity], volumeMounts: [{{name: v, mountPath: /v}}]}}\n"
        )
    };
    let containers = container("app") + &container("side");
    pod(
        name,
        &format!(
            "  terminationGracePeriodSeconds: 0\n  volumes: [{{name: v}}]\n{spec}  containers:\n{containers}"
        ),
    )
}

fn status<'a>(pod: &'a PodView, name: &str) -> &'a Value {
    let list = pod.at("status.ephemeralContainerStatuses").as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().find(|status| status["name"] == name).unwrap_or(&Value::Null)
}

fn wait_running(host: &Host, pod: &str, name: &str) {
    host.wait_pod(pod, "the debug container running", |pod| {
        status(pod, name)["state"]["running"].is_object()
    });
}

/// The namespaces of a container's first process that all of them are compared by.
fn namespaces(host: &Host, pod: &str, container: &str) -> Vec<(&'static str, std::path::PathBuf)> {
    let process = host.container_process(pod, container);
    let link = |kind| fs::read_link(format!("/proc/{process}/ns/{kind}")).expect("a namespace");
    ["net", "ipc", "uts", "pid", "mnt"].map(|kind| (kind, link(kind))).into()
}

fn shared(host: &Host, pod: &str, one: &str, other: &str) -> Vec<&'static str> {
    let (one, other) = (namespaces(host, pod, one), namespaces(host, pod, other));
    one.into_iter().zip(other).filter(|(one, other)| one == other).map(|(one, _)| one.0).collect()
}

#[test]
fn a_debug_container_is_in_the_pods_namespaces_and_in_its_targets_processes() {
    let host = Host::new();
    host.up(&idle("web", ""));
    let debug = |args: &[&str]| host.cmd(["debug", "web"]).args(TOOLBOX).args(args).run();
    debug(&["-c", "alone", "--", "sleep", "infinity"]).ok();
    let told = debug(&["-c", "near", "--target", "app", "--env", "A=b", "--", "sleep", "infinity"]).ok();
    told.says("Targeting container \"app\".");
    wait_running(&host, "web", "alone");
    wait_running(&host, "web", "near");
    assert_eq!(shared(&host, "web", "alone", "app"), ["net", "ipc", "uts"]);
    assert_eq!(shared(&host, "web", "near", "app"), ["net", "ipc", "uts", "pid"]);
    assert_eq!(shared(&host, "web", "near", "side"), ["net", "ipc", "uts"]);
    // The commands know it, and the pod is as it was.
    host.podbox(["exec", "web", "-c", "near", "--", "sh", "-c", "echo $A"]).ok().says("b");
    host.podbox(["describe", "web"]).ok().says("Ephemeral Containers:");
    host.podbox(["get", "pod", "web"]).ok().says("2/2");
    let web = host.pod("web");
    assert!(web.is("Ready"));
    assert_eq!(web.at("spec.ephemeralContainers").as_array().map(Vec::len), Some(2));
    assert_eq!(status(&web, "near")["ready"], false);
    // It ends with the container that it looks into.
    host.podbox(["restart", "web", "-c", "app"]).ok();
    let web = host.wait_pod("web", "it to end with its target", |pod| {
        status(pod, "near")["state"]["terminated"].is_object()
    });
    assert_eq!(status(&web, "near")["state"]["terminated"]["exitCode"], 137);
    host.down(&["web"]).ok();
    host.finish();
}

#[test]
fn all_that_a_debug_container_says_is_shown_and_its_code_is_the_commands() {
    let host = Host::new();
    host.up(&idle("web", ""));
    let debug = |args: &[&str]| host.cmd(["debug", "web"]).args(TOOLBOX).args(args).run();
    let mounted = host.dir().join("more.yaml");
    fs::write(&mounted, "volumeMounts: [{name: v, mountPath: /seen}]\nenv: [{name: B, value: two}]\n")
        .unwrap();
    assert_eq!(host.exec("web", &["sh", "-c", "echo inside > /v/file"]), "");
    let custom = mounted.display().to_string();
    let said = debug(&[
        "--attach",
        "--custom",
        &custom,
        "--env",
        "A=one",
        "--",
        "sh",
        "-c",
        "echo $A $B; cat /seen/file; echo oh >&2; exit 7",
    ])
    .code(7);
    said.says("Defaulting debug container name to debugger-").says("one two\ninside").complains("oh");
    debug(&["-q", "--attach", "--", "nothing-of-that-name"]).code(127).complains("nothing-of-that-name");
    let copied =
        host.cmd(["debug", "web", "-i", "-q"]).args(TOOLBOX).args(["-c", "cat", "--", "head", "-n", "1"]);
    assert_eq!(copied.input("a line\nmore\n").run().ok().text(), "a line");
    // Ended ones stay, and what they have said.
    assert_eq!(host.logs(&["web", "-c", "cat"]).trim(), "a line");
    let web = host.pod("web");
    assert_eq!(status(&web, "cat")["state"]["terminated"]["reason"], "Completed");
    assert_eq!(web.restarts(), 0);
    host.down(&["web"]).ok();
    host.finish();
}

#[test]
fn a_debug_session_on_a_terminal_shows_the_prompt_and_survives_its_supervisor() {
    let host = Host::new();
    host.up(&idle("web", ""));
    let args = "debug web -it --image podbox.local/toolbox -c look --target app -- \
                sh -c 'printf \"name? \"; read name; echo hello $name; read more; echo bye $more; exit 4'";
    let mut shell = on_a_terminal(&host, args, "");
    shell.wait_to_say("name? ");
    shell.type_in("you\n");
    shell.wait_to_say("hello you");
    let process = host.container_process("web", "look");
    let old = host.supervisor("web");
    host.kill(old.expect("there is a supervisor"));
    shell.wait_to_say("attach again");
    assert_eq!(shell.end(PATIENCE), 1);
    let _ = host.next_supervisor("web", old);
    assert_eq!(host.container_process("web", "look"), process);
    let mut shell = on_a_terminal(&host, "attach -it web -c look", "");
    shell.wait_to_say("try pressing enter.");
    shell.type_in("now\n");
    shell.wait_to_say("bye now");
    assert_eq!(shell.end(PATIENCE), 4);
    assert_eq!(status(&host.pod("web"), "look")["state"]["terminated"]["exitCode"], 4);
    host.down(&["web"]).ok();
    host.finish();
}

#[test]
fn an_image_that_is_not_there_is_waited_for_and_a_supervisor_that_takes_over_goes_on_trying() {
    let host = Host::builder().backoff("1s", "1s").build();
    host.up(&idle("web", ""));
    let image = host.dir().join("later");
    let reference = format!("docker-archive:{}", image.display());
    host.cmd(["debug", "web", "-c", "late", "--image", &reference, "--", "/bin/sleep", "infinity"])
        .run()
        .ok();
    let reason =
        |pod: &PodView| status(pod, "late")["state"]["waiting"]["reason"].as_str().map(str::to_owned);
    let waits = |pod: &PodView| reason(pod).is_some_and(|reason| reason != "ContainerCreating");
    assert!(host.wait_pod("web", "the failure to be told", waits).is("Ready"));
    let old = host.supervisor("web");
    host.kill(old.expect("there is a supervisor"));
    let _ = host.next_supervisor("web", old);
    assert_eq!(host.pod("web").at("spec.ephemeralContainers").as_array().map(Vec::len), Some(1));
    e2e::Archive::new([e2e::Layer::toolbox(&["sleep"])]).write(&image, "latest");
    wait_running(&host, "web", "late");
    // A configuration that cannot be is told to whoever waits.
    let args = ["debug", "web", "-c", "root", "-i", "--profile", "restricted"];
    let mut waits = host.cmd(args).args(TOOLBOX).args(["--", "true"]).spawn();
    waits.wait_to_say("Warning: container root: CreateContainerConfigError: container has runAsNonRoot and image will run as root");
    waits.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(waits.end(PATIENCE), 130);
    host.down(&["web"]).ok();
    host.finish();
}

#[test]
fn what_cannot_be_is_refused_and_the_pod_is_as_it_was() {
    let host = Host::new();
    host.up(&idle("web", ""));
    let debug = |args: &[&str]| host.cmd(["debug", "web"]).args(TOOLBOX).args(args).run();
    debug(&["-c", "app"]).code(2).complains("spec.ephemeralContainers[0].name: Duplicate value: \"app\"");
    let nobody = debug(&["--target", "nobody"]).code(2);
    nobody.complains("spec.ephemeralContainers[0].targetContainerName: Not found: \"nobody\"");
    debug(&["-t"]).code(2).complains("-i/--stdin is required for containers with -t/--tty=true");
    host.podbox(["debug", "web"]).code(2).complains("you must specify --image");
    host.podbox(["debug", "none", "--image", "x"]).code(2).complains("pod default/none not found");
    let custom = host.dir().join("ports.yaml");
    fs::write(&custom, "ports: [{containerPort: 80}]\n").unwrap();
    let ports = debug(&["--custom", &custom.display().to_string()]).code(2);
    ports.complains("spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container");
    assert!(host.pod("web").at("spec.ephemeralContainers").is_null());
    let manifest = idle("early", "  ephemeralContainers: [{name: e, image: i}]\n");
    host.try_up(&manifest, &[])
        .code(2)
        .complains("spec.ephemeralContainers: Forbidden: cannot be set on create");
    host.down(&["web"]).ok();
    // Nobody's target can be a container that does not run.
    host.up(&pod(
        "done",
        "  restartPolicy: Never\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - {name: quick, image: podbox.local/toolbox, command: [sh, -c, exit 0]}\n  \
         - {name: slow, image: podbox.local/toolbox, command: [sleep, infinity]}",
    ));
    host.wait_pod("done", "it to end", |pod| pod.container("quick")["state"]["terminated"].is_object());
    let refused = host.cmd(["debug", "done", "--target", "quick"]).args(TOOLBOX).run();
    refused.code(1).complains("target container quick is not running");
    assert!(host.pod("done").at("spec.ephemeralContainers").is_null());
    host.down(&["done"]).ok();
    host.finish();
}

#[test]
fn a_pod_that_shares_its_processes_needs_no_target_and_a_profile_gives_rights() {
    let host = Host::new();
    host.up(&idle("web", "  shareProcessNamespace: true\n"));
    let debug = |args: &[&str]| host.cmd(["debug", "web", "-q"]).args(TOOLBOX).args(args).run().ok();
    let capabilities = |name: &str| {
        wait_running(&host, "web", name);
        let process = host.container_process("web", name);
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("its capabilities");
        u64::from_str_radix(line.trim(), 16).expect("a mask")
    };
    let (ptrace, net_admin) = (1 << 19, 1 << 12);
    debug(&["-c", "general", "--", "sleep", "infinity"]);
    assert_eq!(capabilities("general") & (ptrace | net_admin), ptrace);
    assert_eq!(shared(&host, "web", "general", "app"), ["net", "ipc", "uts", "pid"]);
    debug(&["-c", "net", "--profile", "netadmin", "--", "sleep", "infinity"]);
    assert_eq!(capabilities("net") & (ptrace | net_admin), net_admin);
    debug(&["-c", "plain", "--profile=baseline", "--", "sleep", "infinity"]);
    assert_eq!(capabilities("plain") & (ptrace | net_admin), 0);
    wait_until("down to end all", PATIENCE, || host.down(&["web"]).good());
    host.finish();
}

#[test]
fn a_copy_has_other_images_and_commands_and_may_take_the_pods_place() {
    let host = Host::new();
    let crash = "  terminationGracePeriodSeconds: 0\n  containers:\n  - name: app\n    image: podbox.local/toolbox\n    \
                 command: [sh, -c, exit 3]\n    livenessProbe: {tcpSocket: {port: 80}}\n";
    host.up_none(&pod("web", crash).replacen("name: web", "name: web\n  labels: {app: web}", 1));
    let copy = |args: &[&str]| host.cmd(["debug", "web"]).args(args).run();
    // The container that crashes, with another command.
    let shell = copy(&["--copy-to", "tried", "--attach", "--", "sh", "-c", "echo it works; exit 5"]).code(5);
    shell.says("Defaulting debug container name to app.\nit works");
    let tried = host.pod("tried");
    assert!(tried.at("metadata.labels").is_null() && tried.at("spec.containers.0.livenessProbe").is_null());
    assert_eq!(tried.at("spec.shareProcessNamespace"), true);
    host.down(&["tried"]).ok();
    // One beside it, in the pod's place.
    let args =
        ["--copy-to", "new", "--replace", "--keep-labels", "--share-processes=false", "-c", "look", "-q"];
    let end = ["--image", "podbox.local/toolbox", "--", "sleep", "infinity"];
    assert_eq!(copy(&[&args[..], &end[..]].concat()).ok().text(), "");
    host.podbox(["get", "pod", "web"]).code(2);
    let new = host
        .wait_pod("new", "the debug container", |pod| pod.container("look")["state"]["running"].is_object());
    assert_eq!(
        (new.text("metadata.labels.app"), new.at("spec.containers.1.name").as_str()),
        ("web", Some("look"))
    );
    let refused = host.cmd(["debug", "new", "--copy-to", "new", "--set-image", "look=x"]).run();
    refused.code(2).complains("pods \"new\" already exists");
    host.podbox(["debug", "new", "--set-image", "look=x", "--image", "y"]).code(2).complains("--copy-to");
    host.down(&["new"]).ok();
    host.finish();
}

#[test]
fn a_pod_that_changes_keeps_what_it_was_given() {
    let host = Host::new();
    let manifest = idle("web", "  activeDeadlineSeconds: 3600\n");
    host.up(&manifest);
    host.cmd(["debug", "web", "-c", "look"]).args(TOOLBOX).args(["--", "sleep", "infinity"]).run().ok();
    wait_running(&host, "web", "look");
    let process = host.container_process("web", "look");
    host.try_up(&manifest.replace("3600", "3000"), &[]).ok();
    let old = host.supervisor("web");
    host.kill(old.expect("there is a supervisor"));
    let _ = host.next_supervisor("web", old);
    let web = host.pod("web");
    assert_eq!(web.at("spec.activeDeadlineSeconds"), 3000);
    assert_eq!(web.at("spec.ephemeralContainers.0.name"), "look");
    assert_eq!(host.container_process("web", "look"), process);
    host.podbox(["resize", "web", "-c", "look", "--cpu-limit", "1"]).code(2).complains("has no resources");
    host.down(&["web"]).ok();
    host.finish();
}
