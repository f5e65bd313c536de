//! Who is there: in memory, and forgotten with the process.
//!
//! What this site's own sessions say holds until they end. What a peer says of its sessions holds for 50 s, and is said
//! again every 20 s, a slice of the users at a time; a lost datagram thus costs 20 s. Where the link to the peer is lost,
//! its word holds for 5 s more, in which its clients find another site. Nobody's last word is kept for longer than a day,
//! nor told more finely than `wire::Presence` has it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use causeway_protocol::{SiteId, UserId, hash16, limits, wire};
use causeway_replica::io::SessionId;

/// Between two calls of [`Presence::tick`], ms. In `SLICES` of them everybody is said again.
pub const TICK_MS: u64 = 250;
const SLICES: usize = (limits::PRESENCE_EVERY_MS / TICK_MS) as usize;
/// How long a peer's word holds, ms: two of its datagrams may be lost.
const LAPSE_MS: u64 = 50_000;
/// How long the word of a peer holds from which nothing was heard since its link was lost, ms.
const LOST_LAPSE_MS: u64 = 5_000;
/// How long somebody who has left is remembered, ms.
const REMEMBERED_MS: u64 = 24 * 3_600_000;
/// Users who are remembered: some 150 bytes each.
const USERS_MAX: usize = 1 << 20;
/// Between two looks for those who can be forgotten in a full slice, ms.
const SWEEP_MS: u64 = 1_000;
/// Changes that wait for the next tick. Those beyond it wait for their slice's turn.
const CHANGES_MAX: usize = 4_096;
/// Users in one datagram, of 8 bytes each.
const USERS_PER_DATAGRAM: usize = 60;

const _: () = assert!(LAPSE_MS > 2 * limits::PRESENCE_EVERY_MS, "a lost datagram takes nobody away");
// Each list and the datagram have a tag and a length of up to two bytes in front.
const _: () = assert!(8 * USERS_PER_DATAGRAM + 4 * 3 <= limits::DATAGRAM_BYTES_MAX);

/// A user, as sites name one to each other here.
pub fn key(user: &UserId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash16("causeway/presence", &[user.as_str().as_bytes()]);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// What a session says of its user. The greater is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// The application runs, and nobody looks at it.
    Away,
    /// Somebody does.
    Online,
}

#[derive(Debug)]
struct Word {
    site: SiteId,
    activity: Activity,
    heard_ms: u64,
}

/// The peers of which nothing was heard since their links were lost, and when that was, ms.
type Lost = BTreeMap<SiteId, u64>;

impl Word {
    fn holds(&self, now_ms: u64, lost: &Lost) -> bool {
        let is_lost = lost.get(&self.site).is_some_and(|at_ms| now_ms >= at_ms + LOST_LAPSE_MS);
        now_ms < self.heard_ms + LAPSE_MS && !is_lost
    }
}

/// What is known of one user.
#[derive(Debug, Default)]
struct Known {
    here: Vec<(SessionId, Activity)>,
    /// A word a site.
    there: Vec<Word>,
    /// When the last session ended that is in neither any more.
    left_ms: u64,
}

impl Known {
    fn own(&self) -> Option<Activity> {
        self.here.iter().map(|(_, activity)| *activity).max()
    }

    /// Takes away the words that hold no longer.
    fn lapse(&mut self, now_ms: u64, lost: &Lost) {
        let lapsed = self.there.iter().filter(|word| !word.holds(now_ms, lost)).map(|word| word.heard_ms).max();
        self.left_ms = self.left_ms.max(lapsed.unwrap_or(0));
        self.there.retain(|word| word.holds(now_ms, lost));
    }

    fn is_here_or_there(&self) -> bool {
        !self.here.is_empty() || !self.there.is_empty()
    }

