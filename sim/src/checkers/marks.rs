//! Rooms marked unread: of all that a user's devices said, the last one holds, at every site.

use std::collections::{BTreeMap, BTreeSet};

use causeway_protocol::{Marker, Message, RoomId, SiteId, UnreadFlag, UserId, wire};
use causeway_replica::key::Key;
use causeway_replica::view::{Cf, MemView, View};

use super::{Verdict, broken};

/// What sessions passed on to their shards.
#[derive(Default)]
pub struct Marks {
    said: BTreeMap<(UserId, RoomId), BTreeSet<UnreadFlag>>,
}

impl Marks {
    /// A session passes a marker on.
    pub fn said(&mut self, user: &UserId, room: RoomId, marker: &Marker) {
        if marker.flag.is_set() {
            self.said.entry((user.clone(), room)).or_default().insert(marker.flag);
        }
    }

    /// "No site has a flag that nobody said."
    pub fn are_not_invented(&self, site: SiteId, view: &MemView) -> Verdict {
        for (key, value) in view.family(Cf::Read) {
            let Some(Key::Read(room, user)) = Key::decode(Cf::Read, key) else { continue };
            let flag = wire::ReadRow::decode(value.clone()).unwrap_or_default().flag;
            let flag = UnreadFlag::from_wire_opt(flag.as_ref()).unwrap_or_default();
            let is_said = self.said.get(&(user.clone(), room)).is_some_and(|said| said.contains(&flag));
            if flag.is_set() && !is_said {
                return broken("flags are somebody's", format!("{site:?}: {flag:?} of {user:?} in {room:?}"));
            }
        }
        Ok(())
    }

    /// What does not hold yet at a site whose rows were never lost, and which never lost a frame: of all that was said, the
    /// last. `None` where all does.
    pub fn unsettled(&self, site: SiteId, view: &MemView) -> Option<String> {
        self.said.iter().find_map(|((user, room), said)| {
            let (last, holds) = (*said.last()?, flag_of(view, user, room));
            (holds != last)
                .then(|| format!("{site:?} has {holds:?} of {user:?} in {room:?}, and {last:?} was said last"))
        })
    }

    /// How many flags were said.
    pub fn count(&self) -> u64 {
        self.said.values().map(|said| said.len() as u64).sum()
    }
}

/// The flag of a user's room, by a site's rows.
pub fn flag_of(view: &MemView, user: &UserId, room: &RoomId) -> UnreadFlag {
    let row = view.get(Cf::Read, &Key::Read(*room, user.clone()).encode()).ok().flatten();
    let row = row.and_then(|row| wire::ReadRow::decode(row).ok()).unwrap_or_default();
    UnreadFlag::from_wire_opt(row.flag.as_ref()).unwrap_or_default()
}
