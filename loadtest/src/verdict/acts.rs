//! The part of the judgement that is about everything but messages: edits, redactions, reactions, memberships, names,
//! read markers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use causeway_protocol::RequestId;
use serde::{Deserialize, Serialize};

use super::expected::Expected;
use super::{Read, SiteRead, Verdict};
use crate::acts::{Act, ChangeRead, Did, What};
use crate::ledger::{Ledger, Seen};
use crate::model::{RoomModel, fold};

/// Figures of what was done besides sending messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ActsVerdict {
    /// Acknowledged edits.
    pub edits: u64,
    /// Acknowledged redactions.
    pub redactions: u64,
    /// Acknowledged reactions.
    pub reactions: u64,
    /// Acknowledged reactions taken back.
    pub unreactions: u64,
    /// Acknowledged joins, those of the setup left out.
    pub joins: u64,
    /// Acknowledged leaves.
    pub leaves: u64,
    /// Acknowledged names.
    pub names: u64,
    /// Those refused for good.
    pub refused: u64,
    /// First showings to members.
    pub delivered: u64,
    /// Messages whose look was compared, at all sites together.
    pub looks_compared: u64,
    /// Messages left out, because nobody knows what became of a request about them.
    pub looks_uncertain: u64,
    /// Memberships that were asked for, at all sites together.
    pub memberships_compared: u64,
    /// Names that were compared, at all sites together.
    pub names_compared: u64,
    /// Counts of unread messages that were compared, at all sites together.
    pub unread_compared: u64,
    /// Messages that a site, or the SDK's timeline of its history, does not show as last edited. Must be 0.
    pub edits_not_shown: u64,
    /// Bodies that can be read though their message is redacted. Must be 0.
    pub redacted_readable: u64,
    /// Messages with other reactions than were made and left. Must be 0.
    pub reactions_wrong: u64,
    /// Clients whom a site takes for members, or not, against their last word. Must be 0.
    pub memberships_wrong: u64,
    /// Rooms with another name than the last one given. Must be 0.
    pub names_wrong: u64,
    /// Counts of unread messages that are not what they have to be. Must be 0.
    pub unread_wrong: u64,
}

impl ActsVerdict {
    /// What must be 0, with its name.
    pub fn zeros(&self) -> [(&'static str, u64); 6] {
        [
            ("edits not shown", self.edits_not_shown),
            ("redacted bodies readable", self.redacted_readable),
            ("reactions wrong", self.reactions_wrong),
            ("memberships wrong", self.memberships_wrong),
            ("names wrong", self.names_wrong),
            ("unread wrong", self.unread_wrong),
        ]
    }
}

/// A count of unread messages that a site gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadRead {
    /// Whose.
    pub client: u32,
    /// In which room.
    pub room: u32,
    /// The messages that came after the client had marked the room as read, counted one by one.
    pub expected: u64,
    /// What the site says; `None` if it does not.
    pub got: Option<u64>,
}

/// Judges acts and their effects.
pub(super) fn judge_acts(
    ledger: &Ledger,
    expected: &Expected,
    clients: &[Seen],
    sites: &[SiteRead],
    replicates: bool,
    v: &mut Verdict,
) {
    judge_answers(ledger, replicates, v);
    let by_id: HashMap<RequestId, usize> = ledger.acts.iter().enumerate().map(|(i, act)| (act.id, i)).collect();
    for site in sites {
        judge_changes(ledger, &by_id, site, v);
        let model = |(room, reads): (&u32, &Vec<Read>)| (*room, fold(reads, changes_of(site, *room)));
        let models: BTreeMap<u32, RoomModel> = site.rooms.iter().map(model).collect();
        judge_looks(ledger, expected, site, &models, v);
        judge_bodies(expected, site, v);
        judge_memberships(expected, site, v);
        judge_names(expected, site, &models, v);
        judge_unread(site, v);
    }
    judge_showings(ledger, &by_id, clients, v);
}

