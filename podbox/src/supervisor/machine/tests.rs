//! The machine's rules, one sentence each, and properties that hold for any order of events.

use std::time::Duration;

use jiff::Timestamp;

mod changing;
mod hooks;
mod init;
mod properties;
mod restarts;
mod shown;
mod table;
mod volumes;

use super::*;
use crate::clock::Now;
use crate::pod::{
    Container, ContainerSecurity, Dns, Hook, HostNamespaces, Lifecycle, MessagePolicy, PodSecurity,
    PullPolicy, QosClass, Resources, RestartAction, RestartRule, Role,
};

fn container(name: &str) -> Container {
    Container {
        name: name.to_owned(),
        role: Role::Main,
        restart_policy: RestartPolicy::Always,
        restart_rules: Vec::new(),
        image: "podbox.local/toolbox".to_owned(),
        pull_policy: PullPolicy::IfNotPresent,
        command: None,
        args: None,
        working_dir: None,
        env_from: Vec::new(),
        env: Vec::new(),
        ports: Vec::new(),
        resources: Resources::default(),
        devices: Default::default(),
        resize: Default::default(),
        mounts: Vec::new(),
        termination_message_path: "/dev/termination-log".to_owned(),
        termination_message_policy: MessagePolicy::File,
        stdin: false,
        stdin_once: false,
        tty: false,
        liveness: None,
        readiness: None,
        startup: None,
        lifecycle: Lifecycle::default(),
        security: ContainerSecurity::default(),
    }
}

fn pod(policy: RestartPolicy, names: &[&str]) -> Pod {
    Pod {
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        uid: "uid".to_owned(),
        labels: Default::default(),
        annotations: Default::default(),
        manifest_hash: String::new(),
        hostname: "web".to_owned(),
        fqdn: None,
        hostname_as_fqdn: false,
        service_links: true,
        containers: names
            .iter()
            .map(|name| Container { restart_policy: policy, ..container(name) })
            .collect(),
        volumes: Vec::new(),
        restart_policy: policy,
        termination_grace_seconds: 30,
        active_deadline_seconds: None,
        readiness_gates: Vec::new(),
        host: HostNamespaces::default(),
        share_process_namespace: false,
        host_aliases: Vec::new(),
        dns: Dns::default(),
        security: PodSecurity::default(),
        resources: None,
        qos: QosClass::BestEffort,
        image_pull_secrets: Vec::new(),
        service_account: "default".to_owned(),
    }
}

fn probe() -> probes::Spec {
    probes::Spec {
        handler: probes::Handler::TcpSocket { host: None, port: 80 },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace_seconds: None,
    }
}

fn at(seconds: u64) -> Now {
    Now {
        mono: Mono(seconds * 1_000_000_000),
        wall: Timestamp::from_second(1_700_000_000 + seconds.cast_signed()).unwrap(),
    }
}

fn process(number: i32) -> ProcessId {
    ProcessId { pid: number, start: 1 }
}

fn image() -> ImageFacts {
    ImageFacts { reference: "i".to_owned(), id: "sha256:1".to_owned(), stop_signal: None }
}

fn ended(exit: Exit, seconds: u64) -> Ending {
    Ending { exit, oom: false, message: None, at: at(seconds).wall }
}

/// A machine and what it has asked for.
struct Bench {
    machine: PodMachine,
    actions: Vec<Action>,
}

impl Bench {
    fn new(pod: Pod) -> Bench {
        Bench { machine: PodMachine::new(pod, BackoffSettings::default(), at(0)), actions: Vec::new() }
    }

    fn step(&mut self, seconds: u64, event: Event) -> &mut Bench {
        self.actions = self.machine.step(at(seconds), event);
        self
    }

    /// Brings container `index` from its image to running.
    fn run(&mut self, seconds: u64, index: Index) -> &mut Bench {
        self.step(seconds, Event::ImageFound(index, image(), Arrival::Present));
        self.step(seconds, Event::Created(index, process(100 + index as i32)));
        self.step(seconds, Event::Started(index))
    }

    fn sandbox(&mut self, seconds: u64) -> &mut Bench {
        self.step(seconds, Event::SandboxReady(SandboxFacts::default()))
    }

    fn has(&self, wanted: &Action) -> bool {
        self.actions.contains(wanted)
    }

