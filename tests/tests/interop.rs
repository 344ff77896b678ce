//! Programs that nobody wrote for podbox, run as they are from the host's own root.

use e2e::{Cmd, Host, pod, wait_good};

#[test]
fn nginx_serves_a_pod_and_curl_of_another_pod_reads_it() {
    let host = Host::new();
    host.up(&pod("nginx", r"
  containers:
  - name: nginx
    image: podbox.local/host
    command: [sh, -c, 'echo from a pod > /srv/www/index.html; exec nginx -c /srv/conf/nginx.conf -e /dev/stderr']
    readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
    volumeMounts: [{name: www, mountPath: /srv/www}, {name: conf, mountPath: /srv/conf}]
  volumes:
  - {name: www, emptyDir: {}}
  - {name: conf, hostPath: {path: DIR}}
").replace("DIR", &conf(&host)));
    host.up(&pod(
        "client",
        "  containers: [{name: c, image: podbox.local/host, command: [sleep, infinity]}]",
    ));
    let view = host.wait_pod("nginx", "Ready", |pod| pod.is("Ready"));
    for url in [format!("http://{}/", view.ip()), format!("http://[{}]/", view.ip6())] {
        assert_eq!(host.exec("client", &["curl", "-sS", "--max-time", "10", &url]), "from a pod");
        assert_eq!(Cmd::new("curl").args(["-sS", "--max-time", "10", &url]).run().ok().text(), "from a pod");
    }
    let client = host.pod("client");
    assert!(host.logs(&["nginx"]).contains(&client.ip()), "nginx writes down the client's own address");
    host.down(&["--all"]);
    host.finish();
}

fn conf(host: &Host) -> String {
    let dir = host.dir().join("conf");
    std::fs::create_dir_all(&dir).unwrap();
    let text = "daemon off;\npid /run/nginx-e2e.pid;\nuser root;\nworker_processes 1;\nevents {}\nhttp {\n  access_log /dev/stdout;\n  server { listen 80; listen [::]:80; root /srv/www; }\n}\n";
    std::fs::write(dir.join("nginx.conf"), text).unwrap();
    dir.display().to_string()
}

#[test]
fn redis_keeps_a_value_for_another_container_and_for_the_host() {
    let host = Host::new();
    let port = host.port(0);
    host.up(&pod(
        "redis",
        &r"
  containers:
  - name: redis
    image: podbox.local/host
    command: [redis-server, --save, '', --protected-mode, 'no', --bind, '0.0.0.0', '::', --dir, /tmp]
    ports: [{containerPort: 6379, hostPort: PORT}]
    readinessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1}
  - {name: side, image: podbox.local/host, command: [sleep, infinity]}
"
        .replace("PORT", &port.to_string()),
    ));
    host.wait_pod("redis", "Ready", |pod| pod.is("Ready"));
    assert_eq!(
        host.podbox(["exec", "redis", "-c", "side", "--", "redis-cli", "set", "k", "v"]).ok().text(),
        "OK"
    );
    let own = wait_good("the host's client", || {
        Cmd::new("redis-cli").args(["-p", &port.to_string(), "get", "k"]).run()
    });
    assert_eq!(own.text(), "v");
    host.down(&["redis"]);
    host.finish();
}

#[test]
fn ip_netns_exec_is_inside_the_pod() {
    let host = Host::new();
    host.up(&pod(
        "netns",
        "  containers: [{name: c, image: podbox.local/toolbox, command: [tcp-echo, --port, '9000']}]",
    ));
    let alias = std::fs::read_to_string(host.pod_dir("netns").join("netns-alias")).unwrap();
    let name = alias.trim().rsplit('/').next().unwrap().to_owned();
    let inside = |words: &[&str]| Cmd::new("ip").args(["netns", "exec", &name]).args(words).run();
    wait_good("the pod's server", || inside(&["ss", "-Hltn", "sport = :9000"]));
    let binary = e2e::binary();
    let answer = wait_good("an answer", || {
        inside(&[binary.to_str().unwrap(), "toolbox", "connect", "127.0.0.1:9000", "peer"])
    });
    assert!(answer.stdout.contains("peer 127.0.0.1:"), "{answer}");
    host.finish();
}

#[test]
fn redis_that_hangs_is_found_out_by_each_kind_of_probe_and_restarted() {
    let host = Host::new();
    host.up(&pod("hangs", r"
  terminationGracePeriodSeconds: 1
  containers:
  - name: redis
    image: podbox.local/host
    command: [redis-server, --save, '', --protected-mode, 'no', --bind, '0.0.0.0', --dir, /tmp, --enable-debug-command, 'yes']
    ports: [{name: redis, containerPort: 6379}]
    startupProbe: {tcpSocket: {port: redis}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {exec: {command: [sh, -c, 'redis-cli ping | grep PONG']}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1, failureThreshold: 3}
"));
    host.wait_pod("hangs", "Ready", |pod| pod.is("Ready"));
    let _hung = host.cmd(["exec", "hangs", "--", "redis-cli", "debug", "sleep", "600"]).spawn();
    host.wait_event("hangs", "Unhealthy", "command timed out: \"redis-cli ping\" timed out after 1s");
    // It still takes connections, so that a tcpSocket probe would see nothing.
    host.wait_pod("hangs", "a restart", |pod| pod.restarts() == 1);
    host.wait_pod("hangs", "Ready again", |pod| pod.is("Ready"));
    host.finish();
}

#[test]
fn nginx_is_ready_for_as_long_as_it_finds_its_page() {
    let host = Host::new();
    host.up(&pod(
        "page",
        r"
  containers:
  - name: nginx
    image: podbox.local/host
    command: [sh, -c, 'echo well > /srv/www/health; exec nginx -c /srv/conf/nginx.conf -e /dev/stderr']
    ports: [{name: web, containerPort: 80}]
    startupProbe: {exec: {command: [curl, -fsS, 'http://127.0.0.1/health']}, periodSeconds: 1}
    readinessProbe: {httpGet: {path: /health, port: web}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {tcpSocket: {port: web}, periodSeconds: 1, failureThreshold: 1}
    volumeMounts: [{name: www, mountPath: /srv/www}, {name: conf, mountPath: /srv/conf}]
  volumes:
  - {name: www, emptyDir: {}}
  - {name: conf, hostPath: {path: DIR}}
",
    )
    .replace("DIR", &conf(&host)));
    host.wait_pod("page", "Ready", |pod| pod.is("Ready"));
    assert!(host.logs(&["page"]).contains("kube-probe/1."), "nginx writes down who asks");
    host.podbox(["exec", "page", "--", "rm", "/srv/www/health"]).ok();
    host.wait_event("page", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404");
    let view = host.wait_pod("page", "not ready", |pod| !pod.is("Ready"));
    assert_eq!(view.restarts(), 0, "it lives");
    host.podbox(["exec", "page", "--", "touch", "/srv/www/health"]).ok();
    host.wait_pod("page", "ready again", |pod| pod.is("Ready"));
    host.finish();
}
