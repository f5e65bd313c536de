//! Rows as values. A row that does not decode is a broken promise of the store's: an error, not an absence.

use std::cell::OnceCell;

use bytes::Bytes;
use causeway_protocol::{Dot, Message, RequestId, RoomId, UserId, Vector, wire};

use crate::key::Key;
use crate::rights;
use crate::view::{Cf, View, ViewError};

pub fn broken(cf: Cf, reason: impl ToString) -> ViewError {
    ViewError { family: cf.name(), reason: reason.to_string() }
}

pub fn decode<M: Message + Default>(cf: Cf, bytes: impl bytes::Buf) -> Result<M, ViewError> {
    M::decode(bytes).map_err(|e| broken(cf, e))
}

/// A row's value, decoded.
pub fn get<M: Message + Default>(view: &dyn View, key: &Key) -> Result<Option<M>, ViewError> {
    let cf = key.family();
    view.get(cf, &key.encode())?.map(|value: Bytes| decode(cf, value)).transpose()
}

/// The requests of a room as readers may have them: as *durable* revocations hide them, and without the bodies that
/// durable erasures take. A revocation that a power failure can undo must not keep a reader from what shows without it:
/// its cursor would pass over it for good.
pub struct Rows<'a> {
    view: &'a dyn View,
    durable: &'a Vector,
    room: &'a RoomId,
    /// Whether bodies are still here that an erasure takes; looked up at the first body.
    erasing: OnceCell<bool>,
}

impl<'a> Rows<'a> {
    /// Of a room.
    pub fn of(view: &'a dyn View, durable: &'a Vector, room: &'a RoomId) -> Self {
        Self { view, durable, room, erasing: OnceCell::new() }
    }

    /// A request that an op names, so that it must be there: both are written at once, or by a merge before the op.
    pub fn get(&self, id: RequestId) -> Result<wire::RequestRow, ViewError> {
        let row = get(self.view, &Key::Request(*self.room, id))?;
        let row = row.ok_or_else(|| broken(Cf::Request, format!("{id:?} in {:?} has an op, but no row", self.room)))?;
        self.readable(row)
    }

    /// What readers may have of a row.
    pub fn readable(&self, mut row: wire::RequestRow) -> Result<wire::RequestRow, ViewError> {
        let may_be_erased = row.body.is_some() && self.is_erasing()?;
        if row.hidden_dots.is_empty() && !may_be_erased {
            return Ok(row);
        }
        let user = UserId::new(&row.user).map_err(|e| broken(Cf::Request, e))?;
        let member: wire::ElementRow = get(self.view, &Key::Member(*self.room, user))?.unwrap_or_default();
        let is_durable = |by: &&wire::Revocation| is_revocation_durable(self.durable, by);
        let revocations: Vec<&wire::Revocation> = member.revocations.iter().filter(is_durable).collect();
        if may_be_erased && self.any_of(&row.dots, &revocations, rights::erases)? {
            row.body = None;
        }
        if row.hidden_dots.is_empty() {
            return Ok(row);
        }
        let mut hidden = Vec::with_capacity(row.hidden_dots.len());
        for dot in &row.hidden_dots {
            if self.any_of(&[*dot], &revocations, rights::hides)? {
                hidden.push(*dot);
            }
        }
        row.hidden = hidden.len() == row.dots.len();
        row.hidden_dots = hidden;
        Ok(row)
    }

    fn is_erasing(&self) -> Result<bool, ViewError> {
        if let Some(known) = self.erasing.get() {
            return Ok(*known);
        }
        let head: Option<wire::HeadRow> = get(self.view, &Key::Head(*self.room))?;
        Ok(*self.erasing.get_or_init(|| head.is_some_and(|head| head.erasures > 0)))
    }

    /// Whether a rule holds of any of some acceptances and any of some revocations. One without its op is taken for one.
    fn any_of(
        &self,
        dots: &[wire::Dot],
        revocations: &[&wire::Revocation],
        rule: fn(&wire::Revocation, &rights::Act<'_>) -> bool,
    ) -> Result<bool, ViewError> {
        for dot in dots {
            let dot = Dot::from_wire(dot).map_err(|e| broken(Cf::Request, e))?;
            let Some(header) = get::<wire::Header>(self.view, &Key::Op(*self.room, dot))? else { return Ok(true) };
            let request: wire::Request = decode(Cf::Op, header.request)?;
            let (Some(id), Some(kind)) = (&request.id, &request.kind) else { return Ok(true) };
            let aware: Vec<RequestId> = header.aware.iter().map(RequestId::from_wire).collect();
            let (id, revokes) = (RequestId::from_wire(id), header.past.is_some());
            let act = rights::Act { id, dot, kind, aware: &aware, revokes };
            if revocations.iter().any(|by| rule(by, &act)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a revocation is durable.
pub fn is_revocation_durable(durable: &Vector, by: &wire::Revocation) -> bool {
    by.dot.as_ref().and_then(|dot| Dot::from_wire(dot).ok()).is_some_and(|dot| durable.covers(&dot))
}

/// Whether a request that a tag or a marker names is durable. While a snapshot is being merged it may not be
/// there yet.
pub fn is_durable(
    view: &dyn View,
    durable: &Vector,
    room: &RoomId,
    id: Option<&wire::RequestId>,
) -> Result<bool, ViewError> {
    let Some(id) = id.map(RequestId::from_wire) else { return Ok(false) };
    let row: Option<wire::RequestRow> = get(view, &Key::Request(*room, id))?;
    // What hides an acceptance may be further from durable than the acceptance itself, and than the one that shows.
    row.map_or(Ok(false), |row| covered(&Rows::of(view, durable, room).readable(row)?, durable))
}

/// The acceptances of a request that show, durable or not. Who passed one that a revocation hides has not been shown it.
pub fn dots(row: &wire::RequestRow) -> impl Iterator<Item = Result<Dot, ViewError>> + '_ {
    let shown = row.dots.iter().filter(|dot| !row.hidden_dots.contains(dot));
    shown.map(|dot| Dot::from_wire(dot).map_err(|e| broken(Cf::Request, e)))
}

/// Whether an acceptance of a request shows.
pub fn shows(row: &wire::RequestRow, dot: Dot) -> bool {
    !row.hidden && !row.hidden_dots.contains(&dot.to_wire())
}

/// Whether a vector covers a request: any of its dots that show.
pub fn covered(row: &wire::RequestRow, vector: &Vector) -> Result<bool, ViewError> {
    Ok(covered_dot(row, vector)?.is_some())
}

/// The first of a request's dots that a vector covers.
pub fn covered_dot(row: &wire::RequestRow, vector: &Vector) -> Result<Option<Dot>, ViewError> {
    for dot in dots(row) {
        let dot = dot?;
        if vector.covers(&dot) {
            return Ok(Some(dot));
        }
    }
    Ok(None)
}

/// A room's head, as far as it exists.
pub fn head(view: &dyn View, room: &RoomId) -> Result<Option<(wire::HeadRow, Vector)>, ViewError> {
    let Some(head) = get::<wire::HeadRow>(view, &Key::Head(*room))? else { return Ok(None) };
    let touch = Vector::from_wire_opt(head.touch.as_ref()).map_err(|e| broken(Cf::Head, e))?;
    Ok(Some((head, touch)))
}
