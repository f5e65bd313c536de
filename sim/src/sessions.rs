//! Clients' connections at a site: the real session machine, a bounded queue of live events, and streams that break.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use causeway_client::machine::ClosedBySite;
use causeway_protocol::{Dot, Message, RequestId, RoomId, ShardId, SiteId, Vector, wire};
use causeway_replica::io::{Input, SessionId};
use causeway_replica::key::Key;
use causeway_replica::session::{ServerSession, SessionConfig, SessionInput, SessionLimits, SessionOutput};
use causeway_replica::view::View;

use crate::checkers::{broken, leaving};
use crate::network::Place;
use crate::queue::{MS, Micros, SECOND};
use crate::sabotage::Break;
use crate::sites::no_view_error;
use crate::world::{Cargo, ConnId, Event, Step, World};

/// A connection whose path is cut ends after this.
const CONNECTION_SILENCE_MAX: Micros = 5 * SECOND;
/// Reads and pops for one session in one go: more means that it spins.
const PUMP_MAX: usize = 5_000;

/// A session and what its host holds for it.
pub struct Hosted {
    /// The session machine.
    pub session: ServerSession,
    /// Its connection.
    pub conn: ConnId,
    live: VecDeque<SessionInput>,
    overflowed: bool,
}

impl World {
    /// A dial arrives: a session begins.
    pub fn conn_at_site(&mut self, id: ConnId) -> Step {
        let now = self.now();
        let number = SessionId(self.fresh());
        let plan = &self.plan;
        let limits = SessionLimits {
            submits_max: 64,
            resume_ops_max: plan.resume_ops_max,
            gap_page_max: plan.resume_ops_max.min(20),
            ..SessionLimits::default()
        };
        let shard_count = plan.shards;
        let Some(conn) = self.conns.get_mut(&id) else { return Ok(()) };
        let (site, client, epoch) = (conn.site, conn.client, conn.client_epoch);
        let Some(process) = self.sites[usize::from(site.0) - 1].process.as_mut() else {
            // A machine that is up without the process answers; one that is gone does not.
            if self.chance.hosts.percent(50) {
                let delay = self.net.stream_delay(Place::Site(site), Place::Client(client));
                self.queue.after(delay, Event::ConnFailed(id));
            }
            return Ok(());
        };
        conn.session = Some((process.epoch, number));
        let config = SessionConfig {
            id: number,
            site,
            site_name: format!("site-{site}"),
            shard_count,
            sites: std::sync::Arc::clone(&process.site_infos),
            admission: causeway_replica::session::Admission::Tokenless,
            limits,
        };
        let hosted = Hosted { session: ServerSession::new(config), conn: id, live: VecDeque::new(), overflowed: false };
        process.sessions.insert(number, hosted);
        let delay = self.net.stream_delay(Place::Site(site), Place::Client(client));
        self.trace.note(now, "session", &[site.0.into(), number.0], || {
            format!("site {site} session {} of client {client} start {epoch}", number.0)
        });
        self.queue.after(delay, Event::ConnAtClient(id));
        Ok(())
    }

    /// A frame of a client arrives.
    pub fn up_frame(&mut self, id: ConnId, frame: wire::ClientFrame) -> Step {
        let Some(conn) = self.conns.get(&id) else { return Ok(()) };
        let (site, Some((_, session))) = (conn.site, conn.session) else { return Ok(()) };
        let frame = if self.defect == Some(Break::CursorPerShard) { self.one_cursor_a_shard(frame) } else { frame };
        self.tell_session(site, session, SessionInput::Frame(frame))?;
        self.pump_session(site, session)
    }

