//! What a Tab offers in a real bash, the manual pages, and the list of kinds.

use e2e::{Cmd, Host, pod};
use serde_json::json;

use super::{IDLE, config_map, store};

/// What bash offers for the last word of a line. Nothing may be said besides.
fn offered(host: &Host, line: &[&str]) -> Vec<String> {
    let script = r#"source <(podbox completion bash)
COMP_WORDS=(podbox "$@"); COMP_CWORD=$#; COMP_TYPE=9
_clap_complete_podbox podbox "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}""#;
    let binary = e2e::binary();
    let path =
        format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let bash = host.environment(Cmd::new("bash")).args(["-c", script, "bash"]).args(line);
    let output = bash.env("PATH", path).run().ok();
    assert_eq!(output.stderr, "", "{output}");
    let words = output.stdout.lines().map(|word| word.trim().to_owned());
    words.filter(|word| !word.is_empty() && !word.starts_with("--")).collect()
}

#[test]
fn a_tab_offers_what_fits_into_the_line() {
    let host = Host::new();
    let two = "
  initContainers:
  - {name: first, image: podbox.local/toolbox, command: ['true']}
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity]}
  - {name: b, image: podbox.local/toolbox, command: [sleep, infinity]}
";
    host.up(&pod("web", two));
    host.up(&pod("db", IDLE));
    host.up(&pod("away", IDLE).replacen("metadata:\n", "metadata:\n  namespace: team\n", 1));
    store(&host, "configmaps", &config_map("default", "conf", &json!({})));
    store(&host, "configmaps", &config_map("other", "far", &json!({})));
    for (line, words) in [
        (&["logs", ""][..], &["db", "team/away", "web"][..]),
        (&["logs", "-n", "team", ""], &["away"]),
        (&["exec", "-it", "pod/w"], &["pod/web"]),
        (&["exec", "web", "-c", ""], &["a", "b", "first"]),
        (&["exec", "-n", "team", "away", "-c", ""], &["main"]),
        (&["logs", "web", "--container", "f"], &["first"]),
        (&["get", "-n", ""], &["default", "other", "team"]),
        (&["get", "pods", ""], &["db", "web"]),
        (&["get", "cm", ""], &["conf"]),
        (&["get", "cm", "-n", "other", ""], &["far"]),
        (&["describe", "cm/"], &["cm/conf"]),
        (&["get", "secr"], &["secrets"]),
        (&["get", "pods,secr"], &["pods,secrets"]),
        (&["get", "pods", "-o", "js"], &["json", "jsonpath-as-json=", "jsonpath-file=", "jsonpath="]),
        (&["port-forward", "w"], &["web"]),
        (&["restart", "pod", "w"], &["web"]),
        (&["wait", "we"], &["web"]),
        (&["cp", "we"], &["web:"]),
        (&["imag"], &["image"]),
    ] {
        assert_eq!(offered(&host, line), words, "{line:?}");
    }
    host.finish();
}

#[test]
fn a_tab_is_silent_where_nothing_can_be_offered() {
    let host = Host::new();
    assert!(offered(&host, &["logs", ""]).is_empty());
    assert!(offered(&host, &["--root", "/none/such", "logs", ""]).is_empty());
    assert!(offered(&host, &["--config", "/none/such", "exec", "web", "-c", ""]).is_empty());
    assert!(offered(&host, &["nonsense", "x", "y"]).is_empty());
    host.finish();
}

#[test]
fn every_command_has_a_manual_page_that_man_understands() {
    let host = Host::new();
    let dir = host.dir().join("man");
    host.podbox(["man", dir.to_str().unwrap()]).ok().quiet();
    for name in ["podbox", "podbox-get", "podbox-image-rm", "podbox-port-forward"] {
        let page = dir.join(format!("{name}.1"));
        let man =
            Cmd::new("man").args(["--warnings", "-E", "UTF-8", "-P", "cat", "-l", page.to_str().unwrap()]);
        let output = man.env("MANWIDTH", "100").env("LC_ALL", "C.UTF-8").run().ok();
        assert_eq!(output.stderr, "", "{output}");
        assert!(output.stdout.contains("SYNOPSIS") && output.stdout.contains("OPTIONS"), "{output}");
    }
    host.finish();
}

#[test]
fn the_kinds_are_listed_with_their_short_names() {
    let host = Host::new();
    let table = host.podbox(["api-resources"]).ok().stdout;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]);
    assert!(rows.contains(&vec!["pods", "po", "v1", "true", "Pod"]), "{table}");
    assert!(rows.contains(&vec!["secrets", "v1", "true", "Secret"]), "{table}");
    let away = host.podbox(["api-resources", "-o", "name", "--namespaced=false"]).ok().stdout;
    assert_eq!(away, "namespaces\npersistentvolumes\n");
    host.podbox(["get", "pods", "--context", "prod"]).code(2).complains("podbox has no contexts");
    host.podbox(["get", "pods", "--kubeconfig", "x"]).code(2).complains("--config FILE");
    host.finish();
}
