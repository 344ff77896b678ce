use super::*;

#[test]
fn the_table_is_sorted_so_that_every_applet_is_found() {
    assert!(APPLETS.is_sorted());
    for name in APPLETS {
        assert_eq!(applet_for(format!("/bin/{name}")), Some(*name));
    }
}

#[test]
fn podbox_itself_is_no_applet_and_toolbox_takes_one() {
    assert_eq!(applet_for("/usr/bin/podbox"), None);
    assert_eq!(applet_for("toolbox"), Some("toolbox"));
    assert_eq!(applet_for(""), None);
    assert!(!APPLETS.contains(&"toolbox"));
}

#[test]
fn the_exit_code_tells_a_failure_from_a_wrong_call() {
    let code = |applet: &str, args: &[&str]| {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        format!("{:?}", main(applet, &args))
    };
    let exit = |code: u8| format!("{:?}", ExitCode::from(code));
    assert_eq!(code("toolbox", &["false"]), exit(1));
    assert_eq!(code("toolbox", &["true"]), exit(0));
    assert_eq!(code("sleep", &["soon"]), exit(2));
    assert_eq!(code("nonesuch", &[]), exit(127));
}
