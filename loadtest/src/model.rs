//! What a room looks like, worked out from what a site says was done there: the rules of docs/WIRE.md once more, by
//! other code than the SDK's, so that each checks the other.

use std::collections::{BTreeMap, BTreeSet};

use causeway_protocol::RequestId;

use crate::acts::{ChangeRead, Did};
use crate::verdict::Read;

/// A message as it is to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Of the content that is shown: [`crate::stamp::digest`]; `None` where it is gone.
    pub shown: Option<u64>,
    /// Symbols, and who reacted with them.
    pub reactions: BTreeSet<(Box<str>, Option<u32>)>,
}

/// A room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomModel {
    /// Its messages.
    pub looks: BTreeMap<RequestId, Look>,
    /// Its name, where somebody gave it one later.
    pub name: Option<Box<str>>,
}

/// Lays changes over messages. A reaction and its removal are one client's, whose later request has the higher place.
pub fn fold(messages: &[Read], changes: &[ChangeRead]) -> RoomModel {
    let authors: BTreeMap<RequestId, Option<u32>> = messages.iter().map(|m| (m.id, m.by)).collect();
    let mut edits: BTreeMap<RequestId, (RequestId, Option<u64>)> = BTreeMap::new();
    let mut redacted = BTreeSet::new();
    let mut reactions: BTreeMap<(RequestId, &str, Option<u32>), (RequestId, bool)> = BTreeMap::new();
    let mut name: Option<(RequestId, &str)> = None;
    for ChangeRead { id, by, did } in changes {
        let by_author = |target: &RequestId| authors.get(target).is_some_and(|author| author == by);
        match did {
            Did::Edit { target, digest } if by_author(target) => {
                let last = edits.entry(*target).or_insert((*id, *digest));
                if last.0 < *id {
                    *last = (*id, *digest);
                }
            }
            Did::Redact(target) if by_author(target) => _ = redacted.insert(*target),
            Did::React(target, symbol) | Did::Unreact(target, symbol) => {
                let adds = matches!(did, Did::React(..));
                let last = reactions.entry((*target, symbol, *by)).or_insert((*id, adds));
                if last.0 < *id {
                    *last = (*id, adds);
                }
            }
            Did::Name(given) if name.is_none_or(|(last, _)| last < *id) => name = Some((*id, given)),
            _ => {}
        }
    }
    let mut looks: BTreeMap<RequestId, Look> = BTreeMap::new();
    for message in messages {
        let own = (!message.gone).then_some(message.digest);
        let shown = match redacted.contains(&message.id) {
            true => None,
            false => edits.get(&message.id).map_or(own, |(_, digest)| *digest),
        };
        looks.insert(message.id, Look { shown, reactions: BTreeSet::new() });
    }
    for ((target, symbol, by), (_, shows)) in reactions {
        if let Some(look) = looks.get_mut(&target).filter(|_| shows) {
            look.reactions.insert((symbol.into(), by));
        }
    }
    RoomModel { looks, name: name.map(|(_, name)| name.into()) }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
