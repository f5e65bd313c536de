//! Applying an op: rows, vector, chain, log, digest and head, all in the batch of the step.

use bytes::Bytes;
use causeway_protocol::{
    Dot, Hash16, RequestId, Role, RoomId, Stamp, UserId, Vector, limits, wire, wire::request::Kind,
};

use super::Shard;
use super::digest::{canonical_element, canonical_request, element_bucket, request_bucket};
use super::erase::{index_was, is_erased};
use super::expire::earlier;
use super::release::Pending;
use super::revoke::member_row;
use super::tx::Tx;
use crate::crdt;
use crate::io::{Alarm, Output};
use crate::key::{Key, Policy, Register, user_hash};
use crate::read::event_frame;
use crate::request::{Op, Request, chain_hash, request_hash};
use crate::rights;
use crate::view::ViewError;

/// Origins in a vector above which an operator should know.
const ORIGINS_ALARM: usize = 64;

/// What an op does to the rows of its room: one side effect a variant, so that acceptance, apply and repair
/// share one reading of the kinds.
pub(super) enum Effect {
    Add(Key),
    Remove(Key),
    Write(Key, RequestId, Bytes),
    /// The user's membership may have changed.
    Member(UserId),
    /// The user is given a role.
    Grant(UserId, u32),
    /// The user loses rights.
    Revoke(UserId, Revoked),
    /// The user's bans are lifted.
    Lift(UserId),
    /// The bodies of a message and of its edits are to go, as far as they are this user's.
    Purge(RequestId, UserId),
}

/// What a revocation is, but for what its op says.
#[derive(Default)]
pub(super) struct Revoked {
    pub floor: u32,
    pub ban: bool,
    pub until_ms: u64,
    /// What the user wrote goes.
    pub erases: bool,
}

/// What an op was to its request.
pub(super) struct RequestApplied {
    /// Whether the request had no dot before.
    first_dot: bool,
    /// The encoded event, where the request became visible.
    event: Option<Bytes>,
    /// Whether it took a body that was here.
    took_body: bool,
}

impl Shard {
    /// Applies an op whose turn it is.
    pub(super) fn apply(&mut self, tx: &mut Tx<'_>, mut op: Op) -> Result<(), ViewError> {
        let dot = op.dot;
        let member = member_row(tx, op.request.room, &op.user)?;
        if op.body.is_some() && (is_erased(&member, &op) || self.is_body_gone(tx, &op)?) {
            op.body = None;
        }
        let order = self.log_op(tx, &op);
        let RequestApplied { first_dot, event, took_body } = self.apply_request(tx, &op, &member)?;
        self.touch(tx, &op.request, dot);
        self.update_head(tx, &op, first_dot)?;
        self.hlc.observe(op.stamp);
        self.write_shard_row(tx);
        self.release.push(Pending::Applied { op, order, event, took_body });
        Ok(())
    }

    /// Vector, chain, log and order.
    fn log_op(&mut self, tx: &mut Tx<'_>, op: &Op) -> u64 {
        let shard = self.config.shard;
        let Dot { origin, seq } = op.dot;
        assert_eq!(seq, self.applied.get(&origin) + 1, "ops of {origin:?} must be applied in order");
        let chain = chain_hash(&op.header);
        self.applied.raise(op.dot);
        self.chains.insert(origin, chain);
        if seq == 1 && self.applied.len() > ORIGINS_ALARM {
            tx.emit(Output::Alarm(Alarm::ManyOrigins(self.applied.len())));
        }
        let order = self.order_next;
        self.order_next += 1;
        self.log_bytes += op.bytes() as u64;
        let room = op.request.room.to_wire();
        tx.put_bytes(&Key::Op(op.request.room, op.dot), op.header.clone());
        tx.put(&Key::Log(shard, op.dot), &wire::LogRow { room: room.clone(), order });
        tx.put(&Key::Order(shard, order), &wire::OrderRow { dot: Some(op.dot.to_wire()), room });
        tx.put(&Key::Origin(shard, origin), &wire::OriginRow { seq, chain: Bytes::copy_from_slice(&chain) });
        order
    }

