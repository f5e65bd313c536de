//! Digests (D7): 256 buckets a shard, each an additive multiset hash over its rows, with a sum over the dots
//! that changed it. Where two sites' touch sums are equal they applied the same ops there, so their hashes
//! must be equal too. Both are kept in the batch of the change.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causeway_protocol::{Dot, Message, RequestId, RoomId, SiteId, hash16, wire};

use super::tx::{Tx, corrupt, decode_row};
use super::{Shard, timers};
use crate::io::{Alarm, Output};
use crate::key::{Key, buckets_range};
use crate::request::Request;
use crate::view::{Cf, View, ViewError};

/// Buckets of a shard.
pub const BUCKETS: u16 = 256;
/// Buckets in one digest frame.
const FRAME_BUCKETS_MAX: usize = 64;
/// Message rows of one room and one day share a bucket.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Bucket {
    pub touch: u128,
    pub hash: u128,
}

/// A shard's buckets, all in memory.
#[derive(Default)]
pub(super) struct Buckets {
    map: BTreeMap<u16, Bucket>,
}

/// The bucket of a room's elements.
pub(super) fn element_bucket(room: &RoomId) -> u16 {
    hash16("causeway/bucket", &[&room.0])[0].into()
}

/// The bucket of a request's row: by room and day, so that old days stay quiet.
pub(super) fn request_bucket(room: &RoomId, id: RequestId) -> u16 {
    let day = (id.stamp.ms() / DAY_MS).to_be_bytes();
    hash16("causeway/bucket", &[&room.0, &day])[0].into()
}

/// Every bucket whose rows an op can change.
fn buckets_of(request: &Request) -> BTreeSet<u16> {
    let mut buckets = BTreeSet::from([request_bucket(&request.room, request.id)]);
    if request.changes_elements() {
        buckets.insert(element_bucket(&request.room));
    }
    buckets
}

fn sum_of(domain: &str, parts: &[&[u8]]) -> u128 {
    u128::from_le_bytes(hash16(domain, parts))
}

/// A request's row as it is hashed: without its body, which can be purged, and without what hides it, which ops of
/// other buckets decide.
pub(super) fn canonical_request(row: &wire::RequestRow) -> Bytes {
    let bare = wire::RequestRow { body: None, hidden: false, hidden_dots: Vec::new(), ..row.clone() };
    bare.encode_to_vec().into()
}

/// An element's row as it is hashed: whatever of it is hidden.
pub(super) fn canonical_element(row: &wire::ElementRow) -> Bytes {
    let mut bare = row.clone();
    bare.tags.append(&mut bare.hidden);
    bare.tags.sort_by_key(RequestId::from_wire);
    bare.grants.iter_mut().for_each(|grant| grant.hidden = false);
    bare.revocations.iter_mut().flat_map(|by| &mut by.lifts).for_each(|lift| lift.hidden = false);
    bare.encode_to_vec().into()
}

impl Buckets {
    pub fn load(view: &dyn View, config: &crate::io::ShardConfig) -> Result<Self, ViewError> {
        let (start, end) = buckets_range(config.shard);
        let mut rows = Vec::new();
        view.scan(Cf::Meta, &start, &end, &mut |key, value| {
            rows.push((Key::decode(Cf::Meta, key), Bytes::copy_from_slice(value)));
            std::ops::ControlFlow::Continue(())
        })?;
        let mut map = BTreeMap::new();
        for (key, value) in rows {
            let Some(Key::Bucket(_, number)) = key else { return Err(corrupt(Cf::Meta, "bucket key does not decode")) };
            let row: wire::BucketRow = decode_row(Cf::Meta, value)?;
            let number_of = |b: &Bytes| b[..].try_into().map(u128::from_le_bytes).ok();
            let (Some(touch), Some(hash)) = (number_of(&row.touch), number_of(&row.hash)) else {
                return Err(corrupt(Cf::Meta, format!("bucket {number} does not hold two sums")));
            };
            map.insert(number, Bucket { touch, hash });
        }
        Ok(Self { map })
    }

    pub fn get(&self, bucket: u16) -> Bucket {
        self.map.get(&bucket).copied().unwrap_or_default()
    }

