//! What every replica writes: one op a dot for ever, no holes, causes first, clocks that rise.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causeway_protocol::{
    Dot, Hash16, Message, Origin, RequestId, RoomId, ShardId, SiteId, Stamp, Vector, hash16, wire,
};
use causeway_replica::key::{self, Key};
use causeway_replica::view::{Batch, Cf, View};

use super::rights::{Act, Model};
use super::{Verdict, Violation, broken};

/// An op as it was first seen anywhere.
#[derive(Clone, Debug)]
pub struct OpFact {
    /// Of the header's bytes.
    pub hash: Hash16,
    /// The room.
    pub room: RoomId,
    /// The request that it accepts.
    pub id: RequestId,
    /// Who asked.
    pub user: String,
    /// The accepting site's clock.
    pub stamp: Stamp,
    /// What its site had applied, as the header codes it: what changed since the origin's op before.
    deps_delta: Vector,
    /// What it does; `None` for a kind that is not known.
    act: Option<Act>,
}

/// Of other acts than those that touch rights, so many to one that is checked.
const PERMITTED_EVERY: usize = 6;

/// All ops that any site ever wrote, and what each site has applied.
#[derive(Default)]
pub struct Ops {
    facts: BTreeMap<(ShardId, Dot), OpFact>,
    by_request: BTreeMap<(RoomId, RequestId), Vec<Dot>>,
    full_deps: BTreeMap<(ShardId, Dot), Vector>,
    applied: BTreeMap<(SiteId, ShardId), Vector>,
    /// Acceptances that a revocation hides, wherever both are known.
    hidden: BTreeSet<(ShardId, Dot)>,
}

fn decode<M: Message + Default>(what: &'static str, bytes: &Bytes) -> Result<M, Violation> {
    M::decode(bytes.clone()).or_else(|e| broken("rows decode", format!("{what}: {e}")))
}

fn vector_of(dots: &[wire::Dot]) -> Result<Vector, Violation> {
    dots.iter().map(Dot::from_wire).collect::<Result<_, _>>().or_else(|e| broken("rows decode", e.to_string()))
}

/// The applied vector as a store holds it.
pub fn applied_in(view: &dyn View, shard: ShardId) -> Vector {
    let mut vector = Vector::new();
    let (start, end) = key::origins_range(shard);
    let _ = view.scan(Cf::Meta, &start, &end, &mut |k, v| {
        if let (Some(Key::Origin(_, origin)), Ok(row)) = (Key::decode(Cf::Meta, k), wire::OriginRow::decode(v)) {
            vector.raise(Dot { origin, seq: row.seq });
        }
        std::ops::ControlFlow::Continue(())
    });
    vector
}

impl Ops {
    /// The op of a dot.
    pub fn fact(&self, shard: ShardId, dot: &Dot) -> Option<&OpFact> {
        self.facts.get(&(shard, *dot))
    }

    /// Every dot under which a request was ever accepted.
    pub fn dots_of(&self, room: &RoomId, id: &RequestId) -> &[Dot] {
        self.by_request.get(&(*room, *id)).map_or(&[], Vec::as_slice)
    }

    /// Every request of a room, with its dots.
    pub fn of_room(&self, room: RoomId) -> impl Iterator<Item = (&RequestId, &Vec<Dot>)> {
        self.by_request.range((room, RequestId::MIN)..=(room, RequestId::MAX)).map(|((_, id), dots)| (id, dots))
    }

    /// A room's requests of which any dot is within a vector, by place.
    pub fn kept_of_room(&self, room: RoomId, within: &Vector) -> Vec<RequestId> {
        self.of_room(room).filter(|(_, dots)| dots.iter().any(|dot| within.covers(dot))).map(|(id, _)| *id).collect()
    }

    /// A process opens its store: what it has applied is what it finds.
    pub fn opened(&mut self, site: SiteId, shard: ShardId, view: &dyn View) {
        self.applied.insert((site, shard), applied_in(view, shard));
    }

