//! A terminal chat, to watch a site die and the conversation go on.
//!
//! ```text
//! cargo run --release -p causeway-client --example chat -- --sites 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003 \
//!     --ca dev/ca.pem --user ann --create lunch
//! cargo run --release -p causeway-client --example chat -- --sites … --ca dev/ca.pem --user bob --room ROOM
//! ```
//!
//! Beside each own message: `…` in the outbox, `✓` fsynced at one site, `✓✓` safe against the loss of a site, `⏸` refused
//! for now and waiting, `✗` refused. Enter sends, Page Up fetches older messages, Esc leaves.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use causeway_client::store::{FileStore, MemoryStore, Store, Sync};
use causeway_client::{
    ChangeKind, Client, Config, Connector, Direction, Event, Handle, Message, RequestId, RoomId, SiteConfig, Standby,
    Status, UserId,
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

/// One line of the conversation.
struct Entry {
    user: String,
    text: String,
    /// `None` for what others wrote.
    handle: Option<Handle>,
    notice: bool,
}

struct Chat {
    client: Client,
    user: String,
    room: RoomId,
    room_name: String,
    /// By place: a message that comes late goes where it belongs.
    entries: BTreeMap<RequestId, Entry>,
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
    let (entries, notices) = (BTreeMap::new(), Vec::new());
    let mut chat = Chat { client, user, room, room_name, entries, notices, input: String::new(), older: true };
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
        match self.client.send(self.room, "text/plain", self.input.clone()) {
            Ok(handle) => {
                let text = std::mem::take(&mut self.input);
                self.put(handle.id(), Entry { user: self.user.clone(), text, handle: Some(handle), notice: false });
            }
            // The text stays in the input line, to be sent again.
            Err(e) => self.notices.push(e.to_string()),
        }
    }

    fn see(&mut self, event: Event) {
        match event {
            Event::Message(message) if message.room == self.room => self.message(message),
            Event::Change(change) if change.room == self.room => {
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
                    ChangeKind::Unknown => "did something that this version does not know".to_owned(),
                };
                self.put(change.id, Entry { user: change.user, text, handle: None, notice: true });
            }
            Event::RoomOpened { room, name, .. } if room == self.room => self.room_name = name,
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

    fn message(&mut self, message: Message) {
        let text = match message.body_gone {
            true => "(gone)".to_owned(),
            false => String::from_utf8_lossy(&message.content).into_owned(),
        };
        let handle = self.entries.remove(&message.id).and_then(|entry| entry.handle);
        self.put(message.id, Entry { user: message.user, text, handle, notice: false });
    }

    fn put(&mut self, id: RequestId, entry: Entry) {
        self.entries.insert(id, entry);
        while self.entries.len() > LINES_MAX {
            self.entries.pop_first();
        }
    }

    async fn fetch_older(&mut self) {
        if !self.older {
            return;
        }
        let from = self.entries.first_key_value().map(|(id, _)| *id);
        match self.client.history(self.room, from, Direction::Backward, PAGE).await {
            Ok(page) => {
                self.older = page.more;
                page.events.into_iter().for_each(|event| self.see(event));
            }
            // A room that is just being made has no history.
            Err(e) if !self.entries.is_empty() => self.notices.push(format!("no older messages: {e}")),
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

        let lines: Vec<Line<'_>> = self.entries.values().map(line).collect();
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

fn line(entry: &Entry) -> Line<'_> {
    if entry.notice {
        return Line::from(format!("  {} {}", entry.user, entry.text).dim());
    }
    let mark = match &entry.handle {
        None => Span::raw("   "),
        Some(handle) => mark(handle),
    };
    Line::from(vec![mark, entry.user.as_str().cyan(), Span::raw(": "), Span::raw(entry.text.as_str())])
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
