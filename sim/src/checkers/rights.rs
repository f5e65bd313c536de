//! Roles, kicks, bans and what they hide, folded from a room's ops by docs/RIGHTS.md alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow::Continue;

use bytes::Bytes;
use causeway_protocol::wire::request::Kind;
use causeway_protocol::{Dot, RequestId, RoomId, SiteId, UserId, Vector, wire};
use causeway_replica::key::{Key, prefix_range};
use causeway_replica::view::{Cf, View};

pub use super::act::{Act, acts_of, target};
use super::act::{decode, ids};
use super::{Verdict, broken};

const SHOWN: &str = "the visible set is what the hide rule makes of the history";
const PERMITTED: &str = "no op is accepted against the accepting site's state";
/// How far a site's clock at acceptance may be from its op's stamp, ms, when a ban's end is judged.
const CLOCK_SLACK_MS: u64 = 2_000;

/// Joins of one user that may hold when another is taken.
const JOINS_MAX: usize = 32;

pub(super) const READER: u32 = 1;
const MEMBER: u32 = 2;
const MODERATOR: u32 = 3;
const ADMIN: u32 = 4;
const OWNER: u32 = 5;

/// A room, folded from acts in any order.
pub struct Model<'a> {
    acts: Vec<&'a Act>,
    hidden: BTreeSet<Dot>,
    shown: BTreeSet<RequestId>,
}

impl<'a> Model<'a> {
    /// Of these acts.
    pub fn of(acts: impl IntoIterator<Item = &'a Act>) -> Self {
        let acts: Vec<&Act> = acts.into_iter().collect();
        let revoking: Vec<&Act> = acts.iter().copied().filter(|act| act.past.is_some()).collect();
        let is_hidden = |act: &&&Act| revoking.iter().any(|by| by.hides(act));
        let hidden: BTreeSet<Dot> = acts.iter().filter(is_hidden).map(|act| act.dot).collect();
        let shown = acts.iter().filter(|act| !hidden.contains(&act.dot)).map(|act| act.id).collect();
        Self { acts, hidden, shown }
    }

    /// Whether a request shows.
    pub fn shows(&self, id: &RequestId) -> bool {
        self.shown.contains(id)
    }

    /// Whether a revocation hides an acceptance.
    pub fn is_hidden(&self, dot: &Dot) -> bool {
        self.hidden.contains(dot)
    }

    /// What there was to check, for the coverage.
    pub fn found(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let hidden = |what: fn(&Kind) -> bool| {
            self.acts.iter().filter(|act| self.is_hidden(&act.dot) && what(&act.kind)).count() as u64
        };
        let revoking: Vec<RequestId> = self.acts.iter().filter(|act| act.past.is_some()).map(|act| act.id).collect();
        let requests: BTreeSet<&RequestId> = revoking.iter().collect();
        [
            ("op hidden", self.hidden.len() as u64),
            ("hidden join", hidden(|kind| matches!(kind, Kind::Join(_)))),
            ("hidden given role", hidden(|kind| matches!(kind, Kind::SetRole(_)))),
            ("hidden lifting", hidden(|kind| matches!(kind, Kind::LiftBan(_)))),
            ("hidden reaction", hidden(|kind| matches!(kind, Kind::React(_)))),
            ("hidden message", hidden(|kind| matches!(kind, Kind::Message(_)))),
            ("direct room made twice", u64::from(self.makers() > 1)),
            ("second acceptance of a revocation", (revoking.len() - requests.len()) as u64),
        ]
        .into_iter()
    }

    /// Whether an act took the rights of an owner that its user was not.
    pub fn needs_acting_owner(&self, act: &Act) -> bool {
        let (own, used) = (self.role(&act.user), self.may(&act.user, &act.kind, act.stamp.ms()));
        // Who steps down does it in the name of whoever gave the role.
        let steps_down = matches!(&act.kind, Kind::SetRole(set) if set.user == act.user && set.role < own);
        !steps_down && own < OWNER && used == Ok(OWNER) && self.acting_owner() == Some(act.user.as_str())
    }