    /// The defect: what a client has of one room of a shard counts for all rooms of the shard.
    fn one_cursor_a_shard(&self, frame: wire::ClientFrame) -> wire::ClientFrame {
        let Some(wire::client_frame::Frame::Hello(mut hello)) = frame.frame else { return frame };
        let mut joined = vec![Vector::new(); self.plan.shards.into()];
        for cursor in &hello.cursors {
            if let (Ok(room), Ok(vector)) =
                (RoomId::from_wire(&cursor.room), Vector::from_wire_opt(cursor.vector.as_ref()))
            {
                joined[usize::from(room.shard(self.plan.shards).0)].join(&vector);
            }
        }
        let cursor = |room: &RoomId| wire::RoomCursor {
            room: room.to_wire(),
            vector: Some(joined[usize::from(room.shard(self.plan.shards).0)].to_wire()),
            summary: 0,
        };
        hello.cursors = self.workload.rooms().iter().map(cursor).collect();
        wire::ClientFrame { frame: Some(wire::client_frame::Frame::Hello(hello)) }
    }

    /// Hands an input to a session and carries out what it gives.
    pub fn tell_session(&mut self, site: SiteId, session: SessionId, input: SessionInput) -> Step {
        let now = self.now();
        let machine = self.site(site);
        let at = machine.clock.read(now);
        let Some(hosted) = machine.process.as_mut().and_then(|p| p.sessions.get_mut(&session)) else { return Ok(()) };
        let mut out = Vec::new();
        hosted.session.handle(at, input, &mut out);
        self.session_outputs(site, session, out)
    }

    fn session_outputs(&mut self, site: SiteId, session: SessionId, out: Vec<SessionOutput>) -> Step {
        for output in out {
            self.session_output(site, session, output)?;
        }
        Ok(())
    }

    fn session_output(&mut self, site: SiteId, session: SessionId, output: SessionOutput) -> Step {
        let Some(process) = self.site(site).process.as_mut() else { return Ok(()) };
        let Some(conn) = process.sessions.get(&session).map(|hosted| hosted.conn) else { return Ok(()) };
        self.trace.note(self.queue.now(), "session out", &[site.0.into(), session.0], || {
            format!("site {site} session {} {}", session.0, words(&output))
        });
        let Some(process) = self.sites[usize::from(site.0) - 1].process.as_mut() else { return Ok(()) };
        match output {
            SessionOutput::Control(frame) => {
                if let Some(pipe) = self.conns.get(&conn).map(|conn| conn.control) {
                    let bytes = frame.len();
                    self.send(pipe, Cargo::Control(conn, frame), bytes);
                }
            }
            SessionOutput::Event(frame) => {
                self.event_may_leave(site, conn, &frame)?;
                if let Some(pipe) = self.conns.get(&conn).map(|conn| conn.events) {
                    let bytes = frame.len();
                    self.send(pipe, Cargo::Event(conn, frame), bytes);
                }
            }
            SessionOutput::Submit(shard, submission) => return self.submit_to_shard(site, shard, submission),
            // Typing and presence are not simulated: losing them breaks no promise.
            SessionOutput::Limited(_) | SessionOutput::Datagram(_) => {}
            SessionOutput::MarkRead(shard, user, room, marker) => {
                self.checks.marks.said(&user, room, &marker);
                self.tell_shard(site, shard, Input::MarkRead(user, room, marker));
            }
            SessionOutput::Bind(user) => _ = process.users.entry(user).or_default().insert(session),
            SessionOutput::Subscribe(room) => _ = process.listeners.entry(room).or_default().insert(session),
            SessionOutput::Unsubscribe(room) => {
                if let Some(listeners) = process.listeners.get_mut(&room) {
                    listeners.remove(&session);
                }
            }
            SessionOutput::Close(code, reason) => {
                self.trace.note(self.queue.now(), "close", &[site.0.into(), session.0], || {
                    format!("site {site} closes session {}: {code:?} {reason}", session.0)
                });
                if code == causeway_protocol::Code::ProtocolError {
                    return broken("honest clients are not thrown out", format!("{site:?}: {reason}"));
                }
                if let Some(pipe) = self.conns.get(&conn).map(|conn| conn.control) {
                    let said = ClosedBySite { code: code.number(), detail: reason };
                    self.send(pipe, Cargo::EndAtClient(conn, said), 1);
                }
                self.session_ended(site, session);
            }
        }
        Ok(())
    }

