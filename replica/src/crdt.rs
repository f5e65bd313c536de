//! The CRDTs of a room, as pure functions over row values.
//!
//! A set element lives while it holds tags; a tag is the id of the request that added it. A request can have
//! two dots (accepted at two sites), so a dot must never be a tag: with dots, a removed member rises again
//! when a dead site returns with its copy. There are no tombstones: the request's row outlives the tag, and
//! "row there, tag absent" means removed.
//!
//! A register is the `crdts` crate's [`LWWReg`], whose marker is the id of the request that wrote it.

use bytes::Bytes;
use causeway_protocol::{RequestId, wire};
use crdts::{CmRDT, LWWReg};

/// A tag's ids in a row, in order.
pub fn tags(row: &wire::ElementRow) -> impl Iterator<Item = RequestId> + '_ {
    row.tags.iter().map(RequestId::from_wire)
}

/// Adds a tag; `false` where it is there already.
pub fn add_tag(row: &mut wire::ElementRow, id: RequestId) -> bool {
    match row.tags.binary_search_by_key(&id, RequestId::from_wire) {
        Ok(_) => false,
        Err(at) => {
            row.tags.insert(at, id.to_wire());
            true
        }
    }
}

/// Removes the tags that a removal saw; `false` where none of them is there.
pub fn remove_tags(row: &mut wire::ElementRow, saw: &[RequestId]) -> bool {
    let before = row.tags.len();
    row.tags.retain(|tag| !saw.contains(&RequestId::from_wire(tag)));
    row.tags.len() != before
}

/// Merges an element with another site's copy (D4): a tag on one side only stays where the other side has
/// never seen its request, and goes where it has, since there it was removed.
pub fn merge_element(
    mine: &wire::ElementRow,
    theirs: &wire::ElementRow,
    mut i_know: impl FnMut(RequestId) -> bool,
    mut they_know: impl FnMut(RequestId) -> bool,
) -> wire::ElementRow {
    let mut merged = wire::ElementRow::default();
    for tag in tags(mine) {
        if tags(theirs).any(|t| t == tag) || !they_know(tag) {
            add_tag(&mut merged, tag);
        }
    }
    for tag in tags(theirs) {
        // Their tag must be of a request that they can show: a tag without one is not durable with them.
        if !tags(mine).any(|t| t == tag) && they_know(tag) && !i_know(tag) {
            add_tag(&mut merged, tag);
        }
    }
    merged
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