    /// The request's row: made, or given one more dot.
    /// `member`: the row of who asked, as it was before.
    pub(super) fn apply_request(
        &mut self,
        tx: &mut Tx<'_>,
        op: &Op,
        member: &wire::ElementRow,
    ) -> Result<RequestApplied, ViewError> {
        let key = Key::Request(op.request.room, op.request.id);
        let hash = request_hash(&op.user, &op.request_bytes);
        let hidden = self.is_hidden(member, op);
        let past = op.past.as_ref().map(Vector::to_wire);
        let frame = |row: &wire::RequestRow, body: Option<Bytes>| {
            let request = op.request_bytes.clone();
            event_frame(op.request.room, op.dot, &op.user, (request, body, row.deadline_ms), past.clone())
        };
        let Some(old) = tx.get::<wire::RequestRow>(&key)? else {
            let mut row = new_request_row(op, hash);
            if hidden {
                hide_dot(&mut row, op.dot);
            }
            self.put_request(tx, &op.request, None, &row);
            index_was(tx, &op.request, &row.user)?;
            for effect in effects(op) {
                self.apply_effect(tx, op, effect, hidden)?;
            }
            let event = (!row.hidden).then(|| frame(&row, op.body.clone()));
            return Ok(RequestApplied { first_dot: true, event, took_body: false });
        };
        self.counters.second_dots += 1;
        let mut row = old.clone();
        let known = old.hash[..] == hash || old.also.iter().any(|also| also[..] == hash);
        add_dot(&mut row, op.dot);
        if !known {
            // One id with two contents, accepted at two sites: the least hash is shown, both take effect.
            add_content(&mut row, op, hash);
        }
        row.deadline_ms = earlier(row.deadline_ms, op.deadline_ms);
        if hidden {
            hide_dot(&mut row, op.dot);
        } else if op.request.kind.is_some() {
            row.hidden = false;
        }
        let hides = row.hidden;
        if known {
            // Its acceptor may have seen other tags than the first one's: what any of them removed is removed.
            // Additions are the request's own tag, which is there already, or was removed since.
            for effect in effects(op).into_iter().filter(Effect::is_of_each_dot) {
                self.apply_effect(tx, op, effect, hidden)?;
            }
            if row.body.is_none() && old.hash[..] == hash {
                row.body = op.body.clone();
            }
            if self.is_expired(tx, &op.request, &op.user, row.deadline_ms)?
                || self.is_erased_row(tx, member, op.request.room, &row)?
            {
                row.body = None;
            }
        } else {
            for effect in effects(op) {
                let hidden = if effect.is_of_each_dot() { hidden } else { hides };
                self.apply_effect(tx, op, effect, hidden)?;
            }
        }
        self.put_request(tx, &op.request, Some(&old), &row);
        let shows_now = old.hidden && !row.hidden;
        if shows_now {
            self.place_additions(tx, op, false)?;
        }
        let took_body = old.body.is_some() && row.body.is_none();
        Ok(RequestApplied { first_dot: false, took_body, event: shows_now.then(|| frame(&row, row.body.clone())) })
    }

    pub(super) fn put_request(
        &mut self,
        tx: &mut Tx<'_>,
        request: &Request,
        old: Option<&wire::RequestRow>,
        new: &wire::RequestRow,
    ) {
        let key = Key::Request(request.room, request.id);
        let bucket = request_bucket(&request.room, request.id);
        let before = old.map_or(0, |old| old.deadline_ms);
        let old = old.map(canonical_request);
        self.account(tx, bucket, &key, old.as_deref(), Some(&canonical_request(new)));
        tx.put(&key, new);
        self.plan_expiry(tx, request, new, before);
    }

