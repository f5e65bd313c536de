//! What happens: events, keys, answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use causeway_client::{Client, Event, Handle, RoomId, RoomView};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::DefaultTerminal;

use crate::keyboard::keys;
use crate::questions::{Answer, Questions};
use crate::room::Room;

/// How often the screen is drawn when nothing happens: the status line shows ages.
const REDRAW: Duration = Duration::from_millis(100);
/// How often it is asked who is there and who has read what.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Without a key for so long, nobody is looking.
const AWAY_AFTER: Duration = Duration::from_secs(120);
/// Notices kept.
const NOTICES_MAX: usize = 100;

/// The whole messenger.
pub struct Chat {
    pub client: Client,
    pub user: String,
    /// The room that is shown.
    pub open: Option<RoomId>,
    pub rooms: BTreeMap<RoomId, Room>,
    /// The list of rooms, as it is shown.
    pub list: Vec<RoomView>,
    /// Own edits, reactions and the like that have no answer yet.
    pub changes: Vec<Handle>,
    /// What happened to the session, newest last.
    pub notices: Vec<String>,
    pub input: String,
    /// When it was last asked how things stand; `None`: at once. And whether the answer is still due.
    asked: Option<Instant>,
    asking: bool,
    last_key: Instant,
}

impl Chat {
    /// With a room to begin with, or without.
    pub fn new(client: Client, user: String, open: Option<RoomId>) -> Self {
        Self {
            client,
            user,
            open,
            rooms: BTreeMap::new(),
            list: Vec::new(),
            changes: Vec::new(),
            notices: Vec::new(),
            input: String::new(),
            asked: None,
            asking: false,
            last_key: Instant::now(),
        }
    }

    /// Runs until the user leaves.
    pub async fn run(&mut self, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
        let mut keys = keys();
        let mut redraw = tokio::time::interval(REDRAW);
        let mut events = Vec::new();
        let (questions, mut answers) = Questions::new(self.client.clone());
        loop {
            self.look_after_changes();
            self.list = self.client.rooms();
            // Whoever has rooms begins in the first of them.
            self.open = self.open.or(self.list.first().map(|view| view.room));
            self.read_and_ask(&questions);
            let status = self.client.status();
            terminal.draw(|frame| self.draw(frame, &status))?;
            tokio::select! {
                taken = self.client.next_events(&mut events, 256) => {
                    anyhow::ensure!(taken > 0, "the client was closed");
                    events.drain(..).for_each(|event| self.see(event));
                }
                key = keys.recv() => {
                    let Some(key) = key else { return Ok(()) };
                    if !self.key(key?) {
                        return Ok(());
                    }
                }
                Some(answer) = answers.recv() => self.hear(answer),
                _ = redraw.tick() => {
                    self.client.set_away(self.last_key.elapsed() > AWAY_AFTER);
                    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
                    self.rooms.values_mut().for_each(|room| _ = room.timeline.expire(now as u64));
                }
            }
        }
    }

    /// Ends the session; the room that was shown.
    pub async fn close(self) -> Option<RoomId> {
        self.client.close().await;
        self.open
    }

    /// What is kept of a room.
    pub fn room(&mut self, room: RoomId) -> &mut Room {
        self.rooms.entry(room).or_insert_with(Room::new)
    }

    /// Shows another room.
    pub fn enter(&mut self, room: RoomId) {
        (self.open, self.asked) = (Some(room), None);
    }

    fn notice(&mut self, words: String) {
        self.notices.push(words);
        if self.notices.len() > NOTICES_MAX {
            self.notices.remove(0);
        }
    }

