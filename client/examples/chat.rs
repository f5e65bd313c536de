//! A terminal chat, to watch a site die and the conversation go on.
//!
//! ```text
//! cargo run --release -p causeway-client --example chat -- --sites 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003 \
//!     --ca dev/ca.pem --user ann --create lunch
//! cargo run --release -p causeway-client --example chat -- --sites … --ca dev/ca.pem --user bob --room ROOM
//! ```
//!
//! Beside each own message: `…` in the outbox, `✓` fsynced at one site, `✓✓` safe against the loss of a site, `⏸` refused
//! for now and waiting, `✗` refused. Enter sends, Page Up fetches older messages, Esc leaves. Messages are numbered: `/re 3
//! text` answers the third, `/edit 3 text` edits it, `/gone 3` takes it away, `/+ 3 👍` reacts to it and `/- 3 👍` takes that
//! back. Who has a role that allows it: `/role bob moderator`, `/kick bob noise`, `/ban bob noise`, `/unban bob`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use causeway_client::store::{FileStore, MemoryStore, Store, Sync};
use causeway_client::timeline::{Content, Timeline};
use causeway_client::{
    ChangeKind, Client, Config, Connector, Direction, Event, Handle, RequestId, RoomId, SendError, SiteConfig, Standby,
    Status, UnknownRole, UserId,
};
use clap::Parser;
use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};
use ratatui::{DefaultTerminal, Frame};

/// How often the screen is drawn when nothing happens: the status line shows ages.
const REDRAW: Duration = Duration::from_millis(100);
/// How long the keyboard thread waits before it looks whether the chat has ended.
const KEYBOARD_WAIT: Duration = Duration::from_millis(100);
/// Messages fetched with one Page Up, and at the start.
const PAGE: u32 = 50;
/// Lines kept.
const LINES_MAX: usize = 2_000;
/// Keys typed ahead of the screen.
const KEYS_MAX: usize = 256;

/// A terminal chat over Causeway.
#[derive(Parser)]
struct Options {
    /// Sites as host:port, separated by commas; the first is the preferred home.
    #[arg(long, value_delimiter = ',', required = true)]
    sites: Vec<String>,
    /// PEM file with the roots of trust.
    #[arg(long)]
    ca: PathBuf,
    /// Who you are.
    #[arg(long)]
    user: String,
    /// A token, where the sites want one: see `causeway-relay token`.
    #[arg(long, env = "CAUSEWAY_TOKEN", hide_env_values = true, default_value = "")]
    token: String,
    /// The room to join: 32 hexadecimal digits.
    #[arg(long)]
    room: Option<String>,
    /// Make a room of this name instead.
    #[arg(long, conflicts_with = "room")]
    create: Option<String>,
    /// The name in the sites' certificates; without it the host of the address.
    #[arg(long)]
    server_name: Option<String>,
    /// Keep outbox and cursor in this file, so that nothing typed is lost.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Hold no standby connection.
    #[arg(long)]
    cold: bool,
}

/// An own message that no site has handed back yet.
struct Sent {
    text: String,
    handle: Handle,
}

struct Chat {
    client: Client,
    user: String,
    room: RoomId,
    room_name: String,
    /// By place: a message that comes late goes where it belongs.
    timeline: Timeline,
    /// Joins, leaves and other things that are said between messages, by place.
    said: BTreeMap<RequestId, String>,
    /// Own messages of this start, by place: for their marks.
    sent: BTreeMap<RequestId, Sent>,
    /// Own edits, reactions and the like that have no answer yet.
    changes: Vec<Handle>,
    /// What happened to the session, newest last.
    notices: Vec<String>,
    input: String,
    older: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let client = connect(&options).await?;
    let (room, room_name) = match (&options.room, &options.create) {
        (Some(room), _) => {
            let room = RoomId::parse(room).context("--room")?;
            client.join(room)?;
            (room, String::new())
        }
        (None, name) => {
            let name = name.as_deref().unwrap_or("lounge");
            let (room, _) = client.create_room(name, true)?;
            (room, name.to_owned())
        }
    };
    let user = options.user.clone();
    let mut chat = Chat {
        client,
        user,
        room,
        room_name,
        timeline: Timeline::new(LINES_MAX),
        said: BTreeMap::new(),
        sent: BTreeMap::new(),
        changes: Vec::new(),
        notices: Vec::new(),
        input: String::new(),
        older: true,
    };
    let mut terminal = ratatui::init();
    let ended = chat.run(&mut terminal).await;
    ratatui::restore();
    chat.client.close().await;
    println!("room {room}");
    ended
}