    /// What adds, less what acts that match say that they saw.
    fn alive(&self, adds: impl Fn(&Act) -> bool, removes: impl Fn(&Act) -> bool) -> BTreeSet<RequestId> {
        let mut tags: BTreeSet<RequestId> = self.acts.iter().filter(|act| adds(act)).map(|act| act.id).collect();
        self.acts.iter().filter(|act| removes(act)).flat_map(|act| &act.saw).for_each(|id| _ = tags.remove(id));
        tags
    }

    /// The joins of a user that nobody removed, hidden ones too.
    fn joins(&self, user: &str) -> BTreeSet<RequestId> {
        self.alive(
            |act| match &act.kind {
                Kind::Create(create) => act.user == user || create.direct == user,
                Kind::Join(_) => act.user == user,
                _ => false,
            },
            |act| {
                (act.user == user && matches!(act.kind, Kind::Leave(_) | Kind::Erase(_)))
                    || (act.target() == user && matches!(act.kind, Kind::Kick(_) | Kind::Ban(_)))
            },
        )
    }

    fn invitations(&self, user: &str) -> BTreeSet<RequestId> {
        self.alive(
            |act| act.target() == user && matches!(act.kind, Kind::Invite(_)),
            |act| {
                (act.user == user && matches!(act.kind, Kind::Join(_) | Kind::Leave(_) | Kind::Erase(_)))
                    || (act.target() == user && matches!(act.kind, Kind::Kick(_) | Kind::Ban(_)))
            },
        )
    }

    /// Who asks to be let in, and was not answered.
    fn knocks(&self, user: &str) -> BTreeSet<RequestId> {
        self.alive(
            |act| act.user == user && matches!(act.kind, Kind::Knock(_)),
            |act| {
                (act.user == user && matches!(act.kind, Kind::Join(_) | Kind::Leave(_) | Kind::Erase(_)))
                    || (act.target() == user
                        && matches!(act.kind, Kind::Kick(_) | Kind::Ban(_) | Kind::Invite(_) | Kind::Decline(_)))
            },
        )
    }

    /// The users who ask to be let in, by name.
    pub fn knocking(&self) -> Vec<&str> {
        let users: BTreeSet<&str> = self.acts.iter().map(|act| act.user.as_str()).collect();
        let asks = |user: &&str| self.knocks(user).iter().any(|id| self.shows(id));
        users.into_iter().filter(asks).collect()
    }

    fn reactions(&self, target: RequestId, symbol: &str, user: &str) -> BTreeSet<RequestId> {
        let is = |id: &Option<wire::RequestId>, s: &str| {
            s == symbol && id.as_ref().map(RequestId::from_wire) == Some(target)
        };
        self.alive(
            |act| act.user == user && matches!(&act.kind, Kind::React(react) if is(&react.target, &react.symbol)),
            |act| act.user == user && matches!(&act.kind, Kind::Unreact(un) if is(&un.target, &un.symbol)),
        )
    }

    fn is_channel(&self) -> bool {
        self.acts.iter().any(|act| matches!(&act.kind, Kind::Create(create) if create.channel))
    }

    /// Who has made it.
    fn makers(&self) -> usize {
        let makers = self.acts.iter().filter(|act| matches!(act.kind, Kind::Create(_)));
        makers.map(|act| &act.user).collect::<BTreeSet<_>>().len()
    }

    fn is_direct(&self) -> bool {
        self.acts.iter().any(|act| matches!(&act.kind, Kind::Create(create) if !create.direct.is_empty()))
    }

    fn is_open(&self) -> bool {
        let created = || self.acts.iter().any(|act| matches!(&act.kind, Kind::Create(create) if create.open));
        self.last_set(|set| set.open).unwrap_or_else(created)
    }

    fn takes_knocks(&self) -> bool {
        self.last_set(|set| set.knock) == Some(true)
    }

    fn writers(&self) -> u32 {
        self.last_set(|set| set.writers).unwrap_or(MEMBER)
    }

    /// Of the changes of a field of the profile, the one with the highest id.
    fn last_set<T>(&self, field: impl Fn(&wire::SetProfile) -> Option<T>) -> Option<T> {
        let set = self.acts.iter().filter_map(|act| match &act.kind {
            Kind::SetProfile(set) => Some((act.id, field(set)?)),
            _ => None,
        });
        set.max_by_key(|(id, _)| *id).map(|(_, value)| value)
    }