    fn event_may_leave(&mut self, site: SiteId, conn: ConnId, frame: &Bytes) -> Step {
        use wire::event_frame::Frame;
        let mut payload = frame.clone();
        payload.advance(4);
        let decoded = wire::EventFrame::decode(payload).or_else(|e| broken("frames decode", e.to_string()))?;
        let room = match &decoded.frame {
            Some(Frame::Event(event)) => RoomId::from_wire(&event.room),
            Some(Frame::CaughtUp(caught)) => RoomId::from_wire(&caught.room),
            Some(Frame::Summary(summary)) => RoomId::from_wire(&summary.room),
            Some(Frame::Invitations(told)) => return self.invitations_may_leave(site, conn, told),
            Some(Frame::Unchanged(unchanged)) => {
                self.coverage.hit("room unchanged");
                RoomId::from_wire(&unchanged.room)
            }
            Some(Frame::Gap(gap)) => {
                self.coverage.hit("gap told");
                RoomId::from_wire(&gap.room)
            }
            _ => return Ok(()),
        };
        let room = room.or_else(|e| broken("frames decode", e.to_string()))?;
        let shard = room.shard(self.plan.shards);
        let claimed = self.conns.get(&conn).and_then(|conn| conn.claimed.get(&room).cloned()).unwrap_or_default();
        let truth = &self.sites[usize::from(site.0) - 1].truth[usize::from(shard.0)];
        let vector = |v: &Option<wire::Vector>| {
            Vector::from_wire_opt(v.as_ref()).or_else(|e| broken("frames decode", e.to_string()))
        };
        match &decoded.frame {
            Some(Frame::Event(event)) => {
                let dot = event.dot.as_ref().map(Dot::from_wire);
                let Some(Ok(dot)) = dot else { return broken("frames decode", "an event without a dot".into()) };
                leaving::dot(site, shard, "an event", &dot, truth)
            }
            Some(Frame::CaughtUp(caught)) => {
                leaving::vector(site, shard, "a caught-up", &vector(&caught.vector)?, &claimed, truth)
            }
            Some(Frame::Summary(summary)) => {
                leaving::vector(site, shard, "a summary", &vector(&summary.upto)?, &Vector::new(), truth)
            }
            Some(Frame::Gap(gap)) => leaving::vector(site, shard, "a gap", &vector(&gap.to)?, &claimed, truth),
            _ => Ok(()),
        }
    }

    /// Of rooms that the user is invited to, as far as that is durable.
    fn invitations_may_leave(&mut self, at: SiteId, conn: ConnId, told: &wire::Invitations) -> Step {
        let Some(user) = self.conns.get(&conn).map(|conn| self.clients[conn.client].user.clone()) else {
            return Ok(());
        };
        let site = &self.sites[usize::from(at.0) - 1];
        let view = site.disk.visible();
        for invitation in &told.invitations {
            let room = RoomId::from_wire(&invitation.room).or_else(|e| broken("frames decode", e.to_string()))?;
            let Some(tag) = invitation.id else { return broken("frames decode", "an invitation without an id".into()) };
            let invited: wire::ElementRow = row_of(view, &Key::Invited(room, user.clone()));
            let request: wire::RequestRow = row_of(view, &Key::Request(room, RequestId::from_wire(&tag)));
            let truth = &site.truth[usize::from(room.shard(self.plan.shards).0)];
            let is_durable = |dot: &wire::Dot| Dot::from_wire(dot).is_ok_and(|dot| truth.covers(&dot));
            if !invited.tags.contains(&tag) || !request.dots.iter().any(is_durable) {
                return broken("an invitation that is told stands", format!("{at:?} tells {user:?} of {invitation:?}"));
            }
            self.coverage.hit("invitation told");
        }
        Ok(())
    }

    /// A live event for everybody who listens; whose queue is full reads from storage instead.
    pub fn deliver(&mut self, site: SiteId, live: SessionInput, room: RoomId) {
        let live_max = self.plan.live_queue_max;
        let Some(process) = self.sites[usize::from(site.0) - 1].process.as_mut() else { return };
        for session in process.listeners.get(&room).into_iter().flatten() {
            let Some(hosted) = process.sessions.get_mut(session) else { continue };
            if hosted.live.len() >= live_max {
                hosted.live.clear();
                hosted.overflowed = true;
                self.coverage.hit("event queue overflowed");
            } else {
                hosted.live.push_back(live.clone());
            }
        }
    }

