use simple_dns::ResourceRecord;
use simple_dns::rdata::{A, AAAA};

use super::*;

/// A name server on loopback that knows `known.example` and cuts answers for `long.example` short on UDP.
async fn name_server() -> io::Result<SocketAddr> {
    let any: SocketAddr = "127.0.0.1:0".parse().map_err(io::Error::other)?;
    let udp = UdpSocket::bind(any).await?;
    let address = udp.local_addr()?;
    let tcp = tokio::net::TcpListener::bind(address).await?;
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let _ = udp.send_to(&reply(&buffer[..length], "udp"), from).await;
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let Ok(length) = stream.read_u16().await else { continue };
            let mut buffer = vec![0; length.into()];
            if stream.read_exact(&mut buffer).await.is_ok() {
                let bytes = reply(&buffer, "tcp");
                let _ = stream.write_u16(bytes.len() as u16).await;
                let _ = stream.write_all(&bytes).await;
            }
        }
    });
    Ok(address)
}

fn reply(query: &[u8], transport: &str) -> Vec<u8> {
    let query = Packet::parse(query).expect("a query");
    let question = query.questions[0].clone();
    let mut reply = Packet::new_reply(query.id());
    let name = question.qname.to_string();
    let is_a = question.qtype == QTYPE::TYPE(TYPE::A);
    match (name.as_str(), transport) {
        ("long.example", "udp") => reply.set_flags(PacketFlag::TRUNCATION),
        ("known.example" | "long.example" | "short.search.example", _) => {
            let data = if is_a {
                RData::A(A { address: Ipv4Addr::new(192, 0, 2, 1).into() })
            } else {
                RData::AAAA(AAAA { address: Ipv6Addr::LOCALHOST.into() })
            };
            reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, 60, data));
        }
        _ => *reply.rcode_mut() = RCODE::NameError,
    }
    reply.questions.push(question);
    reply.build_bytes_vec().expect("a reply")
}

async fn resolver() -> io::Result<Resolver> {
    let mut resolver = Resolver::parse("search search.example\noptions ndots:1 timeout:2 attempts:1\n");
    resolver.servers = vec![name_server().await?];
    Ok(resolver)
}

#[tokio::test]
async fn a_name_server_is_asked_over_udp_and_over_tcp_when_the_answer_is_cut_short() -> io::Result<()> {
    let resolver = resolver().await?;
    for host in ["known.example", "long.example", "short"] {
        let found = resolver.addresses(host).await.map_err(io::Error::other)?;
        assert_eq!(found, [IpAddr::from([192, 0, 2, 1]), Ipv6Addr::LOCALHOST.into()], "{host}");
    }
    assert!(matches!(resolver.addresses("absent.example").await, Err(ResolveError::NoSuchHost)));
    Ok(())
}

#[tokio::test]
async fn addresses_and_the_hosts_file_need_no_name_server() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "::1 twin\n127.0.0.9 Named twin # not-this\n")?;
    let mut resolver = Resolver::parse("nameserver 127.0.0.1\noptions timeout:1 attempts:1");
    resolver.hosts = hosts;
    let found = |host: &'static str| {
        let resolver = resolver.clone();
        async move { resolver.addresses(host).await.map_err(io::Error::other) }
    };
    assert_eq!(found("10.1.2.3").await?, [IpAddr::from([10, 1, 2, 3])]);
    assert_eq!(found("[::1]").await?, [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    assert_eq!(found("named").await?, [IpAddr::from([127, 0, 0, 9])]);
    assert_eq!(found("twin").await?[0], IpAddr::from([127, 0, 0, 9]));
    assert_eq!(found("localhost").await?[0], IpAddr::from(Ipv4Addr::LOCALHOST));
    Ok(())
}

#[test]
fn resolv_conf_is_read_with_its_options() {
    let text = "nameserver 192.0.2.53\nnameserver ::1\nsearch a b\noptions ndots:3 timeout:1 attempts:9";
    let resolver = Resolver::parse(text);
    assert_eq!(resolver.servers.len(), 2);
    assert_eq!((resolver.ndots, resolver.attempts), (3, 5));
    assert_eq!(resolver.names("x.y"), ["x.y.a", "x.y.b", "x.y"]);
    assert_eq!(resolver.names("x.y."), ["x.y"]);
}
