//! Edits, redactions and reactions across sites, and past the loss of one.

use causeway_protocol::Code;

use crate::reader::{Reader, bodies_at, replicated};
use crate::system::{System, in_time};

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