    /// What is shown has been read; and what the screen wants to know is asked for.
    fn read_and_ask(&mut self, questions: &Questions) {
        let Some(open) = self.open else { return };
        let Some(view) = self.list.iter().find(|view| view.room == open) else { return };
        if view.unread > 0 && !view.marked_unread {
            self.client.mark_read(open);
        }
        let user = self.user.clone();
        let room = self.room(open);
        if !std::mem::replace(&mut room.asked, true) {
            questions.older(open, None);
        }
        let own = room.newest_of(&user);
        if !self.asking && self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
            (self.asking, self.asked) = (true, Some(Instant::now()));
            questions.standing(open, own);
        }
        let room = self.room(open);
        if let Some(from) = std::mem::take(&mut room.wants_older).then(|| room.oldest()).flatten() {
            questions.older(open, Some(from));
        }
    }

    /// A key was pressed; `false` ends the chat.
    fn key(&mut self, key: KeyEvent) -> bool {
        self.last_key = Instant::now();
        match key.code {
            KeyCode::Esc => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Tab | KeyCode::Down => self.turn(1),
            KeyCode::BackTab | KeyCode::Up => self.turn(-1),
            KeyCode::Char(c) => {
                self.input.push(c);
                if let Some(room) = self.open.filter(|_| !self.input.starts_with('/')) {
                    self.client.typing(room);
                }
            }
            KeyCode::Backspace => _ = self.input.pop(),
            KeyCode::PageUp => {
                if let Some(open) = self.open {
                    let room = self.room(open);
                    room.wants_older = room.older;
                }
            }
            KeyCode::Enter if !self.input.trim().is_empty() => {
                let input = std::mem::take(&mut self.input);
                if let Err(words) = self.submit(&input) {
                    self.notice(words);
                    // The text stays in the input line, to be sent again.
                    self.input = input;
                }
            }
            _ => {}
        }
        true
    }

    /// Goes so many rooms down the list.
    fn turn(&mut self, by: isize) {
        let at = self.list.iter().position(|view| Some(view.room) == self.open).unwrap_or(0);
        let count = self.list.len() as isize;
        if count > 0 {
            let next = (at as isize + by).rem_euclid(count) as usize;
            self.enter(self.list[next].room);
        }
    }

    /// Says which changes were refused, and forgets those that have their answer.
    fn look_after_changes(&mut self) {
        let mut refused = Vec::new();
        self.changes.retain(|handle| {
            let end = handle.end();
            if let Some(Err(refusal)) = &end {
                refused.push(format!("refused: {}", refusal.detail));
            }
            end.is_none()
        });
        refused.into_iter().for_each(|words| self.notice(words));
    }

    fn see(&mut self, event: Event) {
        match event {
            Event::Message(ref message) => {
                let room = message.room;
                self.room(room).see(event);
            }
            Event::Change(ref change) => {
                let room = change.room;
                self.room(room).see(event);
            }
            Event::RoomOpened { room, name, direct, .. } => self.room(room).name = direct.unwrap_or(name),
            Event::RoomClosed { room } => {
                let name = self.room(room).name.clone();
                self.notice(format!("“{name}” is closed to us: we left, or somebody threw us out"));
                if self.open == Some(room) {
                    self.open = None;
                }
            }
            Event::InvitationsChanged => {
                if let Some(to) = self.client.invitations().first() {
                    self.notice(format!("{} invites us to “{}”: /accept or /decline", to.by, to.name));
                }
            }
            Event::Typing { room, user } => _ = self.room(room).typing.insert(user),
            Event::TypingEnded { room, user } => _ = self.room(room).typing.remove(&user),
            Event::Gap(gap) => {
                self.room(gap.room).older = true;
                self.notice(format!("{} older messages were left out: Page Up fetches them", gap.missing));
            }
            Event::Moved { from, to, reason } => self.notice(match from {
                Some(from) => format!("moved from {from} to {to}: {reason:?}"),
                None => format!("connected to {to}"),
            }),
            Event::SessionRefused { site, code, detail } => {
                self.notice(format!("{site} refuses us with code {code}: {detail}"));
            }
            _ => {}
        }
    }

    fn hear(&mut self, answer: Answer) {
        match answer {
            Answer::Older { room, page: Ok(page), .. } => {
                self.room(room).older = page.more;
                page.events.into_iter().for_each(|event| self.see(event));
            }
            // A room that is just being made has no history.
            Answer::Older { first: true, .. } => {}
            Answer::Older { page: Err(e), .. } => self.notice(format!("no older messages: {e}")),
            Answer::Standing { room, members, unread } => {
                self.asking = false;
                let room = self.room(room);
                if !members.is_empty() {
                    room.members = members;
                }
                room.put_unread(unread);
            }
        }
    }
}
