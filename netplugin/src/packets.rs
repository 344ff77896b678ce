//! Packets as the interfaces of a network namespace see them (packet(7)).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::netns;

/// One instruction of the kernel's packet filter (`struct sock_filter`, the kernel's
/// `Documentation/networking/filter.rst`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do: `BPF_` bits.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub if_true: u8,
    /// How many to skip if it does not.
    pub if_false: u8,
    /// The constant.
    pub k: u32,
}

/// A program as the kernel takes it.
pub(crate) fn filter(program: &[Instruction]) -> Vec<SockFilter> {
    program.iter().map(|i| SockFilter::new(i.code, i.if_true, i.if_false, i.k)).collect()
}

impl Instruction {
    /// An instruction that compares nothing.
    #[must_use]
    pub fn plain(code: u32, k: u32) -> Instruction {
        Instruction { code: code as u16, if_true: 0, if_false: 0, k }
    }
}

/// Where a packet was going when it was seen, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In, to this interface's own Ethernet address.
    In,
    /// In, to all.
    InBroadcast,
    /// In, to a group.
    InMulticast,
    /// In, to somebody else's Ethernet address.
    InForeign,
    /// Out.
    Out,
}

impl Way {
    /// From `sll_pkttype`, packet(7).
    fn of(kind: u8) -> Way {
        match kind {
            1 => Way::InBroadcast,
            2 => Way::InMulticast,
            3 => Way::InForeign,
            4 => Way::Out,
            _ => Way::In,
        }
    }
}

/// What is known of a packet beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The interface's number.
    pub index: u32,
    /// The interface's type (`ARPHRD_`, netdevice(7)).
    pub hardware: u16,
    /// Its direction.
    pub way: Way,
    /// When: since 1970, with nanoseconds.
    pub at: Duration,
    /// How many bytes of it there are in the buffer.
    pub captured: usize,
    /// How long it was.
    pub length: usize,
    /// How many packets the kernel has dropped so far because nobody fetched them.
    pub lost: u32,
}

/// Sees all packets of all interfaces of one network namespace that its filter lets through.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
}

/// Room for what arrives while nobody reads, in bytes; more than an ordinary user may ask for.
const QUEUE: usize = 8 << 20;
const ETH_P_ALL: u16 = libc::ETH_P_ALL as u16;

impl PacketSocket {
    /// Begins to see. `None` is the calling thread's own network namespace. A program that returns 0 does not want
    /// the packet; the kernel then copies nothing.
    ///
    /// # Errors
    /// If the namespace is gone, this is not root, or the kernel does not take the program.
    pub fn open(netns: Option<&Path>, program: &[Instruction]) -> io::Result<PacketSocket> {
        let new =
            || Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ETH_P_ALL.to_be()))));
        let socket = netns::within(netns, new)??;
        // What came before there was a filter is taken out, with the door closed.
        socket.attach_filter(&[SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0)])?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &QUEUE);
        let this = PacketSocket { socket };
        while this.receive(&mut [0; 1])?.is_some() {}
        this.socket.attach_filter(&filter(program))?;
        Ok(this)
    }

    /// The next packet, as much of it as there is room for; `None` if none is there yet.
    ///
    /// # Errors
    /// recvmsg(2)'s; an interface that went down is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Seen>> {
        let room = buffer.len();
        let mut control = nix::cmsg_space!(TimeSpec, u32);
        loop {
            let mut parts = [IoSliceMut::new(buffer)];
            let flags = MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
            let received =
                recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
            let message = match received {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Ok(None),
                // The interface has gone down, others go on.
                Err(Errno::EINTR | Errno::ENETDOWN) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let Some(address) = message.address else { continue };
            let mut seen = Seen {
                index: u32::try_from(address.ifindex()).unwrap_or(0),
                hardware: address.hatype(),
                way: Way::of(address.pkttype()),
                at: Duration::ZERO,
                captured: message.bytes.min(room),
                length: message.bytes,
                lost: 0,
            };
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::ScmTimestampns(time) => seen.at = Duration::from(time),
                    ControlMessageOwned::RxqOvfl(lost) => seen.lost = lost,
                    _ => (),
                }
            }
            return Ok(Some(seen));
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
