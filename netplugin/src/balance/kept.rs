//! What the kernel remembers of clients that stay with their backend.

use std::collections::BTreeSet;

use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage,
};
use nix::errno::Errno;

use super::Balance;
use super::elements::{self, FAMILIES, Holding, Key};
use super::table::{Family, KEPT};
use crate::look::{RawElement, raw_elements};
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
        let gone = found.into_iter().filter(|one| !may_stay(family, &one.key, &one.value, stays));
        let gone: Vec<Key> = gone.map(|one| Key::raw(map, one.key)).collect();
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

/// What a table remembers of clients whose backends stay, to be put into the one that takes its place. A table that is not there
/// remembers nothing, and what cannot be read is forgotten: its clients choose anew.
pub(super) fn remembered(netlink: &mut Netlink, table: &str, now: &Holding<'_>) -> Vec<SetElementMessage> {
    let mut messages = Vec::new();
    for family in FAMILIES {
        let (map, stays) = (KEPT[family as usize], now.stays(family));
        if stays.is_empty() {
            continue;
        }
        let mut found = raw_elements(netlink, table, map).unwrap_or_default();
        found.retain(|one| may_stay(family, &one.key, &one.value, &stays));
        let elements: Vec<_> = found.into_iter().filter_map(again).collect();
        messages.extend(elements.chunks(elements::TOGETHER).map(|elements| SetElementMessage {
            attributes: vec![
                SetElementList::Table(table.to_owned()),
                SetElementList::Set(map.to_owned()),
                SetElementList::Elements(elements.to_vec()),
            ],
        }));
    }
    messages
}

/// For the time that is left of the one that it is kept.
fn again(one: RawElement) -> Option<ListAttribute<SetElementAttribute>> {
    let (time, left) = one.kept?;
    Some(ListAttribute::Element(vec![
        SetElementAttribute::Key(DataAttribute::Value(one.key)),
        SetElementAttribute::Data(DataAttribute::Value(one.value)),
        SetElementAttribute::Timeout(time),
        SetElementAttribute::Expiration(left.clamp(1, time.max(1))),
    ]))
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
