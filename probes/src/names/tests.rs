//! Against a name server on loopback.

use std::time::Duration;

use simple_dns::{
    CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, RData},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use super::{config::in_interfaces, *};

/// One that knows `db.example` and `db.search.example`, has no address for `empty.example`, breaks on
/// `broken.example`, is silent about `silent.example`, and cuts what it says of `long.example` short by UDP.
async fn name_server() -> SocketAddr {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let Some(reply) = reply(&buffer[..length], "udp") else { continue };
            // A forged one, with another number, comes first.
            let forged = [&[!reply[0]][..], &reply[1..]].concat();
            let _ = udp.send_to(&forged, from).await;
            let _ = udp.send_to(&reply, from).await;
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut buffer = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut buffer).await.unwrap();
            let reply = reply(&buffer, "tcp").unwrap();
            stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    address
}

fn reply(query: &[u8], transport: &str) -> Option<Vec<u8>> {
    let query = Packet::parse(query).unwrap();
    let question = query.questions[0].clone();
    let mut reply = Packet::new_reply(query.id());
    match (question.qname.to_string().as_str(), transport) {
        ("silent.example", _) => return None,
        ("broken.example", _) => *reply.rcode_mut() = RCODE::ServerFailure,
        ("long.example", "udp") => reply.set_flags(PacketFlag::TRUNCATION),
        ("empty.example", _) => {}
        ("db.example" | "db.search.example" | "long.example", _) => {
            let data = if question.qtype == QTYPE::TYPE(TYPE::A) {
                RData::A(A { address: Ipv4Addr::new(192, 0, 2, 1).into() })
            } else {
                RData::AAAA(AAAA { address: Ipv6Addr::LOCALHOST.into() })
            };
            reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, 60, data));
        }
        _ => *reply.rcode_mut() = RCODE::NameError,
    }
    reply.questions.push(question);
    Some(reply.build_bytes_vec().unwrap())
}

async fn config() -> Config {
    let text = "search search.example\noptions attempts:1 timeout:1 # and so on\n";
    Config { servers: vec![name_server().await], ..Config::read(text) }
}

#[tokio::test]
async fn a_name_has_the_addresses_that_the_name_server_gives() {
    let config = config().await;
    let expected = Ok(vec![IpAddr::from([192, 0, 2, 1]), Ipv6Addr::LOCALHOST.into()]);
    for name in ["db.example", "db.example.", "db", "long.example"] {
        assert_eq!(config.look_up(name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_told_in_gos_words() {
    let mut config = config().await;
    let server = config.servers[0];
    for (name, text) in [
        ("none.example", "no such host"),
        ("none", "no such host"),
        ("empty.example.", "no such host"),
        ("broken.example.", "server misbehaving"),
        ("silent.example.", "i/o timeout"),
    ] {
        let error = config.look_up(name).await.unwrap_err();
        assert_eq!(error.to_string(), format!("lookup {name} on {server}: {text}"));
    }
    let no_name = "x".repeat(64);
    let error = config.look_up(&no_name).await.unwrap_err();
    assert_eq!(error.to_string(), format!("lookup {no_name}: no such host"));

    // Below the domain there is no such name; what hides behind the failure is not known.
    config.ndots = 2;
    let error = config.look_up("broken.example").await.unwrap_err();
    assert_eq!(error.to_string(), format!("lookup broken.example on {server}: server misbehaving"));
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_does_not_answer() {
    let mut config = config().await;
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    config.servers.insert(0, nobody);
    assert_eq!(config.look_up("db.example").await.map(|found| found.len()), Ok(2));
    config.servers.truncate(1);
    let error = config.look_up("db.example.").await.unwrap_err();
    assert_eq!(error.to_string(), format!("lookup db.example. on {nobody}: connection refused"));
}

#[test]
fn resolv_conf_is_read_as_its_manual_says() {
    let text = "# a comment\nnameserver 10.0.0.1\nnameserver ::1 ; another\nnameserver nonsense\n\
                domain lost\nsearch a.example b.example\noptions ndots:2 timeout:3 attempts:0 rotate\n";
    let config = Config::read(text);
    assert_eq!(config.servers, ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
    assert_eq!((config.ndots, config.wait, config.attempts), (2, Duration::from_secs(3), 1));
    assert_eq!(config.names("x.y"), ["x.y.a.example", "x.y.b.example", "x.y"]);
    assert_eq!(config.names("x.y.z"), ["x.y.z", "x.y.z.a.example", "x.y.z.b.example"]);
    assert_eq!(config.names("x."), ["x"]);
    assert_eq!(Config::read("").servers, ["127.0.0.1:53".parse().unwrap()]);
}

#[test]
fn numbers_out_of_the_manuals_bounds_are_cut_and_a_fourth_server_is_not_asked() {
    let config = Config::read(
        "options ndots:99 timeout:99 attempts:99\n\
         nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n",
    );
    assert_eq!((config.ndots, config.wait, config.attempts), (15, Duration::from_secs(30), 5));
    assert_eq!(config.servers.last(), Some(&"10.0.0.3:53".parse().unwrap()));
}

#[test]
fn a_link_local_server_is_asked_over_its_interface() {
    let servers = |text| Config::read(text).servers;
    assert_eq!(servers("nameserver fe80::1%7"), ["[fe80::1%7]:53".parse().unwrap()]);
    assert_eq!(servers("nameserver fe80::1%no-such-0"), servers(""));
    let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                 fe8000000000000000fc00fffe000001 1a 40 20 80     eth0\n";
    assert_eq!(in_interfaces(table, "eth0"), Some(26));
    assert_eq!(in_interfaces(table, "eth"), None);
}

#[test]
fn the_hosts_table_is_read_as_hosts_5_says() {
    let table = "::1 six both\n127.0.0.1\tlocalhost # not this\n10.0.0.7 Db db.local both\nnonsense x\n";
    let text = |host| in_table(table, host).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text("db"), ["10.0.0.7"]);
    assert_eq!(text("db.local."), ["10.0.0.7"]);
    assert_eq!(text("both"), ["10.0.0.7", "::1"]);
    assert!(text("not").is_empty());
    assert!(text("x").is_empty());
}

#[tokio::test]
async fn what_needs_no_name_server_asks_none() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    fs::write(&hosts, "10.0.0.7 db localhost.localdomain\n").unwrap();
    let resolver = Resolver::of_files(&hosts, "/dev/null");
    let loopback = "127.0.0.1 ::1";
    for (host, expected) in [
        ("10.1.2.3", "10.1.2.3"),
        ("fd00::7", "fd00::7"),
        ("[::1]", "::1"),
        ("DB.", "10.0.0.7"),
        ("localhost", loopback),
        ("Here.LocalHost.", loopback),
    ] {
        let found: Vec<String> =
            resolver.addresses(host).await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), expected, "{host}");
    }
    let error = resolver.addresses("no-such-host.Invalid").await.unwrap_err();
    assert_eq!(error.to_string(), "lookup no-such-host.Invalid: no such host");
}
