//! Conversations with the kernel over netlink sockets.
//!
//! Several requests go in one datagram, and the kernel works on all of them before `send` returns: its
//! answers then lie in the socket's queue already. So reading never waits, and a queue that is empty too
//! early is an error, not a reason to hang.
//!
//! A socket belongs to the network namespace of the thread that opened it, for good, whoever uses it later.
//! That is how one thread configures two namespaces: see [`crate::netns`].

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkBuffer, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable, NlasIterator,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

use crate::error::NetError;

/// The kernel's refusal of a netlink message: its error number and, where it gave one, its own words
/// (`NLMSGERR_ATTR_MSG`).
#[derive(Debug, thiserror::Error)]
#[error("{errno}{}", .text.as_ref().map(|t| format!(" ({t})")).unwrap_or_default())]
pub struct KernelError {
    /// The error number.
    pub errno: io::Error,
    /// The kernel's words.
    pub text: Option<String>,
}

impl KernelError {
    /// Whether the error number is `errno`.
    pub(crate) fn is(&self, errno: nix::errno::Errno) -> bool {
        self.errno.raw_os_error() == Some(errno as i32)
    }

    fn garbled(text: impl ToString) -> KernelError {
        KernelError { errno: io::ErrorKind::InvalidData.into(), text: Some(text.to_string()) }
    }
}

impl From<io::Error> for KernelError {
    fn from(errno: io::Error) -> KernelError {
        KernelError { errno, text: None }
    }
}

const NLMSGERR_ATTR_MSG: u16 = 1;
const HEADER: usize = 16;
/// The kernel fills dumps in pieces of at most this many bytes.
const DATAGRAM: usize = 32 * 1024;

/// One socket and the requests that wait to be sent on it.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    batch: Vec<u8>,
    sequence: u32,
    /// The answers that were asked for, by sequence number.
    awaited: Vec<u32>,
}

impl Netlink {
    /// Opens a socket of `protocol` (`NETLINK_ROUTE`, …) in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> io::Result<Netlink> {
        let socket = Socket::new(protocol)?;
        // Older kernels know neither; their errors then come without words.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink { socket, batch: Vec::with_capacity(2048), sequence: 0, awaited: Vec::new() })
    }

    /// The number that the kernel has given the socket (`nl_pid`), by which what it has changed is known.
    pub(crate) fn port(&self) -> io::Result<u32> {
        let mut address = SocketAddr::new(0, 0);
        self.socket.get_address(&mut address)?;
        Ok(address.port_number())
    }

    /// Opens a socket for links, addresses and routes there.
    pub(crate) fn route() -> Result<Netlink, NetError> {
        let failed = |error: io::Error| NetError::Kernel {
            step: "open a netlink socket".to_owned(),
            source: error.into(),
        };
        Netlink::open(NETLINK_ROUTE).map_err(failed)
    }

    /// Adds a request whose success is to be acknowledged.
    pub(crate) fn push<M: NetlinkSerializable>(&mut self, message: M, flags: u16) {
        let sequence = self.append(message, flags | NLM_F_ACK);
        self.awaited.push(sequence);
    }

    /// Adds a message that is answered only if it fails.
    pub(crate) fn push_unacknowledged<M: NetlinkSerializable>(&mut self, message: M, flags: u16) {
        self.append(message, flags);
    }

    fn append<M: NetlinkSerializable>(&mut self, message: M, flags: u16) -> u32 {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let start = self.batch.len();
        self.batch.resize((start + message.buffer_len()).next_multiple_of(4), 0);
        message.serialize(&mut self.batch[start..]);
        self.sequence
    }

    /// Sends what was pushed and reads the acknowledgements.
    ///
    /// # Errors
    /// The kernel's first refusal. It has worked on the later requests nevertheless.
    pub(crate) fn commit(&mut self) -> Result<(), KernelError> {
        let batch = std::mem::take(&mut self.batch);
        let mut awaited = std::mem::take(&mut self.awaited);
        self.make_room(batch.len());
        self.socket.send(&batch, 0)?;
        let mut buffer = vec![0; 4096];
        let mut refusal = None;
        while !awaited.is_empty() {
            let received = match self.socket.recv(&mut &mut buffer[..], libc::MSG_DONTWAIT) {
                Ok(received) => received,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.into()),
            };
            for message in messages(&buffer[..received]) {
                let message = message?;
                if message.message_type() == NLMSG_ERROR {
                    awaited.retain(|sequence| *sequence != message.sequence_number());
                    refusal = refusal.or(refusal_in(&message));
                }
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None if awaited.is_empty() => Ok(()),
            None => Err(KernelError::garbled("the kernel did not answer")),
        }
    }

    /// The kernel takes no datagram that is larger than the socket's buffer, whose usual size is 208 KiB, and lets root have
    /// a larger one (`SO_SNDBUFFORCE`, socket(7)). If it does not, it says so when the datagram is sent.
    fn make_room(&self, bytes: usize) {
        const SMALL: usize = 64 * 1024;
        if bytes > SMALL {
            let _ = setsockopt(&self.socket, sockopt::SndBufForce, &bytes);
        }
    }

    /// Sends one request and returns the one message that answers it.
    pub(crate) fn get<M>(&mut self, message: M) -> Result<M, KernelError>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let (mut found, _) = self.ask(message, 0)?;
        found.pop().ok_or_else(|| KernelError::garbled("the kernel's answer is empty"))
    }

    /// Sends one request and returns all messages that answer it. Whoever changes what is listed makes the kernel say that the
    /// list may have holes (`NLM_F_DUMP_INTR`): then it is asked again.
    pub(crate) fn dump<M>(&mut self, message: M) -> Result<Vec<M>, KernelError>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Clone,
    {
        // Where changes never end, a list with holes is all that there is.
        const TRIES: u32 = 20;
        for _ in 1..TRIES {
            let (found, is_whole) = self.ask(message.clone(), NLM_F_DUMP)?;
            if is_whole {
                return Ok(found);
            }
        }
        Ok(self.ask(message, NLM_F_DUMP)?.0)
    }

    /// Closes the socket after a while, in a thread of its own. While anything that was deleted from nf_tables
    /// is not freed yet, closing a netfilter socket waits for a grace period, 15 to 30 ms, and with it waits
    /// whoever changes nf_tables or registers an interface. A little later it waits for nothing.
    pub(crate) fn close_later(self) {
        const GRACE: Duration = Duration::from_millis(100);
        // If there can be no thread, the socket is dropped, and closed, here.
        let _ = std::thread::Builder::new().name("close".to_owned()).stack_size(64 * 1024).spawn(move || {
            std::thread::sleep(GRACE);
            drop(self);
        });
    }

    /// The answers, and whether nothing has changed while the kernel collected them.
    fn ask<M>(&mut self, message: M, flags: u16) -> Result<(Vec<M>, bool), KernelError>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let sequence = self.append(message, flags);
        let request = std::mem::take(&mut self.batch);
        self.socket.send(&request, 0)?;
        let mut buffer = vec![0; DATAGRAM];
        let (mut found, mut is_whole) = (Vec::new(), true);
        loop {
            let received = self.socket.recv(&mut &mut buffer[..], libc::MSG_DONTWAIT)?;
            for message in messages(&buffer[..received]) {
                let message = message?;
                if message.sequence_number() != sequence {
                    continue;
                }
                is_whole &= message.flags() & NLM_F_DUMP_INTR == 0;
                match message.message_type() {
                    NLMSG_DONE => return Ok((found, is_whole)),
                    NLMSG_ERROR => return refusal_in(&message).map_or(Ok((found, is_whole)), Err),
                    _ => found.push(decode(&message)?),
                }
                if flags & NLM_F_DUMP == 0 {
                    return Ok((found, is_whole));
                }
            }
        }
    }
}

