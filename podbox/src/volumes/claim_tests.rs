use super::*;

fn volume(name: &str, size: &str, more: &Value) -> Value {
    let mut spec = json!({
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": format!("/pv/{name}")},
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": name, "labels": {"disk": name}}, "spec": spec})
}

fn chosen(claim: &Value, volumes: &[Value], taken: &[&str]) -> String {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    for (key, value) in claim.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let taken: Vec<String> = taken.iter().map(|&name| name.to_owned()).collect();
    match choose(&spec, "default/c", volumes, &taken) {
        Choice::Volume(volume) => name_of(volume).to_owned(),
        Choice::Directory => "directory".to_owned(),
        Choice::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn the_smallest_volume_that_fits_is_bound_and_else_a_directory() {
    let volumes = [
        volume("large", "10Gi", &json!({})),
        volume("small", "512Mi", &json!({})),
        volume("right", "2Gi", &json!({})),
        volume("fast", "1Gi", &json!({"storageClassName": "fast"})),
    ];
    let not = |disk: &str| json!({"key": "disk", "operator": "NotIn", "values": [disk]});
    for (claim, taken, want) in [
        (json!({}), &[][..], "right"),
        (json!({}), &["right"], "large"),
        (json!({}), &["right", "large"], "directory"),
        (json!({"storageClassName": ""}), &["right", "large"], "nothing"),
        (json!({"storageClassName": "fast"}), &[], "fast"),
        (json!({"storageClassName": "slow"}), &[], "directory"),
        (json!({"accessModes": ["ReadWriteMany"]}), &[], "directory"),
        (json!({"volumeName": "large"}), &[], "large"),
        (json!({"volumeName": "small"}), &[], "nothing"),
        (json!({"volumeName": "large"}), &["large"], "nothing"),
        (json!({"selector": {"matchLabels": {"disk": "large"}}}), &[], "large"),
        (json!({"selector": {"matchExpressions": [not("right")]}}), &[], "large"),
        (json!({"selector": {"matchExpressions": [not("right"), not("large")]}}), &[], "nothing"),
        (json!({"selector": {"matchLabels": {"disk": "other"}}}), &[], "nothing"),
        (json!({"selector": {}}), &["right", "large"], "directory"),
    ] {
        assert_eq!(chosen(&claim, &volumes, taken), want, "{claim} {taken:?}");
    }
}

#[test]
fn a_volume_may_wait_for_one_claim_and_podbox_must_be_able_to_mount_it() {
    let owned = |name: &str| json!({"claimRef": {"namespace": "default", "name": name}});
    let others = [volume("a", "1Gi", &owned("d")), volume("b", "5Gi", &owned("c"))];
    assert_eq!(chosen(&json!({}), &others, &[]), "b");
    assert_eq!(chosen(&json!({"volumeName": "a"}), &others, &[]), "nothing");
    let foreign = [volume("a", "1Gi", &json!({"hostPath": null, "nfs": {"server": "s"}}))];
    assert_eq!(chosen(&json!({}), &foreign, &[]), "directory");
    let local = [volume("a", "1Gi", &json!({"hostPath": null, "local": {"path": "/disk"}}))];
    assert_eq!(chosen(&json!({}), &local, &[]), "a");
}

#[test]
fn a_mark_has_one_owner_as_long_as_that_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("ns/mark");
    let take = |who: &str, lives: bool| exclusively(&mark, Path::new(who), |_| lives).unwrap();
    assert!(take("a", true));
    assert!(take("a", true));
    assert!(!take("b", true));
    assert!(take("b", false));
    assert!(!take("a", true));
}
