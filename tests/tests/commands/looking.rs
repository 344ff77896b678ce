//! Looking at pods, choosing them, and what is answered to a wrong question.

use std::fs;

use e2e::{Cmd, Host, pod};

use super::{IDLE, TWO, labelled};

#[test]
fn get_takes_kubectls_flags() {
    let host = Host::new();
    host.up(&labelled("web-10", "app: web, tier: front", IDLE));
    host.up(&labelled("web-2", "app: web", IDLE));
    let job = "  restartPolicy: Never\n  containers:\n  - {name: c, image: podbox.local/toolbox, command: [exitcode, '0']}";
    host.try_up(&pod("job", job), &["--wait", "complete"]).ok();
    let get = |args: &[&str]| host.podbox(["get", "pods"].iter().chain(args)).ok().stdout;
    assert_eq!(get(&["-o", "name", "--sort-by", ".metadata.name"]), "pod/job\npod/web-2\npod/web-10\n");
    assert_eq!(
        get(&["-o", "name", "--field-selector", "status.phase=Running,metadata.name!=web-2"]),
        "pod/web-10\n"
    );
    assert_eq!(get(&["-o", "name", "-l", "app=web,!tier"]), "pod/web-2\n");
    assert_eq!(
        get(&["-o", "jsonpath-as-json={.items[*].metadata.name}", "-l", "tier"]),
        "[\n    \"web-10\"\n]\n"
    );
    let columns = "custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[0].image";
    assert_eq!(
        get(&["-o", columns, "--field-selector=metadata.name=job"]),
        "NAME   IMAGE\njob    podbox.local/toolbox\n"
    );
    let rows = get(&["--no-headers", "--show-labels", "-L", "tier"]);
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..3], ["job", "0/1", "Completed"], "{rows:?}");
    assert_eq!(rows[1].last(), Some(&"app=web,tier=front"), "{rows:?}");
    let wide = get(&["-o", "wide"]);
    assert!(wide.lines().next().is_some_and(|head| head.ends_with("READINESS GATES")), "{wide}");
    host.podbox(["get", "pod", "nope", "--ignore-not-found"]).ok().quiet();
    host.podbox(["get", "pod", "web-2", "nope", "-o", "name"])
        .code(2)
        .says("pod/web-2")
        .complains("default/nope not found");
    host.podbox(["get", "pods", "-l", "app=none"]).ok().complains("No resources found in default namespace.");
    host.podbox(["get", "web-2", "-o", "name"]).ok().says("pod/web-2");
    host.finish();
}

#[test]
fn pods_that_are_named_come_in_the_order_in_which_they_are_named() {
    let host = Host::new();
    for name in ["a", "b", "c"] {
        host.up(&pod(name, IDLE));
    }
    for order in [["c", "a", "b"], ["b", "c", "a"]] {
        let get = |args: &[&str]| host.podbox(["get", "pods"].iter().chain(&order).chain(args)).ok().stdout;
        assert_eq!(get(&["-o", "name"]), order.map(|name| format!("pod/{name}\n")).concat());
        let rows = get(&["--no-headers"]);
        let names: Vec<_> = rows.lines().filter_map(|row| row.split_whitespace().next()).collect();
        assert_eq!(names, order);
    }
    host.finish();
}

#[test]
fn a_pod_whose_name_ends_as_a_manifests_does_can_be_named() {
    let host = Host::new();
    let manifest = pod("u.yaml", IDLE);
    for word in ["u.yaml", "pod/u.yaml", "default/u.yaml"] {
        host.up(&manifest);
        host.podbox(["describe", word]).ok().says("u.yaml");
        host.podbox(["get", word, "-o", "name"]).ok().says("pod/u.yaml");
        host.down(&[word, "--grace-period", "0"]).says("pod default/u.yaml down");
        let kind = word.starts_with("pod/");
        host.podbox(["down", word]).code(2).complains(if kind { "not found" } else { "No such file" });
    }
    // Here there is such a file, which is about another pod.
    let pods = host.dir().join("pod");
    fs::create_dir(&pods).unwrap();
    fs::write(pods.join("u.yaml"), pod("other", IDLE)).unwrap();
    let there = |args: &str| {
        let line = format!("cd {} && {} {args}", host.dir().display(), e2e::binary().display());
        host.environment(Cmd::new("bash")).args(["-c", &line]).run()
    };
    host.up(&manifest);
    there("up -d pod/u.yaml").ok().says("pod default/other up");
    there("down pod/u.yaml --grace-period 0").ok().says("pod default/u.yaml down");
    there("down pod/u.yaml --grace-period 0").ok().says("pod default/other down");
    host.finish();
}