async fn connect(options: &Options) -> anyhow::Result<Client> {
    let pem = std::fs::read(&options.ca).with_context(|| format!("cannot read {}", options.ca.display()))?;
    let mut connector = Connector::new(Connector::roots_of_pem(&pem)?)?;
    if let Some(name) = &options.server_name {
        connector = connector.server_name(name);
    }
    let site = |address: &String| SiteConfig { name: String::new(), addresses: vec![address.clone()] };
    let sites = options.sites.iter().map(site).collect();
    let store: Box<dyn Store> = match &options.store {
        Some(path) => Box::new(FileStore::open(path, Sync::Disk)?),
        None => Box::new(MemoryStore::new()),
    };
    let mut config =
        Config::new(UserId::new(&options.user).context("--user")?, sites, connector).token(options.token.clone());
    config.store = store;
    config.session.standby = if options.cold { Standby::Cold } else { Standby::Warm };
    Client::connect(config).await.context("no site would have us")
}

impl Chat {
    async fn run(&mut self, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
        let mut keys = keyboard();
        let mut redraw = tokio::time::interval(REDRAW);
        let mut events = Vec::new();
        self.fetch_older().await;
        loop {
            self.look_after_changes();
            let status = self.client.status();
            terminal.draw(|frame| self.draw(frame, &status))?;
            tokio::select! {
                taken = self.client.next_events(&mut events, 256) => {
                    anyhow::ensure!(taken > 0, "the client was closed");
                    events.drain(..).for_each(|event| self.see(event));
                }
                key = keys.recv() => {
                    let Some(key) = key else { return Ok(()) };
                    if !self.key(key?).await {
                        return Ok(());
                    }
                }
                _ = redraw.tick() => {}
            }
        }
    }

    /// A key was pressed; `false` ends the chat.
    async fn key(&mut self, key: KeyEvent) -> bool {
        match key.code {
            KeyCode::Esc => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char(c) => self.input.push(c),
            KeyCode::Backspace => _ = self.input.pop(),
            KeyCode::PageUp => self.fetch_older().await,
            KeyCode::Enter if !self.input.trim().is_empty() => self.send(),
            _ => {}
        }
        true
    }

    fn send(&mut self) {
        match self.submit() {
            Ok(()) => self.input.clear(),
            // The text stays in the input line, to be sent again.
            Err(words) => self.notices.push(words),
        }
    }

    fn submit(&mut self) -> Result<(), String> {
        let words = |e: SendError| e.to_string();
        let (room, input) = (self.room, self.input.clone());
        let Some(command) = input.strip_prefix('/') else {
            let handle = self.client.send(room, "text/plain", input.clone()).map_err(words)?;
            self.put_sent(input, handle);
            return Ok(());
        };
        let mut parts = command.splitn(3, ' ');
        let (name, number, rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default().trim().to_owned());
        if let Some(sent) = self.use_right(name.unwrap_or_default(), number.unwrap_or_default(), &rest) {
            self.changes.push(sent?);
            return Ok(());
        }
        let target = number.and_then(|number| number.parse::<usize>().ok()).and_then(|number| self.numbered(number));
        let target = target.ok_or("which message? For example: /edit 3 text")?;
        let needs_text = |what: &str| if rest.is_empty() { Err(format!("{what} what?")) } else { Ok(()) };
        let sent = match name {
            Some("re") => {
                needs_text("answer")?;
                let handle = self.client.reply(room, target, "text/plain", rest.clone()).map_err(words)?;
                self.put_sent(rest, handle);
                return Ok(());
            }
            Some("edit") => {
                needs_text("edit to")?;
                self.client.edit(room, target, "text/plain", rest)
            }
            Some("gone") => self.client.redact(room, target),
            Some("+") => self.client.react(room, target, &rest),
            Some("-") => self.client.unreact(room, target, &rest),
            _ => {
                let words = "commands: /re, /edit, /gone, /+, /-, with a message's number; /role, /kick, /ban, /unban";
                return Err(words.to_owned());
            }
        };
        self.changes.push(sent.map_err(words)?);
        Ok(())
    }

    /// Commands about a user; `None` for others.
    fn use_right(&self, name: &str, user: &str, rest: &str) -> Option<Result<Handle, String>> {
        if !["role", "kick", "ban", "unban"].contains(&name) {
            return None;
        }
        let sent = UserId::new(user).map_err(|e| e.to_string()).and_then(|user| {
            let sent = match name {
                "role" => self.client.set_role(self.room, user, rest.parse().map_err(|e: UnknownRole| e.to_string())?),
                "kick" => self.client.kick(self.room, user, rest),
                "ban" => self.client.ban(self.room, user, rest, None),
                _ => self.client.lift_ban(self.room, user),
            };
            sent.map_err(|e| e.to_string())
        });
        Some(sent)
    }

    /// Says which changes were refused, and forgets those that have their answer.
    fn look_after_changes(&mut self) {
        let Self { changes, notices, .. } = self;
        changes.retain(|handle| {
            let end = handle.end();
            if let Some(Err(refusal)) = &end {
                notices.push(format!("refused: {}", refusal.detail));
            }
            end.is_none()
        });
    }

