//! Containers on the real kernel: what a program inside sees, and what it cannot do.

mod common;

use common::{Container, World, host};
use runtime::launch::SelfExe;
use runtime::plan::{Exit, GATE_CLOSED, GroupPolicy, Rootfs, UserSpec};
use serde_json::json;
use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::PathBuf;

#[test]
fn a_container_sees_its_own_processes_and_mounts_and_nothing_of_the_host() {
    let world = World::new();
    let out = world.sh("echo pid $$; ls / | tr '\\n' ' '; echo; cat /proc/self/mountinfo", json!({}));
    assert!(out.starts_with("pid 1\nbin dev etc proc sys tmp \n"), "{out}");
    for mount in ["/proc ", "/dev ", "/dev/pts ", "/dev/mqueue ", "/sys ", "/sys/fs/cgroup "] {
        assert!(out.contains(mount), "{mount} in {out}");
    }
    assert!(!out.contains("ext4") && !out.contains("shared:") && !out.contains("master:"), "{out}");
}

#[test]
fn the_default_devices_work_and_a_node_of_the_containers_own_does_not() {
    let world = World::new();
    let script = "echo x >/dev/null && head -c 4 /dev/zero | wc -c && head -c 9 /dev/urandom | wc -c
        ls -l /dev/fd /dev/stdin /dev/stdout /dev/ptmx | sed 's/.*-> //' | tr '\\n' ' '; echo
        stat -c '%n %a %t:%T' /dev/full /dev/tty
        chmod 600 /dev/null 2>/dev/null
        for d in / /dev /tmp; do mknod $d/mine c 1 5 && cat $d/mine 2>&1; done; true";
    let out = world.sh(script, json!({}));
    assert!(out.starts_with("4\n9\n"), "{out}");
    assert!(out.contains("/proc/self/fd pts/ptmx /proc/self/fd/0 /proc/self/fd/1"), "{out}");
    assert!(out.contains("/dev/full 666 1:7") && out.contains("/dev/tty 666 5:0"), "{out}");
    assert_eq!(out.matches("Permission denied").count(), 3, "{out}");
    assert_eq!(host("stat", &["-c", "%a", "/dev/null"]).trim(), "666", "the host's node is another");
}

#[test]
fn masked_paths_are_empty_and_protected_paths_cannot_be_written() {
    let world = World::new();
    let masked = ["/proc/version", "/proc/driver", "/proc/fs", "/proc/no-such"];
    let script = "wc -c </proc/version; ls /proc/driver /proc/fs | grep -v : | wc -w
        (echo 1 >/proc/sys/kernel/dmesg_restrict) 2>&1; (echo >/proc/driver/x) 2>&1; (echo >/sys/x) 2>&1; true";
    let out = world.sh(script, json!({ "linux": { "maskedPaths": masked } }));
    assert!(out.starts_with("0\n0\n"), "{out}");
    assert_eq!(out.matches("Read-only file system").count(), 3, "{out}");
}

#[test]
fn links_in_the_image_cannot_lead_a_mount_outside() {
    let world = World::new();
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(world.path("secret"), "from the host").unwrap();
    symlink(&outside, world.path("image/abs")).unwrap();
    symlink("../../../../../../../../tmp", world.path("image/up")).unwrap();
    symlink("/proc/self/attr", world.path("image/attr")).unwrap();
    let bind = |to: &str| {
        json!({ "destination": to, "type": "bind", "options": ["rbind", "ro"],
        "source": world.path("secret").display().to_string() })
    };
    let out = world.sh("cat /abs/a/b /tmp/c", json!({ "+mounts": [bind("/abs/a/b"), bind("/up/c")] }));
    assert_eq!(out, "from the hostfrom the host");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let plan = world.plan("proc", "true", json!({ "+mounts": [bind("/attr/exec")] }));
    let failure = Container::create(&plan).err().unwrap();
    assert!(failure.step == "mount /attr/exec" && failure.text.contains("inside /proc"), "{failure:?}");
}

