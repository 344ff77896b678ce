//! `podbox run`.

use e2e::{Host, PATIENCE};

use super::on_a_terminal;

const TOOLBOX: [&str; 2] = ["--image", "podbox.local/toolbox"];

#[test]
fn a_run_tells_all_its_container_says_ends_with_its_code_and_leaves_nothing() {
    let host = Host::new();
    let run = |args: &[&str]| host.cmd(["run", "once", "--restart=Never"]).args(TOOLBOX).args(args);
    let said = run(&["--attach", "--rm", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).run().code(7);
    assert_eq!(said.text(), "out");
    said.complains("err").complains("pod \"once\" deleted from default namespace");
    // The container reads all that comes, and its end.
    let lines = "a line\n".repeat(20_000);
    let copied = run(&["-i", "--rm", "--", "cat"]).input(lines.clone()).run().ok();
    assert!(copied.text() == lines.trim(), "{} bytes", copied.text().len());
    let failed = run(&["--rm", "-i", "--", "nothing-of-that-name"]).run();
    failed.code(127).complains("nothing-of-that-name");
    host.podbox(["get", "pods"]).complains("No resources found");
    host.finish();
}

#[test]
fn a_run_on_a_terminal_shows_the_prompt_and_a_second_pod_of_the_name_is_refused() {
    let host = Host::new();
    let args = "run shell --image podbox.local/toolbox -it --rm --env WHO=you --labels app=a,tier=b --command -- \
                sh -c 'printf \"name? \"; read name; echo hello $name and $WHO; exit 4'";
    let mut shell = on_a_terminal(&host, args, "");
    shell.wait_to_say("name? ");
    host.cmd(["run", "shell"]).args(TOOLBOX).run().code(2).complains("pods \"shell\" already exists");
    assert_eq!(host.pod("shell").text("metadata.labels.tier"), "b");
    shell.type_in("me\n");
    shell.wait_to_say("hello me and");
    assert_eq!(shell.end(PATIENCE), 4);
    host.finish();
}

#[test]
fn a_run_without_a_session_returns_and_flags_become_the_object() {
    let host = Host::new();
    let args = ["--port", "80", "--overrides", r#"{"spec": {"terminationGracePeriodSeconds": 0}}"#];
    let run = host.cmd(["run", "web"]).args(TOOLBOX).args(args);
    assert_eq!(run.args(["--", "sleep", "infinity"]).run().ok().text(), "pod/web created");
    let web = host.pod("web");
    assert_eq!(web.text("metadata.labels.run"), "web");
    assert_eq!(web.at("spec.terminationGracePeriodSeconds"), 0);
    host.down(&["web"]).ok();
    let dry = host.cmd(["run", "dry", "-i", "--dry-run=client", "-o", "json"]).args(TOOLBOX).run().ok();
    assert_eq!(dry.json()["spec"]["containers"][0]["stdinOnce"], true);
    host.podbox(["get", "pod", "dry"]).code(2);
    let wrong = host.cmd(["run", "Wrong_Name"]).args(TOOLBOX).run();
    wrong.code(2).complains("metadata.name");
    host.cmd(["run", "x", "--rm"])
        .args(TOOLBOX)
        .run()
        .code(2)
        .complains("--rm should only be used for attached");
    host.finish();
}