    /// `hidden`: whether the op, or what it adds, is hidden.
    fn apply_effect(&mut self, tx: &mut Tx<'_>, op: &Op, effect: Effect, hidden: bool) -> Result<(), ViewError> {
        let room = &op.request.room;
        match effect {
            Effect::Add(key) => {
                let tag = self.tag_of(op);
                self.change_element(tx, room, key, |row| crdt::add_tag(row, tag, hidden))
            }
            Effect::Remove(key) => self.change_element(tx, room, key, |row| crdt::remove_tags(row, &op.saw)),
            Effect::Write(key, marker, value) => {
                let mut row: Option<wire::RegisterRow> = tx.get(&key)?;
                let old = row.clone();
                if crdt::write_register(&mut row, marker, &value) {
                    self.put_register(tx, room, &key, old.as_ref(), row.as_ref())?;
                }
                Ok(())
            }
            Effect::Member(user) => self.index_member(tx, room, &user),
            Effect::Grant(user, role) => self.grant(tx, op, user, role, hidden),
            Effect::Revoke(user, revoked) => self.revoke(tx, op, user, &revoked),
            Effect::Lift(user) => self.lift(tx, op, user, hidden),
            Effect::Purge(target, user) => {
                self.plan_purge(tx, *room, target, &user);
                Ok(())
            }
        }
    }

    fn tag_of(&self, op: &Op) -> RequestId {
        if self.sabotaged(crate::Sabotage::TagElementsWithDots) {
            return crate::sabotage::dot_as_tag(op.dot);
        }
        op.request.id
    }

    /// Reads, changes and writes an element; an element without anything in it has no row.
    pub(super) fn change_element(
        &mut self,
        tx: &mut Tx<'_>,
        room: &RoomId,
        key: Key,
        change: impl FnOnce(&mut wire::ElementRow) -> bool,
    ) -> Result<(), ViewError> {
        let old: wire::ElementRow = tx.get(&key)?.unwrap_or_default();
        let mut new = old.clone();
        if change(&mut new) {
            self.put_element(tx, room, &key, &old, &new);
        }
        Ok(())
    }

    pub(super) fn put_element(
        &mut self,
        tx: &mut Tx<'_>,
        room: &RoomId,
        key: &Key,
        old: &wire::ElementRow,
        new: &wire::ElementRow,
    ) {
        use causeway_protocol::Message;
        let canonical = |row: &wire::ElementRow| (*row != wire::ElementRow::default()).then(|| canonical_element(row));
        self.account(tx, element_bucket(room), key, canonical(old).as_deref(), canonical(new).as_deref());
        if *new == wire::ElementRow::default() {
            tx.delete(key);
        } else {
            tx.put_bytes(key, new.encode_to_vec().into());
        }
        if let Key::Invited(room, user) = key
            && new.tags != old.tags
        {
            self.index_invited(tx, room, user, new);
        }
        // Who is banned is told of no invitation.
        if let Key::Member(_, user) = key
            && new.revocations != old.revocations
        {
            self.release.push(Pending::Invitations(user.clone()));
        }
        if let Key::Member(room, user) = key
            && !new.grants.is_empty()
            && old.grants.is_empty()
        {
            tx.put_bytes(&Key::RoleHolder(*room, user.clone()), Bytes::new());
        }
    }

    pub(super) fn put_register(
        &mut self,
        tx: &mut Tx<'_>,
        room: &RoomId,
        key: &Key,
        old: Option<&wire::RegisterRow>,
        new: Option<&wire::RegisterRow>,
    ) -> Result<(), ViewError> {
        use causeway_protocol::Message;
        let bytes = |row: Option<&wire::RegisterRow>| row.map(Message::encode_to_vec);
        self.account(tx, element_bucket(room), key, bytes(old).as_deref(), bytes(new).as_deref());
        if let Some(row) = new {
            tx.put(key, row);
        }
        match key {
            Key::Register(_, register) => self.copy_register(tx, room, *register, new),
            _ => Ok(()),
        }
    }