    fn put_sent(&mut self, text: String, handle: Handle) {
        self.sent.insert(handle.id(), Sent { text, handle });
        while self.sent.len() > LINES_MAX {
            self.sent.pop_first();
        }
    }

    /// Messages are numbered from the newest, 1, upwards.
    fn numbered(&self, number: usize) -> Option<RequestId> {
        self.timeline.iter().rev().nth(number.checked_sub(1)?).map(|(id, _)| id)
    }

    fn see(&mut self, event: Event) {
        match event {
            Event::Message(ref message) if message.room == self.room => _ = self.timeline.see(&event),
            Event::Change(change) if change.room == self.room => {
                let event = Event::Change(change);
                if self.timeline.see(&event).is_some() {
                    return;
                }
                let Event::Change(change) = event else { return };
                let text = match change.kind {
                    ChangeKind::Created { name, .. } => {
                        let text = format!("made the room “{name}”");
                        self.room_name = name;
                        text
                    }
                    ChangeKind::Renamed(name) => {
                        let text = format!("named the room “{name}”");
                        self.room_name = name;
                        text
                    }
                    ChangeKind::Joined => "joined".to_owned(),
                    ChangeKind::Left => "left".to_owned(),
                    ChangeKind::Invited(user) => format!("invited {user}"),
                    ChangeKind::RoleSet { user, role: Some(role) } => format!("gave {user} the role of {role}"),
                    ChangeKind::Kicked { user, reason } => format!("threw {user} out{}", because(&reason)),
                    ChangeKind::Banned { user, reason, until_ms: 0 } => format!("banned {user}{}", because(&reason)),
                    ChangeKind::Banned { user, reason, .. } => format!("banned {user} for a time{}", because(&reason)),
                    ChangeKind::BanLifted(user) => format!("lets {user} in again"),
                    _ => "did something that this version does not know".to_owned(),
                };
                self.said.insert(change.id, format!("{} {text}", change.user));
                while self.said.len() > LINES_MAX {
                    self.said.pop_first();
                }
            }
            Event::RoomOpened { room, name, .. } if room == self.room => self.room_name = name,
            Event::RoomClosed { room } if room == self.room => {
                self.notices.push("the room is closed to us: we left, or somebody threw us out".to_owned());
            }
            Event::Gap(gap) if gap.room == self.room => {
                self.older = true;
                self.notices.push(format!("{} older messages were left out: Page Up fetches them", gap.missing));
            }
            Event::Moved { from, to, reason } => self.notices.push(match from {
                Some(from) => format!("moved from {from} to {to}: {reason:?}"),
                None => format!("connected to {to}"),
            }),
            Event::SessionRefused { site, code, detail } => {
                self.notices.push(format!("{site} refuses us with code {code}: {detail}"));
            }
            _ => {}
        }
    }

    async fn fetch_older(&mut self) {
        if !self.older {
            return;
        }
        let message = self.timeline.iter().find(|(_, entry)| entry.message().is_some()).map(|(id, _)| id);
        let from = message.into_iter().chain(self.said.keys().next().copied()).min();
        match self.client.history(self.room, from, Direction::Backward, PAGE).await {
            Ok(page) => {
                self.older = page.more;
                page.events.into_iter().for_each(|event| self.see(event));
            }
            // A room that is just being made has no history.
            Err(e) if from.is_some() => self.notices.push(format!("no older messages: {e}")),
            Err(_) => {}
        }
    }

    // ---- the screen

    fn draw(&self, frame: &mut Frame<'_>, status: &Status) {
        let notices = self.notices.len().min(3) as u16;
        let rows = [
            Constraint::Length(1),
            Constraint::Min(3),
            Constraint::Length(notices),
            Constraint::Length(3),
            Constraint::Length(1),
        ];
        let [title, messages, news, input, bottom] = Layout::vertical(rows).areas(frame.area());
        let name = if self.room_name.is_empty() { "room" } else { &self.room_name };
        let head = Line::from(vec![name.to_owned().bold(), format!("  --room {}", self.room).dim()]);
        frame.render_widget(Paragraph::new(head), title);

        let lines = self.lines();
        let skip = lines.len().saturating_sub(usize::from(messages.height));
        frame.render_widget(Paragraph::new(lines[skip..].to_vec()), messages);
        let last = self.notices.iter().skip(self.notices.len() - usize::from(notices));
        let last: Vec<_> = last.map(|notice| Line::from(notice.as_str().yellow())).collect();
        frame.render_widget(Paragraph::new(last), news);
        let typed = format!("{}▏", self.input);
        frame.render_widget(Paragraph::new(typed).block(Block::bordered().title(self.user.as_str())), input);
        frame.render_widget(Paragraph::new(status_line(status)), bottom);
    }
}

