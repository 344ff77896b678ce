//! What the kernel tests share: an image made of busybox, plans, and containers that are cleaned up.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use runtime::launch::{Inbox, Launched, SelfExe, StageKind, launch, send_plan};
use runtime::plan::{ContainerPlan, Exit, Failure, FromStage, Identity, Ready, Rootfs, SandboxPlan, Stdio};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program with the stages.
pub fn exe() -> &'static SelfExe {
    static EXE: OnceLock<SelfExe> = OnceLock::new();
    EXE.get_or_init(|| {
        // Containers become our children when their stage has left, as they become the guardian's.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        SelfExe::of(concat_c(env!("CARGO_BIN_EXE_runtime-stage")).as_c_str()).unwrap()
    })
}

fn concat_c(path: &str) -> std::ffi::CString {
    std::ffi::CString::new(path).unwrap()
}

/// A directory of one test's own: image, scratch, FIFOs, pins.
pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        exe();
        let dir = tempfile::tempdir().unwrap();
        let world = Self { dir };
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
            fs::create_dir_all(world.path("image").join(name)).unwrap();
        }
        fs::copy("/bin/busybox", world.path("image/bin/busybox")).unwrap();
        for name in [
            "sh", "cat", "ls", "id", "sleep", "mount", "hostname", "stat", "touch", "pwd", "ps", "env",
            "grep", "true", "false", "readlink", "mknod", "dd", "kill", "echo", "mkdir", "wc", "head", "tty",
            "stty", "umount", "test", "tr", "sed", "rm", "ipcs", "setsid", "nc", "sort",
        ] {
            std::os::unix::fs::symlink("busybox", world.path("image/bin").join(name)).unwrap();
        }
        fs::write(
            world.path("image/etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:101:102::/srv/web:/bin/sh\n",
        )
        .unwrap();
        fs::write(world.path("image/etc/group"), "root:x:0:\nweb:x:102:\nlog:x:51:web\n").unwrap();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A plan for `sh -c script` with everything that a container usually has. `spec` is laid over it.
    pub fn plan(&self, name: &str, script: &str, spec: Value) -> ContainerPlan {
        let scratch = self.path(&format!("scratch-{name}"));
        fs::create_dir_all(&scratch).unwrap();
        let mut whole = base_spec(script);
        merge(&mut whole, spec);
        let fifo = self.fifo(&format!("{name}.out"));
        ContainerPlan {
            name: name.to_owned(),
            spec: serde_json::from_value(whole).unwrap(),
            rootfs: Rootfs::Overlay { lower: vec![self.path("image")], scratch },
            stdio: Stdio { stdout: fifo.clone(), stderr: fifo, ..Stdio::default() },
            user: None,
        }
    }

    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        if !path.exists() {
            nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        path
    }

    /// Runs to the end and gives exit and output.
    pub fn run(&self, plan: &ContainerPlan) -> (Exit, String) {
        let mut container = Container::create(plan).unwrap();
        container.go().unwrap();
        (container.wait(), container.output())
    }

    /// As [`World::run`] for a script with nothing special; panics unless it succeeds.
    pub fn sh(&self, script: &str, spec: Value) -> String {
        let (exit, output) = self.run(&self.plan("c", script, spec));
        assert_eq!(exit, Exit::Code(0), "{output}");
        output
    }
}

/// The usual Spec.
fn base_spec(script: &str) -> Value {
    let caps = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_MKNOD", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"];
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "args": ["sh", "-c", script], "cwd": "/", "user": { "uid": 0, "gid": 0 },
            "env": ["PATH=/usr/bin:/bin"],
            "capabilities": { "bounding": caps, "permitted": caps, "effective": caps },
        },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] },
        ],
        "linux": {
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "cgroup" }],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/scsi", "/sys/firmware", "/proc/none"],
            "readonlyPaths": ["/proc/sys", "/proc/bus", "/proc/none"],
        }
    })
}