    /// Keeps the user's list of rooms, and the room's count of members, in step with the membership, and tells sessions of a change.
    pub(super) fn index_member(&mut self, tx: &mut Tx<'_>, room: &RoomId, user: &UserId) -> Result<(), ViewError> {
        let key = Key::UserRoom(user_hash(user), *room);
        let row: Option<wire::ElementRow> = tx.get(&Key::Member(*room, user.clone()))?;
        let member = row.is_some_and(|row| !row.tags.is_empty());
        let listed = tx.get_bytes(&key)?.is_some();
        if member == listed {
            return Ok(());
        }
        let mut head: wire::HeadRow = tx.get(&Key::Head(*room))?.unwrap_or_default();
        if member {
            tx.put_bytes(&key, Bytes::new());
            head.members += 1;
        } else {
            tx.delete(&key);
            head.members = head.members.saturating_sub(1);
        }
        tx.put(&Key::Head(*room), &head);
        self.release.push(Pending::Membership { room: *room, user: user.clone(), member });
        Ok(())
    }

    /// Keeps the user's list of invitations in step, and tells sessions of a change.
    pub(super) fn index_invited(&mut self, tx: &mut Tx<'_>, room: &RoomId, user: &UserId, row: &wire::ElementRow) {
        let key = Key::UserInvited(user_hash(user), *room);
        match row.tags.is_empty() {
            true => tx.delete(&key),
            false => tx.put_bytes(&key, Bytes::new()),
        }
        self.release.push(Pending::Invitations(user.clone()));
    }

    fn update_head(&self, tx: &mut Tx<'_>, op: &Op, first_dot: bool) -> Result<(), ViewError> {
        let key = Key::Head(op.request.room);
        let mut head: wire::HeadRow = tx.get(&key)?.unwrap_or_default();
        let mut touch = Vector::from_wire_opt(head.touch.as_ref()).unwrap_or_default();
        touch.raise(op.dot);
        head.touch = Some(touch.to_wire());
        if first_dot {
            note_request(&mut head, &op.request);
        }
        tx.put(&key, &head);
        Ok(())
    }

    pub(super) fn write_shard_row(&self, tx: &mut Tx<'_>) {
        let row = wire::ShardRow {
            order_next: self.order_next,
            hlc: self.hlc.last().0,
            floor: Some(self.floor.to_wire()).filter(|v| !v.entries.is_empty()),
            order_floor: self.order_floor,
            merge: self.merge.as_ref().map(super::snapshot::Merging::to_wire),
        };
        tx.put(&Key::Shard(self.config.shard), &row);
    }
}

/// Takes note of a request in its room's head.
pub(super) fn note_request(head: &mut wire::HeadRow, request: &Request) {
    head.requests += 1;
    head.stamp_max = head.stamp_max.max(request.id.stamp.0);
    let last = head.last.as_ref().map_or(RequestId::MIN, RequestId::from_wire);
    if matches!(request.kind, Some(Kind::Message(_))) && request.id > last {
        head.last = Some(request.id.to_wire());
    }
}

/// The highest stamp of a room, from its head.
pub(super) fn stamp_max(head: Option<&wire::HeadRow>) -> Stamp {
    Stamp(head.map_or(0, |head| head.stamp_max))
}

fn new_request_row(op: &Op, hash: Hash16) -> wire::RequestRow {
    wire::RequestRow {
        hash: Bytes::copy_from_slice(&hash),
        dots: vec![op.dot.to_wire()],
        user: op.user.as_str().to_owned(),
        request: op.request_bytes.clone(),
        body: op.body.clone(),
        // A kind of a newer version is kept and carried, not shown.
        hidden: op.request.kind.is_none(),
        also: Vec::new(),
        hidden_dots: Vec::new(),
        deadline_ms: op.deadline_ms,
    }
}

/// A revocation hides a dot: the request is hidden where no other shows.
pub(super) fn hide_dot(row: &mut wire::RequestRow, dot: Dot) {
    let place = |w: &wire::Dot| Dot::from_wire(w).ok();
    if let Err(at) = row.hidden_dots.binary_search_by_key(&Some(dot), place) {
        row.hidden_dots.insert(at, dot.to_wire());
    }
    row.hidden |= row.hidden_dots.len() == row.dots.len();
}

