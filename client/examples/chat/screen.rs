//! The screen.

use std::collections::{BTreeMap, BTreeSet};

use causeway_client::timeline::Content;
use causeway_client::{Handle, Invitation, Presence, RequestId, RoomView, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use crate::chat::Chat;
use crate::room::Room;

/// Columns of the list of rooms.
const LIST_WIDTH: u16 = 20;
/// Columns of number, mark and count in front of a message.
const INDENT: usize = 10;
/// Notices shown.
const NOTICES_SHOWN: usize = 2;

impl Chat {
    pub fn draw(&self, frame: &mut Frame<'_>, status: &Status) {
        let [top, bottom] = Layout::vertical([Constraint::Min(8), Constraint::Length(1)]).areas(frame.area());
        let [list, right] = Layout::horizontal([Constraint::Length(LIST_WIDTH), Constraint::Min(20)]).areas(top);
        self.draw_list(frame, list);
        self.draw_room(frame, right);
        frame.render_widget(Paragraph::new(status_line(status)), bottom);
    }

    fn draw_list(&self, frame: &mut Frame<'_>, area: Rect) {
        let width = usize::from(LIST_WIDTH) - 2;
        let mut lines: Vec<Line<'_>> = self.list.iter().map(|view| self.list_line(view, width)).collect();
        let invited = |to: &Invitation| Line::from(format!("✉ {} ({})", to.name, to.by).cyan());
        lines.extend(self.client.invitations().iter().map(invited));
        // The open one is always in sight.
        let at = self.list.iter().position(|view| Some(view.room) == self.open).unwrap_or(0);
        let skip = (at + 1).saturating_sub(usize::from(area.height));
        lines.drain(..skip);
        frame.render_widget(Paragraph::new(lines).block(Block::new().borders(Borders::RIGHT)), area);
    }

    fn list_line(&self, view: &RoomView, width: usize) -> Line<'static> {
        let count = match (view.unread, view.mentions) {
            (0, _) if view.marked_unread => " •".to_owned(),
            (0, _) => String::new(),
            (unread, 0) => format!(" {unread}"),
            (unread, _) => format!(" @{unread}"),
        };
        let named = title_of(view).unwrap_or("room");
        let typing = self.rooms.get(&view.room).is_some_and(|room| !room.typing.is_empty());
        let name: String = format!("{named}{}", if typing { " …" } else { "" });
        let room_left = width.saturating_sub(count.chars().count());
        let name = format!("{:room_left$.room_left$}", name);
        let name = match Some(view.room) == self.open {
            true => name.reversed(),
            false if view.unread > 0 || view.marked_unread => name.bold(),
            false => Span::raw(name),
        };
        let name = if view.served { name } else { name.dim() };
        Line::from(vec![name, count.yellow().bold()])
    }

    fn draw_room(&self, frame: &mut Frame<'_>, area: Rect) {
        let notices = self.notices.len().min(NOTICES_SHOWN);
        let rows =
            [Constraint::Length(2), Constraint::Min(3), Constraint::Length(notices as u16), Constraint::Length(3)];
        let [title, messages, news, input] = Layout::vertical(rows).areas(area);
        let room = self.open.and_then(|open| Some((open, self.rooms.get(&open)?)));
        match room {
            Some((id, room)) => {
                let view = self.list.iter().find(|view| view.room == id);
                let name = view.and_then(title_of).unwrap_or(room.name.as_str());
                let topic = view.map(|view| view.topic.as_str()).filter(|topic| !topic.is_empty());
                let about = topic.map_or_else(|| id.to_string(), str::to_owned);
                let head = Line::from(vec![Span::raw(name.to_owned()).bold(), format!("  {about}").dim()]);
                frame.render_widget(Paragraph::new(vec![head, self.members_line(room)]), title);
                let (width, height) = (usize::from(messages.width), usize::from(messages.height));
                let lines = self.lines(room);
                // The newest ones are in sight, and each takes a row at least.
                let newest = lines.iter().skip(lines.len().saturating_sub(height));
                let mut rows: Vec<_> = newest.flat_map(|line| wrapped(line, width)).collect();
                rows.drain(..rows.len().saturating_sub(height));
                frame.render_widget(Paragraph::new(rows), messages);
            }
            None => {
                let words = "No rooms yet: /new lunch makes one, /join ROOM enters one.";
                frame.render_widget(Paragraph::new(words.dim()), messages);
            }
        }
        let last = self.notices.iter().skip(self.notices.len() - notices);
        let last: Vec<_> = last.map(|notice| Line::from(notice.as_str().yellow())).collect();
        frame.render_widget(Paragraph::new(last), news);
        let mut block = Block::bordered().title(self.user.as_str());
        if let Some(words) = room.and_then(|(_, room)| typing_words(room)) {
            block = block.title_bottom(words.italic());
        }
        frame.render_widget(Paragraph::new(format!("{}▏", self.input)).block(block), input);
    }

    fn members_line(&self, room: &Room) -> Line<'static> {
        let mut spans = Vec::new();
        for (user, presence) in room.members.iter().filter(|(user, _)| *user != self.user) {
            let (dot, words) = match presence {
                Some(Presence::Online) => ("●".green(), ""),
                Some(Presence::Away) => ("◐".yellow(), ""),
                Some(Presence::Minute) => ("○".dim(), " a minute ago"),
                Some(Presence::Hour) => ("○".dim(), " within the hour"),
                Some(Presence::Day) => ("○".dim(), " today"),
                Some(Presence::Longer) | None => ("○".dim(), ""),
            };
            spans.extend([dot, Span::raw(format!(" {user}")), format!("{words}  ").dim()]);
        }
        Line::from(spans)
    }

    /// Everything in its place, oldest first.
    fn lines<'a>(&'a self, room: &'a Room) -> Vec<Line<'a>> {
        let places: BTreeSet<RequestId> = room
            .timeline
            .iter()
            .map(|(id, _)| id)
            .chain(room.said.keys().copied())
            .chain(room.sent.keys().copied())
            .collect();
        let count = room.timeline.iter().count();
        let numbers: BTreeMap<RequestId, usize> =
            room.timeline.iter().enumerate().map(|(at, (id, _))| (id, count - at)).collect();
        places.into_iter().map(|id| self.line(room, id, numbers.get(&id).copied())).collect()
    }

    fn line<'a>(&'a self, room: &'a Room, id: RequestId, number: Option<usize>) -> Line<'a> {
        if let Some(said) = room.said.get(&id) {
            return Line::from(format!("{:INDENT$}{said}", "").dim());
        }
        let sent = room.sent.get(&id);
        let number = number.map_or_else(String::new, |number| number.to_string());
        let mut spans = vec![Span::raw(format!("{number:>3} ")).dim()];
        spans.push(sent.map_or(Span::raw("   "), |sent| mark(&sent.handle)));
        let entry = room.timeline.get(id).filter(|entry| entry.message().is_some() || sent.is_none());
        let unread = room.unread.get(&id).filter(|unread| **unread > 0).map_or_else(String::new, u32::to_string);
        spans.push(format!("{unread:>2} ").yellow());
        let Some(entry) = entry else {
            spans.extend([self.user.as_str().cyan(), Span::raw(": ")]);
            spans.extend(sent.map(|sent| Span::raw(sent.text.as_str())));
            return Line::from(spans);
        };
        if let Some(message) = entry.message() {
            spans.extend([message.user.as_str().cyan(), Span::raw(": ")]);
            spans.extend(message.reply_to.map(|to| quoted(room, to)));
        }
        spans.push(match entry.content() {
            Content::Text { content, .. } => Span::raw(String::from_utf8_lossy(content).into_owned()),
            Content::Gone => "gone".dim().italic(),
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
}

/// A line as rows of so many columns at most.
fn wrapped(line: &Line<'_>, width: usize) -> Vec<Line<'static>> {
    let mut rows = vec![Line::default()];
    let mut used = 0;
    for span in &line.spans {
        let mut text = String::new();
        for c in span.content.chars() {
            let columns = Span::raw(c.to_string()).width();
            if used + columns > width && used > INDENT {
                rows.last_mut().expect("there is one").push_span(Span::styled(std::mem::take(&mut text), span.style));
                rows.push(Line::from(" ".repeat(INDENT)));
                used = INDENT;
            }
            text.push(c);
            used += columns;
        }
        rows.last_mut().expect("there is one").push_span(Span::styled(text, span.style));
    }
    rows
}

/// The beginning of the message that is answered.
fn quoted(room: &Room, id: RequestId) -> Span<'static> {
    let content = room.timeline.get(id).map(|entry| entry.content());
    let text = match content {
        Some(Content::Text { content, .. }) => String::from_utf8_lossy(content).chars().take(20).collect(),
        Some(Content::Gone) => "gone".to_owned(),
        Some(Content::Unknown) | None => "…".to_owned(),
    };
    format!("↪ “{text}” ").dim()
}

fn typing_words(room: &Room) -> Option<String> {
    let names: Vec<&str> = room.typing.iter().map(String::as_str).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!(" {one} is typing … ")),
        [one, two] => Some(format!(" {one} and {two} are typing … ")),
        several => Some(format!(" {} people are typing … ", several.len())),
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

/// What a room is called: a direct one by whom it is with.
fn title_of(view: &RoomView) -> Option<&str> {
    view.direct.as_deref().or(Some(view.name.as_str())).filter(|name| !name.is_empty())
}
