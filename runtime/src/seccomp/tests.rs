use super::*;
use proptest::prelude::*;
use serde_json::json;

/// What a BPF program answers to a call: enough of an interpreter for what the compiler emits.
fn run(program: &[seccompiler::sock_filter], number: i64, args: [u64; 6]) -> u32 {
    run_on(NATIVE, program, number, args)
}

const NATIVE: u32 = if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };

fn run_on(arch: u32, program: &[seccompiler::sock_filter], number: i64, args: [u64; 6]) -> u32 {
    let mut data = Vec::from((number as u32).to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend([0; 8]);
    args.iter().for_each(|arg| data.extend(arg.to_le_bytes()));
    let (mut at, mut acc) = (0_usize, 0_u32);
    loop {
        let op = &program[at];
        at += 1;
        let jump = |taken| usize::from(if taken { op.jt } else { op.jf });
        match op.code {
            0x20 => acc = u32::from_le_bytes(data[op.k as usize..][..4].try_into().unwrap()),
            0x54 => acc &= op.k,
            0x05 => at += op.k as usize,
            0x15 => at += jump(acc == op.k),
            0x25 => at += jump(acc > op.k),
            0x35 => at += jump(acc >= op.k),
            0x45 => at += jump(acc & op.k != 0),
            0x06 => return op.k,
            other => panic!("operation {other:#x}"),
        }
    }
}

/// The kernel's rule: the lowest action value wins, as a signed number.
fn verdict(filters: &Filters, number: i64, args: [u64; 6]) -> u32 {
    verdict_on(NATIVE, filters, number, args)
}

fn verdict_on(arch: u32, filters: &Filters, number: i64, args: [u64; 6]) -> u32 {
    let action = |answer: &u32| (answer & 0xffff_0000) as i32;
    let answers = filters.programs.iter().rev().map(|program| run_on(arch, program, number, args));
    answers.min_by_key(action).unwrap_or(libc::SECCOMP_RET_ALLOW)
}

fn profile(value: serde_json::Value) -> Filters {
    compile(&serde_json::from_value(value).unwrap()).unwrap()
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

#[test]
fn each_rule_gets_its_own_action_and_the_rest_the_default() {
    let filters = profile(json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
        "syscalls": [
            { "names": ["read", "seccomp", "no_such_call"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
            { "names": ["reboot"], "action": "SCMP_ACT_KILL_PROCESS" },
            { "names": ["personality"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 8, "op": "SCMP_CMP_EQ" }] },
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_NE" }] },
            { "names": ["clone"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 2_114_060_288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }] },
        ]
    }));
    let errno = |n: u32| libc::SECCOMP_RET_ERRNO | n;
    for (number, first, answer) in [
        (libc::SYS_read, 0, ALLOW),
        (libc::SYS_write, 0, errno(13)),
        (libc::SYS_clone3, 0, errno(38)),
        (libc::SYS_reboot, 0, libc::SECCOMP_RET_KILL_PROCESS),
        (libc::SYS_personality, 8, ALLOW),
        (libc::SYS_personality, 9, errno(13)),
        (libc::SYS_socket, 2, ALLOW),
        (libc::SYS_socket, 40, errno(13)),
        (libc::SYS_clone, 17, ALLOW),
        (libc::SYS_clone, 0x1000_0000 | 17, errno(13)),
    ] {
        assert_eq!(verdict(&filters, number, [first, 0, 0, 0, 0, 0]), answer, "call {number}({first})");
    }
}

#[test]
fn a_profile_that_only_forbids_leaves_everything_else_alone() {
    let filters = profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat", "seccomp"], "action": "SCMP_ACT_ERRNO" }]
    }));
    assert_eq!(verdict(&filters, libc::SYS_mkdirat, [0; 6]), EPERM);
    assert_eq!(verdict(&filters, libc::SYS_openat, [0; 6]), ALLOW);
    let x32 = verdict(&filters, libc::SYS_mkdirat | 0x4000_0000, [0; 6]);
    assert_eq!(x32, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    let last = filters.programs.last().unwrap();
    assert_eq!(run(last, libc::SYS_seccomp, [0; 6]), EPERM, "what forbids seccomp is installed last");
}

#[test]
fn a_profile_without_rules_that_allows_all_installs_nothing() {
    assert!(profile(json!({ "defaultAction": "SCMP_ACT_ALLOW" })).programs.is_empty());
}

#[test]
fn a_call_that_is_newer_than_all_that_a_profile_names_does_not_exist() {
    let filters = profile(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{ "names": ["read", "openat2", "seccomp"], "action": "SCMP_ACT_ALLOW" }]
    }));
    assert_eq!(verdict(&filters, libc::SYS_openat2 - 1, [0; 6]), EPERM);
    let none = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    assert_eq!(verdict(&filters, libc::SYS_openat2 + 1, [0; 6]), none);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_32_bit_calls_beside_the_own_ones_have_numbers_of_their_own_where_a_profile_names_them() {
    let rules = |architectures: &[&str]| {
        profile(json!({
            "defaultAction": "SCMP_ACT_ERRNO", "architectures": architectures,
            "syscalls": [{ "names": ["mkdir", "openat2", "socketcall"], "action": "SCMP_ACT_ALLOW" }]
        }))
    };
    let (i386, kill) = (0x4000_0003, libc::SECCOMP_RET_KILL_PROCESS);
    let both = rules(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    // 39 is mkdir there and getpid here, 83 is mkdir here and symlink there.
    for (arch, number, answer) in
        [(NATIVE, 83, ALLOW), (NATIVE, 39, EPERM), (i386, 39, ALLOW), (i386, 83, EPERM), (i386, 102, ALLOW)]
    {
        assert_eq!(verdict_on(arch, &both, number, [0; 6]), answer, "{arch:x} {number}");
    }
    assert_eq!(verdict_on(0x4000_0028, &both, 39, [0; 6]), kill, "and no third");
    assert_eq!(verdict_on(i386, &rules(&[]), 39, [0; 6]), kill, "nobody asked for it");
}

#[test]
fn a_listener_is_refused_and_not_ignored() {
    let value = json!({ "defaultAction": "SCMP_ACT_NOTIFY" });
    assert!(compile(&serde_json::from_value(value).unwrap()).unwrap_err().text.contains("listener"));
}

proptest! {
    #[test]
    fn comparisons_agree_with_arithmetic(value: u64, arg: u64, near in -2_i64..3, mask: u64) {
        for arg in [arg, value.wrapping_add_signed(near), value] {
            for (op, expected) in [
                ("SCMP_CMP_NE", arg != value), ("SCMP_CMP_LT", arg < value), ("SCMP_CMP_LE", arg <= value),
                ("SCMP_CMP_EQ", arg == value), ("SCMP_CMP_GE", arg >= value), ("SCMP_CMP_GT", arg > value),
            ] {
                let filters = profile(json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "names": ["read"],
                    "action": "SCMP_ACT_ALLOW", "args": [{ "index": 5, "value": value, "op": op }] }] }));
                let answer = verdict(&filters, libc::SYS_read, [0, 0, 0, 0, 0, arg]);
                prop_assert_eq!(answer == ALLOW, expected, "{} {} {}", arg, op, value);
            }
            let filters = profile(json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "names": ["read"],
                "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": mask, "valueTwo": value & mask,
                "op": "SCMP_CMP_MASKED_EQ" }] }] }));
            let answer = verdict(&filters, libc::SYS_read, [arg, 0, 0, 0, 0, 0]);
            prop_assert_eq!(answer == ALLOW, arg & mask == value & mask);
        }
    }
}
