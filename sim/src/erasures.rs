//! What the host does for users who are erased: it asks for it in every room, as the relay does.

use causeway_protocol::{RequestId, RoomId, ShardId, SiteId, UserId};
use causeway_replica::io::{Input, SessionId, Submission};
use causeway_replica::read;

use crate::checkers::Violation;
use crate::queue::{MS, Micros};
use crate::sabotage::Break;
use crate::sites::{Site, no_view_error};
use crate::world::{Step, World};

/// How often a site looks whether there is anything left to ask for.
const LOOK_EVERY: Micros = 2_000 * MS;
/// Users of one shard that are looked at: more than there are.
const USERS_MAX: usize = 1_000;
/// Nobody waits for the answer.
const NOBODY: SessionId = SessionId(u64::MAX);

impl World {
    /// Looks now and then.
    pub fn look_after_erasures(&mut self, id: SiteId) -> Step {
        let now = self.now();
        let Some(process) = self.site(id).process.as_mut() else { return Ok(()) };
        if now < process.erasures_at {
            return Ok(());
        }
        process.erasures_at = now + LOOK_EVERY;
        self.ask_erasures(id)
    }

    /// Asks for what is left to ask for.
    pub fn ask_erasures(&mut self, id: SiteId) -> Step {
        if self.defect == Some(Break::ForgetErasures) {
            return Ok(());
        }
        let site = &self.sites[usize::from(id.0) - 1];
        for (user, erasure, room) in left(site, self.plan.shards)? {
            let request = read::erasing_request(room, erasure);
            if let Some(sent) = self.checks.sends.get(&RoomId::of_user(&user), &erasure).cloned() {
                self.checks.sends.sent((sent.client, sent.device_era, &user), &request, None)?;
            }
            self.coverage.hit("erasure asked for");
            let submission = Submission { session: NOBODY, user, device: erasure.device, request, body: None };
            self.tell_shard(id, room.shard(self.plan.shards), Input::Submit(submission));
        }
        Ok(())
    }
}

/// The rooms in which a site has still to ask for an erasure.
pub fn left(site: &Site, shard_count: u16) -> Result<Vec<(UserId, RequestId, RoomId)>, Violation> {
    let Some(process) = &site.process else { return Ok(Vec::new()) };
    let (view, published) = (site.disk.visible(), &process.published);
    let mut left = Vec::new();
    for shard in (0..shard_count).map(ShardId) {
        for user in no_view_error(read::erased(view, shard, None, USERS_MAX))? {
            let Some(erasure) = no_view_error(read::erasure_of(view, published, shard_count, &user))? else { continue };
            let rooms = no_view_error(read::to_erase(view, published, shard_count, &user, erasure))?;
            left.extend(rooms.into_iter().map(|room| (user.clone(), erasure, room)));
        }
    }
    Ok(left)
}
