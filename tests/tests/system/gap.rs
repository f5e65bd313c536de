//! Somebody was away for long: the room arrives as its newest page, counts and a gap, and history fills the gap.

use std::collections::BTreeSet;

use causeway_client::store::MemoryStore;
use causeway_client::{Client, Direction, Event, Gap, RequestId, RoomId, UserId};

use crate::reader::{Reader, replicated};
use crate::system::{System, in_time};

/// Said while bob is away: more than a site sends without a gap.
const MISSED: usize = 3_000;
/// Requests that a site sends with a gap, at most.
const PAGE_MAX: usize = 100;
/// Beyond it a site does not count what is unread.
const UNREAD_MAX: u64 = 100;

/// Waits for events until the room has caught up: the gaps among them, and what else was done in the room, as it came.
async fn until_caught_up(client: &Client, room: RoomId) -> (Vec<Gap>, Vec<RequestId>) {
    let (mut gaps, mut ids) = (Vec::new(), Vec::new());
    loop {
        match in_time("the room catches up", client.next_event()).await.expect("the client lives") {
            Event::Gap(gap) => {
                assert!(ids.is_empty(), "the gap is said before the page");
                gaps.push(gap);
            }
            Event::CaughtUp { room: of, .. } if of == room => return (gaps, ids),
            event => ids.extend(event.id()),
        }
    }
}

/// All of a gap, from the newest down: what the application's scrolling does.
async fn fill(client: &Client, gap: &Gap, page: &[RequestId]) -> Vec<RequestId> {
    let (mut from, mut filled) = (page.iter().min().copied(), Vec::new());
    loop {
        let page = in_time("a page", client.history(gap.room, from, Direction::Backward, 250)).await.expect("a page");
        let ids: Vec<RequestId> = page.events.iter().filter_map(Event::id).collect();
        filled.extend(ids.iter().filter(|id| Some(**id) >= gap.lowest));
        from = ids.first().copied();
        if !page.more || from < gap.lowest {
            return filled;
        }
    }
}

fn set(ids: &[RequestId]) -> BTreeSet<RequestId> {
    ids.iter().copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_absence_a_room_is_its_newest_page_and_a_gap_that_history_fills() {
    let system = System::start(3, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let store = MemoryStore::new();
    let mut bob = Reader::connect(Reader::config(&system, "bob", 1).store(store.clone())).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    replicated(created).await;
    replicated(bob.client.join(room).unwrap()).await;
    let before = ann.client.send(room, "text/plain", "before").unwrap();
    bob.until("what he was there for", |event| event.id() == Some(before.id())).await;
    bob.client.mark_read(room);
    in_time("bob leaves", bob.client.close()).await;

    let mut missed = Vec::new();
    let mut handles = Vec::new();
    for n in 0..MISSED {
        let text = format!("{n}{}", if n % 10 == 0 { ", bob?" } else { "" });
        let draft = causeway_client::Draft::text(text);
        let draft = if n % 10 == 0 { draft.mention(UserId::new("bob").unwrap()) } else { draft };
        handles.push(ann.client.post(room, draft).unwrap());
    }
    handles.push(ann.client.react(room, before.id(), "👍").unwrap());
    handles.push(ann.client.edit(room, handles[7].id(), "text/plain", "seven").unwrap());
    for handle in handles {
        in_time("stored", handle.stored()).await.expect("accepted");
        missed.push(handle.id());
    }
    let newest = *missed.iter().max().unwrap();
    system.converged().await;

    // He comes back to another site.
    let bob = Reader::connect(Reader::config(&system, "bob", 2).store(store.clone())).await.client;
    let (gaps, page) = until_caught_up(&bob, room).await;
    let [gap] = &gaps[..] else { panic!("one gap: {gaps:?}") };
    assert!((1..=PAGE_MAX).contains(&page.len()), "no flood: {}", page.len());
    assert_eq!(set(&page).len(), page.len(), "each once");
    let sorted = Vec::from_iter(set(&missed));
    assert_eq!(Vec::from_iter(set(&page)), sorted[sorted.len() - page.len()..], "the newest");
    assert_eq!(gap.missing, (missed.len() - page.len()) as u64, "what is left out is counted");
    assert_eq!(gap.lowest, sorted.first().copied());
    let view = bob.rooms().into_iter().find(|view| view.room == room).expect("the room is listed");
    assert_eq!((view.unread, view.mentions), (UNREAD_MAX, UNREAD_MAX / 10));
    assert_eq!(in_time("the site counts", bob.unread(room)).await.expect("an answer"), UNREAD_MAX);

    let filled = fill(&bob, gap, &page).await;
    assert_eq!(filled.len() + page.len(), missed.len(), "nothing twice");
    assert_eq!(&set(&filled) | &set(&page), set(&missed), "nothing missing");

    // What comes now comes as ever, and nothing of the gap again; after another start, too.
    let live = ann.client.send(room, "text/plain", "live").unwrap();
    in_time("it is here", async { while bob.next_event().await.expect("the client lives").id() != Some(live.id()) {} })
        .await;
    bob.mark_read(room);
    in_time("the site hears of it", async { while bob.unread(room).await.expect("an answer") > 0 {} }).await;
    in_time("bob leaves", bob.close()).await;
    let last = ann.client.send(room, "text/plain", "last").unwrap();
    replicated(last.clone()).await;
    system.converged().await;
    let bob = Reader::connect(Reader::config(&system, "bob", 0).store(store)).await.client;
    let (gaps, page) = until_caught_up(&bob, room).await;
    assert_eq!((gaps.len(), page), (0, vec![last.id()]));
    assert!(live.id() > newest);
    system.cluster.stop_all().await.unwrap();
}