impl Chat {
    /// Everything in its place, oldest first.
    fn lines(&self) -> Vec<Line<'_>> {
        let places: BTreeSet<RequestId> = self
            .timeline
            .iter()
            .map(|(id, _)| id)
            .chain(self.said.keys().copied())
            .chain(self.sent.keys().copied())
            .collect();
        let count = self.timeline.iter().count();
        let numbers: BTreeMap<RequestId, usize> =
            self.timeline.iter().enumerate().map(|(at, (id, _))| (id, count - at)).collect();
        places.into_iter().map(|id| self.line(id, numbers.get(&id).copied())).collect()
    }

    fn line(&self, id: RequestId, number: Option<usize>) -> Line<'_> {
        if let Some(said) = self.said.get(&id) {
            return Line::from(format!("         {said}").dim());
        }
        let sent = self.sent.get(&id);
        let number = number.map_or_else(String::new, |number| number.to_string());
        let mut spans = vec![Span::raw(format!("{number:>4} ")).dim()];
        spans.push(sent.map_or(Span::raw("   "), |sent| mark(&sent.handle)));
        let entry = self.timeline.get(id).filter(|entry| entry.message().is_some() || sent.is_none());
        let Some(entry) = entry else {
            spans.extend([self.user.as_str().cyan(), Span::raw(": ")]);
            spans.extend(sent.map(|sent| Span::raw(sent.text.as_str())));
            return Line::from(spans);
        };
        if let Some(message) = entry.message() {
            spans.extend([message.user.as_str().cyan(), Span::raw(": ")]);
            spans.extend(message.reply_to.map(|to| self.quoted(to)));
        }
        spans.push(match entry.content() {
            Content::Text { content, .. } => Span::raw(String::from_utf8_lossy(content).into_owned()),
            Content::Gone => "taken back".dim().italic(),
            Content::Unknown => "a message that has not come yet".dim().italic(),
        });
        if let Content::Text { edited: true, .. } = entry.content() {
            spans.push(" (edited)".dim());
        }
        for (symbol, users) in entry.reactions() {
            spans.push(format!("  {symbol} {}", users.len()).magenta());
        }
        Line::from(spans)
    }

    /// The beginning of the message that is answered.
    fn quoted(&self, id: RequestId) -> Span<'static> {
        let content = self.timeline.get(id).map(|entry| entry.content());
        let text = match content {
            Some(Content::Text { content, .. }) => String::from_utf8_lossy(content).chars().take(20).collect(),
            Some(Content::Gone) => "taken back".to_owned(),
            Some(Content::Unknown) | None => "…".to_owned(),
        };
        format!("↪ “{text}” ").dim()
    }
}

fn mark(handle: &Handle) -> Span<'static> {
    match (handle.end(), handle.is_stored(), handle.parked()) {
        (Some(Ok(_)), ..) => "✓✓ ".green(),
        (Some(Err(_)), ..) => "✗  ".red(),
        (None, _, Some(_)) => "⏸  ".yellow(),
        (None, Some(_), None) => "✓  ".green(),
        (None, None, None) => "…  ".dim(),
    }
}

fn status_line(status: &Status) -> Line<'static> {
    let site = match status.site {
        Some(_) => format!(" {} ", status.site_name).bg(Color::Green).black(),
        None => " no site ".bg(Color::Red).white(),
    };
    let standby = status.standby.as_deref().unwrap_or("none").to_owned();
    let rest = format!(
        " for {} s · {:.1} ms · standby {standby} · outbox {} ({} stored{}) · move {}",
        status.since.as_secs(),
        status.rtt.as_secs_f64() * 1e3,
        status.outbox_requests,
        status.outbox_stored,
        if status.outbox_parked > 0 { format!(", {} parked", status.outbox_parked) } else { String::new() },
        status.homes.saturating_sub(1),
    );
    let error = status.store_error.clone().map(|e| format!(" · {e}").red());
    let mut spans = vec![site, Span::styled(rest, Style::new().dim())];
    spans.extend(error);
    Line::from(spans)
}

/// Keys, read on a thread of their own: the terminal can only be waited for.
fn keyboard() -> tokio::sync::mpsc::Receiver<io::Result<KeyEvent>> {
    let (send, receive) = tokio::sync::mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while !send.is_closed() {
            let read = || match crossterm::event::poll(KEYBOARD_WAIT)? {
                true => crossterm::event::read().map(Some),
                false => Ok(None),
            };
            let sent = match read() {
                Ok(Some(TerminalEvent::Key(key))) if key.kind == KeyEventKind::Press => send.blocking_send(Ok(key)),
                Ok(_) => Ok(()),
                Err(e) => {
                    // Reading will not get better: the chat ends with the reason.
                    let _ = send.blocking_send(Err(e));
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    receive
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}
