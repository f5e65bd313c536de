//! The judgement of a run: was anything lost, shown twice or out of place? It is made from the ledger, from what every
//! client saw, and from every room's history read back at every site.

mod acts;
mod expected;

use std::collections::BTreeMap;

use causeway_protocol::RequestId;
use serde::{Deserialize, Serialize};

use crate::acts::ChangeRead;
use crate::ledger::{Ledger, Seen};
use crate::model::Look;
use expected::Expected;

pub use acts::{ActsVerdict, UnreadRead};

/// Examples of failures that a verdict names; the rest is counted.
pub const EXAMPLES_MAX: usize = 20;

/// A message as a site's history has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its place.
    pub id: RequestId,
    /// Its number, where the content has a stamp.
    pub no: Option<u32>,
    /// Of its content.
    pub digest: u64,
    /// The body is gone.
    pub gone: bool,
    /// The client that wrote it; `None` for somebody who is no client of the run.
    pub by: Option<u32>,
}

/// What one site says at the end. Rooms by their indexes; what is in them in the site's order, oldest first.
#[derive(Clone, Debug, Default)]
pub struct SiteRead {
    /// The site's name, for examples.
    pub site: String,
    /// The messages.
    pub rooms: BTreeMap<u32, Vec<Read>>,
    /// Everything else that was done.
    pub changes: BTreeMap<u32, Vec<ChangeRead>>,
    /// The places of both.
    pub places: BTreeMap<u32, Vec<RequestId>>,
    /// How the SDK's timeline shows each message, filled from the site's history.
    pub timelines: BTreeMap<u32, BTreeMap<RequestId, Look>>,
    /// The rooms' names as sessions are told them.
    pub names: BTreeMap<u32, String>,
    /// The names that the rooms were made with.
    pub first_names: BTreeMap<u32, String>,
    /// By room and client: whether the site takes the client for a member; `None` if it does not say.
    pub members: BTreeMap<(u32, u32), Option<bool>>,
    /// Counts of unread messages.
    pub unread: Vec<UnreadRead>,
}

/// The figures, and whether they hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// Messages given to the SDK.
    pub sent: u64,
    /// Those with ack 1 at least.
    pub acked: u64,
    /// Those with ack 2.
    pub replicated: u64,
    /// Those refused for good: the sender was told, nothing was promised.
    pub refused: u64,
    /// Those with neither an ack nor a refusal at the end. Must be 0.
    pub unanswered: u64,
    /// Those with ack 1 and without ack 2 at the end. Must be 0.
    pub unreplicated: u64,
    /// First showings to members.
    pub delivered: u64,
    /// Acked messages, and other requests, times members that had to see them.
    pub deliveries_due: u64,
    /// Of these, those behind an announced gap: paged from history instead.
    pub behind_gaps: u64,
    /// Acked messages missing from a site's history, and deliveries due that never came. Must be 0.
    pub lost: u64,
    /// The first part of `lost`.
    pub lost_at_sites: u64,
    /// The second part of `lost`.
    pub lost_at_members: u64,
    /// Messages shown again to a client, or more than once in a history, under one id or two. Must be 0.
    pub shown_twice: u64,
    /// Messages shown or read under another id than they were sent with, or in another order than their ids'. Must be 0.
    pub out_of_place: u64,
    /// Messages that nobody sent, whose content is not what was sent, or of rooms that their reader never joined. Must
    /// be 0.
    pub foreign: u64,
    /// Sites whose histories were read back.
    pub sites_read: u64,
    /// Messages read back, all sites together.
    pub messages_read: u64,
    /// Edits, redactions, reactions, memberships, names, read markers. What of them was lost, shown twice, out of place
    /// or not asked for is counted with the messages.
    pub acts: ActsVerdict,
    /// All sites held equal vectors with equal hashes at the end.
    pub hashes_equal: bool,
    /// All outboxes were empty at the end.
    pub outboxes_empty: bool,
    /// What was wrong, a few cases in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether the promises were kept.
    pub fn holds(&self) -> bool {
        let zeros = [self.unanswered, self.unreplicated, self.lost, self.shown_twice, self.out_of_place, self.foreign];
        // A run in which nothing happened proves nothing.
        let none_wrong = self.acts.zeros().iter().all(|(_, n)| *n == 0);
        zeros == [0; 6]
            && none_wrong
            && self.hashes_equal
            && self.outboxes_empty
            && self.acked > 0
            && self.sites_read > 0
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text());
        }
    }
}

/// How things stood at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndState {
    /// All sites' vectors equal, and their hashes.
    pub hashes_equal: bool,
    /// Nothing waits in any client's outbox.
    pub outboxes_empty: bool,
    /// Whether ack 2 can be had at all: a cluster of one site never replicates.
    pub replicates: bool,
}

/// Judges a run.
pub fn judge(ledger: &Ledger, clients: &[Seen], sites: &[SiteRead], end: EndState) -> Verdict {
    let mut verdict = Verdict {
        sent: ledger.sent.len() as u64,
        hashes_equal: end.hashes_equal,
        outboxes_empty: end.outboxes_empty,
        sites_read: sites.len() as u64,
        ..Verdict::default()
    };
    judge_answers(ledger, end.replicates, &mut verdict);
    let expected = Expected::of(ledger);
    for site in sites {
        judge_site(ledger, &expected, site, &mut verdict);
    }
    for (client, seen) in clients.iter().enumerate() {
        judge_client(ledger, client, seen, &mut verdict);
    }
    judge_deliveries(ledger, clients, &mut verdict);
    acts::judge_acts(ledger, &expected, clients, sites, end.replicates, &mut verdict);
    verdict.lost = verdict.lost_at_sites + verdict.lost_at_members;
    verdict
}

