//! `resources` beyond cpu and memory, those of whole pods, and `resizePolicy`.

use super::table;

#[test]
fn huge_pages_and_devices_are_not_overcommitted() {
    table(&[
        ("", "resources: {limits: {memory: 1Gi, hugepages-2Mi: 4Mi}}", &[]),
        (
            "",
            "resources: {limits: {hugepages-2Mi: 4Mi}}",
            &["_.resources: Forbidden: HugePages require cpu or memory"],
        ),
        (
            "",
            "resources: {limits: {cpu: 1, hugepages-2Mi: 3Mi}}",
            &[
                "_.resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
            ],
        ),
        (
            "",
            "resources: {limits: {cpu: 1, hugepages-2Mi: 4Mi}, requests: {hugepages-2Mi: 2Mi}}",
            &["_.resources.requests: Invalid value: \"2Mi\": must be equal to hugepages-2Mi limit of 4Mi"],
        ),
        (
            "",
            "resources: {requests: {cpu: 1, hugepages-2Mi: 4Mi}}",
            &["_.resources.limits: Required value: Limit must be set for non overcommitable resources"],
        ),
        ("", "resources: {limits: {a.b/c: 2}}", &[]),
        (
            "",
            "resources: {limits: {a.b/c: 1500m}}",
            &["_.resources.limits[a.b/c]: Invalid value: \"1500m\": must be an integer"],
        ),
        (
            "",
            "resources: {limits: {a.b/c: 2}, requests: {a.b/c: 1}}",
            &["_.resources.requests: Invalid value: \"1\": must be equal to a.b/c limit of 2"],
        ),
        (
            "",
            "resources: {limits: {kubernetes.io/c: 2}}",
            &[
                "_.resources.limits[kubernetes.io/c]: Invalid value: \"kubernetes.io/c\": doesn't follow extended resource name standard",
            ],
        ),
    ]);
}

#[test]
fn resources_of_a_pod_are_checked_against_those_of_its_containers() {
    table(&[
        ("resources: {limits: {cpu: 1, memory: 1Gi}}", "resources: {limits: {cpu: 500m}}", &[]),
        (
            "resources: {requests: {cpu: 1}}",
            "resources: {requests: {cpu: 2}}",
            &[
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
            ],
        ),
        (
            "resources: {limits: {memory: 1Gi}}",
            "resources: {limits: {memory: 2Gi}, requests: {memory: 1Mi}}",
            &[
                "spec.resources.containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or equal to pod limits of 1Gi",
            ],
        ),
        (
            "resources: {limits: {cpu: 1}, requests: {cpu: 2}}",
            "",
            &["spec.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"],
        ),
    ]);
}

#[test]
fn resize_policies_are_checked() {
    table(&[
        ("", "resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]", &[]),
        (
            "",
            "resizePolicy: [{resourceName: disk, restartPolicy: Maybe}]",
            &[
                "_.resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"",
                "_.resizePolicy: Unsupported value: \"Maybe\": supported values: \"NotRequired\", \"RestartContainer\"",
            ],
        ),
        (
            "restartPolicy: Never",
            "resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]",
            &[
                "_.resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'",
            ],
        ),
    ]);
}