/// Adds a dot to a row's set.
pub(super) fn add_dot(row: &mut wire::RequestRow, dot: Dot) {
    let place = |w: &wire::Dot| Dot::from_wire(w).ok();
    if let Err(at) = row.dots.binary_search_by_key(&Some(dot), place) {
        row.dots.insert(at, dot.to_wire());
    }
}

/// Adds a content to a row: the one with the least hash is the row's.
fn add_content(row: &mut wire::RequestRow, op: &Op, hash: Hash16) {
    let hash = Bytes::copy_from_slice(&hash);
    if hash < row.hash {
        let old = std::mem::replace(row, new_request_row(op, [0; 16]));
        row.hash = hash;
        row.dots = old.dots;
        add_dot(row, op.dot);
        row.hidden_dots = old.hidden_dots;
        row.hidden |= old.hidden;
        row.deadline_ms = earlier(row.deadline_ms, old.deadline_ms);
        row.also = old.also;
        row.also.push(old.hash);
    } else {
        row.also.push(hash);
    }
    row.also.sort();
}

/// The element of a reaction. `None` where an op of a newer or a broken site has no target, or a symbol that cannot be.
pub(super) fn reaction_key(request: &Request, user: &UserId) -> Option<Key> {
    let symbol = request.symbol().filter(|symbol| limits::is_symbol(symbol))?;
    Some(Key::Reaction(request.room, request.target()?, symbol.into(), user.clone()))
}

impl Effect {
    /// Whether each acceptance has it, and not the request once.
    fn is_of_each_dot(&self) -> bool {
        !matches!(self, Effect::Add(_) | Effect::Write(..) | Effect::Purge(..))
    }
}

