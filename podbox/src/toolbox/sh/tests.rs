//! What the language means, in this process: none of these scripts starts a shell beside this one.

use std::rc::Rc;

use super::shell::Shell;
use super::{parser, process, run_text};

/// What a script prints on standard output, and its exit code.
fn run(script: &str) -> (String, u8) {
    run_with(script, &[])
}

fn run_with(script: &str, args: &[&str]) -> (String, u8) {
    let mut shell = Shell::new().unwrap();
    let out = Rc::new(process::scratch().unwrap());
    shell.io.0[1] = Some(Rc::clone(&out));
    shell.io.0[2] = Some(Rc::new(process::scratch().unwrap()));
    shell.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let code = run_text(&mut shell, script);
    (String::from_utf8(process::content(&out).unwrap()).unwrap(), code)
}

#[track_caller]
fn prints(script: &str, text: &str) {
    assert_eq!(run(script), (text.to_owned(), 0), "{script}");
}

#[test]
fn lists_and_chains_stop_where_an_exit_code_says_so() {
    prints("true && echo a || echo b; false && echo c || echo d", "a\nd\n");
    prints("! false && echo not", "not\n");
    prints("echo a # comment; echo b\necho c", "a\nc\n");
    assert_eq!(run("echo a; exit 3; echo b"), ("a\n".into(), 3));
    assert_eq!(run("false; echo $?; echo $?"), ("1\n0\n".into(), 0));
    assert_eq!(run("nosuchcommand"), (String::new(), 127));
    assert_eq!(run("/etc/passwd"), (String::new(), 126));
}

