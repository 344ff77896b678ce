//! Hearing what the kernel tells everybody by netlink, as far as a filter lets it pass: what does not concern the listener
//! does not wake him.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv};
use socket2::{Domain, Protocol, Socket, Type};

use crate::packets::{self, Instruction};

/// A socket that is readable when there is news. What the news is is not read: whoever hears it looks for himself.
#[derive(Debug)]
pub(crate) struct News {
    socket: Socket,
}

impl News {
    /// Begins to listen, in the calling thread's network namespace, to the groups of a protocol (netlink(7)) whose bits are
    /// set in `groups`.
    ///
    /// # Errors
    /// If there is no such protocol, or the kernel does not take the filter.
    pub(crate) fn begin(protocol: i32, groups: u32, filter: &[Instruction]) -> io::Result<News> {
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(protocol)))?;
        socket.set_nonblocking(true)?;
        let news = News { socket };
        // Before there is anything to hear.
        news.filter(filter)?;
        bind(news.socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(news)
    }

    /// From now on this filter decides.
    ///
    /// # Errors
    /// If the kernel does not take it.
    pub(crate) fn filter(&self, filter: &[Instruction]) -> io::Result<()> {
        self.socket.attach_filter(&packets::filter(filter))
    }

    /// Takes out what has come; true if there was any. What was lost for want of room counts too.
    pub(crate) fn take(&self) -> bool {
        let mut any = false;
        loop {
            match recv(self.socket.as_raw_fd(), &mut [0; 16], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
                Ok(_) | Err(Errno::ENOBUFS) => any = true,
                Err(Errno::EINTR) => (),
                Err(_) => return any,
            }
        }
    }
}

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