    pub fn numbers(&self) -> impl Iterator<Item = u16> + '_ {
        self.map.keys().copied()
    }
}

impl Shard {
    /// Replaces a row's share of its bucket. `canonical` values; `None` where there is no row.
    pub(super) fn account(&mut self, tx: &mut Tx<'_>, bucket: u16, key: &Key, old: Option<&[u8]>, new: Option<&[u8]>) {
        let family = [key.family() as u8];
        let key = key.encode();
        let share = |value: Option<&[u8]>| value.map_or(0, |v| sum_of("causeway/row", &[&family, &key, v]));
        let present = self.buckets.get(bucket);
        let hash = present.hash.wrapping_sub(share(old)).wrapping_add(share(new));
        self.set_bucket(tx, bucket, Bucket { hash, ..present });
    }

    /// Notes that an op changed, or could have changed, its buckets.
    pub(super) fn touch(&mut self, tx: &mut Tx<'_>, request: &Request, dot: Dot) {
        let share = sum_of("causeway/touch", &[&dot.origin.to_bytes(), &dot.seq.to_be_bytes()]);
        for number in buckets_of(request) {
            let present = self.buckets.get(number);
            let touch = present.touch.wrapping_add(share);
            self.set_bucket(tx, number, Bucket { touch, ..present });
        }
    }

    pub(super) fn set_bucket(&mut self, tx: &mut Tx<'_>, number: u16, bucket: Bucket) {
        self.buckets.map.insert(number, bucket);
        let bytes = |n: u128| Bytes::copy_from_slice(&n.to_le_bytes());
        let row = wire::BucketRow { touch: bytes(bucket.touch), hash: bytes(bucket.hash) };
        tx.put(&Key::Bucket(self.config.shard, number), &row);
        for peer in self.peers.values_mut() {
            peer.digest_due.insert(number);
        }
    }

    /// While a merge writes elements before the requests that made them, sums and hashes do not belong together.
    fn half_merged(&self) -> bool {
        self.merge.as_ref().is_some_and(|merge| merge.complete)
    }

    /// Sends what changed since it was last sent, to every peer that is up.
    pub(super) fn send_digests(&mut self, tx: &mut Tx<'_>) {
        self.digest_at = tx.now.mono_ms + timers::DIGEST_MS;
        if self.half_merged() {
            return;
        }
        for (site, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.hello) {
            let due: Vec<u16> = peer.digest_due.iter().copied().take(FRAME_BUCKETS_MAX).collect();
            if due.is_empty() {
                continue;
            }
            let digest = |number: &u16| {
                let bucket = self.buckets.get(*number);
                let bytes = |n: u128| Bytes::copy_from_slice(&n.to_le_bytes());
                wire::BucketDigest { bucket: (*number).into(), touch: bytes(bucket.touch), hash: bytes(bucket.hash) }
            };
            let frame = wire::Digest { buckets: due.iter().map(digest).collect() };
            due.iter().for_each(|number| {
                peer.digest_due.remove(number);
            });
            tx.emit(Output::ToPeer(*site, self.config.frame(wire::shard_frame::Frame::Digest(frame))));
        }
    }

    /// Compares a peer's digests with our own, where the touch sums say that they can be.
    pub(super) fn on_digest(&mut self, tx: &mut Tx<'_>, from: SiteId, digest: wire::Digest) {
        if self.half_merged() {
            return;
        }
        for theirs in digest.buckets.into_iter().take(FRAME_BUCKETS_MAX) {
            let Some(number) = u16::try_from(theirs.bucket).ok().filter(|n| *n < BUCKETS) else { continue };
            let mine = self.buckets.get(number);
            if theirs.touch != mine.touch.to_le_bytes()[..] {
                continue;
            }
            self.counters.buckets_compared += 1;
            if theirs.hash == mine.hash.to_le_bytes()[..] {
                self.mismatched.remove(&(from, number));
                continue;
            }
            self.counters.buckets_mismatched += 1;
            if self.mismatched.insert((from, number)) {
                tx.emit(Output::Alarm(Alarm::Mismatch(from, number)));
                self.repairs.insert(number);
            }
            // Tell the other side too: it may be the one that is wrong.
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.digest_due.insert(number);
            }
        }
    }
}