#[test]
fn quotes_keep_together_what_blanks_part() {
    prints(r#"echo "a  b" 'c  d' e\ \ f  g"#, "a  b c  d e  f g\n");
    prints(r#"x='1  2'; echo $x "$x" '$x' \$x"#, "1 2 1  2 $x $x\n");
    prints(r#"printf '<%s>' "" '' x"" "#, "<><><x>");
    prints("echo one\\\ntwo", "onetwo\n");
}

#[test]
fn parameters_can_have_defaults_lengths_and_ends_cut_off() {
    prints("x=hello.tar.gz; echo ${x%.gz} ${x%%.*} ${x#*.} ${x##*.} ${#x}", "hello.tar hello tar.gz gz 12\n");
    prints("e=; echo ${u-a} ${e-b} ${e:-c} ${u+d}${e+e}${e:+f}", "a c e\n");
    prints("echo ${u:=set} $u; echo ${u:-$(echo never)}", "set set\nset\n");
    prints(r#"printf '<%s>' ${u:-a b} "${u:-a b}""#, "<a><b><a b>");
    assert_eq!(run("echo a; echo ${u?gone}; echo b"), ("a\n".into(), 2));
}

#[test]
fn arguments_stay_apart_in_quoted_at() {
    let (text, _) =
        run_with(r#"printf '<%s>' "$@" "$*" $#; shift; printf '<%s>' "$@" "x$@y""#, &["a b", "c"]);
    assert_eq!(text, "<a b><c><a b c><2><c><xcy>");
    assert_eq!(run(r#"set --; printf '<%s>' "$@""#).0, "<>");
    assert_eq!(run(r#"set -- 1 "2 3"; for i; do echo "$i"; done"#).0, "1\n2 3\n");
}

#[test]
fn fields_are_split_by_the_separators() {
    prints(r#"IFS=:; x=a::b; printf '<%s>' $x"#, "<a><><b>");
    prints("IFS=,; read a b <<E\n1,2,3\nE\necho \"$a/$b\"", "1/2,3\n");
}

#[test]
fn conditions_and_loops_do_as_they_say() {
    prints("if false; then echo a; elif true; then echo b; else echo c; fi", "b\n");
    prints("i=0; while [ $i -lt 3 ]; do i=$((i+1)); [ $i = 2 ] && continue; echo $i; done", "1\n3\n");
    prints("until [ \"$x\" = aaa ]; do x=a$x; done; echo $x", "aaa\n");
    prints("for i in 1 2; do for j in a b; do [ $i$j = 1b ] && break 2; echo $i$j; done; done", "1a\n");
    prints("case a.log in *.txt|*.md) echo doc;; [a-c]*) echo log;; *) echo other;; esac", "log\n");
    prints("case x in y) echo no; esac; echo $?", "0\n");
}

#[test]
fn functions_have_arguments_locals_and_an_exit_code() {
    prints("f() { local x=$1; echo in $x; return 4; }; x=out; f 1 || echo $? $x", "in 1\n4 out\n");
    prints(
        "fact() { if [ $1 -le 1 ]; then echo 1; else echo $(($1 * $(fact $(($1 - 1))))); fi; }; fact 5",
        "120\n",
    );
    assert_eq!(run("f() { f; }; f").1, 2);
}

#[test]
fn a_subshell_changes_nothing_outside() {
    prints("x=1; (x=2; echo $x; exit 9) || echo $? $x", "2\n9 1\n");
    prints("x=$(echo a; echo; echo b; echo; echo); echo \"$x\"", "a\n\nb\n");
    prints("x=$(exit 5); echo $?; echo `echo \\`echo deep\\``", "5\ndeep\n");
    prints("f=$(trap 'echo bye' EXIT; echo hi); echo $f", "hi bye\n");
}

#[test]
fn redirections_lead_where_they_say_and_only_for_their_command() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file").display().to_string();
    let script = format!(
        "echo a >{file}; echo b >>{file}; {{ echo c; echo d >&2; }} >>{file} 2>&1; while read x; do echo \"<$x>\"; done <{file}"
    );
    assert_eq!(run(&script).0, "<a>\n<b>\n<c>\n<d>\n");
    assert_eq!(run("echo a </none/such || echo $?").0, "1\n");
    assert_eq!(run(&format!("exec >{file}; echo gone")).0, "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "gone\n");
}

#[test]
fn here_documents_replace_unless_their_end_is_quoted() {
    prints("x=1; cat <<E\na $x $((x+1))\n\tb\nE\necho c", "a 1 2\n\tb\nc\n");
    prints("cat <<'E'\n$x\nE", "$x\n");
    prints("cat <<-E\n\t\ta\n\tE", "a\n");
}

#[test]
fn patterns_become_file_names_only_unquoted_and_only_if_there_are_some() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b.txt", "a.txt", ".c.txt", "d.log"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let at = dir.path().display();
    assert_eq!(run(&format!("echo {at}/*.txt")).0, format!("{at}/a.txt {at}/b.txt\n"));
    prints("echo '*' \"*\" \\* /none/*", "* * * /none/*\n");
}

#[test]
fn options_end_a_script_at_its_first_mistake() {
    assert_eq!(
        run("set -e; false || true; if false; then :; fi; ! true; echo a; false; echo b"),
        ("a\n".into(), 1)
    );
    assert_eq!(run("set -eu; echo a; echo $none; echo b"), ("a\n".into(), 2));
    assert_eq!(run("trap 'echo bye' EXIT; set -e; false"), ("bye\n".into(), 1));
}

#[test]
fn foreign_programs_get_the_exported_variables() {
    prints("export A=1; B=2; C=3 env | grep '^[ABC]='", "A=1\nC=3\n");
    prints("D=4 true; echo \"<$D>\"", "<>\n");
}

#[test]
fn what_is_no_script_says_why() {
    for (script, message) in [
        ("echo 'a", "the script ends where a closing ' is missing"),
        ("if true; then echo", "the script ends where fi is missing"),
        ("echo a | ", "the script ends where a command is missing"),
        ("a && && b", "\"&&\" is not expected here"),
        ("fi", "\"fi\" is not expected here"),
        ("echo )", "\")\" is not expected here"),
        ("cat <<E\nx", "the script ends where the end of a here-document is missing"),
        ("echo 3>file", "this small shell has no descriptors but 0, 1 and 2"),
    ] {
        assert_eq!(parser::parse(script).unwrap_err().to_string(), message, "{script}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_fall_over(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "if ", "then ", "fi", "while ", "do ", "done", "case ", "esac", "in ", "(", ")", "{ ", "}", ";", ";;", "&", "|",
            "&&", "'", "\"", "$", "$(", "$((", "${", "`", "\\", "\n", "<<E", ">", "2>&1", "x", "x=", " ", "#", "for ", "!",
        ]), 0..20)
    ) {
        let _ = parser::parse(&parts.concat());
    }

    #[test]
    fn any_text_in_single_quotes_is_itself(text in "[^'\0]{0,40}") {
        let (printed, code) = run(&format!("printf %s '{text}'"));
        proptest::prop_assert_eq!((printed, code), (text, 0));
    }
}
