//! Edits, redactions and reactions across sites, and past the loss of one.

use causeway_client::timeline::{Content, Timeline};
use causeway_client::{Client, Config, Connector, Direction, Handle, RequestId, RoomId, SiteConfig, UserId};
use causeway_protocol::Code;

use crate::system::{System, in_time};

/// Somebody with the SDK itself, at home in the n-th site, and what they see of one room.
struct Reader {
    client: Client,
    timeline: Timeline,
}

impl Reader {
    async fn sign_in(system: &System, name: &str, home: usize) -> Self {
        let roots = Connector::roots_of_pem(&std::fs::read(&system.cluster.ca).expect("the CA")).expect("roots");
        let all = &system.cluster.sites;
        let site = |at: usize| SiteConfig {
            name: String::new(),
            addresses: vec![all[(home + at) % all.len()].advertised.to_string()],
        };
        let sites = (0..all.len()).map(site).collect();
        let connector = Connector::new(roots).expect("an endpoint");
        let config = Config::new(UserId::new(name).expect("a name"), sites, connector);
        let client = in_time("a site welcomes the session", Client::connect(config)).await.expect("a session");
        Self { client, timeline: Timeline::new(1_000) }
    }

    /// Sees events until the message looks like this.
    async fn until_it_reads(&mut self, id: RequestId, text: &str) {
        while self.reads(id) != text {
            let event = in_time("the message changes", self.client.next_event()).await.expect("the client lives");
            self.timeline.see(&event);
        }
    }

    /// As people see it: text, mark of an edit, reactions.
    fn reads(&self, id: RequestId) -> String {
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
}

async fn replicated(handle: Handle) {
    in_time("replicated", handle.replicated()).await.expect("accepted");
}

/// The bodies that a site's history has of a room, asked by a member at home there.
async fn bodies_at(system: &System, site: usize, user: &str, room: RoomId) -> Vec<String> {
    let mut reader = Reader::sign_in(system, user, site).await;
    let page = in_time("a page", reader.client.history(room, None, Direction::Backward, 100)).await.expect("a page");
    page.events.iter().for_each(|event| _ = reader.timeline.see(event));
    let ids: Vec<RequestId> = reader.timeline.iter().map(|(id, _)| id).collect();
    let texts = ids.into_iter().map(|id| reader.reads(id)).collect();
    reader.client.close().await;
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_edited_reacted_to_and_taken_back_at_every_site() {
    let mut system = System::start(3, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    replicated(created).await;
    replicated(bob.client.join(room).unwrap()).await;

    let hello = ann.client.send(room, "text/plain", "helo").unwrap();
    let id = hello.id();
    bob.until_it_reads(id, "helo").await;
    replicated(bob.client.react(room, id, "👍").unwrap()).await;
    replicated(ann.client.edit(room, id, "text/plain", "hello").unwrap()).await;
    bob.until_it_reads(id, "hello (edited) 👍1").await;
    replicated(bob.client.unreact(room, id, "👍").unwrap()).await;
    bob.until_it_reads(id, "hello (edited)").await;

    // Not bob's to edit.
    let refused = in_time("an answer", bob.client.edit(room, id, "text/plain", "hi").unwrap().stored()).await;
    assert_eq!(refused.unwrap_err().code, Code::NotPermitted.number());

    // Taken back while a site that has it is down.
    let secret = ann.client.send(room, "text/plain", "the code is 1234").unwrap();
    let secret_id = secret.id();
    replicated(secret).await;
    bob.until_it_reads(secret_id, "the code is 1234").await;
    system.converged().await;
    system.kill(2).await;
    replicated(ann.client.redact(room, secret_id).unwrap()).await;
    bob.until_it_reads(secret_id, "gone").await;
    system.start_again(2).await;
    system.converged().await;
    for site in 0..3 {
        assert_eq!(bodies_at(&system, site, "bob", room).await, ["hello (edited)", "gone"], "site {}", site + 1);
    }
    system.cluster.stop_all().await.unwrap();
}
