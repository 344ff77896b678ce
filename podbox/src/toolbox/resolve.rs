//! Names to addresses, as every other part of podbox finds them: `probes::names`.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};

use probes::names::Resolver;

use super::failure::{Failure, chain};
use super::{Outcome, complain, text};

/// `resolve NAME…`: the addresses, one a line.
pub(super) fn applet(args: &[OsString]) -> Outcome {
    if args.is_empty() {
        return Err(Failure::usage("resolve NAME…"));
    }
    let mut code = 0;
    for name in args {
        match addresses(&name.to_string_lossy()) {
            Ok(found) => {
                let lines: Vec<String> = found.iter().map(|address| format!("{address}\n")).collect();
                text::print(lines.concat().as_bytes())?;
            }
            Err(failure) => {
                complain("resolve", &chain(&failure));
                code = 1;
            }
        }
    }
    Ok(code)
}

/// `HOST:PORT` to socket addresses; an IPv6 literal stands in brackets.
pub(super) fn socket_addresses(target: &str) -> Result<Vec<SocketAddr>, Failure> {
    let wrong = || Failure::Usage(format!("{target:?} is not HOST:PORT"));
    let (host, port) = target.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = if host.is_empty() { "localhost" } else { host };
    Ok(addresses(host)?.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// All addresses of a name, IPv4 first; never empty. Not to be called within an event loop, as it runs one.
pub(super) fn addresses(name: &str) -> Result<Vec<IpAddr>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(Failure::system("runtime"))?;
    let found = runtime.block_on(Resolver::system().addresses(name));
    found.map_err(|error| Failure::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn literals_and_localhost_need_no_server() {
        assert_eq!(addresses("[::1]").unwrap(), [IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        assert_eq!(addresses("10.0.0.1").unwrap(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(addresses("localhost").unwrap().iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn a_name_that_there_is_not_is_told_in_gos_words() {
        let failure = addresses("none.invalid").unwrap_err();
        assert_eq!((chain(&failure).as_str(), failure.code()), ("lookup none.invalid: no such host", 1));
    }

    #[test]
    fn a_target_without_a_port_is_refused() {
        assert_eq!(socket_addresses("10.0.0.1").unwrap_err().code(), 2);
        assert_eq!(socket_addresses("[::1]:80").unwrap(), ["[::1]:80".parse::<SocketAddr>().unwrap()]);
    }
}
