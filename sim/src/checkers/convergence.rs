//! Equal histories have equal states: bucket by bucket at every write, row by row at the end.

use std::collections::BTreeMap;

use bytes::Bytes;
use causeway_protocol::{Dot, Message, RequestId, ShardId, SiteId, wire};
use causeway_replica::key::Key;
use causeway_replica::view::{Batch, Cf, MemView, View};

use super::{Verdict, broken};

/// Every (bucket, touch) that any site ever had, with its hash.
#[derive(Default)]
pub struct Buckets {
    seen: BTreeMap<(ShardId, u16, Bytes), (Bytes, SiteId)>,
}

impl Buckets {
    /// "Equal touch vectors have equal hashes at every sample": here at every write, across all time.
    pub fn written(&mut self, site: SiteId, batch: &Batch, view: &dyn View) -> Verdict {
        for (cf, key, value) in batch.rows() {
            let (Cf::Meta, Some(value)) = (cf, value) else { continue };
            let Some(Key::Bucket(shard, bucket)) = Key::decode(cf, key) else { continue };
            // A merge changes elements first and counts them to their ops later: until its end it serves nothing.
            if merging(shard, view) {
                continue;
            }
            let Ok(row) = wire::BucketRow::decode(value.clone()) else {
                return broken("rows decode", format!("bucket {bucket} of {shard:?}"));
            };
            let touch = (shard, bucket, row.touch);
            if let Some((hash, first)) = self.seen.get(&touch) {
                if *hash != row.hash {
                    return broken(
                        "equal touch vectors have equal hashes",
                        format!("bucket {bucket} of {shard:?}: {first:?} and {site:?} differ"),
                    );
                }
                continue;
            }
            self.seen.insert(touch, (row.hash, site));
        }
        Ok(())
    }
}

fn merging(shard: ShardId, view: &dyn View) -> bool {
    let row = view.get(Cf::Meta, &Key::Shard(shard).encode()).ok().flatten();
    let row = row.and_then(|row| wire::ShardRow::decode(row).ok());
    row.and_then(|row| row.merge).is_some_and(|merge| merge.complete)
}

/// The rows of rooms in which sites differ, in words, for the trace's reader.
pub fn differences(stores: &[(SiteId, &MemView)]) -> Vec<String> {
    let mut keys = std::collections::BTreeSet::new();
    for (_, store) in stores {
        for cf in [Cf::Request, Cf::Element] {
            keys.extend(store.family(cf).map(|(key, _)| (cf, key.clone())));
        }
    }
    let told = |cf: Cf, value: Bytes| match cf {
        Cf::Request => format!(
            "{:?}",
            wire::RequestRow::decode(value)
                .map(|row| (row.dots.iter().map(Dot::from_wire).collect::<Result<Vec<_>, _>>(), row.deadline_ms))
        ),
        Cf::Element => format!(
            "{:?}",
            wire::ElementRow::decode(value)
                .map(|row| (row.tags.iter().chain(&row.hidden).map(RequestId::from_wire).collect::<Vec<_>>(), row))
        ),
        _ => format!("{value:?}"),
    };
    let mut lines = Vec::new();
    for (cf, key) in keys {
        let values: Vec<_> = stores.iter().map(|(site, store)| (*site, store.get(cf, &key).ok().flatten())).collect();
        if values.iter().any(|(_, value)| *value != values[0].1) {
            let values: Vec<_> = values.into_iter().map(|(site, v)| (site, v.map(|v| told(cf, v)))).collect();
            lines.push(format!("{:?}: {values:?}", Key::decode(cf, &key)));
        }
    }
    lines
}

/// Whether two rows are the same but for a body that goes at a time, which each site's clock tells it; an edit's goes with
/// its message's.
fn is_same(cf: Cf, one: &Bytes, other: &Bytes) -> bool {
    let bare = |value: &Bytes| {
        let row = wire::RequestRow::decode(value.clone()).ok()?;
        let request = wire::Request::decode(row.request.clone()).ok()?;
        let is_edit = matches!(request.kind, Some(wire::request::Kind::Edit(_)));
        (row.deadline_ms != 0 || is_edit).then_some(wire::RequestRow { body: None, ..row })
    };
    one == other || (cf == Cf::Request && bare(one).is_some_and(|one| Some(one) == bare(other)))
}

/// At the end all sites hold the same rows: what hashes promise, checked without them.
pub fn same_rows(stores: &[(SiteId, &MemView)]) -> Verdict {
    let Some(((first, reference), others)) = stores.split_first() else { return Ok(()) };
    for (site, store) in others {
        for cf in [Cf::Request, Cf::Op, Cf::Element, Cf::Head] {
            let mut theirs = store.family(cf);
            for (key, value) in reference.family(cf) {
                let Some(their) = theirs.next() else {
                    return broken("convergence", format!("{site:?} lacks {:?}", Key::decode(cf, key)));
                };
                if their.0 != key || !is_same(cf, value, their.1) {
                    let (a, b) = (Key::decode(cf, key), Key::decode(cf, their.0));
                    let heads = (wire::HeadRow::decode(value.clone()), wire::HeadRow::decode(their.1.clone()));
                    let heads = if cf == Cf::Head { format!("{heads:?}") } else { String::new() };
                    return broken(
                        "convergence",
                        format!("{first:?} has {a:?}, {site:?} has {b:?}: they differ {heads}"),
                    );
                }
            }
            if let Some((key, _)) = theirs.next() {
                return broken("convergence", format!("{first:?} lacks {:?} of {site:?}", Key::decode(cf, key)));
            }
        }
    }
    Ok(())
}
