//! What must be at the end: made from the requests that were acknowledged, and from nothing that a site says.

use std::collections::{BTreeMap, BTreeSet};

use causeway_protocol::RequestId;

use crate::acts::{Act, What};
use crate::ledger::Ledger;
use crate::model::Look;

/// What must be, by what was acknowledged.
#[derive(Default)]
pub(super) struct Expected {
    /// How messages look, by their numbers.
    pub(super) looks: BTreeMap<u32, Look>,
    /// Messages that are redacted for sure.
    pub(super) redacted: BTreeSet<RequestId>,
    /// And those that may be: somebody asked for it, answered or not.
    pub(super) may_be_gone: BTreeSet<RequestId>,
    /// Messages about which nothing can be said.
    pub(super) uncertain: BTreeSet<u32>,
    /// By room and client: the last word, and whether it makes a member.
    pub(super) members: BTreeMap<(u32, u32), (RequestId, bool)>,
    /// By room: the last name.
    pub(super) names: BTreeMap<u32, (RequestId, Box<str>)>,
    pub(super) uncertain_members: BTreeSet<(u32, u32)>,
    pub(super) uncertain_names: BTreeSet<u32>,
}

impl Expected {
    /// From the ledger alone.
    pub(super) fn of(ledger: &Ledger) -> Self {
        let mut all = Self::default();
        let mut edits: BTreeMap<u32, (RequestId, u64)> = BTreeMap::new();
        let mut reactions: BTreeMap<(u32, &str, u32), (RequestId, bool)> = BTreeMap::new();
        for act in &ledger.acts {
            if matches!(act.what, What::Redact { .. }) {
                all.may_be_gone.extend(act.aimed);
            }
            if act.refused.is_some() && !act.is_acked() {
                continue;
            }
            // A message that got another id after somebody had named it, and what nobody answered, decide nothing.
            let target = act.what.target();
            let renamed = target.and_then(|no| ledger.get(no)).is_some_and(|sent| act.aimed != Some(sent.id));
            if act.is_open() || renamed {
                all.unsure(act);
                continue;
            }
            let id = act.id;
            match &act.what {
                What::Edit { target, digest } => {
                    edits.entry(*target).and_modify(|e| *e = (*e).max((id, *digest))).or_insert((id, *digest));
                }
                What::Redact { .. } => all.redacted.extend(act.aimed),
                What::React { target, symbol } | What::Unreact { target, symbol } => {
                    let word = (id, matches!(act.what, What::React { .. }));
                    let last = reactions.entry((*target, symbol, act.client)).or_insert(word);
                    *last = (*last).max(word);
                }
                What::Join | What::Leave => {
                    let word = (id, act.what == What::Join);
                    let last = all.members.entry((act.room, act.client)).or_insert(word);
                    *last = (*last).max(word);
                }
                What::Name(name) => {
                    let last = all.names.entry(act.room).or_insert((id, name.clone()));
                    if last.0 < id {
                        *last = (id, name.clone());
                    }
                }
            }
        }
        for (no, sent) in ledger.sent.iter().enumerate().filter(|(_, sent)| sent.is_acked()) {
            let no = no as u32;
            let edited = edits.get(&no).map_or(sent.digest, |(_, digest)| *digest);
            let shown = (!all.redacted.contains(&sent.id)).then_some(edited);
            all.looks.insert(no, Look { shown, reactions: BTreeSet::new() });
        }
        for ((no, symbol, client), (_, shows)) in reactions {
            if let Some(look) = all.looks.get_mut(&no).filter(|_| shows) {
                look.reactions.insert((symbol.into(), Some(client)));
            }
        }
        all
    }

    fn unsure(&mut self, act: &Act) {
        self.uncertain.extend(act.what.target());
        match act.what {
            What::Join | What::Leave => _ = self.uncertain_members.insert((act.room, act.client)),
            What::Name(_) => _ = self.uncertain_names.insert(act.room),
            _ => {}
        }
    }
}
