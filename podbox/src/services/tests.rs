use serde_json::json;

use super::*;

fn backend(name: &str, ready: bool) -> Backend {
    Backend {
        uid: name.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        hostname: None,
        subdomain: None,
        node: "host".to_owned(),
        ips: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        ready,
        serving: ready,
        terminating: false,
        ports: vec![NamedPort { name: "http".to_owned(), protocol: crate::pod::Protocol::Tcp, number: 8080 }],
        guardian: None,
        is_outside: false,
    }
}

fn object() -> serde_json::Value {
    json!({
        "metadata": {"namespace": "default", "name": "web", "uid": "u"},
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ipFamilies": ["IPv4"],
            "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    })
}

fn catalogue(backends: &[Backend]) -> Catalogue {
    let service = Service::of(&object()).unwrap();
    Catalogue {
        services: Arc::new([(("default".to_owned(), "web".to_owned()), service)].into()),
        backends: backends.iter().map(|backend| (backend.uid.clone(), backend.clone())).collect(),
        outside: Arc::default(),
    }
}

fn names(catalogue: &Catalogue) -> Vec<&str> {
    let service = catalogue.service("default", "web").unwrap();
    let endpoints = catalogue.endpoints(service, &service.ports[0], Family::V4);
    assert!(endpoints.iter().all(|endpoint| endpoint.address.port() == 8080));
    endpoints.iter().map(|endpoint| endpoint.backend.name.as_str()).collect()
}

#[test]
fn only_ready_pods_get_traffic_and_a_named_port_is_each_ones_own() {
    let all = catalogue(&[backend("a", true), backend("b", false), backend("c", true)]);
    assert_eq!(names(&all), ["a", "c"]);
    let mut other = backend("d", true);
    other.labels.clear();
    let mut elsewhere = backend("e", true);
    elsewhere.namespace = "other".to_owned();
    assert!(names(&catalogue(&[other, elsewhere])).is_empty());
}

#[test]
fn pods_that_end_get_traffic_only_if_nobody_else_does() {
    let ending = Backend { ready: false, serving: true, terminating: true, ..backend("a", true) };
    assert_eq!(names(&catalogue(&[ending.clone(), backend("b", true)])), ["b"]);
    assert_eq!(names(&catalogue(&[ending.clone(), backend("b", false)])), ["a"]);
    let gone = Backend { serving: false, ..ending };
    assert!(names(&catalogue(&[gone])).is_empty());
}

#[test]
fn whoever_publishes_addresses_that_are_not_ready_leads_to_all() {
    let mut all = catalogue(&[backend("a", false), backend("b", true)]);
    Arc::make_mut(&mut all.services).values_mut().for_each(|service| service.publish_not_ready = true);
    assert_eq!(names(&all), ["a", "b"]);
}

#[test]
fn a_slice_tells_of_every_pod_how_it_is() {
    let all = catalogue(&[backend("a", true), backend("b", false)]);
    let slices = endpoint_slices(&all, &object());
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0]["addressType"], "IPv4");
    assert_eq!(slices[0]["endpoints"][1]["conditions"]["ready"], false);
    assert_eq!(slices[0]["ports"][0], json!({"name": "", "port": 8080, "protocol": "TCP"}));
    let name = slices[0]["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    let old = endpoints(&all, &object()).unwrap();
    assert_eq!(old["subsets"][0]["addresses"][0]["ip"], "10.0.0.1");
    assert_eq!(old["subsets"][0]["notReadyAddresses"][0]["targetRef"]["name"], "b");
}

#[test]
fn pods_with_other_numbers_of_a_named_port_have_a_slice_of_their_own() {
    let mut other = backend("b", true);
    other.ports[0].number = 8081;
    let without = Backend { ports: Vec::new(), ..backend("c", true) };
    let all = catalogue(&[backend("a", true), other, without]);
    let slices = endpoint_slices(&all, &object());
    let told: Vec<_> = slices
        .iter()
        .map(|slice| (slice["ports"][0]["port"].as_u64(), slice["endpoints"][0]["targetRef"]["name"].clone()))
        .collect();
    assert_eq!(told, [(None, json!("c")), (Some(8080), json!("a")), (Some(8081), json!("b"))]);
    assert!(slices[1]["metadata"]["name"] != slices[2]["metadata"]["name"]);
    assert_eq!(endpoints(&all, &object()).unwrap()["subsets"].as_array().unwrap().len(), 3);
}

#[test]
fn that_nobody_gets_the_traffic_has_a_reason() {
    let why = |backends: &[Backend]| {
        let all = catalogue(backends);
        all.why_nobody(all.service("default", "web").unwrap())
    };
    assert_eq!(why(&[]).unwrap(), "no pod fits the selector of service default/web");
    assert_eq!(why(&[backend("a", false)]).unwrap(), "none of the 1 pods of service default/web is ready");
    assert_eq!(why(&[backend("a", true), backend("b", false)]), None);
}