fn decode<M: NetlinkDeserializable>(message: &NetlinkBuffer<&[u8]>) -> Result<M, KernelError> {
    let mut header = NetlinkHeader::default();
    header.length = message.length();
    header.message_type = message.message_type();
    M::deserialize(&header, message.payload()).map_err(KernelError::garbled)
}

/// The messages of one datagram.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Result<NetlinkBuffer<&[u8]>, KernelError>> {
    std::iter::from_fn(move || {
        if datagram.len() < HEADER {
            return None;
        }
        let message = match NetlinkBuffer::new_checked(datagram) {
            Ok(message) => message,
            Err(e) => {
                datagram = &[];
                return Some(Err(KernelError::garbled(e)));
            }
        };
        let length = message.length() as usize;
        let (this, rest) = datagram.split_at(length);
        datagram = rest.get(length.next_multiple_of(4) - length..).unwrap_or_default();
        Some(Ok(NetlinkBuffer::new(this)))
    })
}

/// What an `NLMSG_ERROR` says: nothing if it is an acknowledgement. Layout: `struct nlmsgerr`, then, with
/// `NLM_F_ACK_TLVS`, attributes; `NLM_F_CAPPED` means that the request itself is not repeated between.
fn refusal_in(message: &NetlinkBuffer<&[u8]>) -> Option<KernelError> {
    let payload = message.payload();
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    if code == 0 {
        return None;
    }
    let mut text = None;
    if message.flags() & NLM_F_ACK_TLVS != 0 {
        let repeated = if message.flags() & NLM_F_CAPPED != 0 {
            HEADER
        } else {
            u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?) as usize
        };
        let attributes = payload.get(4 + repeated.next_multiple_of(4)..).unwrap_or_default();
        text = NlasIterator::new(attributes)
            .flatten()
            .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
            .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned());
    }
    Some(KernelError { errno: io::Error::from_raw_os_error(code.saturating_neg()), text })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::link::{LinkAttribute, LinkMessage};
    use netlink_sys::protocols::NETLINK_ROUTE;

    use super::*;

    #[test]
    fn the_kernels_error_number_is_told_for_a_link_that_is_not_there() {
        let mut netlink = Netlink::open(NETLINK_ROUTE).unwrap();
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName("no-such-link".to_owned()));
        let error = netlink.get(RouteNetlinkMessage::GetLink(link)).unwrap_err();
        assert!(error.is(nix::errno::Errno::ENODEV), "{error}");
    }

    #[test]
    fn a_dump_tells_of_the_loopback_interface() {
        let mut netlink = Netlink::open(NETLINK_ROUTE).unwrap();
        let links = netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default())).unwrap();
        let is_lo = |link: &RouteNetlinkMessage| match link {
            RouteNetlinkMessage::NewLink(link) => {
                link.attributes.contains(&LinkAttribute::IfName("lo".to_owned()))
            }
            _ => false,
        };
        assert!(links.iter().any(is_lo));
    }
}