    fn notes(&self) -> Vec<&str> {
        let note = |action: &Action| match action {
            Action::Note(note) => Some(note.reason.clone()),
            _ => None,
        };
        self.actions.iter().filter_map(note).map(|reason| &*Box::leak(reason.into_boxed_str())).collect()
    }

    fn phase(&self) -> Phase {
        phase(self.machine.pod(), self.machine.memory())
    }

    fn state(&self, index: Index) -> &State {
        &self.machine.memory().containers[index].state
    }

    fn condition(&self, kind: &str) -> (bool, Option<&str>) {
        let conditions = &self.machine.memory().conditions;
        let found = conditions.iter().find(|condition| condition.kind == kind).unwrap();
        (found.status == Truth::True, found.reason.as_deref())
    }
}

fn running(policy: RestartPolicy) -> Bench {
    let mut bench = Bench::new(pod(policy, &["c"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    bench
}

#[test]
fn a_new_pod_makes_its_sandbox_and_looks_for_its_images_at_once() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["a", "b"]));
    bench.step(0, Event::Begin);
    assert_eq!(bench.actions, [Action::MakeSandbox, Action::FindImage(0), Action::FindImage(1)]);
    assert_eq!(bench.phase(), Phase::Pending);
}

#[test]
fn a_container_is_created_when_both_image_and_sandbox_are_there_in_either_order() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
    bench.step(0, Event::Begin);
    bench.step(1, Event::ImageFound(0, image(), Arrival::Present));
    assert!(!bench.has(&Action::Create(0)));
    assert!(bench.sandbox(2).has(&Action::Create(0)));

    let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
    bench.step(0, Event::Begin);
    assert!(!bench.sandbox(1).has(&Action::Create(0)));
    bench.step(2, Event::ImageFound(0, image(), Arrival::Present));
    assert!(bench.has(&Action::Create(0)));
}

#[test]
fn a_pod_without_probes_is_ready_when_all_its_containers_run() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["a", "b"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(1, 0);
    assert_eq!(bench.condition("Ready"), (false, Some("ContainersNotReady")));
    assert_eq!(bench.phase(), Phase::Pending);
    bench.run(2, 1);
    assert_eq!(bench.condition("Ready"), (true, None));
    assert_eq!(bench.phase(), Phase::Running);
}

#[test]
fn the_first_restart_is_immediate_and_the_second_waits_ten_seconds_from_the_exit() {
    let mut bench = running(RestartPolicy::Always);
    bench.step(5, Event::Exited(0, ended(Exit::Code(1), 5)));
    assert!(bench.has(&Action::FindImage(0)));
    bench.run(5, 0);
    bench.step(6, Event::Exited(0, ended(Exit::Code(1), 6)));
    assert!(!bench.has(&Action::FindImage(0)));
    assert!(bench.notes().contains(&"BackOff"));
    assert_eq!(bench.phase(), Phase::Running);
    assert_eq!(bench.machine.deadline(), Some(at(16).mono));
    let why = bench.machine.memory().containers[0].why.as_ref().unwrap();
    assert_eq!(why.message, "back-off 10s restarting failed container=c pod=web_default(uid)");
    assert!(!bench.step(15, Event::Tick).has(&Action::FindImage(0)));
    assert!(bench.step(16, Event::Tick).has(&Action::FindImage(0)));
}

#[test]
fn exit_0_ends_a_pod_of_policy_on_failure_and_not_one_of_policy_always() {
    let mut bench = running(RestartPolicy::OnFailure);
    bench.step(5, Event::Exited(0, ended(Exit::Code(0), 5)));
    assert!(bench.has(&Action::TearDown) && bench.has(&Action::Finish(Leave::Remains)));
    assert_eq!(bench.phase(), Phase::Succeeded);
    assert_eq!(bench.condition("Ready"), (false, Some("PodCompleted")));
    let mut bench = running(RestartPolicy::Always);
    bench.step(5, Event::Exited(0, ended(Exit::Code(0), 5)));
    assert!(!bench.has(&Action::TearDown));
}