    fn seen(&self, now_ms: u64, lost: &Lost) -> u32 {
        let heard = self.there.iter().filter(|word| word.holds(now_ms, lost)).map(|word| word.activity).max();
        let lapsed = self.there.iter().map(|word| word.heard_ms).max().unwrap_or(0);
        match (self.own().max(heard), now_ms.saturating_sub(self.left_ms.max(lapsed))) {
            (Some(Activity::Online), _) => 1,
            (Some(Activity::Away), _) => 2,
            (None, ..60_000) => 3,
            (None, ..3_600_000) => 4,
            (None, ..REMEMBERED_MS) => 5,
            (None, _) => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Slice {
    users: HashMap<u64, Known>,
    swept_ms: u64,
}

impl Slice {
    /// The user's entry; `None` where it would be one too many.
    fn entry(&mut self, now_ms: u64, key: u64) -> Option<&mut Known> {
        let max = USERS_MAX / SLICES;
        if self.users.len() >= max && !self.users.contains_key(&key) {
            if now_ms < self.swept_ms + SWEEP_MS {
                return None;
            }
            self.swept_ms = now_ms;
            self.users.retain(|_, known| known.is_here_or_there());
            if self.users.len() >= max {
                return None;
            }
        }
        Some(self.users.entry(key).or_default())
    }
}

/// Who is there, by [`key`].
#[derive(Debug)]
pub struct Presence {
    slices: Box<[Mutex<Slice>]>,
    changes: Mutex<Vec<u64>>,
    lost: Mutex<Lost>,
    ticks: AtomicUsize,
}

impl Default for Presence {
    fn default() -> Self {
        let slices = (0..SLICES).map(|_| Mutex::default()).collect();
        Self { slices, changes: Mutex::default(), lost: Mutex::default(), ticks: AtomicUsize::new(0) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Presence {
    fn slice(&self, key: u64) -> MutexGuard<'_, Slice> {
        lock(&self.slices[(key % SLICES as u64) as usize])
    }

    fn changed(&self, key: u64) {
        let mut changes = lock(&self.changes);
        if changes.len() < CHANGES_MAX {
            changes.push(key);
        }
    }

    /// A session of this site says that its user is there. `false` where too many are remembered: nothing is noted.
    pub fn tell(&self, now_ms: u64, key: u64, session: SessionId, activity: Activity) -> bool {
        let mut slice = self.slice(key);
        let Some(known) = slice.entry(now_ms, key) else { return false };
        let before = known.own();
        match known.here.iter_mut().find(|(other, _)| *other == session) {
            Some((_, told)) => *told = activity,
            None => known.here.push((session, activity)),
        }
        let is_change = before != known.own();
        drop(slice);
        if is_change {
            self.changed(key);
        }
        true
    }

    /// A session of this site has ended.
    pub fn leave(&self, now_ms: u64, key: u64, session: SessionId) {
        let mut slice = self.slice(key);
        let Some(known) = slice.users.get_mut(&key) else { return };
        let before = known.own();
        known.here.retain(|(other, _)| *other != session);
        known.left_ms = now_ms;
        let is_change = before != known.own();
        drop(slice);
        if is_change {
            self.changed(key);
        }
    }

    /// What a peer says of its sessions. Returns how many users were one too many.
    pub fn hear(&self, now_ms: u64, site: SiteId, said: &wire::Presences) -> u64 {
        lock(&self.lost).remove(&site);
        let of = |keys: &[u64], activity: Option<Activity>| -> u64 {
            keys.iter().filter(|key| !self.hear_one(now_ms, site, **key, activity)).count() as u64
        };
        of(&said.online, Some(Activity::Online)) + of(&said.away, Some(Activity::Away)) + of(&said.gone, None)
    }

    fn hear_one(&self, now_ms: u64, site: SiteId, key: u64, activity: Option<Activity>) -> bool {
        let mut slice = self.slice(key);
        let Some(known) = slice.entry(now_ms, key) else { return false };
        known.there.retain(|word| word.site != site);
        match activity {
            Some(activity) => known.there.push(Word { site, activity, heard_ms: now_ms }),
            None => known.left_ms = now_ms,
        }
        true
    }

    /// The link to a peer is lost.
    pub fn lost(&self, now_ms: u64, site: SiteId) {
        lock(&self.lost).insert(site, now_ms);
    }

    /// How lately a user was there, as in `wire::Presence`.
    pub fn seen(&self, now_ms: u64, key: u64) -> u32 {
        let lost = lock(&self.lost).clone();
        self.slice(key).users.get(&key).map_or(0, |known| known.seen(now_ms, &lost))
    }

    /// How many users are remembered.
    pub fn users(&self) -> usize {
        self.slices.iter().map(|slice| lock(slice).users.len()).sum()
    }

    /// What is to be said to the peers now: changes, and the next slice of those who are here. Forgets in that slice who
    /// has been away for long.
    pub fn tick(&self, now_ms: u64) -> Vec<wire::Presences> {
        let mut said: Vec<(u64, Option<Activity>)> = Vec::new();
        let mut changes = std::mem::take(&mut *lock(&self.changes));
        changes.sort_unstable();
        changes.dedup();
        for key in changes {
            said.push((key, self.slice(key).users.get(&key).and_then(Known::own)));
        }
        let turn = self.ticks.fetch_add(1, Ordering::Relaxed) % SLICES;
        let lost = lock(&self.lost).clone();
        let mut slice = lock(&self.slices[turn]);
        slice.users.retain(|_, known| {
            known.lapse(now_ms, &lost);
            known.is_here_or_there() || now_ms < known.left_ms + REMEMBERED_MS
        });
        said.extend(slice.users.iter().filter_map(|(key, known)| Some((*key, Some(known.own()?)))));
        drop(slice);
        said.chunks(USERS_PER_DATAGRAM).map(presences).collect()
    }
}

fn presences(said: &[(u64, Option<Activity>)]) -> wire::Presences {
    let of = |wanted: Option<Activity>| said.iter().filter(|(_, of)| *of == wanted).map(|(key, _)| *key).collect();
    wire::Presences { online: of(Some(Activity::Online)), away: of(Some(Activity::Away)), gone: of(None) }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
