//! A container's output on disk: the log format of the Container Runtime Interface.
//!
//! Each attempt of a container has its own file, `…/CONTAINER/N.log`, with one entry a line:
//!
//! ```text
//! 2016-10-06T00:17:09.669794202Z stdout F a whole line
//! 2016-10-06T00:17:09.669794202Z stderr P the beginning of a line that goes on in the next entry
//! ```
//!
//! `F` ends a line of the container's, `P` (partial) does not: the text of P entries and of the next F entry
//! of the same stream is one line. That is what kubelets read (kubelet `pkg/kubelet/kuberuntime/logs`), and
//! what log collectors know.
//!
//! A file that has grown too large is renamed to `N.log.YYYYMMDD-HHMMSS` and a new one begun; of the renamed
//! ones all but the newest are compressed, as kubelets do (`containerLogMaxSize`, `containerLogMaxFiles`).
//!
//! [`writer`] belongs to the supervisor and runs for every chunk that a container prints; [`reader`] belongs
//! to the command line and only ever looks.

mod entry;
pub mod reader;
pub mod rotate;
mod stamp;
pub mod tail;
pub mod writer;

pub use entry::{Entry, Stream, Tag};
pub use stamp::{STAMP_LEN, Stamp};