#[test]
fn a_pod_of_policy_never_fails_when_one_container_did_and_all_have_ended() {
    let mut bench = Bench::new(pod(RestartPolicy::Never, &["a", "b"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0).run(0, 1);
    bench.step(1, Event::Exited(0, ended(Exit::Code(3), 1)));
    assert_eq!(bench.phase(), Phase::Running);
    bench.step(2, Event::Exited(1, ended(Exit::Code(0), 2)));
    assert_eq!(bench.phase(), Phase::Failed);
}

#[test]
fn a_stop_is_polite_first_and_kills_when_the_grace_period_is_over() {
    let mut bench = running(RestartPolicy::Always);
    bench.step(10, Event::Stop(None));
    assert!(bench.has(&Action::Signal(0, StopWith::Politely)));
    assert_eq!(bench.notes(), ["Killing"]);
    assert_eq!(bench.machine.deadline(), Some(at(40).mono));
    assert!(bench.step(40, Event::Tick).has(&Action::Signal(0, StopWith::Kill)));
    bench.step(41, Event::Exited(0, ended(Exit::Signal(9), 41)));
    assert!(bench.has(&Action::Finish(Leave::Nothing)));
}

#[test]
fn at_least_two_seconds_lie_between_term_and_kill_unless_the_grace_is_zero() {
    let mut bench = running(RestartPolicy::Always);
    bench.step(10, Event::Stop(Some(Duration::from_secs(1))));
    assert_eq!(bench.machine.deadline(), Some(at(12).mono));
    let mut bench = running(RestartPolicy::Always);
    bench.step(10, Event::Stop(Some(Duration::ZERO)));
    assert!(bench.has(&Action::Signal(0, StopWith::Kill)));
}

#[test]
fn a_second_stop_can_only_bring_the_end_nearer() {
    let mut bench = running(RestartPolicy::Always);
    bench.step(10, Event::Stop(None));
    bench.step(11, Event::Stop(Some(Duration::from_secs(300))));
    assert_eq!(bench.machine.deadline(), Some(at(40).mono));
    assert!(bench.step(12, Event::Stop(Some(Duration::ZERO))).has(&Action::Signal(0, StopWith::Kill)));
}

#[test]
fn a_container_that_waits_at_its_gate_is_killed_by_a_stop_and_ends_the_pod() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).step(0, Event::ImageFound(0, image(), Arrival::Present));
    bench.step(0, Event::Stop(None));
    assert!(!bench.has(&Action::TearDown), "its stage is still under way");
    bench.step(0, Event::Created(0, process(7)));
    assert!(bench.has(&Action::Signal(0, StopWith::Kill)) && !bench.has(&Action::Go(0)));
    bench.step(1, Event::Exited(0, ended(Exit::Signal(9), 1)));
    assert!(bench.has(&Action::Finish(Leave::Nothing)));
}

#[test]
fn a_failed_liveness_probe_kills_with_the_probes_own_grace_and_counts_as_a_restart() {
    let mut pod = pod(RestartPolicy::Always, &["c"]);
    pod.containers[0].liveness = Some(probes::Spec { termination_grace_seconds: Some(5), ..probe() });
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    assert!(bench.has(&Action::StartProbes(0)));
    let report = probes::Report {
        kind: probes::Kind::Liveness,
        outcome: probes::Outcome::Failure("HTTP probe failed with statuscode: 500".to_owned()),
        verdict: Some(probes::Verdict::Unhealthy),
    };
    bench.step(20, Event::Probe(0, report));
    assert_eq!(bench.notes(), ["Unhealthy", "Killing"]);
    assert_eq!(bench.machine.deadline(), Some(at(25).mono));
    bench.step(21, Event::Exited(0, ended(Exit::Signal(15), 21)));
    assert!(bench.has(&Action::FindImage(0)));
    assert_eq!(bench.machine.memory().containers[0].attempt, 1);
}

#[test]
fn readiness_is_false_until_the_probe_says_so_and_waits_for_startup() {
    let mut pod = pod(RestartPolicy::Always, &["c"]);
    pod.containers[0].startup = Some(probe());
    let mut bench = Bench::new(pod);
    bench.step(0, Event::Begin);
    bench.sandbox(0).run(0, 0);
    assert!(!bench.condition("Ready").0);
    let report = probes::Report {
        kind: probes::Kind::Startup,
        outcome: probes::Outcome::Success,
        verdict: Some(probes::Verdict::Started),
    };
    bench.step(1, Event::Probe(0, report));
    assert!(bench.condition("Ready").0);
}

