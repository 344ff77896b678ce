use super::*;
use oci_spec::runtime::LinuxDeviceCgroupBuilder;
use proptest::prelude::*;

/// What a program answers, by a machine that knows the operations used here.
fn answer(program: &[Instruction], asked: (i32, i32, i32, i32)) -> bool {
    let (access, kind, major, minor) = asked;
    let unsigned = |value: i64| value.cast_unsigned();
    let context = [access << 16 | kind, major, minor];
    let mut registers = [0_i64; 6];
    let mut at = 0;
    for _ in 0..10_000 {
        let one = program[at];
        let (to, from) = (usize::from(one.registers & 15), usize::from(one.registers >> 4));
        let (constant, old) = (i64::from(one.constant), registers[to]);
        let jumps = match one.code {
            JUMP => true,
            JUMP_IF_EQUAL => old == constant,
            JUMP_UNLESS_EQUAL => old != constant,
            JUMP_IF_GREATER => unsigned(old) > unsigned(constant),
            JUMP_IF_BITS => old & constant != 0,
            EXIT => return registers[usize::from(ANSWER)] == 1,
            _ => false,
        };
        registers[to] = match one.code {
            LOAD_WORD => i64::from(context[one.jump as usize / 4]),
            MOVE => constant,
            MOVE_REGISTER => registers[from],
            AND => old & constant,
            SHIFT_RIGHT => old >> constant,
            SHIFT_RIGHT_BY_REGISTER => old >> registers[from],
            _ => old,
        };
        at += if jumps { 1 + one.jump as usize } else { 1 };
    }
    panic!("the program does not end")
}

/// What the rules say, read as they are written.
fn verdict(rules: &[Rule], (access, kind, major, minor): (i32, i32, i32, i32)) -> bool {
    let same = |wanted: Option<i32>, number: i32| wanted.is_none_or(|wanted| wanted == number);
    let last = rules.iter().rev().find(|rule| {
        let covers = if rule.allow { access & !rule.access == 0 } else { access & rule.access != 0 };
        let in_minors = match rule.minor {
            Minor::Any => true,
            Minor::Only(number) => number == minor,
            Minor::AmongBits(bits) => minor < 32 && bits >> minor & 1 == 1,
        };
        covers && same(rule.kind, kind) && same(rule.major, major) && in_minors
    });
    last.is_some_and(|rule| rule.allow)
}

fn everything(allow: bool) -> LinuxDeviceCgroup {
    LinuxDeviceCgroupBuilder::default().allow(allow).access("rwm").build().unwrap()
}

#[test]
fn by_default_a_container_makes_every_node_and_opens_the_harmless_ones() {
    let program = compile(&all_rules(&[everything(false)]));
    for (major, minor) in
        [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, 0), (136, 77)]
    {
        assert!(answer(&program, (READ | WRITE, CHARACTER, major, minor)), "{major}:{minor}");
    }
    for asked in
        [(READ, CHARACTER, 1, 1), (WRITE, BLOCK, 1, 3), (READ, BLOCK, 253, 0), (READ, CHARACTER, 10, 229)]
    {
        assert!(!answer(&program, asked), "{asked:?}");
        assert!(answer(&program, (MKNOD, asked.1, asked.2, asked.3)), "{asked:?}");
    }
}

#[test]
fn the_program_that_is_loaded_beforehand_is_the_one_of_a_spec_that_denies_everything() {
    assert_eq!(UsualProgram::load().instructions, compile(&all_rules(&[everything(false)])));
}

#[test]
fn a_spec_that_allows_everything_needs_no_program() {
    assert!(allows_everything(&all_rules(&[everything(true)])));
    assert!(allows_everything(&all_rules(&[everything(false), everything(true)])));
    assert!(!allows_everything(&all_rules(&[everything(true), everything(false)])));
    assert!(!allows_everything(&all_rules(&[everything(false)])));
}

#[test]
fn numbers_and_letters_are_read_as_the_spec_writes_them() {
    let spec = LinuxDeviceCgroupBuilder::default().allow(true).typ(LinuxDeviceType::B).major(8).minor(-1);
    let rule = rule_of(&spec.access("rm").build().unwrap());
    let expected =
        Rule { allow: true, kind: Some(BLOCK), major: Some(8), minor: Minor::Any, access: READ | MKNOD };
    assert_eq!(rule, expected);
    let plain = rule_of(&LinuxDeviceCgroupBuilder::default().allow(false).build().unwrap());
    assert!(is_total(&plain));
}

#[test]
fn the_kernel_accepts_the_programs() {
    let some =
        [Rule { allow: false, kind: Some(BLOCK), major: Some(8), minor: Minor::Only(1), access: WRITE }];
    let long: Vec<Rule> = ALWAYS.iter().chain(&some).copied().cycle().take(200).collect();
    for rules in [all_rules(&[everything(false)]), some.to_vec(), long, Vec::new()] {
        match bpf::load_device_program(&compile(&rules)) {
            Ok(_) | Err(nix::errno::Errno::EPERM) => {}
            Err(errno) => panic!("{errno}: {rules:?}"),
        }
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let number = || proptest::option::of(0..3_i32);
    let minor = prop_oneof![
        Just(Minor::Any),
        (0..3_i32).prop_map(Minor::Only),
        (0..8_i32).prop_map(Minor::AmongBits)
    ];
    (any::<bool>(), proptest::option::of(1..3_i32), number(), minor, 1..8_i32)
        .prop_map(|(allow, kind, major, minor, access)| Rule { allow, kind, major, minor, access })
}

proptest! {
    #[test]
    fn a_program_says_what_the_rules_say(
        rules in proptest::collection::vec(any_rule(), 0..12),
        asked in (1..8_i32, 1..3_i32, 0..3_i32, prop_oneof![0..3_i32, Just(40)]),
    ) {
        prop_assert_eq!(answer(&compile(&rules), asked), verdict(&rules, asked));
        if allows_everything(&rules) {
            prop_assert!(verdict(&rules, asked));
        }
    }
}
