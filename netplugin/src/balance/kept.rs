//! What the kernel remembers of clients that stay with their backend.

use std::collections::BTreeSet;

use netlink_packet_netfilter::nftables::NfTablesMessage;
use nix::errno::Errno;

use super::Balance;
use super::elements::{self, FAMILIES, Holding, Key};
use super::table::{Family, KEPT};
use crate::look::raw_elements;
use crate::netlink::{KernelError, Netlink};
use crate::nft::Transaction;

/// Clients of a backend that is gone choose anew. Nobody is sent to it for the first time any more once the table has changed,
/// so one look after that finds them all.
///
/// # Errors
/// What the kernel refuses.
pub(super) fn forget_gone(
    netlink: &mut Netlink,
    table: &str,
    before: &Balance,
    now: &Balance,
) -> Result<(), KernelError> {
    if !before.has_affinity() {
        return Ok(());
    }
    let (before, now) = (Holding::of(before), Holding::of(now));
    for family in FAMILIES {
        let stays = now.stays(family);
        if !before.stays(family).is_subset(&stays) {
            forget(netlink, table, family, &stays)?;
        }
    }
    Ok(())
}

/// One that runs out between the look and the deletion is in the way of the deletion of all, so it is tried again.
fn forget(
    netlink: &mut Netlink,
    table: &str,
    family: Family,
    stays: &BTreeSet<(Vec<u8>, Vec<u8>)>,
) -> Result<(), KernelError> {
    const TRIES: usize = 5;
    let map = KEPT[family as usize];
    for rest in (0..TRIES).rev() {
        let found = match raw_elements(netlink, table, map) {
            // With the last virtual address the table has gone.
            Err(error) if error.is(Errno::ENOENT) => return Ok(()),
            found => found?,
        };
        let gone = found.into_iter().filter(|(key, backend)| !may_stay(family, key, backend, stays));
        let gone: Vec<Key> = gone.map(|(key, _)| Key::raw(map, key)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let without_values: Vec<_> = gone.iter().map(|key| (key, None)).collect();
        let mut transaction = Transaction::begin(netlink);
        for message in elements::messages(table, &without_values) {
            transaction.push(NfTablesMessage::DeleteSetElement(message), 0);
        }
        match transaction.commit() {
            Err(error) if error.is(Errno::ENOENT) && rest > 0 => {}
            result => return result,
        }
    }
    Ok(())
}

/// The key begins with the client's address.
fn may_stay(family: Family, key: &[u8], backend: &[u8], stays: &BTreeSet<(Vec<u8>, Vec<u8>)>) -> bool {
    let front = key.get(4 * family.words()..).unwrap_or_default();
    stays.contains(&(front.to_vec(), backend.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_stays_where_its_front_still_has_that_backend() {
        let (front, backend) = (vec![10, 96, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0], vec![10, 0, 0, 1, 0, 80, 0, 0]);
        let stays = BTreeSet::from([(front.clone(), backend.clone())]);
        let key = [&[10, 244, 0, 2], front.as_slice()].concat();
        assert!(may_stay(Family::V4, &key, &backend, &stays));
        assert!(!may_stay(Family::V4, &key, &[10, 0, 0, 2, 0, 80, 0, 0], &stays));
        let other = [&[10, 244, 0, 2], [10, 96, 0, 2].as_slice(), &front[4..]].concat();
        assert!(!may_stay(Family::V4, &other, &backend, &stays));
    }
}
