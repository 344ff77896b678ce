//! Packets for people and for other programs: which are wanted, what is in them, whose they are, how they are written.
//!
//! All of it is pure but `owners`, which looks into `/proc`. Where packets come from is `netplugin`'s business.

pub mod filter;
pub mod line;
pub mod owners;
pub mod packet;
pub mod pcapng;