/// Objects are merged, everything else replaced; a key that starts with `+` appends to an array.
pub fn merge(to: &mut Value, from: Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (key, value) in from {
                if let Some(key) = key.strip_prefix('+') {
                    let list = to.entry(key).or_insert_with(|| json!([])).as_array_mut().unwrap();
                    list.extend(value.as_array().unwrap().clone());
                } else {
                    merge(to.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (to, from) => *to = from,
    }
}

/// A container from its gate to its end; killed when dropped.
pub struct Container {
    pub ready: Ready,
    pub init: Identity,
    socket: std::os::unix::net::UnixStream,
    inbox: Inbox,
    output: File,
    reaped: bool,
}

impl Container {
    pub fn create(plan: &ContainerPlan) -> Result<Self, Failure> {
        Self::create_from(exe(), plan)
    }

    pub fn create_from(exe: &SelfExe, plan: &ContainerPlan) -> Result<Self, Failure> {
        let output = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&plan.stdio.stdout)
            .unwrap();
        let stage = launch(exe, StageKind::Container).unwrap();
        send_plan(&stage.socket, plan, &[]).unwrap();
        let mut inbox = Inbox::default();
        let answer = inbox.answer(stage.socket.as_fd()).unwrap().expect("an answer");
        stage.reap().unwrap();
        match answer {
            FromStage::Ready(ready) => {
                let init = ready.process.expect("an init");
                Ok(Self { ready, init, socket: stage.socket, inbox, output, reaped: false })
            }
            FromStage::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    pub fn go(&mut self) -> Result<(), Failure> {
        self.socket.write_all(b"go\n").unwrap();
        match self.inbox.answer(self.socket.as_fd()).unwrap() {
            None => Ok(()),
            Some(FromStage::Failed(failure)) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    /// Hangs up before `go`.
    pub fn hang_up(&self) {
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
    }

    pub fn wait(&mut self) -> Exit {
        self.reaped = true;
        reap(self.init.pid)
    }

    pub fn kill(&mut self) -> Exit {
        let _ = nix::sys::signal::kill(Pid::from_raw(self.init.pid), nix::sys::signal::SIGKILL);
        self.wait()
    }

    /// What it has written so far.
    pub fn output(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.output.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the output holds `text`.
    pub fn expect(&mut self, text: &str) -> String {
        let (mut all, deadline) = (String::new(), std::time::Instant::now());
        while !all.contains(text) {
            assert!(deadline.elapsed().as_secs() < 20, "no {text:?} in {all:?}");
            all.push_str(&self.output());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        all
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
        }
    }
}

pub fn reap(pid: i32) -> Exit {
    match waitpid(Pid::from_raw(pid), None).unwrap() {
        WaitStatus::Exited(_, code) => Exit::Code(code as u8),
        WaitStatus::Signaled(_, signal, _) => Exit::Signal(signal as i32),
        other => panic!("{other:?}"),
    }
}

/// Starts a sandbox stage and waits for its answer.
pub fn sandbox(plan: &SandboxPlan) -> Result<Ready, Failure> {
    let stage: Launched = launch(exe(), StageKind::Sandbox).unwrap();
    send_plan(&stage.socket, plan, &[]).unwrap();
    let answer = Inbox::default().answer(stage.socket.as_fd()).unwrap().expect("an answer");
    stage.reap().unwrap();
    match answer {
        FromStage::Ready(ready) => Ok(ready),
        FromStage::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

/// The namespace entries of a Spec that join a sandbox.
pub fn joined(plan: &SandboxPlan) -> Value {
    let pin = |kind: &str| plan.pin_dir.join(kind).display().to_string();
    let mut list = vec![
        json!({ "type": "network", "path": pin("net") }),
        json!({ "type": "ipc", "path": pin("ipc") }),
        json!({ "type": "uts", "path": pin("uts") }),
        json!({ "type": "mount" }),
        json!({ "type": "cgroup" }),
    ];
    list.push(if plan.new.pid {
        json!({ "type": "pid", "path": pin("pid") })
    } else {
        json!({ "type": "pid" })
    });
    Value::Array(list)
}

/// Lines of the mount table that mention a path.
pub fn mounts_below(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(&path.display().to_string())).map(str::to_owned).collect()
}

/// Runs a program of the host and gives its output.
pub fn host(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