#[test]
fn bind_mounts_are_read_only_private_and_without_devices_as_asked() {
    let world = World::new();
    for name in ["volume/below", "file-volume"] {
        fs::create_dir_all(world.path(name)).unwrap();
    }
    fs::write(world.path("file-volume/hosts"), "hosts\n").unwrap();
    let source = |name: &str| world.path(name).display().to_string();
    let spec = json!({ "+mounts": [
        { "destination": "/data", "type": "bind", "source": source("volume"), "options": ["rbind", "rw"] },
        { "destination": "/ro", "type": "bind", "source": source("volume"), "options": ["rbind", "rro", "noexec"] },
        { "destination": "/etc/hosts", "source": source("file-volume/hosts"), "options": ["bind", "ro"] },
        { "destination": "/cache", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=1770"] },
    ]});
    let script = "echo hello >/data/file; cat /ro/file /etc/hosts; (echo x >/ro/file) 2>&1; (echo >/etc/hosts) 2>&1
        mknod /data/zero c 1 5; cat /data/zero 2>&1; stat -c %a /cache; dd if=/dev/zero of=/cache/f bs=64k 2>&1
        grep -E ' /(data|ro|cache|etc/hosts) ' /proc/self/mountinfo; true";
    let out = world.sh(script, spec);
    assert!(out.starts_with("hello\nhosts\n"), "{out}");
    assert_eq!(out.matches("Read-only file system").count(), 2, "{out}");
    assert!(
        out.contains("Permission denied") && out.contains("1770") && out.contains("No space left"),
        "{out}"
    );
    assert_eq!(fs::read_to_string(world.path("volume/file")).unwrap(), "hello\n");
}

#[test]
fn a_part_of_a_bind_mounts_source_never_lies_outside_of_it() {
    let world = World::new();
    for name in ["volume/below/deep", "outside"] {
        fs::create_dir_all(world.path(name)).unwrap();
    }
    fs::write(world.path("volume/below/file"), "inside").unwrap();
    fs::write(world.path("outside/file"), "outside").unwrap();
    symlink("below", world.path("volume/in")).unwrap();
    symlink("../outside", world.path("volume/up")).unwrap();
    symlink(world.path("outside"), world.path("volume/out")).unwrap();
    symlink("/proc/self/root", world.path("volume/magic")).unwrap();
    let source = world.path("volume").display().to_string();
    let bind = |part: &str| {
        let options = ["rbind".to_owned(), "rprivate".to_owned(), format!("X-mount.subdir={part}")];
        json!({ "+mounts": [{ "destination": "/part", "type": "bind", "source": source, "options": options }] })
    };
    for part in ["below", "in", "./below/deep/.."] {
        assert_eq!(world.sh("cat /part/file", bind(part)), "inside", "{part}");
    }
    assert_eq!(world.sh("cat /part", bind("in/file")), "inside");
    for (number, part) in ["up", "out", "out/file", "magic/etc", "..", "/below", "none"].iter().enumerate() {
        let plan = world.plan(&format!("out{number}"), "true", bind(part));
        let failure = Container::create(&plan).err().unwrap_or_else(|| panic!("{part} was mounted"));
        assert_eq!(failure.step, "open the sources of bind mounts", "{failure:?}");
    }
}

#[test]
fn a_mount_that_nobody_shares_is_not_called_shared() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let world = World::new();
    let none: Option<&str> = None;
    let private = world.path("private");
    fs::create_dir(&private).unwrap();
    mount(Some("tmpfs"), &private, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    mount(none, &private, none, MsFlags::MS_PRIVATE, none).unwrap();
    for (option, what) in [("rshared", "a shared mount"), ("rslave", "a shared or slave mount")] {
        let spec = json!({ "+mounts": [{ "destination": "/p", "type": "bind",
            "source": private.display().to_string(), "options": ["rbind", option] }] });
        let failure = Container::create(&world.plan(option, "true", spec)).err().unwrap();
        assert!(failure.text.ends_with(&format!("but it is not {what}")), "{failure:?}");
    }
    umount2(&private, MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn a_dev_of_the_hosts_own_is_shown_as_it_is_and_nothing_is_made_in_it() {
    let world = World::new();
    fs::create_dir(world.path("host-dev")).unwrap();
    fs::write(world.path("host-dev/null"), "not a device").unwrap();
    let source = world.path("host-dev").display().to_string();
    let spec = json!({ "mounts": [
        { "destination": "/dev", "type": "bind", "source": source, "options": ["rbind", "rw", "dev"] }],
        "linux": { "maskedPaths": [], "readonlyPaths": [] } });
    assert_eq!(world.sh("ls /dev; cat /dev/null", spec), "null\nnot a device");
    assert_eq!(fs::read_dir(world.path("host-dev")).unwrap().count(), 1);
}

#[test]
fn mounts_travel_between_host_and_container_only_where_that_is_asked_for() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let world = World::new();
    let none: Option<&str> = None;
    let shared = world.path("shared");
    fs::create_dir_all(shared.join("both")).unwrap();
    fs::create_dir_all(shared.join("never")).unwrap();
    mount(Some(&shared), &shared, none, MsFlags::MS_BIND, none).unwrap();
    mount(none, &shared, none, MsFlags::MS_SHARED, none).unwrap();
    let source = shared.display().to_string();
    let caps = ["CAP_SYS_ADMIN"];
    let spec = json!({
        "process": { "capabilities": { "bounding": caps, "permitted": caps, "effective": caps } },
        "+mounts": [
            { "destination": "/both", "type": "bind", "source": source, "options": ["rbind", "rshared"] },
            { "destination": "/none", "type": "bind", "source": source, "options": ["rbind"] }] });
    let script = "mount -t tmpfs x /both/both && touch /both/both/file
        mount -t tmpfs x /none/never && touch /none/never/file";
    let mut container = Container::create(&world.plan("c", script, spec)).unwrap();
    container.go().unwrap();
    let result = (container.wait(), container.output());
    let (both, never) = (shared.join("both/file").exists(), shared.join("never/file").exists());
    let _ = umount2(&shared.join("both"), MntFlags::MNT_DETACH);
    umount2(&shared, MntFlags::MNT_DETACH).unwrap();
    assert_eq!(result, (Exit::Code(0), String::new()));
    assert_eq!((both, never), (true, false));
}

#[test]
fn the_user_is_found_in_the_images_own_files() {
    let world = World::new();
    let mut plan = world.plan("c", "id; echo $HOME", json!({}));
    plan.user = Some(UserSpec { image: "web".into(), supplementary: vec![2000], ..UserSpec::default() });
    let (_, out) = world.run(&plan);
    assert_eq!(out, "uid=101(web) gid=102(web) groups=51(log),2000\n/srv/web\n");
    let mut plan = world.plan("d", "id -u; id -g; id -G", json!({}));
    plan.user = Some(UserSpec {
        image: "web".into(),
        run_as_user: Some(1234),
        run_as_group: Some(77),
        supplementary: vec![5],
        policy: GroupPolicy::Strict,
    });
    assert_eq!(world.run(&plan).1, "1234\n77\n77 5\n");
    let mut plan = world.plan("e", "true", json!({}));
    plan.user = Some(UserSpec { image: "nobodyx".into(), ..UserSpec::default() });
    let failure = Container::create(&plan).err().unwrap();
    assert_eq!(failure.text, "unable to find user nobodyx: no matching entries in passwd file");
    assert_eq!(failure.step, "look the user up");
}

#[test]
fn capabilities_are_exactly_the_specs_for_root_and_for_others() {
    let world = World::new();
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'";
    let out = world.sh(script, json!({}));
    // CHOWN 0, DAC_OVERRIDE 1, KILL 5, SETGID 6, SETUID 7, MKNOD 27
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(out.contains(&format!("{set}:00000000080000e3")), "{out}");
    }
    assert!(out.contains("CapInh:0000000000000000") && out.contains("NoNewPrivs:0"), "{out}");
    let caps = ["CAP_NET_BIND_SERVICE"];
    let spec = json!({ "process": { "user": { "uid": 101, "gid": 102 }, "noNewPrivileges": true, "capabilities": {
        "bounding": caps, "permitted": caps, "effective": caps, "inheritable": caps, "ambient": caps } } });
    let out = world.sh(script, spec);
    for set in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"] {
        assert!(out.contains(&format!("{set}:0000000000000400")), "{out}");
    }
    assert!(out.contains("NoNewPrivs:1"), "{out}");
}

