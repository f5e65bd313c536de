//! Somebody with the SDK itself, who reads one room.

use causeway_client::timeline::{Content, Timeline};
use causeway_client::{
    Client, Config, Connector, Direction, Event, Handle, RequestId, RoomId, SiteConfig, Standby, UserId,
};

use crate::system::{System, in_time};

/// Somebody with the SDK itself, at home in the n-th site, and what they see of one room.
pub struct Reader {
    pub client: Client,
    pub timeline: Timeline,
}

impl Reader {
    pub async fn sign_in(system: &System, name: &str, home: usize) -> Self {
        Self::sign_in_with(system, name, home, Standby::Warm).await
    }

    pub async fn sign_in_with(system: &System, name: &str, home: usize, standby: Standby) -> Self {
        Self::connect(Self::config(system, name, home).standby(standby)).await
    }

    /// With which somebody signs in.
    pub fn config(system: &System, name: &str, home: usize) -> Config {
        let roots = Connector::roots_of_pem(&std::fs::read(&system.cluster.ca).expect("the CA")).expect("roots");
        let all = &system.cluster.sites;
        let site = |at: usize| SiteConfig {
            name: String::new(),
            addresses: vec![all[(home + at) % all.len()].advertised.to_string()],
        };
        let sites = (0..all.len()).map(site).collect();
        let connector = Connector::new(roots).expect("an endpoint");
        Config::new(UserId::new(name).expect("a name"), sites, connector)
    }

    pub async fn connect(config: Config) -> Self {
        let client = in_time("a site welcomes the session", Client::connect(config)).await.expect("a session");
        Self { client, timeline: Timeline::new(1_000) }
    }

    /// Sees events until the message looks like this.
    pub async fn until_it_reads(&mut self, id: RequestId, text: &str) {
        while self.reads(id) != text {
            let event = in_time("the message changes", self.client.next_event()).await.expect("the client lives");
            self.timeline.see(&event);
        }
    }

    /// As people see it: text, mark of an edit, reactions.
    pub fn reads(&self, id: RequestId) -> String {
        let Some(entry) = self.timeline.get(id) else { return "nothing".to_owned() };
        let text = match entry.content() {
            Content::Text { content, edited, .. } => {
                format!("{}{}", String::from_utf8_lossy(content), if edited { " (edited)" } else { "" })
            }
            Content::Gone => "gone".to_owned(),
            Content::Unknown => "unknown".to_owned(),
        };
        entry.reactions().iter().fold(text, |text, (symbol, users)| format!("{text} {symbol}{}", users.len()))
    }

    /// Sees events until one is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) {
        loop {
            let event = in_time(what, self.client.next_event()).await.expect("the client lives");
            self.timeline.see(&event);
            if wanted(&event) {
                return;
            }
        }
    }
}

pub async fn replicated(handle: Handle) {
    in_time("replicated", handle.replicated()).await.expect("accepted");
}

/// The bodies that a site's history has of a room, asked by a member at home there.
pub async fn bodies_at(system: &System, site: usize, user: &str, room: RoomId) -> Vec<String> {
    let mut reader = Reader::sign_in(system, user, site).await;
    let page = in_time("a page", reader.client.history(room, None, Direction::Backward, 100)).await.expect("a page");
    page.events.iter().for_each(|event| _ = reader.timeline.see(event));
    let ids: Vec<RequestId> = reader.timeline.iter().map(|(id, _)| id).collect();
    let texts = ids.into_iter().map(|id| reader.reads(id)).collect();
    reader.client.close().await;
    texts
}
