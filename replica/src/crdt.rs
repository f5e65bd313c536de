//! The CRDTs of a room, as pure functions over row values.
//!
//! A set element lives while it holds tags; a tag is the id of the request that added it. A request can have
//! two dots (accepted at two sites), so a dot must never be a tag: with dots, a removed member rises again
//! when a dead site returns with its copy. There are no tombstones: the request's row outlives the tag, and
//! "row there, tag absent" means removed.
//!
//! A register is the `crdts` crate's [`LWWReg`], whose marker is the id of the request that wrote it.

use bytes::Bytes;
use causeway_protocol::{Dot, RequestId, wire};
use crdts::{CmRDT, LWWReg};

/// A row's tags, those of hidden requests too: the set is the same whatever is hidden.
pub fn tags(row: &wire::ElementRow) -> impl Iterator<Item = RequestId> + '_ {
    row.tags.iter().chain(&row.hidden).map(RequestId::from_wire)
}

/// Adds a tag that is in neither list, as shown or as hidden; `false` where it is there already.
pub fn add_tag(row: &mut wire::ElementRow, id: RequestId, hidden: bool) -> bool {
    if tags(row).any(|tag| tag == id) {
        return false;
    }
    insert(if hidden { &mut row.hidden } else { &mut row.tags }, id);
    true
}

/// Moves a tag that is there to the right list; `false` where it is not there, or there already.
pub fn place_tag(row: &mut wire::ElementRow, id: RequestId, hidden: bool) -> bool {
    let (from, to) = if hidden { (&mut row.tags, &mut row.hidden) } else { (&mut row.hidden, &mut row.tags) };
    let Ok(at) = from.binary_search_by_key(&id, RequestId::from_wire) else { return false };
    from.remove(at);
    insert(to, id);
    true
}

fn insert(list: &mut Vec<wire::RequestId>, id: RequestId) {
    if let Err(at) = list.binary_search_by_key(&id, RequestId::from_wire) {
        list.insert(at, id.to_wire());
    }
}

/// Removes the tags that a removal saw; `false` where none of them is there.
pub fn remove_tags(row: &mut wire::ElementRow, saw: &[RequestId]) -> bool {
    let before = row.tags.len() + row.hidden.len();
    let seen = |tag: &wire::RequestId| saw.contains(&RequestId::from_wire(tag));
    row.tags.retain(|tag| !seen(tag));
    row.hidden.retain(|tag| !seen(tag));
    row.tags.len() + row.hidden.len() != before
}

/// Merges an element with another site's copy (D4): a tag on one side only stays where the other side has
/// never seen its request, and goes where it has, since there it was removed.
pub fn merge_element(
    mine: &wire::ElementRow,
    theirs: &wire::ElementRow,
    mut i_know: impl FnMut(RequestId) -> bool,
    mut they_know: impl FnMut(RequestId) -> bool,
) -> wire::ElementRow {
    let mut merged = wire::ElementRow { tags: Vec::new(), hidden: Vec::new(), ..mine.clone() };
    let hidden = |tag: RequestId| [mine, theirs].iter().any(|row| row.hidden.contains(&tag.to_wire()));
    for tag in tags(mine) {
        if tags(theirs).any(|t| t == tag) || !they_know(tag) {
            add_tag(&mut merged, tag, hidden(tag));
        }
    }
    for tag in tags(theirs) {
        // Their tag must be of a request that they can show: a tag without one is not durable with them.
        if !tags(mine).any(|t| t == tag) && they_know(tag) && !i_know(tag) {
            add_tag(&mut merged, tag, hidden(tag));
        }
    }
    merge_rights(&mut merged, theirs);
    merged
}

/// Given roles and revocations are never taken back, so a union is right; what either side hides is hidden.
fn merge_rights(row: &mut wire::ElementRow, theirs: &wire::ElementRow) {
    for grant in &theirs.grants {
        let known = put_by_dot(&mut row.grants, grant.clone(), |grant| grant.dot);
        known.hidden |= grant.hidden;
    }
    for by in &theirs.revocations {
        put_revocation(row, by.clone());
    }
}

/// Puts a revocation where its dot has none yet. A ban is lifted as a request: each of its acceptances has every lifting
/// of any of them, whichever came first.
pub fn put_revocation(row: &mut wire::ElementRow, by: wire::Revocation) {
    let (id, mut lifts) = (by.id, by.lifts.clone());
    put_by_dot(&mut row.revocations, by, |by| by.dot);
    lifts.extend(row.revocations.iter().filter(|by| by.id == id).flat_map(|by| by.lifts.iter().copied()));
    lifts.iter().for_each(|lift| put_lift(row, *lift, |by| *by == id));
}

/// Notes a lifting with the revocations that it lifts; hidden once, hidden for good.
pub fn put_lift(row: &mut wire::ElementRow, lift: wire::Lift, of: impl Fn(&Option<wire::RequestId>) -> bool) {
    for by in row.revocations.iter_mut().filter(|by| of(&by.id)) {
        put_by_dot(&mut by.lifts, lift, |lift| lift.dot).hidden |= lift.hidden;
    }
}

/// Puts an entry where its dot has none yet, in order; the entry that is there then.
pub fn put_by_dot<T>(list: &mut Vec<T>, entry: T, dot: impl Fn(&T) -> Option<wire::Dot>) -> &mut T {
    let place = |entry: &T| dot(entry).and_then(|dot| Dot::from_wire(&dot).ok());
    let at = match list.binary_search_by_key(&place(&entry), place) {
        Ok(at) => at,
        Err(at) => {
            list.insert(at, entry);
            at
        }
    };
    &mut list[at]
}

/// Writes a register; `false` where the present value wins.
///
/// Markers are unique, but for a client that sends two contents under one id. `LWWReg` leaves that to its
/// user (equal markers with different values would diverge), so the greater value wins then.
pub fn write_register(row: &mut Option<wire::RegisterRow>, marker: RequestId, value: &Bytes) -> bool {
    let new = LWWReg { val: value.clone(), marker };
    let Some(present) = row else {
        *row = Some(register_row(&new));
        return true;
    };
    let mut register = LWWReg { val: present.value.clone(), marker: register_marker(present) };
    match register.validate_op(&new) {
        Ok(()) => register.apply(new),
        Err(_) if new.val > register.val => register = new,
        Err(_) => {}
    }
    let written = register_row(&register);
    let changed = *present != written;
    *present = written;
    changed
}

/// The marker of a register's row.
fn register_marker(row: &wire::RegisterRow) -> RequestId {
    row.marker.as_ref().map_or(RequestId::MIN, RequestId::from_wire)
}

fn register_row(register: &LWWReg<Bytes, RequestId>) -> wire::RegisterRow {
    wire::RegisterRow { marker: Some(register.marker.to_wire()), value: register.val.clone() }
}

/// Merges a register with another site's copy.
pub fn merge_register(mine: &mut Option<wire::RegisterRow>, theirs: &wire::RegisterRow) -> bool {
    write_register(mine, register_marker(theirs), &theirs.value)
}

#[cfg(test)]
#[path = "crdt_tests.rs"]
mod tests;
