//! Rows of a peer's snapshot, checked before they are kept: what does not decode must not be there when the merge, or a
//! restart in the middle of it, reads it.

use bytes::Bytes;
use causeway_protocol::{DecodeError, Dot, Message, RequestId, RoomId, UserId, Vector, wire};

use crate::request::Request;

/// A request's row of a peer, with a request of this very key in it.
pub(super) fn sound_request(room: &RoomId, id: RequestId, value: Bytes) -> Result<wire::RequestRow, DecodeError> {
    let row = wire::RequestRow::decode(value).map_err(|e| DecodeError::malformed("request row", &e))?;
    let request = Request::decode(&row.request)?;
    if request.room != *room || request.id != id {
        return Err(DecodeError::Range { field: "snapshot.row" });
    }
    UserId::new(&row.user)?;
    Ok(row)
}

/// An element's row of a peer, with dots and vectors in it that can be.
pub(super) fn sound_element(value: Bytes) -> Result<(), DecodeError> {
    let row = wire::ElementRow::decode(value).map_err(|e| DecodeError::malformed("element row", &e))?;
    let dot = |dot: Option<&wire::Dot>| {
        dot.ok_or(DecodeError::Missing { field: "element.dot" }).and_then(Dot::from_wire).map(drop)
    };
    row.grants.iter().try_for_each(|grant| dot(grant.dot.as_ref()))?;
    for by in &row.revocations {
        dot(by.dot.as_ref())?;
        Vector::from_wire_opt(by.past.as_ref())?;
        by.lifts.iter().try_for_each(|lift| dot(lift.dot.as_ref()))?;
    }
    Ok(())
}
