//! Contents that go at their time: at every site, also at one that was down just then.

use std::time::{Duration, SystemTime};

use causeway_client::{Draft, Event, ProfileChange, RequestId, RoomId};

use crate::reader::{Reader, bodies_at, replicated};
use crate::system::{POLL, System, in_time};

const KEPT: Duration = Duration::from_secs(3);

fn now_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_millis() as u64
}

/// Sees events until the message came; when its content goes. It was there if it came in time.
async fn until_it_came(reader: &mut Reader, id: RequestId) -> Option<u64> {
    loop {
        let event = in_time("the message", reader.client.next_event()).await.expect("the client lives");
        reader.timeline.see(&event);
        if let Event::Message(message) = event
            && message.id == id
        {
            let is_in_time = message.expires_ms.is_none_or(|at_ms| now_ms() < at_ms);
            assert!(!message.body_gone || !is_in_time, "gone before its time");
            return message.expires_ms;
        }
    }
}

async fn until_it_reads_so_at(system: &System, site: usize, room: RoomId, wanted: &[&str]) {
    let all = async {
        while bodies_at(system, site, "bob", room).await != wanted {
            tokio::time::sleep(POLL).await;
        }
    };
    in_time("the contents go", all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_and_its_edits_go_at_their_time_at_every_site() {
    let mut system = System::start(3, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    replicated(created).await;
    replicated(bob.client.join(room).unwrap()).await;
    let stays = ann.client.send(room, "text/plain", "for good").unwrap();
    assert_eq!(until_it_came(&mut bob, stays.id()).await, None);
    let too_short = Draft::text("now").lifetime(Duration::from_millis(999));
    assert!(ann.client.post(room, too_short).is_err(), "out of bounds");

    // By the message's own lifetime.
    let short = ann.client.post(room, Draft::text("the code is 1234").lifetime(KEPT)).unwrap();
    let due_ms = until_it_came(&mut bob, short.id()).await.expect("a time");
    assert!((3_000..90_000).contains(&(due_ms - short.id().stamp.ms())), "counted from its acceptance");
    replicated(ann.client.edit(room, short.id(), "text/plain", "the code is 4321").unwrap()).await;

    // By the room's retention, which the site that was down has to be told of.
    let retention = ProfileChange { retention: Some(KEPT), ..ProfileChange::default() };
    replicated(ann.client.set_profile(room, retention).unwrap()).await;
    system.converged().await;
    let kept = bob.client.send(room, "text/plain", "kept for a while").unwrap();
    let kept_id = kept.id();
    let due_ms = until_it_came(&mut bob, kept_id).await.expect("a time");
    replicated(kept).await;
    system.converged().await;
    system.kill(2).await;
    for site in [0, 1] {
        until_it_reads_so_at(&system, site, room, &["for good", "gone", "gone"]).await;
    }
    assert!(now_ms() >= due_ms, "not before its time");
    assert_eq!(bob.timeline.expire(due_ms), [short.id(), kept_id]);
    assert_eq!([short.id(), kept_id].map(|id| bob.reads(id)), ["gone", "gone"]);
    system.start_again(2).await;
    until_it_reads_so_at(&system, 2, room, &["for good", "gone", "gone"]).await;
    let last = bob.client.rooms().remove(0).last.expect("a message");
    assert!(last.body_gone && last.content.is_empty(), "{last:?}");
    system.cluster.stop_all().await.unwrap();
}
