//! Carrying out what a replica puts out, after looking at it.

use causeway_protocol::{Code, DeviceId, Dot, RequestId, RoomId, ShardId, SiteId, UserId, Vector, wire};
use causeway_replica::io::{Alarm, Input, Output, SessionId};
use causeway_replica::session::SessionInput;

use crate::checkers::sends::Refusal;
use crate::checkers::{broken, leaving};
use crate::sabotage::Break;
use crate::world::{PeerCargo, Step, World};

impl World {
    /// Carries out one effect of a replica's step.
    pub fn effect(&mut self, id: SiteId, shard: ShardId, effect: Output) -> Step {
        match effect {
            Output::Accepted { session, id: request, dot, replicated } => {
                self.accepted(id, shard, session, request, dot, replicated)
            }
            Output::Refused { session, id: request, code, detail } => self.refused(id, session, request, code, detail),
            Output::Frontier { session, dot } => {
                self.stable_was_told(id, shard, dot)?;
                self.tell_session(id, session, SessionInput::Frontier { shard, dot })
            }
            Output::Deliver { room, dot, frame } => {
                self.may_leave(id, shard, "a delivery", &dot)?;
                self.deliver(id, SessionInput::Live { room, dot, frame }, room);
                Ok(())
            }
            Output::Recount { .. } if self.defect == Some(Break::DropRecounts) => Ok(()),
            Output::Recount { room, dot, hides } => {
                self.coverage.hit(if hides { "recount: hidden" } else { "recount: second dot" });
                self.deliver(id, SessionInput::Recount { room, dot, hides }, room);
                Ok(())
            }
            Output::Membership { room, user, member } => {
                self.tell_user(id, &user, &SessionInput::Membership { room, member })
            }
            Output::Erased { .. } => {
                self.coverage.hit("erasure told");
                self.ask_erasures(id)
            }
            Output::Invitations { user } => self.tell_user(id, &user, &SessionInput::Invitations),
            Output::Marked { room, user, marker } => {
                self.coverage.hit("marker moved");
                if marker.flag.is_set() {
                    self.coverage.hit(if marker.flag.unread { "marked unread" } else { "marked unread no longer" });
                }
                self.tell_user(id, &user, &SessionInput::Marked { room, marker })
            }
            Output::DurableVector(vector) => self.publish(id, shard, vector),
            Output::ToPeer(peer, frame) => {
                leaving::frame(id, shard, &frame, &self.sites[usize::from(id.0) - 1].truth[usize::from(shard.0)])?;
                self.to_peer(id, peer, PeerCargo::Shard(frame));
                Ok(())
            }
            Output::Ready(ready) => self.ready(id, shard, ready),
            Output::Alarm(alarm) => self.alarm(id, shard, &alarm),
        }
    }

    fn may_leave(&mut self, id: SiteId, shard: ShardId, what: &str, dot: &Dot) -> Step {
        leaving::dot(id, shard, what, dot, &self.site(id).truth[usize::from(shard.0)])
    }

    fn accepted(
        &mut self,
        id: SiteId,
        shard: ShardId,
        session: SessionId,
        request: RequestId,
        dot: Dot,
        replicated: bool,
    ) -> Step {
        self.may_leave(id, shard, "an ack", &dot)?;
        let Some(fact) = self.checks.ops.fact(shard, &dot) else {
            return broken("a resend returns the original", format!("{id:?} acks {request:?} by unknown {dot:?}"));
        };
        if fact.id != request {
            let detail = format!("{id:?} acks {request:?} by {dot:?}, which is of {:?}", fact.id);
            return broken("a resend returns the original", detail);
        }
        let room = fact.room;
        self.trace.note(self.queue.now(), "accepted", &[id.0.into(), request.stamp.0, dot.seq], || {
            format!("site {id} {request:?} in {room:?} is {dot:?}{}", if replicated { ", replicated" } else { "" })
        });
        if replicated {
            self.stable_was_told(id, shard, dot)?;
        }
        if !self.has_session(id, session) {
            return Ok(());
        }
        self.checks.sends.acked(id, session, room, request)?;
        self.tell_session(id, session, SessionInput::Accepted { shard, id: request, dot, replicated })
    }

    /// Whether a session still waits for answers.
    fn has_session(&self, id: SiteId, session: SessionId) -> bool {
        let process = self.sites[usize::from(id.0) - 1].process.as_ref();
        process.is_some_and(|process| process.sessions.contains_key(&session))
    }

    /// A site says that a dot is in two sites' fsynced storage: it must have been.
    fn stable_was_told(&mut self, id: SiteId, shard: ShardId, dot: Dot) -> Step {
        let holders = self.checks.truncation.holders(shard, &dot);
        if holders < 2 {
            return broken("replicated is on two disks", format!("{id:?} says so of {dot:?}, held by {holders}"));
        }
        self.nemesis.stable_was_told(shard, dot);
        Ok(())
    }