#[test]
fn what_this_host_lacks_is_a_note_and_the_rest_goes_on() {
    let world = World::new();
    let spec = json!({ "process": { "oomScoreAdj": -999, "capabilities": {
            "bounding": ["CAP_SYS_RESOURCE"], "permitted": ["CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024 },
                    { "type": "RLIMIT_MSGQUEUE", "soft": 99_000_000_000_u64, "hard": 99_000_000_000_u64 }] } });
    let mut container = Container::create(&world.plan("c", "ulimit -n; ulimit -Hn", spec)).unwrap();
    let notes = container.ready.notes.join("\n");
    let powerful = host("grep", &["CapPrm", "/proc/self/status"]).contains("1ffffffffff");
    assert!(
        powerful || notes.contains("oom_score_adj -999") && notes.contains("CAP_SYS_RESOURCE"),
        "{notes}"
    );
    container.go().unwrap();
    assert_eq!((container.wait(), container.output()), (Exit::Code(0), "512\n1024\n".to_owned()));
}

#[test]
fn a_seccomp_profile_holds_without_no_new_privs_for_a_user_without_capabilities() {
    let world = World::new();
    let spec = json!({ "process": { "user": { "uid": 101, "gid": 102 } }, "linux": { "seccomp": {
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18 },
            { "names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS" }] } } });
    let script =
        "mkdir /tmp/x 2>&1; grep -E '^(Seccomp|CapEff|CapPrm|NoNewPrivs)' /proc/self/status | tr -d '\\t'
        hostname other; echo $?";
    let out = world.sh(script, spec);
    assert!(out.contains("Invalid cross-device link"), "{out}");
    assert!(out.contains("Seccomp:2") && out.contains("NoNewPrivs:0"), "{out}");
    assert_eq!(out.matches("0000000000000000").count(), 2, "{out}");
    assert!(out.trim_end().ends_with("159"), "killed by SIGSYS: {out}");
}