fn judge_answers(ledger: &Ledger, replicates: bool, v: &mut Verdict) {
    for act in &ledger.acts {
        v.acts.refused += u64::from(act.refused.is_some());
        if act.is_open() {
            v.unanswered += 1;
            v.example(|| {
                let leaves =
                    |a: &Act| a.what == What::Leave && (a.client, a.room) == (act.client, act.room) && a.id > act.id;
                let then = if ledger.acts.iter().any(leaves) { "; it left the room later" } else { "" };
                format!("client {}, room {}: {:?} was never answered{then}", act.client, act.room, act.what)
            });
        } else if replicates && act.is_acked() && !act.replicated && act.refused.is_none() {
            v.unreplicated += 1;
            v.example(|| format!("client {}: {:?} was never replicated", act.client, act.what));
        }
        if act.is_acked() {
            let acts = &mut v.acts;
            *match act.what {
                What::Edit { .. } => &mut acts.edits,
                What::Redact { .. } => &mut acts.redactions,
                What::React { .. } => &mut acts.reactions,
                What::Unreact { .. } => &mut acts.unreactions,
                What::Join => &mut acts.joins,
                What::Leave => &mut acts.leaves,
                What::Name(_) => &mut acts.names,
            } += 1;
        }
    }
}

/// A site's changes against the requests.
fn judge_changes(ledger: &Ledger, by_id: &HashMap<RequestId, usize>, site: &SiteRead, v: &mut Verdict) {
    let name = &site.site;
    let mut found = vec![false; ledger.acts.len()];
    for (room, changes) in &site.changes {
        let ids: BTreeSet<RequestId> = changes.iter().map(|change| change.id).collect();
        let places = site.places.get(room).map_or(&[][..], |places| places);
        for pair in places.windows(2) {
            // Pairs of messages are judged with the messages.
            if let [a, b] = pair
                && a >= b
                && (ids.contains(a) || ids.contains(b))
            {
                *(if a == b { &mut v.shown_twice } else { &mut v.out_of_place }) += 1;
                v.example(|| format!("{name}, room {room}: {a:?} stands before {b:?}"));
            }
        }
        for change in changes {
            match by_id.get(&change.id) {
                Some(i) if ledger.acts[*i].room == *room && change.is(&ledger.acts[*i]) => found[*i] = true,
                // The rooms are made, and their first members join, before the run.
                None if matches!(change.did, Did::Join | Did::Other) => {}
                _ => {
                    v.foreign += 1;
                    v.example(|| format!("{name}, room {room}: nobody asked for {change:?}"));
                }
            }
        }
    }
    for (act, _) in ledger.acts.iter().zip(&found).filter(|(act, found)| act.is_acked() && !**found) {
        v.lost_at_sites += 1;
        v.example(|| format!("{name}, room {}: {:?} of client {} is missing", act.room, act.what, act.client));
    }
}

/// Every message's look: by the model and by the SDK's timeline.
fn judge_looks(
    ledger: &Ledger,
    expected: &Expected,
    site: &SiteRead,
    models: &BTreeMap<u32, RoomModel>,
    v: &mut Verdict,
) {
    let nothing = BTreeMap::new();
    for (no, want) in &expected.looks {
        let Some(sent) = ledger.get(*no) else { continue };
        if expected.uncertain.contains(no) {
            v.acts.looks_uncertain += 1;
            continue;
        }
        let by_model = models.get(&sent.room).and_then(|room| room.looks.get(&sent.id));
        let by_timeline = site.timelines.get(&sent.room).unwrap_or(&nothing).get(&sent.id);
        // A message that is not there at all is lost, and counted so.
        let Some(by_model) = by_model else { continue };
        v.acts.looks_compared += 1;
        for (by, look) in [("the site's history", Some(by_model)), ("the timeline", by_timeline)] {
            let shown = look.map(|look| look.shown);
            if shown != Some(want.shown) {
                *(if want.shown.is_none() { &mut v.acts.redacted_readable } else { &mut v.acts.edits_not_shown }) += 1;
                v.example(|| format!("{}: {by} shows message {no} as {shown:?}, not {:?}", site.site, want.shown));
            }
            if look.is_none_or(|look| look.reactions != want.reactions) {
                v.acts.reactions_wrong += 1;
                let got = look.map(|look| &look.reactions);
                v.example(|| format!("{}: {by} has {got:?} at message {no}, not {:?}", site.site, want.reactions));
            }
        }
    }
}

fn changes_of(site: &SiteRead, room: u32) -> &[ChangeRead] {
    site.changes.get(&room).map_or(&[], |changes| changes)
}