fn judge_answers(ledger: &Ledger, replicates: bool, verdict: &mut Verdict) {
    for (no, sent) in ledger.sent.iter().enumerate() {
        verdict.acked += u64::from(sent.is_acked());
        verdict.replicated += u64::from(sent.replicated_us.is_some());
        verdict.refused += u64::from(sent.refused.is_some());
        if !sent.is_acked() && sent.refused.is_none() {
            verdict.unanswered += 1;
            verdict.example(|| format!("message {no} of client {} was never answered", sent.client));
        } else if replicates && sent.is_acked() && sent.replicated_us.is_none() {
            verdict.unreplicated += 1;
            verdict.example(|| format!("message {no} of client {} was never replicated", sent.client));
        }
    }
}

/// One site's histories against the ledger.
fn judge_site(ledger: &Ledger, expected: &Expected, site: &SiteRead, verdict: &mut Verdict) {
    let name = &site.site;
    // What is gone has no stamp that says which message it is.
    let by_id: BTreeMap<RequestId, u32> = ledger.sent.iter().zip(0..).map(|(sent, no)| (sent.id, no)).collect();
    let mut found = vec![false; ledger.sent.len()];
    for (room, reads) in &site.rooms {
        verdict.messages_read += reads.len() as u64;
        for pair in reads.windows(2) {
            if let [a, b] = pair
                && a.id > b.id
            {
                verdict.out_of_place += 1;
                verdict.example(|| format!("{name}, room {room}: {:?} stands before {:?}", a.id, b.id));
            } else if let [a, b] = pair
                && a.id == b.id
                && a.no.is_none()
                && !a.gone
            {
                verdict.shown_twice += 1;
                verdict.example(|| format!("{name}, room {room}: {:?} is there twice", a.id));
            }
        }
        for read in reads {
            let no = if read.gone { by_id.get(&read.id).copied() } else { read.no };
            let is_it = |digest: u64| read.gone || digest == read.digest;
            let sent = no.and_then(|no| ledger.get(no)).filter(|s| s.room == *room && is_it(s.digest));
            let (Some(no), Some(sent)) = (no, sent) else {
                verdict.foreign += 1;
                verdict.example(|| format!("{name}, room {room}: nobody sent what {:?} holds", read.id));
                continue;
            };
            if read.gone && !expected.may_be_gone.contains(&read.id) {
                verdict.lost_at_sites += 1;
                verdict.example(|| format!("{name}, room {room}: message {no} has lost its body"));
            }
            if std::mem::replace(&mut found[no as usize], true) {
                verdict.shown_twice += 1;
                verdict.example(|| format!("{name}, room {room}: message {no} is there twice, once as {:?}", read.id));
            } else if sent.id != read.id {
                verdict.out_of_place += 1;
                verdict.example(|| format!("{name}: message {no} is at {:?}, and was sent as {:?}", read.id, sent.id));
            }
        }
    }
    for (no, (sent, found)) in ledger.sent.iter().zip(&found).enumerate() {
        if sent.is_acked() && !found {
            verdict.lost_at_sites += 1;
            let (room, client, id) = (sent.room, sent.client, sent.id);
            verdict.example(|| format!("{name}, room {room}: message {no} of client {client}, {id:?}, is missing"));
        }
    }
}

/// What one client was shown.
fn judge_client(ledger: &Ledger, client: usize, seen: &Seen, verdict: &mut Verdict) {
    verdict.delivered += seen.shown.len() as u64;
    verdict.shown_twice += seen.twice.len() as u64;
    verdict.foreign += seen.foreign;
    for no in &seen.twice {
        let room = ledger.get(*no).map(|s| s.room);
        verdict.example(|| format!("client {client} was shown message {no} of room {room:?} twice"));
    }
    if seen.foreign > 0 {
        verdict.example(|| format!("client {client} was shown {} messages that nobody sent", seen.foreign));
    }
    for (no, id) in &seen.ids {
        match ledger.get(*no) {
            Some(sent) if !seen.asked.contains(&sent.room) => {
                verdict.foreign += 1;
                let room = sent.room;
                verdict.example(|| {
                    format!("client {client} was shown message {no} of room {room}, which it never joined")
                });
            }
            Some(sent) if sent.id == *id => {}
            Some(sent) => {
                verdict.out_of_place += 1;
                let at = sent.id;
                verdict
                    .example(|| format!("client {client} was shown message {no} at {id:?}, and it was sent as {at:?}"));
            }
            None => {
                verdict.foreign += 1;
                verdict.example(|| format!("client {client} was shown message {no}, which nobody sent"));
            }
        }
    }
}

/// Every acked message against every member that had to see it.
fn judge_deliveries(ledger: &Ledger, clients: &[Seen], verdict: &mut Verdict) {
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (client, seen) in clients.iter().enumerate() {
        for room in seen.joined_us.keys() {
            members.entry(*room).or_default().push(client);
        }
    }
    for (no, sent) in ledger.sent.iter().enumerate().filter(|(_, s)| s.is_acked()) {
        for client in members.get(&sent.room).into_iter().flatten() {
            let seen = &clients[*client];
            if !seen.expects(sent) {
                continue;
            }
            verdict.deliveries_due += 1;
            if seen.has(no as u32) {
                continue;
            }
            if seen.behind_gap(sent) {
                verdict.behind_gaps += 1;
                continue;
            }
            verdict.lost_at_members += 1;
            let (room, id) = (sent.room, sent.id);
            verdict.example(|| format!("client {client}, room {room}: message {no}, {id:?}, was never shown"));
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
