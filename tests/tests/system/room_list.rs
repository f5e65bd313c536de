//! The list of rooms, members and readers: across sites, through a failover, on two devices of one user.

use causeway_client::{Draft, Event, Role, RoomId, RoomView, UserId};

use crate::reader::{Reader, replicated};
use crate::system::{System, in_time};

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name")
}

/// Sees events until the list is as wanted, and gives it.
async fn until_listed(reader: &mut Reader, what: &str, wanted: impl Fn(&[RoomView]) -> bool) -> Vec<RoomView> {
    loop {
        let rooms = reader.client.rooms();
        if wanted(&rooms) {
            return rooms;
        }
        let event = in_time(what, reader.client.next_event()).await.expect("the client lives");
        reader.timeline.see(&event);
    }
}

/// Unread messages and mentions of a room.
fn counts(rooms: &[RoomView], room: RoomId) -> (u64, u64) {
    rooms.iter().find(|view| view.room == room).map_or((0, 0), |view| (view.unread, view.mentions))
}

fn text(room: &RoomView) -> String {
    room.last.as_ref().map_or_else(String::new, |last| String::from_utf8_lossy(&last.content).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_the_same_on_every_device_and_stays_through_a_failover() {
    let mut system = System::start(3, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let mut tablet = Reader::sign_in(&system, "bob", 2).await;
    let mut rooms = Vec::new();
    for name in ["lunch", "work"] {
        let (room, created) = ann.client.create_room(name, true).unwrap();
        replicated(created).await;
        replicated(bob.client.join(room).unwrap()).await;
        rooms.push(room);
    }
    let (lunch, work) = (rooms[0], rooms[1]);
    replicated(ann.client.send(work, "text/plain", "report?").unwrap()).await;
    let noodles = ann.client.post(lunch, Draft::text("noodles?").mention(user("bob"))).unwrap();
    let noodles_id = noodles.id();
    replicated(noodles).await;
    replicated(ann.client.edit(lunch, noodles_id, "text/plain", "soup?").unwrap()).await;

    let as_sent = |rooms: &[RoomView]| {
        let told: Vec<_> = rooms.iter().map(|room| (room.name.as_str(), text(room), room.served)).collect();
        let expected = [("lunch", "soup?".to_owned(), true), ("work", "report?".to_owned(), true)];
        told == expected && counts(rooms, lunch) == (1, 1) && counts(rooms, work) == (1, 0)
    };
    until_listed(&mut bob, "bob's list", as_sent).await;
    until_listed(&mut tablet, "bob's tablet's list", as_sent).await;
    let mut late = Reader::sign_in(&system, "bob", 0).await;
    until_listed(&mut late, "the list of a device that comes later", as_sent).await;

    // Read on one device, read on all.
    bob.client.mark_read(lunch);
    assert_eq!(counts(&bob.client.rooms(), lunch), (0, 0), "at once");
    until_listed(&mut tablet, "the tablet hears of it", |rooms| counts(rooms, lunch) == (0, 0)).await;
    let unread = in_time("the site counts", late.client.unread(work)).await.expect("an answer");
    assert_eq!(unread, 1);

    // Whose home dies keeps the list, and gets what follows.
    system.kill(1).await;
    replicated(ann.client.send(work, "text/plain", "hello?").unwrap()).await;
    let after = |rooms: &[RoomView]| {
        rooms.iter().all(|room| room.served)
            && rooms.iter().map(|room| room.name.as_str()).eq(["work", "lunch"])
            && counts(rooms, work) == (2, 0)
            && counts(rooms, lunch) == (0, 0)
    };
    let listed = until_listed(&mut bob, "bob's list at another site", after).await;
    assert_eq!((text(&listed[0]), text(&listed[1])), ("hello?".to_owned(), "soup?".to_owned()));
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_marked_unread_is_so_on_every_device_and_through_a_failover() {
    let mut system = System::start(3, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut desk = Reader::sign_in(&system, "bob", 1).await;
    let mut phone = Reader::sign_in(&system, "bob", 2).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    replicated(created).await;
    replicated(desk.client.join(room).unwrap()).await;
    replicated(ann.client.send(room, "text/plain", "noodles?").unwrap()).await;
    let unread = |rooms: &[RoomView]| counts(rooms, room) == (1, 0);
    until_listed(&mut desk, "the desk's list", unread).await;
    until_listed(&mut phone, "the phone's list", unread).await;

    let marked = |rooms: &[RoomView]| rooms[0].marked_unread && counts(rooms, room) == (0, 0);
    desk.client.mark_read(room);
    desk.client.mark_unread(room);
    assert!(marked(&desk.client.rooms()), "at once, and no message is unread by it");
    until_listed(&mut phone, "the phone hears of it", marked).await;
    let mut late = Reader::sign_in(&system, "bob", 0).await;
    until_listed(&mut late, "a device that comes later", |rooms| !rooms.is_empty() && marked(rooms)).await;

    // Whose home dies keeps it; read on one device, read on all.
    system.kill(1).await;
    let elsewhere = |rooms: &[RoomView]| rooms[0].served && marked(rooms);
    replicated(ann.client.set_name(room, "dinner").unwrap()).await;
    until_listed(&mut desk, "the desk at another site", |rooms| rooms[0].name == "dinner" && elsewhere(rooms)).await;
    phone.client.mark_read(room);
    assert!(!phone.client.rooms()[0].marked_unread);
    for device in [&mut desk, &mut late] {
        until_listed(device, "read on the phone", |rooms| !rooms[0].marked_unread).await;
    }
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_readers_are_told_at_every_site() {
    let system = System::start(2, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let eve = Reader::sign_in(&system, "eve", 1).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    replicated(created).await;
    replicated(bob.client.join(room).unwrap()).await;
    replicated(ann.client.set_role(room, user("bob"), Role::Moderator).unwrap()).await;
    let sent = ann.client.send(room, "text/plain", "noodles?").unwrap();
    let id = sent.id();
    replicated(sent).await;
    bob.until("the message", |event| matches!(event, Event::Message(_))).await;
    system.converged().await;

    for reader in [&ann, &bob] {
        let page = in_time("members", reader.client.members(room, None, 10)).await.expect("a page");
        let members: Vec<_> = page.members.iter().map(|m| (m.user.as_str(), m.role)).collect();
        assert_eq!(members, [("ann", Some(Role::Owner)), ("bob", Some(Role::Moderator))]);
        assert_eq!(page.next, None);
        let read = in_time("readers", reader.client.read_by(room, id)).await.expect("an answer");
        assert_eq!((read.unread, read.readers.len(), read.many), (1, 0, false));
    }
    bob.client.mark_read(room);
    // A marker takes its time to the other site: asked until it is there, within the guard.
    let read = in_time("ann's site hears of it", async {
        loop {
            let read = ann.client.read_by(room, id).await.expect("an answer");
            if read.unread == 0 {
                return read;
            }
        }
    });
    assert_eq!(read.await.readers, ["bob"]);
    let counted = in_time("counts", bob.client.unread_by(room, &[id])).await.expect("an answer");
    assert_eq!(counted, Some(vec![(id, 0)]));
    for refused in [
        in_time("an answer", eve.client.members(room, None, 10)).await.map(drop),
        in_time("an answer", eve.client.read_by(room, id)).await.map(drop),
        in_time("an answer", eve.client.unread_by(room, &[id])).await.map(drop),
    ] {
        assert!(refused.is_err(), "eve is no member");
    }
    system.cluster.stop_all().await.unwrap();
}
