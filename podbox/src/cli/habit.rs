//! Commands of other programs that people's hands type, and what podbox calls them.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What podbox has instead of a command that it does not have.
fn instead(command: &str) -> Option<&'static str> {
    Some(match command {
        "apply" | "create" | "run" | "start" | "play" => "podbox up -d FILE",
        "delete" | "rm" | "remove" | "stop" | "kill" => "podbox down POD",
        "ps" | "ls" | "list" | "pods" => "podbox get pods",
        "inspect" | "show" => "podbox describe POD, podbox get pod POD -o yaml",
        "log" | "attach" => "podbox logs -f POD",
        "rollout" => "podbox restart POD",
        "patch" | "edit" => "podbox up --replace FILE, podbox condition POD TYPE=STATUS",
        "images" | "pull" | "rmi" | "load" | "tag" => "podbox image",
        "info" | "check" => "podbox system",
        _ => return None,
    })
}

/// Adds to an error of the argument parser what may have been meant.
pub(super) fn explain(mut error: clap::Error) -> clap::Error {
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

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::Parser;

    fn told(command: &str) -> String {
        explain(Cli::try_parse_from(["podbox", command]).unwrap_err()).to_string()
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