#[test]
fn a_missing_working_directory_is_made_and_belongs_to_root() {
    let world = World::new();
    let spec = json!({ "process": { "cwd": "/srv/app/deep", "user": { "uid": 101, "gid": 102 } } });
    let out = world.sh("pwd; stat -c '%u %a' . ..; umask", spec);
    assert_eq!(out, "/srv/app/deep\n0 755\n0 755\n0022\n");
}

#[test]
fn a_read_only_root_is_read_only_and_its_mounts_are_not() {
    let world = World::new();
    let spec = json!({ "root": { "readonly": true }, "process": { "cwd": "/made" },
        "+mounts": [{ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }] });
    let out = world.sh("(touch /x) 2>&1; touch /tmp/x && echo ok; pwd", spec);
    assert!(out.contains("Read-only file system") && out.ends_with("ok\n/made\n"), "{out}");
}

#[test]
fn a_program_that_cannot_be_run_has_the_exit_code_of_a_shell() {
    let world = World::new();
    fs::write(world.path("image/bin/plain"), "no program").unwrap();
    fs::write(world.path("image/bin/lost"), "#!/no/such/interpreter\n").unwrap();
    fs::write(world.path("image/bin/broken"), [0; 64]).unwrap();
    for name in ["lost", "broken"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(world.path("image/bin").join(name), mode).unwrap();
    }
    for (command, code, text) in [
        ("nosuch", 127, "\"nosuch\": executable file not found in $PATH"),
        ("/bin/nosuch", 127, "\"/bin/nosuch\": no such file or directory"),
        ("/bin/lost", 127, "\"/bin/lost\": its interpreter or loader does not exist"),
        ("plain", 126, "\"plain\": permission denied"),
        ("/etc", 126, "\"/etc\": permission denied"),
        ("broken", 126, "\"broken\": exec format error"),
    ] {
        let plan = world.plan(&command.replace('/', "_"), "", json!({ "process": { "args": [command] } }));
        let mut container = Container::create(&plan).unwrap();
        let failure = container.go().unwrap_err();
        assert_eq!((failure.step.as_str(), failure.text.as_str()), ("exec", text));
        assert_eq!(failure.exit_code, Some(code));
        assert_eq!(container.wait(), Exit::Code(code));
    }
}

#[test]
fn a_caller_that_hangs_up_before_go_takes_the_container_with_it() {
    let world = World::new();
    let mut container = Container::create(&world.plan("c", "echo never", json!({}))).unwrap();
    container.hang_up();
    assert_eq!(container.wait(), Exit::Code(GATE_CLOSED));
    assert_eq!(container.output(), "");
}