/// What the kinds do.
pub(super) fn effects(op: &Op) -> Vec<Effect> {
    let Request { id, room, kind, .. } = &op.request;
    let Some(kind) = kind else { return Vec::new() };
    let member = |user: &UserId| Key::Member(*room, user.clone());
    let register = |register, value| Effect::Write(Key::Register(*room, register), *id, value);
    let join = |user: &UserId| [Effect::Add(member(user)), Effect::Member(user.clone())];
    let other = rights::target(kind).and_then(|user| UserId::new(user).ok());
    let target = op.request.target();
    match (kind, other, target) {
        // Both are members, and nobody owns it.
        (Kind::Create(_), ..) if let Some(with) = op.request.direct_with() => {
            let policy = register(Register::Policy, Policy::direct_value(&op.user, &with));
            std::iter::once(policy).chain(join(&op.user)).chain(join(&with)).collect()
        }
        (Kind::Create(create), ..) => {
            let policy = Policy { open: create.open, channel: create.channel, ..Policy::default() };
            let mut all = vec![
                register(Register::Policy, Bytes::copy_from_slice(&[policy.to_byte()])),
                register(Register::Name, Bytes::copy_from_slice(create.name.as_bytes())),
            ];
            all.extend(join(&op.user));
            all.push(Effect::Grant(op.user.clone(), Role::Owner.number()));
            all
        }
        (Kind::SetName(set), ..) => vec![register(Register::Name, Bytes::copy_from_slice(set.name.as_bytes()))],
        (Kind::SetProfile(set), ..) => {
            let text = |text: &String| Bytes::copy_from_slice(text.as_bytes());
            let fields = [
                (Register::Topic, set.topic.as_ref().map(text)),
                (Register::Avatar, set.avatar.as_ref().map(text)),
                (Register::Knock, set.knock.map(|knock| Bytes::copy_from_slice(&[knock.into()]))),
                (Register::Open, set.open.map(|open| Bytes::copy_from_slice(&[open.into()]))),
                // A newer version's number may not fit: nobody but an owner, then.
                (Register::Retention, set.retention_ms.map(|ms| Bytes::copy_from_slice(&ms.to_be_bytes()))),
                (Register::Writers, set.writers.map(|role| Bytes::copy_from_slice(&[u8::try_from(role).unwrap_or(5)]))),
            ];
            let fields = fields.into_iter().filter_map(|(field, value)| Some((field, value?)));
            fields.map(|(field, value)| register(field, value)).collect()
        }
        (Kind::Pin(_), _, Some(target)) => vec![Effect::Add(Key::Pin(*room, target))],
        (Kind::Unpin(_), _, Some(target)) => vec![Effect::Remove(Key::Pin(*room, target))],
        // An invitation is used up by the join that saw it.
        (Kind::Join(_), ..) => {
            let invited = Effect::Remove(Key::Invited(*room, op.user.clone()));
            let knock = Effect::Remove(Key::Knock(*room, op.user.clone()));
            [invited, knock].into_iter().chain(join(&op.user)).collect()
        }
        // Who is invited declines so.
        (Kind::Leave(_), ..) => vec![
            Effect::Remove(member(&op.user)),
            Effect::Remove(Key::Invited(*room, op.user.clone())),
            Effect::Remove(Key::Knock(*room, op.user.clone())),
            Effect::Member(op.user.clone()),
        ],
        // It answers who asked to be let in.
        (Kind::Invite(_), Some(user), _) => {
            vec![Effect::Add(Key::Invited(*room, user.clone())), Effect::Remove(Key::Knock(*room, user))]
        }
        (Kind::Knock(_), ..) => vec![Effect::Add(Key::Knock(*room, op.user.clone()))],
        (Kind::Decline(_), Some(user), _) => vec![Effect::Remove(Key::Knock(*room, user))],
        (Kind::SetRole(set), Some(user), _) => {
            let demoted = op.past.is_some();
            let revoked = || Revoked { floor: set.role, ..Revoked::default() };
            let revoke = demoted.then(|| Effect::Revoke(user.clone(), revoked()));
            std::iter::once(Effect::Grant(user.clone(), set.role)).chain(revoke).collect()
        }
        (Kind::Kick(_), Some(user), _) => expel(*room, user, Revoked::default()),
        (Kind::Ban(ban), Some(user), _) => {
            expel(*room, user, Revoked { ban: true, until_ms: ban.until_ms, ..Revoked::default() })
        }
        (Kind::Erase(_), ..) => expel(*room, op.user.clone(), Revoked { erases: true, ..Revoked::default() }),
        (Kind::LiftBan(_), Some(user), _) => vec![Effect::Lift(user)],
        (Kind::Edit(_), _, Some(target)) => vec![Effect::Add(Key::Edit(*room, target, *id, op.user.clone()))],
        // Whoever redacts it, it is the author's: a rule over two rows, whichever comes first.
        (Kind::Redact(_), _, Some(target)) => match op.request.redacts(&op.user) {
            Some(author) => {
                vec![Effect::Add(Key::Redaction(*room, target, author.clone())), Effect::Purge(target, author)]
            }
            None => Vec::new(),
        },
        (Kind::React(_), ..) => reaction_key(&op.request, &op.user).map(Effect::Add).into_iter().collect(),
        (Kind::Unreact(_), ..) => reaction_key(&op.request, &op.user).map(Effect::Remove).into_iter().collect(),
        // A message changes no element; an op of a newer or a broken site may lack what it is about.
        _ => Vec::new(),
    }
}

/// Membership and invitation go, as far as the accepting site saw them; what the user did meanwhile is hidden.
fn expel(room: RoomId, user: UserId, revoked: Revoked) -> Vec<Effect> {
    vec![
        Effect::Remove(Key::Member(room, user.clone())),
        Effect::Remove(Key::Invited(room, user.clone())),
        Effect::Remove(Key::Knock(room, user.clone())),
        Effect::Revoke(user.clone(), revoked),
        Effect::Member(user),
    ]
}