    /// A site has written a batch; `view` shows it.
    pub fn written(&mut self, site: SiteId, own: Origin, shard_count: u16, batch: &Batch, view: &dyn View) -> Verdict {
        let mut order: BTreeMap<ShardId, Vec<(u64, Dot)>> = BTreeMap::new();
        let mut raised: BTreeMap<ShardId, Vector> = BTreeMap::new();
        for (cf, key, value) in batch.rows() {
            let (Some(value), Some(key)) = (value, Key::decode(cf, key)) else { continue };
            match key {
                Key::Op(room, dot) => self.seen(room, dot, room.shard(shard_count), value)?,
                Key::Order(shard, number) => {
                    let row: wire::OrderRow = decode("order", value)?;
                    let dot = row.dot.as_ref().map(Dot::from_wire);
                    let Some(Ok(dot)) = dot else { return broken("rows decode", format!("order {number} has no dot")) };
                    order.entry(shard).or_default().push((number, dot));
                }
                Key::Origin(shard, origin) => {
                    let row: wire::OriginRow = decode("origin", value)?;
                    raised.entry(shard).or_default().raise(Dot { origin, seq: row.seq });
                }
                _ => {}
            }
        }
        for (shard, raised) in raised {
            let order = order.remove(&shard).unwrap_or_default();
            self.applied_gapless_and_after_deps(site, own, shard, &raised, order, view)?;
        }
        Ok(())
    }

    /// "(origin, seq) has one hash everywhere, ever"; "HLC rises strictly per origin".
    fn seen(&mut self, room: RoomId, dot: Dot, shard: ShardId, bytes: &Bytes) -> Verdict {
        let hash = hash16("sim/op", &[bytes]);
        if let Some(known) = self.facts.get(&(shard, dot)) {
            if known.hash != hash {
                return broken("one op a dot, ever", format!("{dot:?} of {shard:?} is two different ops"));
            }
            return Ok(());
        }
        let header: wire::Header = decode("header", bytes)?;
        let request: wire::Request = decode("request", &header.request)?;
        let own = header.origin.as_ref().map(causeway_protocol::Origin::from_wire);
        if own != Some(Ok(dot.origin)) || header.seq != dot.seq || request.room != room.0[..] {
            return broken("rows say what they are", format!("{dot:?} in {room:?} holds {header:?}"));
        }
        let Some(id) = request.id.as_ref().map(RequestId::from_wire) else {
            return broken("rows say what they are", format!("{dot:?} has no request id"));
        };
        let stamp = Stamp(header.stamp);
        let before = self.facts.get(&(shard, Dot { seq: dot.seq - 1, ..dot })).map(|fact| fact.stamp);
        if before.is_some_and(|before| before >= stamp) {
            return broken("HLC rises strictly per origin", format!("{dot:?} has {stamp:?} after {before:?}"));
        }
        let deps_delta = vector_of(&header.deps)?;
        let act = Act::of(dot, bytes)?;
        if let Some(act) = &act {
            self.note_hiding(shard, room, act);
        }
        let fact = OpFact { hash, room, id, user: header.user, stamp, deps_delta, act };
        self.facts.insert((shard, dot), fact);
        self.by_request.entry((room, id)).or_default().push(dot);
        Ok(())
    }

    fn note_hiding(&mut self, shard: ShardId, room: RoomId, new: &Act) {
        let mut hidden = Vec::new();
        for act in self.acts_of(shard, room) {
            hidden.extend(new.hides(act).then_some((shard, act.dot)));
            hidden.extend(act.hides(new).then_some((shard, new.dot)));
        }
        self.hidden.extend(hidden);
    }

    /// Every act of a room that any site ever wrote.
    pub fn acts_of(&self, shard: ShardId, room: RoomId) -> impl Iterator<Item = &Act> {
        let dots = self.of_room(room).flat_map(|(_, dots)| dots);
        dots.filter_map(move |dot| self.facts.get(&(shard, *dot)).and_then(|fact| fact.act.as_ref()))
    }

    /// Whether somebody's revocation hides any acceptance of a request: then not everybody is shown it.
    pub fn may_be_hidden(&self, shard: ShardId, dots: &[Dot]) -> bool {
        dots.iter().any(|dot| self.hidden.contains(&(shard, *dot)))
    }

    /// Whether revocations hide all acceptances of a request that there are within a vector.
    pub fn are_hidden(&self, shard: ShardId, dots: &[Dot], within: &Vector) -> bool {
        dots.iter().filter(|dot| within.covers(dot)).all(|dot| self.hidden.contains(&(shard, *dot)))
    }