    /// The pins that nobody removed, of this message.
    fn pins(&self, target: RequestId) -> BTreeSet<RequestId> {
        let is = |id: &Option<wire::RequestId>| id.as_ref().map(RequestId::from_wire) == Some(target);
        self.alive(
            |act| matches!(&act.kind, Kind::Pin(pin) if is(&pin.target)),
            |act| matches!(&act.kind, Kind::Unpin(unpin) if is(&unpin.target)),
        )
    }

    /// The pinned messages.
    pub fn pinned(&self) -> Vec<RequestId> {
        let targets = self.acts.iter().filter_map(|act| match &act.kind {
            Kind::Pin(pin) => pin.target.as_ref().map(RequestId::from_wire),
            _ => None,
        });
        let targets: BTreeSet<RequestId> = targets.collect();
        targets.into_iter().filter(|target| self.pins(*target).iter().any(|id| self.shows(id))).collect()
    }

    /// The topic.
    pub fn topic(&self) -> String {
        self.last_set(|set| set.topic.clone()).unwrap_or_default()
    }

    /// The given role that holds, and its giver's.
    fn given(&self, user: &str) -> Option<(u32, u32)> {
        let joins: BTreeSet<RequestId> = self.joins(user).into_iter().filter(|id| self.shows(id)).collect();
        let grant = |act: &&&Act| match &act.kind {
            Kind::Create(create) if create.direct.is_empty() && act.user == user && joins.contains(&act.id) => {
                Some((OWNER, act.id, OWNER))
            }
            Kind::SetRole(set) if set.user == user && !self.hidden.contains(&act.dot) => {
                (!joins.is_disjoint(&act.saw)).then_some((act.rank, act.id, set.role))
            }
            _ => None,
        };
        let best = self.acts.iter().filter_map(|act| grant(&act)).max();
        best.map(|(rank, _, role)| (role, rank))
    }

    /// A user's role; 0 where the user is not a member.
    pub fn role(&self, user: &str) -> u32 {
        if !self.joins(user).iter().any(|id| self.shows(id)) {
            return 0;
        }
        let joined = if self.is_channel() { READER } else { MEMBER };
        self.given(user).map_or(joined, |(role, _)| role)
    }

    /// Who acts as owner where nobody is one.
    fn acting_owner(&self) -> Option<&str> {
        if self.is_direct() {
            return None;
        }
        let users: BTreeSet<&str> = self.acts.iter().map(|act| act.user.as_str()).collect();
        let members: Vec<(u32, &str)> =
            users.into_iter().map(|user| (self.role(user), user)).filter(|(role, _)| *role > 0).collect();
        let highest = members.iter().map(|(role, _)| *role).max()?;
        match highest {
            OWNER => None,
            MODERATOR.. => members.iter().find(|(role, _)| *role == highest).map(|(_, user)| *user),
            _ => members.first().map(|(_, user)| *user),
        }
    }

    /// Unlifted bans of a user: their ids and ends.
    fn bans(&self, user: &str) -> Vec<(RequestId, u64)> {
        let lifted: BTreeSet<RequestId> = self
            .acts
            .iter()
            .filter(|act| matches!(&act.kind, Kind::LiftBan(lift) if lift.user == user) && !self.is_hidden(&act.dot))
            .flat_map(|act| act.saw.iter().copied())
            .collect();
        let ban = |act: &&Act| match &act.kind {
            Kind::Ban(ban) if ban.user == user && !lifted.contains(&act.id) => Some((act.id, ban.until_ms)),
            _ => None,
        };
        self.acts.iter().filter_map(ban).collect()
    }

    /// Who has bans that nobody has lifted.
    pub fn banned(&self) -> Vec<&str> {
        let banned = self.acts.iter().filter(|act| matches!(act.kind, Kind::Ban(_))).map(|act| act.target());
        let banned: BTreeSet<&str> = banned.filter(|user| !self.bans(user).is_empty()).collect();
        banned.into_iter().collect()
    }

    /// Whether a room knows of a user; there is nobody else in the user's own.
    fn was_here(&self, user: &str) -> bool {
        let is_own = self.acts.iter().all(|act| act.user == user && matches!(act.kind, Kind::Erase(_)));
        let has_been = |act: &&Act| match &act.kind {
            Kind::Create(create) => act.user == user || create.direct == user,
            Kind::Join(_) => act.user == user,
            _ => act.past.is_some() && act.target() == user,
        };
        is_own || self.acts.iter().any(has_been) || !self.invitations(user).is_empty() || !self.knocks(user).is_empty()
    }