    /// Every session goes on as far as its client reads.
    pub fn pump_sessions(&mut self, site: SiteId) -> Step {
        let sessions: Vec<SessionId> =
            self.site(site).process.iter().flat_map(|process| process.sessions.keys().copied()).collect();
        sessions.into_iter().try_for_each(|session| self.pump_session(site, session))
    }

    /// One session goes on: live events and reads, in an order of chance, while its stream has room.
    pub fn pump_session(&mut self, site: SiteId, session: SessionId) -> Step {
        for _ in 0..PUMP_MAX {
            let window = self.plan.event_window_bytes;
            let reads_first = self.chance.hosts.percent(70);
            let machine = &mut self.sites[usize::from(site.0) - 1];
            let Some(process) = machine.process.as_mut() else { return Ok(()) };
            let Some(hosted) = process.sessions.get_mut(&session) else { return Ok(()) };
            let Some(events) = self.conns.get(&hosted.conn).map(|conn| conn.events) else { return Ok(()) };
            let in_flight = self.pipes.bytes(events);
            if in_flight >= window {
                return Ok(());
            }
            if std::mem::take(&mut hosted.overflowed) {
                self.tell_session(site, session, SessionInput::Overflowed)?;
                continue;
            }
            let wants_read = hosted.session.wants_read();
            if wants_read && (reads_first || hosted.live.is_empty()) {
                let mut out = Vec::new();
                let view = machine.disk.visible();
                no_view_error(hosted.session.read(view, &process.published, window - in_flight, &mut out))?;
                self.session_outputs(site, session, out)?;
            } else if let Some(live) = hosted.live.pop_front() {
                self.tell_session(site, session, live)?;
            } else {
                return Ok(());
            }
        }
        broken("every loop ends", format!("session {} of {site:?} reads and reads", session.0))
    }

    /// The site learns that a connection is gone.
    pub fn conn_ended(&mut self, id: ConnId) -> Step {
        let Some((site, Some((epoch, session)))) = self.conns.get(&id).map(|conn| (conn.site, conn.session)) else {
            return Ok(());
        };
        if self.site(site).process.as_ref().is_some_and(|process| process.epoch == epoch) {
            self.session_ended(site, session);
        }
        if self.conns.get(&id).is_some_and(|conn| !conn.at_client) {
            self.forget_conn(id);
        }
        Ok(())
    }

    /// Nothing more goes to this session.
    fn session_ended(&mut self, site: SiteId, session: SessionId) {
        let Some(process) = self.site(site).process.as_mut() else { return };
        let Some(hosted) = process.sessions.remove(&session) else { return };
        process.listeners.values_mut().for_each(|listeners| _ = listeners.remove(&session));
        process.users.values_mut().for_each(|sessions| _ = sessions.remove(&session));
        if let Some(conn) = self.conns.get_mut(&hosted.conn) {
            conn.session = None;
        }
        self.checks.sends.session_gone(site, session);
        self.tell_shards(site, &Input::SessionEnded(session));
    }

    /// Everything in flight is lost.
    pub fn forget_conn(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.remove(&id) {
            [conn.up, conn.control, conn.events].into_iter().for_each(|pipe| self.pipes.close(pipe));
        }
    }

    /// A connection breaks: both ends learn of it, sooner or later.
    pub fn break_conn(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        self.coverage.hit("connection broke");
        [conn.up, conn.control, conn.events].into_iter().for_each(|pipe| self.pipes.close(pipe));
        let (at_client, at_site) = (self.chance.hosts.below(300 * MS), self.chance.hosts.below(3 * SECOND));
        self.queue.after(at_client, Event::ConnFailed(id));
        self.queue.after(at_site, Event::ConnEnded(id));
    }