    /// "no op is accepted against the accepting site's state", for what touches rights, and for every so-manieth other.
    /// How many those are, and how many of them somebody did who acted as owner.
    pub fn are_permitted(&mut self, shard: ShardId, room: RoomId) -> Result<(u64, u64), Violation> {
        let acts: Vec<Act> = self.acts_of(shard, room).cloned().collect();
        let (mut checked, mut by_acting_owners) = (0, 0);
        for (number, act) in acts.iter().enumerate() {
            if !act.touches_rights() && number % PERMITTED_EVERY != 0 {
                continue;
            }
            let Some(mut deps) = self.deps(shard, act.dot) else { continue };
            if act.dot.seq > 1 {
                deps.raise(Dot { seq: act.dot.seq - 1, ..act.dot });
            }
            let model = Model::of(acts.iter().filter(|other| deps.covers(&other.dot)));
            model.permitted(act, &deps)?;
            checked += 1;
            by_acting_owners += u64::from(model.needs_acting_owner(act));
        }
        Ok((checked, by_acting_owners))
    }

    /// What an op depends on; `None` while an op of its origin before it is not known.
    pub fn deps(&mut self, shard: ShardId, dot: Dot) -> Option<Vector> {
        let known = |ops: &Self, seq: u64| ops.full_deps.get(&(shard, Dot { seq, ..dot })).cloned();
        let mut from = dot.seq;
        while from > 0 && !self.full_deps.contains_key(&(shard, Dot { seq: from, ..dot })) {
            from -= 1;
        }
        let mut deps = known(self, from).unwrap_or_default();
        for seq in from + 1..=dot.seq {
            let at = Dot { seq, ..dot };
            deps.join(&self.facts.get(&(shard, at))?.deps_delta);
            self.full_deps.insert((shard, at), deps.clone());
        }
        Some(deps)
    }

    /// "per site and origin, applied seqs are 1, 2, 3, …"; "deps are applied before the op"; and of one site's
    /// own ops none is a second acceptance of a request that it held: "a resend returns the original".
    fn applied_gapless_and_after_deps(
        &mut self,
        site: SiteId,
        own: Origin,
        shard: ShardId,
        raised: &Vector,
        mut order: Vec<(u64, Dot)>,
        view: &dyn View,
    ) -> Verdict {
        let mut running = self.applied.get(&(site, shard)).cloned().unwrap_or_default();
        // What the site held when it accepted something. A merge has no place in the apply order, so for what it
        // brought the op's own deps say whether it came first.
        let mut held = running.clone();
        order.sort();
        let mut ordered: BTreeMap<Dot, u64> = BTreeMap::new();
        order.iter().for_each(|(number, dot)| _ = ordered.insert(*dot, *number));
        // What a merged snapshot brought has no place in the apply order: it came at once, before what follows.
        for new in raised.iter() {
            for seq in running.get(&new.origin) + 1..=new.seq {
                let dot = Dot { seq, ..new };
                let Some(fact) = self.facts.get(&(shard, dot)) else {
                    return broken("applied seqs are 1, 2, 3", format!("{site:?} covers {dot:?}, which nobody wrote"));
                };
                let key = Key::Op(fact.room, dot).encode();
                if !matches!(view.get(Cf::Op, &key), Ok(Some(_))) {
                    return broken("applied seqs are 1, 2, 3", format!("{site:?} covers {dot:?} without its op"));
                }
                if !ordered.contains_key(&dot) {
                    running.raise(dot);
                }
            }
        }
        for (number, dot) in order {
            let Some(deps) = self.deps(shard, dot) else {
                return broken("applied seqs are 1, 2, 3", format!("{site:?} applied {dot:?} before its predecessor"));
            };
            if running.covers(&dot) {
                continue;
            }
            if !running.covers_all(&deps) {
                let missing = deps.beyond(&running);
                return broken("deps before the op", format!("{site:?} #{number} {dot:?} lacks {missing:?}"));
            }
            if running.get(&dot.origin) + 1 != dot.seq {
                return broken("applied seqs are 1, 2, 3", format!("{site:?} #{number} {dot:?} after {running:?}"));
            }
            if dot.origin == own {
                held.join(&deps);
                self.no_second_acceptance_where_held(site, shard, dot, &held)?;
            }
            running.raise(dot);
            held.raise(dot);
        }
        self.applied.insert((site, shard), running);
        Ok(())
    }

    fn no_second_acceptance_where_held(&self, site: SiteId, shard: ShardId, dot: Dot, before: &Vector) -> Verdict {
        let Some(fact) = self.facts.get(&(shard, dot)) else { return Ok(()) };
        match self.dots_of(&fact.room, &fact.id).iter().find(|other| **other != dot && before.covers(other)) {
            Some(held) => broken(
                "a resend returns the original",
                format!("{site:?} held {:?} as {held:?} and accepted it again as {dot:?}", fact.id),
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "ops_tests.rs"]
mod tests;