#[test]
fn nothing_of_the_stage_leaks_into_the_program() {
    let world = World::new();
    let script = "exec 9</proc/self/fd; ls /proc/self/fd | tr '\\n' ' '; echo; env | sort
        grep -E '^Sig(Ign|Blk)' /proc/self/status | tr -d '\\t'";
    let out = world.sh(script, json!({ "process": { "args": ["/bin/sh", "-c", script] } }));
    // 3 is the directory that ls itself reads.
    assert!(out.starts_with("0 1 2 3 9 \n"), "{out}");
    assert!(out.contains("HOME=/root\n") && !out.contains("CARGO"), "{out}");
    assert!(out.contains("SigBlk:0000000000000000\nSigIgn:0000000000000000\n"), "{out}");
}

/// Opens a program through a process that runs it, and writes when the process has left: CVE-2019-5736.
fn write_through(exe: &SelfExe, world: &World, name: &str) -> std::io::Result<fs::File> {
    let mut container = Container::create_from(exe, &world.plan(name, "true", json!({}))).unwrap();
    let path = format!("/proc/{}/exe", container.init.pid);
    let held = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).unwrap();
    container.kill();
    fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", held.as_raw_fd()))
}

#[test]
fn nobody_can_write_to_the_program_through_a_stage_that_runs_it() {
    let world = World::new();
    let copy = world.path("copy-of-the-program");
    fs::copy(env!("CARGO_BIN_EXE_runtime-stage"), &copy).unwrap();
    let sealed = SelfExe::of(&CString::new(copy.as_os_str().as_encoded_bytes()).unwrap()).unwrap();
    assert!(sealed.is_sealed());
    let error = write_through(&sealed, &world, "sealed").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    assert!(fs::OpenOptions::new().write(true).open(&copy).is_ok(), "the file itself stays as it is");
}

#[test]
fn a_hundred_layers_with_long_names_make_one_root() {
    let world = World::new();
    let mut plan = world.plan("c", "ls /layer | wc -l; cat /top", json!({}));
    let mut lower: Vec<PathBuf> =
        (0..100).map(|n| world.path(&format!("{n:03}-{}", "x".repeat(200)))).collect();
    for (n, layer) in lower.iter().enumerate() {
        fs::create_dir_all(layer.join("layer")).unwrap();
        fs::write(layer.join(format!("layer/{n}")), "").unwrap();
        fs::write(layer.join("top"), format!("{n}\n")).unwrap();
    }
    lower.push(world.path("image"));
    let Rootfs::Overlay { scratch, .. } = plan.rootfs else { unreachable!() };
    let deep = scratch.join("y".repeat(200)).join("z".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    plan.rootfs = Rootfs::Overlay { lower, scratch: deep };
    assert_eq!(world.run(&plan), (Exit::Code(0), "100\n0\n".to_owned()));
}

#[test]
fn an_overlay_on_an_overlay_gets_its_writable_layer_in_memory_and_says_so() {
    let world = World::new();
    let mut plan =
        world.plan("c", "echo x >/file && cat /file; grep ' / / ' /proc/self/mountinfo", json!({}));
    // The scratch directory lies on an overlay, as it does inside a container.
    let (base, mnt) = (world.path("base"), world.path("mnt"));
    for dir in ["base/u", "base/w", "base/l", "mnt"] {
        fs::create_dir_all(world.path(dir)).unwrap();
    }
    let options = format!("lowerdir={0}/l,upperdir={0}/u,workdir={0}/w", base.display());
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("overlay"), &mnt, Some("overlay"), flags, Some(options.as_str())).unwrap();
    let scratch = mnt.join("scratch");
    fs::create_dir(&scratch).unwrap();
    plan.rootfs = Rootfs::Overlay { lower: vec![world.path("image")], scratch };
    let result = Container::create(&plan).map(|mut container| {
        let notes = container.ready.notes.join("\n");
        container.go().unwrap();
        (container.wait(), container.output(), notes)
    });
    nix::mount::umount2(&mnt, nix::mount::MntFlags::MNT_DETACH).unwrap();
    let (exit, out, notes) = result.unwrap();
    assert!(exit == Exit::Code(0) && out.starts_with("x\n"), "{out}");
    assert!(notes.contains("the writable layer is in memory"), "{notes}");
}

