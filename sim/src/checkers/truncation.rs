//! Nothing leaves a log that no other configured site has.

use std::collections::BTreeMap;
use std::ops::ControlFlow::Continue;

use causeway_protocol::{Dot, ShardId, SiteId, Vector};
use causeway_replica::key::Key;
use causeway_replica::view::{Batch, Cf, View};

use super::{Verdict, broken};

/// What each site has ever had on disk, synced.
#[derive(Default)]
pub struct Truncation {
    ever_durable: BTreeMap<(SiteId, ShardId), Vector>,
}

impl Truncation {
    /// A site's synced store covers this.
    pub fn durable(&mut self, site: SiteId, shard: ShardId, vector: &Vector) {
        self.ever_durable.entry((site, shard)).or_default().join(vector);
    }

    /// On how many sites' disks a dot has been.
    pub fn holders(&self, shard: ShardId, dot: &Dot) -> usize {
        self.ever_durable.iter().filter(|((_, sh), vector)| *sh == shard && vector.covers(dot)).count()
    }

    /// A batch is about to be written on `view`: the log rows that it deletes. Returns how many.
    pub fn writing(&self, site: SiteId, batch: &Batch, view: &dyn View) -> Result<u64, super::Violation> {
        let mut gone: Vec<(ShardId, Dot)> = Vec::new();
        let mut note = |key: &[u8]| {
            if let Some(Key::Log(shard, dot)) = Key::decode(Cf::Log, key) {
                gone.push((shard, dot));
            }
        };
        for (cf, key, value) in batch.rows() {
            if cf == Cf::Log && value.is_none() {
                note(key);
            }
        }
        for (cf, start, end) in batch.ranges() {
            if *cf == Cf::Log {
                let _ = view.scan(Cf::Log, start, end, &mut |key, _| {
                    note(key);
                    Continue(())
                });
            }
        }
        for (shard, dot) in &gone {
            self.held_elsewhere(site, *shard, dot)?;
        }
        Ok(gone.len() as u64)
    }

    /// "nothing truncated that no other configured site has".
    fn held_elsewhere(&self, site: SiteId, shard: ShardId, dot: &Dot) -> Verdict {
        let held = self.ever_durable.iter().any(|((s, sh), vector)| *s != site && *sh == shard && vector.covers(dot));
        if held {
            return Ok(());
        }
        broken("nothing truncated that no other site has", format!("{site:?} truncated {dot:?} of {shard:?}"))
    }
}
