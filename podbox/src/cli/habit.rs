//! Commands of other programs that people's hands type, and what podbox calls them.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

use super::Cli;

/// What podbox has instead of a command that it does not have.
fn instead(command: &str) -> Option<&'static str> {
    Some(match command {
        "apply" | "create" | "start" | "play" => "podbox up -d FILE",
        "delete" | "rm" | "remove" | "stop" | "kill" => "podbox down POD",
        "ps" | "ls" | "list" | "pods" => "podbox get pods",
        "inspect" | "show" => "podbox describe POD, podbox get pod POD -o yaml",
        "log" => "podbox logs -f POD",
        "rollout" => "podbox restart POD",
        "patch" | "edit" | "set" => "podbox up FILE, podbox resize POD, podbox condition POD TYPE=STATUS",
        "stats" => "podbox top",
        "images" | "pull" | "rmi" | "load" | "tag" => "podbox image",
        "info" | "check" | "cluster-info" => "podbox system",
        "api-versions" => "podbox api-resources",
        _ => return None,
    })
}

/// Options by which kubectl is told which cluster, and who asks. podbox has neither.
const CLUSTER_OPTIONS: [&str; 9] = [
    "--context",
    "--kubeconfig",
    "--cluster",
    "--user",
    "--server",
    "--token",
    "--as",
    "--certificate-authority",
    "--insecure-skip-tls-verify",
];

/// What to do instead with an option of kubectl's that podbox does not have.
fn instead_of_option(option: &str) -> Option<String> {
    let name = option.split(['=', ' ']).next().unwrap_or(option);
    Some(match name {
        "--kubeconfig" => "podbox asks no cluster and reads no kubeconfig: it shows the pods of this host. Its own settings \
             come with --config FILE"
            .to_owned(),
        "--context" => "podbox has no contexts: it shows the pods of this host. Another podbox of this host is meant by \
             --root DIR and --run DIR"
            .to_owned(),
        name if CLUSTER_OPTIONS.contains(&name) => {
            format!("podbox asks no cluster, and takes no {name}: it shows the pods of this host")
        }
        "--template" => "podbox has no Go templates: -o jsonpath=TEMPLATE prints the same".to_owned(),
        "--kustomize" => "podbox has no kustomize: kubectl kustomize DIR | podbox up -".to_owned(),
        _ => return None,
    })
}

/// Adds to an error of the argument parser what may have been meant, and how the command is called: clap's own line names
/// the options that were given as if they had to be, and no others.
pub(super) fn explain(mut error: clap::Error, words: &[String]) -> clap::Error {
    if error.get(ContextKind::Usage).is_some() {
        let mut command = Cli::command();
        command.build();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage(&mut command, words)));
    }
    if error.kind() == ErrorKind::UnknownArgument {
        let tip = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(option)) => instead_of_option(option),
            _ => None,
        };
        if let Some(tip) = tip {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            error.remove(ContextKind::SuggestedArg);
        }
        return error;
    }
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(command)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    if let Some(instead) = instead(command) {
        let tip = format!("podbox calls it `{instead}`");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        error.remove(ContextKind::SuggestedSubcommand);
    }
    error
}

/// The usage of the command that the words of the command line lead to.
fn usage(command: &mut Command, words: &[String]) -> StyledStr {
    let next = words.iter().position(|word| command.find_subcommand(word).is_some());
    let Some(next) = next else { return command.render_usage() };
    match command.find_subcommand_mut(&words[next]) {
        Some(command) => usage(command, &words[next + 1..]),
        None => StyledStr::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn explained(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let line = ["podbox".to_owned()].into_iter().chain(words.clone());
        explain(Cli::try_parse_from(line).unwrap_err(), &words).to_string()
    }

    fn told(command: &str) -> String {
        explained(&[command])
    }

    #[test]
    fn a_usage_line_is_the_commands_whole_one_whatever_was_given() {
        for (words, usage) in [
            (&["up"][..], "Usage: podbox up [OPTIONS] [FILE|DIR|-]..."),
            (&["--run", "/r", "up", "--wait", "ready"], "Usage: podbox up [OPTIONS] [FILE|DIR|-]..."),
            (&["image", "tag", "--root", "/r", "a"], "Usage: podbox image tag [OPTIONS] <IMAGE> <NAME>..."),
            (&["-q", "nonsense"], "Usage: podbox [OPTIONS] <COMMAND>"),
        ] {
            let text = explained(words);
            assert!(text.lines().any(|line| line == usage), "{words:?}\n{text}");
        }
    }

    #[test]
    fn options_that_choose_a_cluster_are_told_that_there_is_none() {
        for (option, word) in [
            ("--context=prod", "podbox has no contexts"),
            ("--kubeconfig", "--config FILE"),
            ("--token=x", "takes no --token"),
        ] {
            let text = explained(&["get", "pods", option]);
            assert!(text.contains(word) && !text.contains("a similar"), "{text}");
        }
        assert!(!explained(&["get", "--nonsense"]).contains("cluster"));
    }

    #[test]
    fn habits_from_other_programs_are_told_podboxs_word() {
        for (command, word) in
            [("apply", "podbox up -d FILE"), ("ps", "podbox get pods"), ("rm", "podbox down POD")]
        {
            assert!(told(command).contains(word), "{}", told(command));
        }
        assert!(told("restrat").contains("restart"), "{}", told("restrat"));
        assert!(!told("nonsense").contains("podbox calls it"));
    }
}