#[test]
fn a_program_that_cannot_be_run_is_a_start_error_with_code_128() {
    let mut bench = Bench::new(pod(RestartPolicy::Never, &["c"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).step(0, Event::ImageFound(0, image(), Arrival::Present));
    bench.step(0, Event::Created(0, process(7)));
    bench.step(0, Event::StartFailed(0, "exec: \"nosuch\": executable file not found in $PATH".to_owned()));
    let State::Exited(end) = bench.state(0) else { panic!("{:?}", bench.state(0)) };
    assert_eq!((end.exit.code(), end.reason.as_str()), (128, "StartError"));
    assert_eq!(bench.phase(), Phase::Failed);
}

#[test]
fn a_pull_that_fails_is_tried_again_after_a_back_off() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
    bench.step(0, Event::Begin);
    let failure = Failure { reason: "ErrImagePull".to_owned(), message: "no such host".to_owned() };
    bench.step(1, Event::ImageFailed(0, failure.clone()));
    assert_eq!(bench.notes(), ["Failed", "Failed"]);
    assert_eq!(bench.machine.deadline(), Some(at(2).mono), "the error is shown for a second");
    assert_eq!(bench.step(2, Event::Tick).notes(), ["BackOff", "Failed"]);
    let why = bench.machine.memory().containers[0].why.clone().unwrap();
    assert_eq!(why.reason, "ImagePullBackOff");
    assert_eq!(bench.machine.deadline(), Some(at(11).mono));
    assert!(bench.step(11, Event::Tick).has(&Action::FindImage(0)));
    bench.step(12, Event::ImageFailed(0, failure));
    bench.step(13, Event::Tick);
    assert_eq!(bench.machine.deadline(), Some(at(32).mono));
}

#[test]
fn an_image_that_may_not_be_pulled_is_told_as_such_until_it_is_there() {
    for (reason, event) in [("ErrImageNeverPull", "ErrImageNeverPull"), ("InvalidImageName", "InspectFailed")]
    {
        let mut bench = Bench::new(pod(RestartPolicy::Always, &["c"]));
        bench.step(0, Event::Begin);
        let failure = Failure { reason: reason.to_owned(), message: "no".to_owned() };
        assert_eq!(bench.step(1, Event::ImageFailed(0, failure)).notes(), [event, "Failed"]);
        assert_eq!(bench.machine.deadline(), Some(at(11).mono));
        assert!(bench.step(11, Event::Tick).has(&Action::FindImage(0)));
        assert_eq!(bench.machine.memory().containers[0].why.as_ref().unwrap().reason, reason);
    }
}

#[test]
fn a_killed_container_whose_memory_ran_out_is_oom_killed() {
    let mut bench = running(RestartPolicy::Never);
    bench.step(3, Event::Exited(0, Ending { oom: true, ..ended(Exit::Signal(9), 3) }));
    let State::Exited(end) = bench.state(0) else { panic!("{:?}", bench.state(0)) };
    assert_eq!((end.exit.code(), end.reason.as_str()), (137, "OOMKilled"));
}

#[test]
fn a_new_supervisor_begins_again_what_was_under_way_in_the_old_one() {
    let mut bench = Bench::new(pod(RestartPolicy::Always, &["a", "b"]));
    bench.step(0, Event::Begin);
    bench.sandbox(0).step(0, Event::ImageFound(1, image(), Arrival::Present));
    let memory = bench.machine.memory().clone();
    let pod = bench.machine.pod().clone();
    let mut machine = PodMachine::resume(pod, BackoffSettings::default(), memory, at(1));
    let actions = machine.step(at(1), Event::Begin);
    assert_eq!(actions, [Action::FindImage(0), Action::Create(1)]);
}

#[test]
fn transition_times_change_only_with_their_status() {
    let mut bench = running(RestartPolicy::Always);
    let since =
        |bench: &Bench| bench.machine.memory().conditions.iter().find(|c| c.kind == "Ready").unwrap().since;
    let before = since(&bench);
    bench.step(9, Event::Tick);
    assert_eq!(since(&bench), before);
    bench.step(10, Event::Exited(0, ended(Exit::Code(1), 10)));
    assert_eq!(since(&bench), at(10).wall);
}

#[test]
fn durations_print_as_go_prints_them() {
    for (millis, text) in
        [(15, "15ms"), (1234, "1.234s"), (10_000, "10s"), (80_000, "1m20s"), (300_000, "5m0s")]
    {
        assert_eq!(notes::seconds(Duration::from_millis(millis)), text);
    }
}