    fn revocations(&self, user: &str) -> BTreeSet<RequestId> {
        self.acts.iter().filter(|act| act.past.is_some() && act.target() == user).map(|act| act.id).collect()
    }

    fn is_banned(&self, user: &str, at_ms: u64) -> bool {
        self.bans(user).iter().any(|(_, until)| *until == 0 || *until > at_ms)
    }

    /// Whether a user may make a request here, at a time; the giver's role where it gives one.
    pub fn may(&self, user: &str, kind: &Kind, at_ms: u64) -> Result<u32, String> {
        let mut role = self.role(user);
        let other = target(kind).unwrap_or_default();
        let (theirs, given_by) = (self.role(other), self.given(other).map_or(0, |(_, rank)| rank));
        if let Kind::SetRole(set) = kind
            && !self.is_direct()
            && other == user
            && set.role < role
        {
            return Ok(role.max(given_by));
        }
        let allowed = |role: u32| match kind {
            Kind::Create(create) if !create.direct.is_empty() => {
                [user, &create.direct].iter().all(|user| self.joins(user).len() < JOINS_MAX)
            }
            Kind::Create(_) | Kind::Leave(_) => true,
            Kind::Erase(_) => self.was_here(user),
            Kind::SetProfile(set) if self.is_direct() => {
                let rest = wire::SetProfile { retention_ms: None, ..set.clone() };
                set.retention_ms.is_some() && rest == wire::SetProfile::default() && role > 0
            }
            Kind::SetName(_)
            | Kind::Invite(_)
            | Kind::Kick(_)
            | Kind::Ban(_)
            | Kind::LiftBan(_)
            | Kind::SetRole(_)
            | Kind::Knock(_)
            | Kind::Decline(_)
                if self.is_direct() =>
            {
                false
            }
            Kind::Join(_) => {
                let invited = self.invitations(user).iter().any(|id| self.shows(id));
                let few = self.joins(user).len() < JOINS_MAX;
                few && !self.is_banned(user, at_ms) && (self.is_open() || invited || role > 0)
            }
            Kind::Knock(_) => {
                let asks = self.knocks(user).iter().any(|id| self.shows(id));
                role == 0 && self.takes_knocks() && !asks && !self.is_banned(user, at_ms)
            }
            Kind::Decline(_) => role >= MODERATOR && !self.knocks(other).is_empty(),
            Kind::Redact(redact) if !redact.author.is_empty() => {
                role >= MODERATOR && theirs < role && !self.is_direct()
            }
            Kind::Redact(_) | Kind::Unreact(_) => role >= READER,
            Kind::Message(_) => role >= self.writers().max(MEMBER),
            Kind::Edit(_) | Kind::React(_) => role >= MEMBER,
            Kind::Pin(_) | Kind::Unpin(_) => role >= if self.is_direct() { MEMBER } else { MODERATOR },
            Kind::SetProfile(set)
                if set.open.is_some() || set.writers.is_some() || set.retention_ms.is_some() || set.knock.is_some() =>
            {
                role >= ADMIN
            }
            Kind::SetProfile(_) => role >= if self.is_channel() { MODERATOR } else { MEMBER },
            Kind::SetName(_) | Kind::Invite(_) => {
                let least = if self.is_channel() { MODERATOR } else { MEMBER };
                role >= least && !(matches!(kind, Kind::Invite(_)) && self.is_banned(other, at_ms))
            }
            Kind::Kick(_) => role >= MODERATOR && theirs > 0 && theirs < role,
            Kind::Ban(_) => role >= MODERATOR && theirs < role,
            Kind::LiftBan(_) => role >= MODERATOR && !self.bans(other).is_empty(),
            Kind::SetRole(set) => {
                let below = theirs < role && set.role < role && given_by <= role;
                theirs > 0 && (role == OWNER || (role >= ADMIN && below))
            }
        };
        if role > 0 && !allowed(role) && allowed(OWNER) && self.acting_owner() == Some(user) {
            role = OWNER;
        }
        match allowed(role) {
            true => Ok(role),
            false => Err(format!("{user} has role {role}, {other:?} has {theirs} by {given_by}")),
        }
    }