    /// Connections whose path has been cut for long break.
    pub fn look_after_connections(&mut self, site: SiteId) -> Step {
        let now = self.now();
        let mut silent = Vec::new();
        for (id, conn) in self.conns.iter_mut().filter(|(_, conn)| conn.site == site) {
            let (client, site) = (Place::Client(conn.client), Place::Site(conn.site));
            if self.net.open(client, site) && self.net.open(site, client) {
                conn.cut_since = None;
            } else if now - *conn.cut_since.get_or_insert(now) > CONNECTION_SILENCE_MAX {
                conn.cut_since = Some(now);
                silent.push(*id);
            }
        }
        silent.into_iter().for_each(|id| self.break_conn(id));
        Ok(())
    }

    /// A dead process says nothing. Half of its clients are told by the machine, the others must notice.
    pub fn connections_of_dead_process(&mut self, site: SiteId) {
        let conns: Vec<ConnId> = self.conns.iter().filter(|(_, conn)| conn.site == site).map(|(id, _)| *id).collect();
        for id in conns {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            if conn.session.take().is_none() && conn.at_client {
                continue; // Still dialling: the dial will find nobody.
            }
            let client = Place::Client(conn.client);
            [conn.up, conn.control, conn.events].into_iter().for_each(|pipe| self.pipes.close(pipe));
            let delay = match self.chance.hosts.percent(50) {
                true => self.net.stream_delay(Place::Site(site), client),
                false => self.chance.hosts.within(5, 15) * SECOND,
            };
            self.queue.after(delay, Event::ConnFailed(id));
        }
    }

    /// The shard of a room.
    pub fn shard_of(&self, room: &RoomId) -> ShardId {
        room.shard(self.plan.shards)
    }
}

fn row_of<M: Message + Default>(view: &dyn View, key: &Key) -> M {
    let row = view.get(key.family(), &key.encode()).ok().flatten();
    row.and_then(|row| M::decode(row).ok()).unwrap_or_default()
}

/// A session's output, in words.
fn words(output: &SessionOutput) -> String {
    let decoded = |frame: &Bytes| {
        let payload = frame.slice(4..);
        wire::EventFrame::decode(payload).ok().and_then(|frame| frame.frame)
    };
    match output {
        SessionOutput::Event(frame) => match decoded(frame) {
            Some(wire::event_frame::Frame::Event(event)) => {
                let dot = event.dot.as_ref().and_then(|dot| Dot::from_wire(dot).ok());
                format!("event {:?} in {:?}", dot, RoomId::from_wire(&event.room))
            }
            Some(wire::event_frame::Frame::CaughtUp(caught)) => {
                format!(
                    "caught up {:?} {:?}",
                    RoomId::from_wire(&caught.room),
                    Vector::from_wire_opt(caught.vector.as_ref())
                )
            }
            Some(wire::event_frame::Frame::Gap(gap)) => format!("gap {:?}", RoomId::from_wire(&gap.room)),
            Some(wire::event_frame::Frame::RoomOpened(opened)) => {
                format!("opened {:?}", RoomId::from_wire(&opened.room))
            }
            Some(wire::event_frame::Frame::Summary(summary)) => {
                let of = |vector: &Option<wire::Vector>| Vector::from_wire_opt(vector.as_ref());
                format!(
                    "summary {:?} upto {:?} marker {:?} unread {} mentions {}",
                    RoomId::from_wire(&summary.room),
                    of(&summary.upto),
                    of(&summary.marker),
                    summary.unread,
                    summary.mentions
                )
            }
            Some(wire::event_frame::Frame::Unchanged(unchanged)) => {
                format!("unchanged {:?}", RoomId::from_wire(&unchanged.room))
            }
            Some(wire::event_frame::Frame::RoomClosed(closed)) => {
                format!("closed {:?}", RoomId::from_wire(&closed.room))
            }
            Some(wire::event_frame::Frame::Invitations(told)) => format!("{} invitations", told.invitations.len()),
            None => "nothing".into(),
        },
        SessionOutput::Control(frame) => format!("control {} bytes", frame.len()),
        other => format!("{other:?}"),
    }
}
