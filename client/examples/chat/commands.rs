//! What is typed: messages, and commands that begin with a slash.

use std::time::Duration;

use causeway_client::{Client, Handle, ProfileChange, RoomId, SendError, UnknownRole, UserId};

use crate::chat::Chat;

const HELP: &str = "commands: /new NAME, /with USER, /join ROOM, /knock ROOM, /accept, /decline, /leave, /erase, /name NAME, /topic TEXT, /keep SECONDS,
                    /unread, /read; /re, /edit, /gone, /+, /-, /pin, \
                    /unpin with a message's number; /invite, /no, /role, /kick, /ban, /unban with a user";

fn words(e: SendError) -> String {
    e.to_string()
}

impl Chat {
    /// Sends what was typed, or does it. The error is for the user.
    pub fn submit(&mut self, input: &str) -> Result<(), String> {
        let Some(command) = input.strip_prefix('/') else {
            let room = self.open.ok_or("no room is open: /new lunch makes one")?;
            let handle = self.client.send(room, "text/plain", input.to_owned()).map_err(words)?;
            self.room(room).put_sent(input.to_owned(), handle);
            return Ok(());
        };
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "new" => {
                let (room, made) = self.client.create_room(rest, true).map_err(words)?;
                self.changes.push(made);
                self.enter(room);
                return Ok(());
            }
            "with" => {
                let user = UserId::new(rest).map_err(|e| e.to_string())?;
                let (room, made) = self.client.create_direct(&user).map_err(words)?;
                self.changes.push(made);
                self.enter(room);
                return Ok(());
            }
            "join" => {
                let room = RoomId::parse(rest).map_err(|e| e.to_string())?;
                let joined = self.client.join(room).map_err(words)?;
                self.changes.push(joined);
                self.enter(room);
                return Ok(());
            }
            "knock" => {
                let room = RoomId::parse(rest).map_err(|e| e.to_string())?;
                self.changes.push(self.client.knock(room).map_err(words)?);
                return Ok(());
            }
            // The newest invitation.
            "accept" | "decline" => {
                let room = self.client.invitations().first().ok_or("nobody has invited us")?.room;
                if name == "accept" {
                    self.changes.push(self.client.join(room).map_err(words)?);
                    self.enter(room);
                } else {
                    self.changes.push(self.client.leave(room).map_err(words)?);
                }
                return Ok(());
            }
            _ => {}
        }
        let room = self.open.ok_or("no room is open: /new lunch makes one")?;
        if matches!(name, "unread" | "read") {
            // It stays so, for this user's other devices too, until it is read on purpose.
            let mark = if name == "read" { Client::mark_read } else { Client::mark_unread };
            mark(&self.client, room);
            return Ok(());
        }
        let sent = match name {
            "leave" => self.client.leave(room).map_err(words)?,
            "erase" => self.client.erase(room).map_err(words)?,
            "name" => self.client.set_name(room, rest).map_err(words)?,
            "topic" => {
                let change = ProfileChange { topic: Some(rest.to_owned()), ..ProfileChange::default() };
                self.client.set_profile(room, change).map_err(words)?
            }
            "keep" => {
                let seconds = rest.parse().map_err(|_| "for how many seconds? 0: for good".to_owned())?;
                let retention = Some(Duration::from_secs(seconds));
                self.client.set_profile(room, ProfileChange { retention, ..ProfileChange::default() }).map_err(words)?
            }
            "invite" | "no" | "role" | "kick" | "ban" | "unban" => self.use_right(room, name, rest)?,
            "re" | "edit" | "gone" | "+" | "-" | "pin" | "unpin" => match self.change_message(room, name, rest)? {
                Some(sent) => sent,
                None => return Ok(()),
            },
            _ => return Err(HELP.to_owned()),
        };
        self.changes.push(sent);
        Ok(())
    }

    /// Commands about a user.
    fn use_right(&self, room: RoomId, name: &str, rest: &str) -> Result<Handle, String> {
        let (user, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let user = UserId::new(user).map_err(|e| e.to_string())?;
        let sent = match name {
            "invite" => self.client.invite(room, user),
            "no" => self.client.decline(room, user),
            "role" => self.client.set_role(room, user, rest.parse().map_err(|e: UnknownRole| e.to_string())?),
            "kick" => self.client.kick(room, user, rest),
            "ban" => self.client.ban(room, user, rest, None),
            _ => self.client.lift_ban(room, user),
        };
        sent.map_err(words)
    }

    /// Commands about a message; `None` for an answer, which has a line of its own.
    fn change_message(&mut self, room: RoomId, name: &str, rest: &str) -> Result<Option<Handle>, String> {
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let rest = rest.trim().to_owned();
        let target = number.parse::<usize>().ok().and_then(|number| self.room(room).numbered(number));
        let target = target.ok_or("which message? For example: /edit 3 text")?;
        if rest.is_empty() && matches!(name, "re" | "edit") {
            return Err("and the text? For example: /edit 3 text".to_owned());
        }
        let sent = match name {
            "re" => {
                let handle = self.client.reply(room, target, "text/plain", rest.clone()).map_err(words)?;
                self.room(room).put_sent(rest, handle);
                return Ok(None);
            }
            "edit" => self.client.edit(room, target, "text/plain", rest),
            // Somebody else's it is for moderators.
            "gone" => match self.room(room).author(target).filter(|author| author.as_str() != self.user) {
                Some(author) => self.client.redact_of(room, target, author),
                None => self.client.redact(room, target),
            },
            "pin" => self.client.pin(room, target),
            "unpin" => self.client.unpin(room, target),
            "+" => self.client.react(room, target, &rest),
            _ => self.client.unreact(room, target, &rest),
        };
        sent.map(Some).map_err(words)
    }
}