    /// Whether a user has as many revocations or given roles as a room takes.
    pub fn is_full(&self, user: &str) -> bool {
        let given = self.acts.iter().filter(|act| matches!(&act.kind, Kind::SetRole(set) if set.user == user)).count();
        let revoked = self.acts.iter().filter(|act| act.past.is_some() && act.target() == user).count();
        given + 2 > causeway_protocol::limits::GRANTS_PER_USER_MAX
            || revoked + 2 > causeway_protocol::limits::REVOCATIONS_PER_USER_MAX
    }

    /// "no op is accepted against the accepting site's state". `self`: what the site had applied then, in full `deps`.
    pub fn permitted(&self, act: &Act, deps: &Vector) -> Verdict {
        let at_ms = act.stamp.ms();
        // The stamp is the site's clock or later. A ban that ends about then may be judged either way.
        let unsure =
            |user: &str| self.bans(user).iter().any(|(_, until)| *until > 0 && until.abs_diff(at_ms) < CLOCK_SLACK_MS);
        let fuzzy = unsure(&act.user) || unsure(act.target());
        let role = match self.may(&act.user, &act.kind, at_ms) {
            Ok(role) => role,
            Err(_) if fuzzy => return Ok(()),
            Err(why) => return broken(PERMITTED, format!("{act:?}: {why}")),
        };
        let aware = self.revocations(&act.user);
        if act.aware != aware {
            return broken(PERMITTED, format!("{act:?} should be aware of {aware:?}"));
        }
        if matches!(act.kind, Kind::SetRole(_)) && act.rank != role {
            return broken(PERMITTED, format!("{act:?} should have rank {role}"));
        }
        let deadline_ms = self.deadline_ms(act);
        if act.deadline_ms != deadline_ms {
            return broken(PERMITTED, format!("{act:?} should have the deadline {deadline_ms}"));
        }
        let saw = self.to_see(act);
        if act.saw != saw {
            return broken(PERMITTED, format!("{act:?} should have seen {saw:?}"));
        }
        if let Some(why) = self.is_wrong_target(act) {
            return broken(PERMITTED, format!("{act:?}: {why}"));
        }
        let revokes = match &act.kind {
            Kind::Kick(_) | Kind::Ban(_) | Kind::Erase(_) => true,
            Kind::SetRole(set) => set.role < self.role(&set.user),
            _ => false,
        };
        match &act.past {
            Some(past) if revokes && past == deps => Ok(()),
            None if !revokes => Ok(()),
            past => broken(PERMITTED, format!("{act:?} has past {past:?} of {deps:?}, and revokes: {revokes}")),
        }
    }

    /// When the body of an act goes that is accepted now; 0: never.
    fn deadline_ms(&self, act: &Act) -> u64 {
        let kept = self.last_set(|set| set.retention_ms).unwrap_or(0);
        let least = |all: &[u64]| all.iter().copied().filter(|ms| *ms > 0).min();
        let by_room = || least(&[kept]).map_or(0, |ms| act.stamp.ms() + ms);
        match &act.kind {
            Kind::Message(message) => least(&[kept, message.lifetime_ms]).map_or(0, |ms| act.stamp.ms() + ms),
            Kind::Edit(edit) => {
                let target = edit.target.as_ref().map(RequestId::from_wire);
                let of_target = self.acts.iter().filter(|other| Some(other.id) == target);
                let deadlines: Vec<u64> = of_target.map(|other| other.deadline_ms).collect();
                if deadlines.is_empty() { by_room() } else { least(&deadlines).unwrap_or(0) }
            }
            _ => 0,
        }
    }