/// A cgroup of its own with device rules.
fn with_rules(name: &str, rules: serde_json::Value) -> serde_json::Value {
    let path = format!("/podbox-test-{name}-{}/c-0", std::process::id());
    json!({ "linux": { "cgroupsPath": path, "resources": { "devices": rules } } })
}

/// Makes nodes of its own and says which of them open: the null device, and the kernel's log for writing.
const NODES: &str = "for where in / /tmp /dev /v; do
    mknod $where/n c 1 3 && mknod $where/k c 1 11
    for node in n k; do (: >$where/$node) 2>/dev/null && printf '%s ' $where/$node; done
done; [ -c /dev/null ] && echo x >/dev/null && echo null";

#[test]
fn device_nodes_of_its_own_open_what_the_rules_allow() {
    let world = World::new();
    fs::create_dir(world.path("volume")).unwrap();
    let volume = json!([{ "destination": "/v", "type": "bind", "source": world.path("volume"), "options": ["rbind"] },
        { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }]);
    let deny = json!({ "allow": false, "access": "rwm" });
    let log = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "w" });
    let all = "//n //k /tmp/n /tmp/k /dev/n /dev/k /v/n /v/k null\n";
    for (name, rules, expected) in [
        ("none", json!([]), "null\n"),
        ("deny", json!([deny]), "//n /tmp/n /dev/n /v/n null\n"),
        ("log", json!([deny, log]), all),
        ("all", json!([{ "allow": true, "access": "rwm" }]), all),
    ] {
        let mut spec = with_rules(name, rules);
        spec["+mounts"] = volume.clone();
        let plan = world.plan(name, NODES, spec);
        let (exit, output) = world.run(&plan);
        let path = plan.spec.linux().as_ref().unwrap().cgroups_path().clone().unwrap();
        runtime::cgroup::Cgroups::detect().at(&path).remove_with_parents().unwrap();
        for node in ["n", "k"] {
            fs::remove_file(world.path("volume").join(node)).unwrap();
        }
        assert_eq!((exit, output.as_str()), (Exit::Code(0), expected), "{name}");
    }
}

#[test]
fn a_plain_directory_can_be_the_root_and_keeps_what_is_written() {
    let world = World::new();
    let mut plan = world.plan("c", "echo kept >/kept", json!({}));
    plan.rootfs = Rootfs::Directory(world.path("image"));
    assert_eq!(world.run(&plan).0, Exit::Code(0));
    assert_eq!(fs::read_to_string(world.path("image/kept")).unwrap(), "kept\n");
}

#[test]
fn the_plan_that_is_printed_is_the_plan_that_is_done() {
    let world = World::new();
    let plan =
        world.plan("c", "true", json!({ "linux": { "seccomp": { "defaultAction": "SCMP_ACT_ALLOW" } } }));
    let printed = runtime::recipe::container_steps(&plan);
    let container = Container::create(&plan).unwrap();
    let done = &container.ready.trace;
    let behind_the_gate = ["load the seccomp filter", "exec"];
    let names: Vec<&str> = printed.iter().map(|step| step.name.as_str()).collect();
    let mut expected: Vec<&str> = done.iter().map(|step| step.name.as_str()).collect();
    expected.extend(behind_the_gate);
    assert_eq!(names, expected);
    assert!(done.iter().all(|step| !step.command.is_empty()));
}

#[test]
fn a_failed_step_is_named_and_nothing_is_left_behind() {
    let world = World::new();
    let path = format!("/podbox-test-fail-{}/c-0", std::process::id());
    let spec = json!({ "linux": { "cgroupsPath": path }, "+mounts": [
        { "destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["bind"] }] });
    let failure = Container::create(&world.plan("c", "true", spec)).err().unwrap();
    assert_eq!(failure.step, "open the sources of bind mounts");
    assert_eq!(failure.errno, Some(libc::ENOENT));
    assert_eq!(failure.text, "/no/such/source: No such file or directory");
    let group = runtime::cgroup::Cgroups::detect().at(path.as_ref());
    assert!(!group.exists());
    group.remove_with_parents().unwrap();
    assert_eq!(common::mounts_below(&world.path("")), Vec::<String>::new());
}
