//! The texts are what kubectl 1.32 prints for the same objects, but for the message of a container that waits.

use serde_json::json;

use super::*;

const NOW: &str = "2024-05-01T12:00:00Z";

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web", "namespace": "default",
            "labels": {"app": "web", "tier": "front"},
            "annotations": {"note": "short", "long": "word ".repeat(30).trim_end()},
        },
        "spec": {
            "nodeName": "node", "serviceAccountName": "default",
            "volumes": [
                {"name": "data", "emptyDir": {}},
                {"name": "host", "hostPath": {"path": "/etc", "type": "Directory"}},
            ],
            "initContainers": [{"name": "setup", "image": "tools"}],
            "containers": [
                {
                    "name": "web", "image": "nginx",
                    "command": ["http"],
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}],
                    "env": [
                        {"name": "A", "value": "1"},
                        {"name": "L", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
                    ],
                    "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "64Mi"}},
                    "livenessProbe": {
                        "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
                        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
                    },
                    "readinessProbe": {"tcpSocket": {"port": "http"}, "initialDelaySeconds": 3, "periodSeconds": 1},
                    "volumeMounts": [
                        {"name": "host", "mountPath": "/h", "readOnly": true, "subPath": "x"},
                        {"name": "data", "mountPath": "/data"},
                    ],
                },
                {"name": "crash", "image": "nginx"},
            ],
        },
        "status": {
            "phase": "Running", "hostIP": "10.0.0.1", "startTime": "2024-05-01T11:59:00Z", "qosClass": "Burstable",
            "podIP": "10.244.0.2", "podIPs": [{"ip": "10.244.0.2"}, {"ip": "fd00::2"}],
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "False"}],
            "containerStatuses": [
                {
                    "name": "web", "containerID": "podbox://u/web/0", "imageID": "sha256:abc", "ready": true,
                    "restartCount": 0, "state": {"running": {"startedAt": "2024-05-01T11:59:01Z"}},
                },
                {
                    "name": "crash", "containerID": "podbox://u/crash/3", "imageID": "sha256:abc", "ready": false,
                    "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                    "lastState": {"terminated": {
                        "reason": "Error", "exitCode": 143, "signal": 15,
                        "startedAt": "2024-05-01T11:59:40Z", "finishedAt": "2024-05-01T11:59:41Z",
                    }},
                },
            ],
        },
    })
}

const TEXT: &str = r#"Name:             web
Namespace:        default
Service Account:  default
Node:             node/10.0.0.1
Start Time:       Wed, 01 May 2024 11:59:00 +0000
Labels:           app=web
                  tier=front
Annotations:      long:
                    word word word word word word word word word word word word word word word word word word word word word word word word word word word wor...
                  note: short
Status:           Running
IP:               10.244.0.2
IPs:
  IP:  10.244.0.2
  IP:  fd00::2
Init Containers:
  setup:
    Image:        tools
    Port:         <none>
    Host Port:    <none>
    Environment:  <none>
    Mounts:       <none>
Containers:
  web:
    Container ID:  podbox://u/web/0
    Image:         nginx
    Image ID:      sha256:abc
    Ports:         8080/TCP, 53/UDP
    Host Ports:    0/TCP, 0/UDP
    Command:
      http
    State:          Running
      Started:      Wed, 01 May 2024 11:59:01 +0000
    Ready:          True
    Restart Count:  0
    Limits:
      memory:  64Mi
    Requests:
      cpu:      10m
      memory:   64Mi
    Liveness:   http-get http://:8080/healthz delay=0s timeout=1s period=10s #success=1 #failure=3
    Readiness:  tcp-socket :http delay=3s timeout=1s period=1s #success=1 #failure=3
    Environment:
      A:  1
      L:  67108864 (limits.memory)
    Mounts:
      /data from data (rw)
      /h from host (ro,path="x")
  crash:
    Container ID:   podbox://u/crash/3
    Image:          nginx
    Image ID:       sha256:abc
    Port:           <none>
    Host Port:      <none>
    State:          Waiting
      Reason:       CrashLoopBackOff
      Message:      back-off 40s
    Last State:     Terminated
      Reason:       Error
      Exit Code:    143
      Signal:       15
      Started:      Wed, 01 May 2024 11:59:40 +0000
      Finished:     Wed, 01 May 2024 11:59:41 +0000
    Ready:          False
    Restart Count:  3
    Environment:    <none>
    Mounts:         <none>
Conditions:
  Type          Status
  Initialized   True 
  Ready         False 
Volumes:
  data:
    Type:       EmptyDir (a temporary directory that shares a pod's lifetime)
    Medium:     
    SizeLimit:  <unset>
  host:
    Type:          HostPath (bare host directory volume)
    Path:          /etc
    HostPathType:  Directory
QoS Class:         Burstable
Node-Selectors:    <none>
Tolerations:       <none>
Events:  <none>
"#;

#[test]
fn a_pod_is_described_line_for_line_as_kubectl_does_it() {
    let text = describe(&pod(), &[], NOW.parse().unwrap());
    for (line, (got, want)) in text.lines().zip(TEXT.lines()).enumerate() {
        assert_eq!(got, want, "line {}", line + 1);
    }
    assert_eq!(text, TEXT);
}

#[test]
fn events_tell_how_often_and_since_when() {
    let event = |count: u32, reason: &str| {
        json!({
            "type": "Warning", "reason": reason, "message": "m\n", "count": count, "source": {"component": "kubelet"},
            "firstTimestamp": "2024-05-01T11:59:50Z", "lastTimestamp": "2024-05-01T11:59:58Z",
        })
    };
    let text = events(&[event(1, "Failed"), event(3, "BackOff")], NOW.parse().unwrap());
    assert_eq!(
        text,
        "Events:\n  Type     Reason   Age               From     Message\n\
        \x20 ----     ------   ----              ----     -------\n\
        \x20 Warning  Failed   10s               kubelet  m\n\
        \x20 Warning  BackOff  2s (x3 over 10s)  kubelet  m\n"
    );
}

#[test]
fn a_pod_on_its_way_out_tells_how_long_it_has() {
    let mut pod = pod();
    pod["metadata"]["deletionTimestamp"] = json!("2024-05-01T12:00:20Z");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let text = describe(&pod, &[], NOW.parse().unwrap());
    assert!(text.contains("Terminating (lasts 20s)\nTermination Grace Period:  30s\n"), "{text}");
}

#[test]
fn every_kind_of_probe_has_its_line() {
    let line = |handler: Value| {
        let mut pod = pod();
        pod["spec"]["containers"][0]["startupProbe"] = handler;
        let text = describe(&pod, &[], NOW.parse().unwrap());
        let line =
            text.lines().find_map(|line| line.trim().strip_prefix("Startup:")).unwrap().trim().to_owned();
        line.split(" delay=").next().unwrap().to_owned()
    };
    assert_eq!(line(json!({"exec": {"command": ["cat", "/tmp/x"]}})), "exec [cat /tmp/x]");
    assert_eq!(line(json!({"grpc": {"port": 9090, "service": "s"}})), "grpc <pod>:9090 s");
    let http = json!({"httpGet": {"path": "/x", "port": "web", "scheme": "HTTPS", "host": "::1"}});
    assert_eq!(line(http), "http-get https://[::1]:web/x");
}