#[test]
fn a_usage_line_does_not_call_for_what_the_environment_says_already() {
    let host = Host::new();
    host.podbox(["up"]).code(2).complains("Usage: podbox up [OPTIONS] [FILE|DIR|-]...\n");
    host.podbox(["up", "--wat"]).code(2).complains("Usage: podbox up [OPTIONS] [FILE|DIR|-]...\n");
    host.podbox(["up", "--help"])
        .ok()
        .says("Usage: podbox up [OPTIONS] [FILE|DIR|-]...\n")
        .says("PODBOX_CONFIG");
    host.finish();
}

#[test]
fn describe_tells_what_kubectl_describe_tells() {
    let host = Host::new();
    let spec = r"
  containers:
  - name: web
    image: podbox.local/toolbox
    command: [http]
    ports: [{containerPort: 8080}]
    livenessProbe: {httpGet: {path: /healthz, port: 8080}}
  - {name: crash, image: podbox.local/toolbox, command: [exitcode, '1']}
";
    host.up(&labelled("web", "app: web", spec));
    host.wait_pod("web", "restarts", |pod| pod.container("crash")["restartCount"].as_u64() >= Some(2));
    host.wait_event("web", "BackOff", "crash");
    let text = host.podbox(["describe", "pod", "web"]).ok().stdout;
    for part in [
        "Labels:           app=web\n",
        "    Port:          8080/TCP\n",
        "    Liveness:       http-get http://:8080/healthz delay=0s timeout=1s period=10s #success=1 #failure=3\n",
        "    Last State:     Terminated\n      Reason:       Error\n      Exit Code:    1\n",
        "  Type                        Status\n",
        "\nQoS Class:                    BestEffort\n",
        "  Type     Reason     Age",
        " over ",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let both = host.podbox(["describe", "-l", "app=web"]).ok().stdout;
    assert!(both.starts_with("Name:             web\n"), "{both}");
    host.finish();
}

#[test]
fn the_container_that_is_meant_is_said_and_a_wrong_one_is_answered_with_the_right_ones() {
    let host = Host::new();
    host.up(&pod("web", TWO));
    host.podbox(["logs", "web"]).ok().complains("Defaulted container \"a\" out of: a, b");
    let out = host.podbox(["exec", "web", "--", "echo", "hello"]).ok();
    assert_eq!(out.stdout, "hello\n", "the note is not part of the output");
    out.complains("Defaulted container \"a\" out of: a, b");
    let flags = host.podbox(["exec", "web", "-c", "b", "printf", "%s|", "-c", "x", "--", "-y"]).ok();
    assert_eq!(flags.stdout, "-c|x|--|-y|", "as docker does, all that follows the command is its own");
    host.podbox(["logs", "web", "-c", "c"])
        .code(2)
        .complains("container c is not valid for pod web out of: a, b");
    host.podbox(["exec", "web", "-c", "c", "--", "true"]).code(2).complains("out of: a, b");
    host.podbox(["logs", "web", "-c", "a", "-p"]).code(1).complains("previous terminated container \"a\"");
    let annotated = pod("noted", TWO).replacen(
        "metadata:\n",
        "metadata:\n  annotations: {kubectl.kubernetes.io/default-container: b}\n",
        1,
    );
    host.up(&annotated);
    host.podbox(["logs", "noted"]).ok().quiet();
    host.podbox(["exec", "noted", "--", "true"]).ok().quiet();
    host.finish();
}

#[test]
fn what_is_asked_wrongly_is_answered_with_what_would_be_right() {
    let host = Host::new();
    host.up(&pod("web", IDLE));
    let elsewhere = pod("far", IDLE).replacen("metadata:\n", "metadata:\n  namespace: team\n", 1);
    host.up(&elsewhere);
    let wrong = |args: &[&str], words: &str| host.podbox(args).code(2).complains(words);
    wrong(&["get", "pod", "nope"], "the pods of namespace default are web");
    wrong(&["describe", "far"], "there is a pod far in namespace team: -n team");
    wrong(&["logs", "deployment/web"], "only pods are meant here");
    wrong(&["get", "deployments"], "podbox has no resource type \"deployments\"");
    wrong(&["get", "events"], "podbox events");
    wrong(&["get", "pods", "--sort-by", ".metadata.nmae"], "couldn't find any field");
    wrong(
        &["get", "pods", "--field-selector", "status.phas=Running"],
        "field label not supported: status.phas",
    );
    wrong(&["get", "pods", "-l", "app is web"], "found 'is', expected: in, notin");
    wrong(&["get", "pods", "-o", "yml"], "the formats are");
    wrong(&["get", "pod", "web", "-l", "a=b"], "not both");
    wrong(&["get", "pod", "web", "-A"], "NAMESPACE/NAME");
    wrong(&["logs", "web", "--tail", "many"], "invalid value 'many'");
    wrong(&["exec", "web"], "<COMMAND>");
    wrong(&["down"], "<FILE|POD|TYPE/NAME>");
    wrong(&["down", "nope", "nobody"], "pod default/nobody not found");
    wrong(&["--no-such-flag"], "--no-such-flag");
    wrong(&["apply", "-f", "web.yaml"], "podbox up -d FILE");
    wrong(&["delete", "pod", "web"], "podbox down POD");
    wrong(&["restrat"], "restart");
    for form in ["pod/far", "team/far"] {
        host.podbox(["get", form, "-n", "team", "-o", "name"]).ok().says("pod/far");
    }
    host.podbox(["get", "pods", "-A", "--no-headers"]).ok().says("team ");
    host.podbox(["down", "pod", "web", "team/far", "--grace-period", "0"]).ok().says("pod team/far down");
    host.finish();
}

#[test]
fn the_shell_completes_commands_flags_and_live_pods() {
    let host = Host::new();
    host.up(&labelled("web", "app: web", TWO));
    let elsewhere = pod("far", IDLE).replacen("metadata:\n", "metadata:\n  namespace: team\n", 1);
    host.up(&elsewhere);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        host.podbox(["completion", shell]).ok().says("podbox").quiet();
    }
    host.podbox(["completion", "cmd"]).code(2);
    let bin = e2e::binary();
    let complete = |words: &str| {
        let script = format!(
            "export PATH={}:$PATH; source <(podbox completion bash)
             f=$(complete -p podbox | sed 's/.*-F \\([^ ]*\\).*/\\1/'); COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             COMP_TYPE=9; $f podbox \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            bin.parent().unwrap().display()
        );
        let output = host.environment(Cmd::new("bash")).args(["-c", &script]).run().ok();
        output.text().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(complete("podbox res").contains(&"restart".to_owned()));
    assert_eq!(complete("podbox logs w"), ["web"]);
    assert_eq!(complete("podbox exec t"), ["team/far"]);
    assert_eq!(complete("podbox logs web -c ''"), ["a", "b"]);
    assert_eq!(complete("podbox get pods -n t"), ["team"]);
    assert!(complete("podbox wait --f").contains(&"--for".to_owned()));
    host.finish();
}

#[test]
fn files_and_directories_of_a_pods_name_do_not_hide_the_pod() {
    let host = Host::new();
    host.up(&pod("kk", IDLE));
    fs::create_dir_all(host.dir().join("kk")).unwrap();
    fs::create_dir_all(host.dir().join("pod")).unwrap();
    fs::write(host.dir().join("pod/kk"), "no manifest").unwrap();
    let here = |words: &str| {
        let line = format!("cd {} && {} {words}", host.dir().display(), e2e::binary().display());
        host.environment(Cmd::new("sh")).args(["-c", &line]).run()
    };
    for command in ["get", "describe", "events", "wait", "restart --grace-period 0"] {
        here(&format!("{command} kk")).ok();
        here(&format!("{command} pod/kk")).ok();
    }
    here("down ./kk").code(2).complains("holds no .yaml");
    fs::write(host.dir().join("kk/pod"), pod("kk", IDLE)).unwrap();
    here("get kk/pod").ok().says("kk");
    here("down --grace-period 0 kk").ok().says("pod default/kk down");
    host.finish();
}

#[test]
fn the_commands_that_plan_prints_can_be_typed() {
    let host = Host::new();
    let spec = "  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sh, -c, 'while true; do sleep 1; done']}";
    let output = host.cmd(["plan", "-"]).input(pod("web", spec)).run().ok();
    assert!(output.stdout.contains("exec sh -c 'while true; do sleep 1; done'"), "{output}");
    assert!(output.stdout.contains("setpriv --reuid 0 --regid 0 --clear-groups"), "{output}");
    assert!(output.stdout.contains("grep -e 0 -e 0 /etc/passwd /etc/group"), "{output}");
    host.finish();
}