    /// What an act removes, or what the role is given to, or the bans that it lifts: hidden ones too.
    fn to_see(&self, act: &Act) -> BTreeSet<RequestId> {
        let react = |target: &Option<wire::RequestId>| target.as_ref().map_or(RequestId::MIN, RequestId::from_wire);
        match &act.kind {
            Kind::Join(_) => &self.invitations(&act.user) | &self.knocks(&act.user),
            Kind::Leave(_) | Kind::Erase(_) => {
                &(&self.joins(&act.user) | &self.invitations(&act.user)) | &self.knocks(&act.user)
            }
            Kind::Kick(_) | Kind::Ban(_) => {
                &(&self.joins(act.target()) | &self.invitations(act.target())) | &self.knocks(act.target())
            }
            Kind::Invite(_) | Kind::Decline(_) => self.knocks(act.target()),
            Kind::SetRole(set) => self.joins(&set.user),
            Kind::LiftBan(lift) => self.bans(&lift.user).into_iter().map(|(id, _)| id).collect(),
            Kind::Unreact(un) => self.reactions(react(&un.target), &un.symbol, &act.user),
            Kind::Unpin(unpin) => self.pins(react(&unpin.target)),
            _ => BTreeSet::new(),
        }
    }

    /// What is changed must be a message, and the user's own to be edited or redacted, where it is known.
    fn is_wrong_target(&self, act: &Act) -> Option<String> {
        let own = act.user.as_str();
        let (target, must_be_of) = match &act.kind {
            Kind::Edit(edit) => (&edit.target, Some(own)),
            Kind::Redact(redact) if redact.author.is_empty() => (&redact.target, Some(own)),
            Kind::Redact(redact) => (&redact.target, Some(redact.author.as_str())),
            Kind::React(react) => (&react.target, None),
            Kind::Pin(pin) => (&pin.target, None),
            Kind::Unpin(unpin) => (&unpin.target, None),
            _ => return None,
        };
        let target = target.as_ref().map(RequestId::from_wire);
        let of = self.acts.iter().find(|other| Some(other.id) == target)?;
        let right = matches!(of.kind, Kind::Message(_)) && must_be_of.is_none_or(|user| of.user == user);
        (!right).then(|| format!("its target is {of:?}"))
    }

    /// When all is healed: rows hide what the rule hides, and nothing else.
    pub fn settled(&self, site: SiteId, view: &dyn View, room: &RoomId) -> Verdict {
        let (start, end) = prefix_range(&room.0);
        for cf in [Cf::Request, Cf::Element] {
            let mut rows = BTreeMap::new();
            let _ = view.scan(cf, &start, &end, &mut |key, value| {
                rows.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                Continue(())
            });
            for (key, value) in rows {
                match Key::decode(cf, &key) {
                    Some(Key::Request(_, id)) => self.hides_right(site, id, &decode(value)?)?,
                    Some(key) => self.lists_right(site, &key, value)?,
                    None => return broken("rows decode", format!("{key:?}")),
                }
            }
        }
        self.lacks_none(site, view, room)
    }

    /// What the ops make has its row; what is there without them is found by the rows.
    fn lacks_none(&self, site: SiteId, view: &dyn View, room: &RoomId) -> Verdict {
        let users = self.acts.iter().flat_map(|act| [act.user.as_str(), act.target()]);
        let mut keys: BTreeMap<Bytes, Key> = BTreeMap::new();
        let mut add = |key: Key| _ = keys.insert(key.encode(), key);
        for user in users.filter_map(|user| UserId::new(user).ok()).collect::<BTreeSet<_>>() {
            let about = |act: &Act| matches!(act.kind, Kind::SetRole(_)) || act.past.is_some();
            let has_rights = self.acts.iter().any(|act| act.target() == user.as_str() && about(act));
            if has_rights || !self.joins(user.as_str()).is_empty() {
                add(Key::Member(*room, user.clone()));
            }
            if !self.invitations(user.as_str()).is_empty() {
                add(Key::Invited(*room, user.clone()));
            }
            if !self.knocks(user.as_str()).is_empty() {
                add(Key::Knock(*room, user));
            }
        }
        self.acts.iter().for_each(|act| add(Key::Request(*room, act.id)));
        for (bytes, key) in keys {
            if !matches!(view.get(key.family(), &bytes), Ok(Some(_))) {
                return broken(SHOWN, format!("{site:?} lacks {key:?}"));
            }
        }
        Ok(())
    }

