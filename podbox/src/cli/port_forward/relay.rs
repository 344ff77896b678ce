//! Connections from here into the pod and back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use super::super::out;

/// A thread here only copies.
const STACK: usize = 128 << 10;
/// How long to wait before the next connection is taken when there is no descriptor left for it.
const PAUSE: Duration = Duration::from_millis(50);

/// From a local port to one of the pod's.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) namespace: PathBuf,
    pub(super) remote: u16,
    pub(super) local: u16,
}

/// Takes every connection, each with threads of its own.
pub(super) fn accept(listener: &TcpListener, way: &Way) {
    for connection in listener.incoming() {
        let Ok(connection) = connection else {
            std::thread::sleep(PAUSE);
            continue;
        };
        // Nobody may read it any more; the connections go on.
        let _ = out::line(format_args!("Handling connection for {}", way.local));
        let owned = way.clone();
        let begun = Builder::new().stack_size(STACK).spawn(move || {
            if let Err(error) = serve(connection, &owned) {
                complain(&owned, &error.to_string());
            }
        });
        if let Err(error) = begun {
            complain(way, &error.to_string());
        }
    }
}

fn complain(way: &Way, error: &str) {
    let Way { local, remote, .. } = way;
    anstream::eprintln!("error: an error occurred forwarding {local} -> {remote}: {error}");
}

fn serve(client: TcpStream, way: &Way) -> io::Result<()> {
    let (client, server) = (Arc::new(client), Arc::new(connect(way)?));
    let (from, to) = (Arc::clone(&client), Arc::clone(&server));
    let forth = Builder::new().stack_size(STACK).spawn(move || copy(&from, &to))?;
    copy(&server, &client);
    // It ends when the client has nothing more to say, or can say it to nobody.
    let _ = forth.join();
    Ok(())
}

/// One direction, and its end: the other one may go on. A side that cannot be written to any more is not read either.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    if io::copy(&mut from, &mut to).is_err() {
        let _ = from.shutdown(Shutdown::Both);
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn connect(way: &Way) -> io::Result<TcpStream> {
    let port = way.remote;
    let dial = |ip: IpAddr| {
        let address = SocketAddr::new(ip, port);
        // A pod on the host's network has no namespace of its own.
        if way.namespace.exists() {
            netplugin::dial(&way.namespace, address)
        } else {
            TcpStream::connect(address)
        }
    };
    dial(IpAddr::V4(Ipv4Addr::LOCALHOST)).or_else(|first| {
        dial(IpAddr::V6(Ipv6Addr::LOCALHOST)).map_err(|second| {
            let text = format!(
                "failed to connect to localhost:{port} inside the pod, IPv4: {first}, IPv6: {second}"
            );
            io::Error::new(first.kind(), text)
        })
    })
}