/// What of redacted messages can be read, whatever is shown.
fn judge_bodies(expected: &Expected, site: &SiteRead, v: &mut Verdict) {
    let read = |room: &u32, id: RequestId, v: &mut Verdict| {
        v.acts.redacted_readable += 1;
        v.example(|| format!("{}, room {room}: the body of {id:?} is redacted and there", site.site));
    };
    for (room, reads) in &site.rooms {
        for message in reads.iter().filter(|m| !m.gone && expected.redacted.contains(&m.id)) {
            read(room, message.id, v);
        }
    }
    for (room, changes) in &site.changes {
        for ChangeRead { id, did, .. } in changes {
            match did {
                Did::Edit { target, digest: Some(_) } if expected.redacted.contains(target) => read(room, *id, v),
                Did::Edit { target, digest: None } if !expected.may_be_gone.contains(target) => {
                    v.lost_at_sites += 1;
                    v.example(|| format!("{}, room {room}: the edit {id:?} has lost its body", site.site));
                }
                _ => {}
            }
        }
    }
}

fn judge_memberships(expected: &Expected, site: &SiteRead, v: &mut Verdict) {
    for (at, (_, is_member)) in &expected.members {
        if expected.uncertain_members.contains(at) {
            continue;
        }
        v.acts.memberships_compared += 1;
        let got = site.members.get(at).copied().flatten();
        if got != Some(*is_member) {
            v.acts.memberships_wrong += 1;
            let (room, client) = at;
            let says = got.map_or("nothing", |member| if member { "a member" } else { "none" });
            v.example(|| format!("{}: takes client {client} in room {room} for {says}", site.site));
        }
    }
}

fn judge_names(expected: &Expected, site: &SiteRead, models: &BTreeMap<u32, RoomModel>, v: &mut Verdict) {
    for (room, first) in &site.first_names {
        if expected.uncertain_names.contains(room) {
            continue;
        }
        let given = expected.names.get(room).map(|(_, name)| name);
        let want: &str = given.map_or(first, |name| name);
        let folded = models.get(room).and_then(|model| model.name.as_ref());
        let opened = site.names.get(room);
        v.acts.names_compared += 1;
        if opened.map(String::as_str) != Some(want) || folded != given {
            v.acts.names_wrong += 1;
            v.example(|| format!("{}: room {room} is {opened:?}, in its history {folded:?}, not {want:?}", site.site));
        }
    }
}

fn judge_unread(site: &SiteRead, v: &mut Verdict) {
    for UnreadRead { client, room, expected, got } in &site.unread {
        v.acts.unread_compared += 1;
        if *got != Some(*expected) {
            v.acts.unread_wrong += 1;
            v.example(|| format!("{}: client {client} has {got:?} unread in room {room}, not {expected}", site.site));
        }
    }
}

/// What clients were shown of the acts.
fn judge_showings(ledger: &Ledger, by_id: &HashMap<RequestId, usize>, clients: &[Seen], v: &mut Verdict) {
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (client, seen) in clients.iter().enumerate() {
        seen.joined_us.keys().for_each(|room| members.entry(*room).or_default().push(client));
        v.acts.delivered += seen.changes.iter().filter(|id| by_id.contains_key(*id)).count() as u64;
        v.shown_twice += seen.changes_twice.len() as u64;
        for id in &seen.changes_twice {
            v.example(|| format!("client {client} was shown {id:?} twice"));
        }
        for act in seen.changes.iter().filter_map(|id| by_id.get(id)).map(|i| &ledger.acts[*i]) {
            if !seen.asked.contains(&act.room) {
                v.foreign += 1;
                v.example(|| format!("client {client} was shown {:?} of room {}, never joined", act.what, act.room));
            }
        }
    }
    for act in ledger.acts.iter().filter(|act| act.is_acked()) {
        for client in members.get(&act.room).into_iter().flatten() {
            let seen = &clients[*client];
            if !seen.expects_at(act.room, act.intended_us) {
                continue;
            }
            v.deliveries_due += 1;
            if seen.changes.contains(&act.id) {
                continue;
            }
            if seen.gap_covers(act.room, act.id, act.intended_us) {
                v.behind_gaps += 1;
                continue;
            }
            v.lost_at_members += 1;
            v.example(|| format!("client {client}, room {}: {:?}, {:?}, was never shown", act.room, act.what, act.id));
        }
    }
}

#[cfg(test)]
#[path = "acts_tests.rs"]
mod tests;