    fn hides_right(&self, site: SiteId, id: RequestId, row: &wire::RequestRow) -> Verdict {
        let dots =
            |list: &[wire::Dot]| -> BTreeSet<Dot> { list.iter().filter_map(|d| Dot::from_wire(d).ok()).collect() };
        let hidden: BTreeSet<Dot> = dots(&row.dots).into_iter().filter(|dot| self.is_hidden(dot)).collect();
        if dots(&row.hidden_dots) == hidden && row.hidden != self.shows(&id) {
            return Ok(());
        }
        let detail =
            format!("{site:?} {id:?}: hidden {}, {:?}; the rule hides {hidden:?}", row.hidden, row.hidden_dots);
        broken(SHOWN, detail)
    }

    fn lists_right(&self, site: SiteId, key: &Key, value: Bytes) -> Verdict {
        let alive = match key {
            Key::Member(_, user) => self.joins(user.as_str()),
            Key::Invited(_, user) => self.invitations(user.as_str()),
            Key::Knock(_, user) => self.knocks(user.as_str()),
            Key::Reaction(_, target, symbol, user) => self.reactions(*target, symbol, user.as_str()),
            _ => return Ok(()),
        };
        let row: wire::ElementRow = decode(value)?;
        if let Key::Member(_, user) = key {
            self.holds_rights(site, user.as_str(), &row)?;
        }
        let (shown, hidden): (BTreeSet<_>, BTreeSet<_>) = alive.into_iter().partition(|id| self.shows(id));
        if ids(&row.tags) == shown && ids(&row.hidden) == hidden {
            return Ok(());
        }
        broken(SHOWN, format!("{site:?} {key:?}: {row:?}; the rule shows {shown:?} and hides {hidden:?}"))
    }

    fn is_erasure(&self, dot: &Option<Dot>) -> bool {
        self.acts.iter().any(|act| Some(act.dot) == *dot && matches!(act.kind, Kind::Erase(_)))
    }

    /// A member's row has what was given to and taken from the user, acceptance by acceptance.
    fn holds_rights(&self, site: SiteId, user: &str, row: &wire::ElementRow) -> Verdict {
        let dot = |dot: &Option<wire::Dot>| dot.as_ref().and_then(|dot| Dot::from_wire(dot).ok());
        let given = |act: &&&Act| match &act.kind {
            Kind::SetRole(set) if set.user == user => {
                Some((Some(act.dot), set.role, act.rank, self.is_hidden(&act.dot)))
            }
            Kind::Create(create) if create.direct.is_empty() && act.user == user => {
                Some((Some(act.dot), OWNER, OWNER, self.is_hidden(&act.dot)))
            }
            _ => None,
        };
        let given: BTreeSet<_> = self.acts.iter().filter_map(|act| given(&act)).collect();
        let grants: BTreeSet<_> =
            row.grants.iter().map(|grant| (dot(&grant.dot), grant.role, grant.rank, grant.hidden)).collect();
        if grants != given || row.grants.len() != given.len() {
            return broken(SHOWN, format!("{site:?} {user}: the row has {:?}, ops gave {given:?}", row.grants));
        }
        let lifts = |of: &Act| -> BTreeSet<_> {
            let lifting = self.acts.iter().filter(|act| matches!(&act.kind, Kind::LiftBan(lift) if lift.user == user));
            let lifting = lifting.filter(|act| act.saw.contains(&of.id));
            lifting.map(|act| (Some(act.dot), self.is_hidden(&act.dot))).collect()
        };
        let taking = self.acts.iter().filter(|act| act.past.is_some() && act.target() == user);
        let taken: BTreeMap<_, _> = taking.map(|act| (Some(act.dot), (act.past.clone(), lifts(act)))).collect();
        if let Some(by) = row.revocations.iter().find(|by| by.erases != self.is_erasure(&dot(&by.dot))) {
            return broken(SHOWN, format!("{site:?} {user}: erases or does not: {by:?}"));
        }
        let by = |by: &wire::Revocation| {
            let past = by.past.as_ref().and_then(|past| Vector::from_wire(past).ok());
            let lifts: BTreeSet<_> = by.lifts.iter().map(|lift| (dot(&lift.dot), lift.hidden)).collect();
            (dot(&by.dot), (past, lifts))
        };
        let revocations: BTreeMap<_, _> = row.revocations.iter().map(by).collect();
        if revocations != taken || row.revocations.len() != taken.len() {
            return broken(SHOWN, format!("{site:?} {user}: the row has {:?}, ops took {taken:?}", row.revocations));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
