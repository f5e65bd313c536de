//! What is asked of the site while the screen goes on: older messages, members, who is there, who has read what.

use causeway_client::{Client, Direction, HistoryError, HistoryPage, Presence, RequestId, RoomId, UserId};
use tokio::sync::mpsc;

/// Messages in one page.
const PAGE: u32 = 50;
/// Members who are shown, and whose presence is asked for.
const MEMBERS_MAX: u32 = 50;
/// Answers that wait for the screen: there are never more than a few.
const ANSWERS_MAX: usize = 16;

/// What a site said.
pub enum Answer {
    /// Messages before a place.
    Older { room: RoomId, first: bool, page: Result<HistoryPage, HistoryError> },
    /// How things stand in a room: members with their presence (`None`: not told), and how many have not read messages.
    Standing { room: RoomId, members: Vec<(String, Option<Presence>)>, unread: Vec<(RequestId, u32)> },
}

/// Asks in tasks of their own, so that a site that dies does not hold up the screen.
pub struct Questions {
    client: Client,
    answers: mpsc::Sender<Answer>,
}

impl Questions {
    /// And where the answers come.
    pub fn new(client: Client) -> (Self, mpsc::Receiver<Answer>) {
        let (answers, receive) = mpsc::channel(ANSWERS_MAX);
        (Self { client, answers }, receive)
    }

    /// Answered by [`Answer::Older`].
    pub fn older(&self, room: RoomId, from: Option<RequestId>) {
        let (client, answers) = (self.client.clone(), self.answers.clone());
        tokio::spawn(async move {
            let page = client.history(room, from, Direction::Backward, PAGE).await;
            // Nobody waits for it when the chat has ended.
            let _ = answers.send(Answer::Older { room, first: from.is_none(), page }).await;
        });
    }

    /// Answered by [`Answer::Standing`], with nothing where the site does not tell.
    pub fn standing(&self, room: RoomId, own: Vec<RequestId>) {
        let (client, answers) = (self.client.clone(), self.answers.clone());
        tokio::spawn(async move {
            let page = client.members(room, None, MEMBERS_MAX).await;
            let names: Vec<String> =
                page.map_or_else(|_| Vec::new(), |page| page.members).into_iter().map(|member| member.user).collect();
            let users: Vec<UserId> = names.iter().filter_map(|name| UserId::new(name).ok()).collect();
            let told =
                if users.is_empty() { Vec::new() } else { client.presence(room, &users).await.unwrap_or_default() };
            let presence = |name: &String| told.iter().find(|(user, _)| user == name).map(|(_, presence)| *presence);
            let members = names.iter().map(|name| (name.clone(), presence(name))).collect();
            let unread = if own.is_empty() { Ok(None) } else { client.unread_by(room, &own).await };
            let unread = unread.ok().flatten().unwrap_or_default();
            let _ = answers.send(Answer::Standing { room, members, unread }).await;
        });
    }
}