    fn refused(
        &mut self,
        id: SiteId,
        session: SessionId,
        request: Option<RequestId>,
        code: Code,
        detail: String,
    ) -> Step {
        self.coverage.hit("refused");
        let stamp = request.map_or(0, |request| request.stamp.0);
        self.trace.note(self.queue.now(), "refused", &[id.0.into(), stamp, code.number().into()], || {
            format!("site {id} {request:?}: {code:?}, {detail}")
        });
        if !self.has_session(id, session) {
            return Ok(());
        }
        let Some(request) = request else {
            return broken("sends succeed at every ready site", format!("{id:?} cannot read a request: {detail}"));
        };
        let site = &self.sites[usize::from(id.0) - 1];
        let now = site.clock.read(self.queue.now());
        let Some(process) = site.process.as_ref() else { return Ok(()) };
        let refusal = Refusal { site: id, session, id: request, code, detail: &detail, now };
        self.checks.sends.refused(&refusal, process, site.disk.visible())?;
        self.tell_session(id, session, SessionInput::Refused { id: Some(request), code, detail })
    }

    fn tell_user(&mut self, id: SiteId, user: &UserId, input: &SessionInput) -> Step {
        let Some(process) = self.site(id).process.as_ref() else { return Ok(()) };
        let sessions: Vec<SessionId> = process.users.get(user).into_iter().flatten().copied().collect();
        for session in sessions {
            self.tell_session(id, session, input.clone())?;
        }
        Ok(())
    }

    fn publish(&mut self, id: SiteId, shard: ShardId, vector: Vector) -> Step {
        let number = usize::from(shard.0);
        let leaks = self.defect == Some(Break::LeakUnsyncedRows);
        let site = self.site(id);
        if !leaks {
            leaving::vector(id, shard, "the published vector", &vector, &Vector::new(), &site.truth[number])?;
        }
        let Some(process) = site.process.as_mut() else { return Ok(()) };
        if !vector.covers_all(&process.published.vectors[number]) {
            return broken("published vectors rise", format!("{id:?} {shard:?}: {vector:?}"));
        }
        let published = if leaks { process.shards[number].applied().clone() } else { vector };
        process.published.vectors[number] = std::sync::Arc::new(published);
        Ok(())
    }

    fn ready(&mut self, id: SiteId, shard: ShardId, ready: bool) -> Step {
        let now = self.now();
        self.trace.note(now, "ready", &[id.0.into(), shard.0.into(), ready.into()], || {
            format!("site {id} {shard:?}: {ready}")
        });
        let site = self.site(id);
        let Some(process) = site.process.as_mut() else { return Ok(()) };
        process.published.ready[usize::from(shard.0)] = ready;
        if !ready {
            return Ok(());
        }
        if process.is_ready() {
            site.disk.set_intact();
        }
        let sessions: Vec<SessionId> = site.process.iter().flat_map(|p| p.sessions.keys().copied()).collect();
        for session in sessions {
            self.tell_session(id, session, SessionInput::ShardReady(shard))?;
        }
        Ok(())
    }

    /// In a world without liars no alarm may sound.
    fn alarm(&mut self, id: SiteId, shard: ShardId, alarm: &Alarm) -> Step {
        self.trace.note(self.queue.now(), "alarm", &[id.0.into(), shard.0.into()], || format!("site {id}: {alarm:?}"));
        match alarm {
            Alarm::ManyOrigins(_) => {
                self.coverage.hit("many origins");
                Ok(())
            }
            alarm => broken("no alarm without a cause", format!("{id:?} {shard:?}: {alarm:?}")),
        }
    }

    /// A session asked for this.
    pub fn submit_to_shard(
        &mut self,
        id: SiteId,
        shard: ShardId,
        submission: causeway_replica::io::Submission,
    ) -> Step {
        let now = self.now();
        let request: Result<wire::Request, _> = causeway_protocol::Message::decode(submission.request.clone());
        let place = request.ok().and_then(|r| Some((RoomId::from_wire(&r.room).ok()?, RequestId::from_wire(&r.id?))));
        let Some((room, request_id)) = place else {
            return broken("sends succeed at every ready site", "the session passed a request without an id".into());
        };
        let device: DeviceId = submission.device;
        self.trace.note(now, "submit", &[id.0.into(), request_id.stamp.0, device.0], || {
            format!("site {id} {request_id:?} of {:?}", submission.user)
        });
        self.checks.sends.submitted(id, submission.session, room, request_id, now);
        self.tell_shard(id, shard, Input::Submit(submission));
        Ok(())
    }
}
