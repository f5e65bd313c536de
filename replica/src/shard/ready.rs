//! When a shard serves (D6, D8): a copy that may not be the newest catches up with one peer first.

use causeway_protocol::SiteId;

use super::Shard;
use super::tx::Tx;
use crate::io::Output;

impl Shard {
    /// A peer said what it holds. Where that includes ops of this very node that are not here, this store was
    /// restored or cut: however intact it looks, it waits.
    pub(super) fn note_offer(&mut self, from: SiteId) {
        let own = self.config.origin;
        let Some(peer) = self.peers.get(&from) else { return };
        let behind_itself = peer
            .offered
            .beyond(&self.applied)
            .iter()
            .any(|dot| dot.origin.site == own.site && dot.origin.node == own.node);
        if behind_itself && !self.ready {
            self.ready_at = None;
        }
    }

    pub(super) fn check_ready(&mut self, tx: &mut Tx<'_>) {
        // Sessions look at merged rows when it is ready: not before the published vector covers them.
        let purging = !self.purges_left.is_empty();
        if self.ready || purging || self.merge_unsynced || self.merge.as_ref().is_some_and(|merge| merge.complete) {
            return;
        }
        let caught_up = self.peers.values().any(|peer| peer.hello && self.durable.covers_all(&peer.offered));
        let waited = self.ready_at.is_some_and(|at| tx.now.mono_ms >= at);
        if caught_up || waited || self.peers.is_empty() {
            self.set_ready(tx, true);
        }
    }

    pub(super) fn force_ready(&mut self, tx: &mut Tx<'_>) {
        if self.merge.as_ref().is_none_or(|merge| !merge.complete) {
            self.set_ready(tx, true);
        }
    }

    pub(super) fn set_ready(&mut self, tx: &mut Tx<'_>, ready: bool) {
        if self.ready != ready {
            self.ready = ready;
            tx.emit(Output::Ready(ready));
        }
    }

    /// Rows were merged: serve as soon as they are durable, and take the streams up again.
    pub(super) fn after_merge(&mut self, tx: &mut Tx<'_>) {
        self.ready_at = Some(tx.now.mono_ms + super::timers::READY_WAIT_MS);
        let sites: Vec<SiteId> = self.peers.iter().filter(|(_, peer)| peer.up).map(|(site, _)| *site).collect();
        for site in sites {
            self.send_hello(tx, site, true);
        }
    }
}
