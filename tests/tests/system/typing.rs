//! Typing and presence: across sites, for those whom they concern, and through the loss of a site.

use std::time::Duration;

use bytes::Bytes;
use causeway_client::{Client, Event, HistoryError, Presence, Role, RoomId, UserId};
use causeway_loadtest::site::metrics;
use causeway_protocol::{Code, Message, wire};

use crate::limits::counted;
use crate::raw::{self, Raw};
use crate::reader::{Reader, replicated};
use crate::system::{System, in_time};

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name")
}

/// Somebody presses keys until somebody else sees it; what that one saw till then, and it, last.
async fn until_seen_typing(types: &Client, room: RoomId, name: &str, sees: &mut Reader) -> Vec<Event> {
    let mut keys = tokio::time::interval(Duration::from_millis(100));
    let mut seen = Vec::new();
    let all = async {
        loop {
            tokio::select! {
                _ = keys.tick() => types.typing(room),
                event = sees.client.next_event() => {
                    let event = event.expect("the client lives");
                    let is_it = matches!(&event, Event::Typing { room: of, user } if *of == room && user == name);
                    seen.push(event);
                    if is_it {
                        return;
                    }
                }
            }
        }
    };
    in_time("typing is seen", all).await;
    seen
}

/// Waits until a site has counted so much.
async fn until_counted(system: &System, site: usize, name: &str, least: f64) {
    let until = async {
        loop {
            let metrics = metrics(system.cluster.sites[site].admin).await.expect("metrics");
            if metrics.get(name).is_some_and(|count| *count >= least) {
                return;
            }
        }
    };
    in_time(name, until).await;
}

/// Waits until a site has dropped so much typing as not permitted.
async fn refused(system: &System, site: usize, least: f64) {
    until_counted(system, site, "causeway_typing_refused_total", least).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_crosses_sites_and_that_of_strangers_readers_and_the_banned_reaches_nobody() {
    let system = System::start(2, false).await;
    let mut ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let eve = Reader::sign_in(&system, "eve", 1).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    let (channel, made) = ann.client.create_channel("news", true).unwrap();
    replicated(created).await;
    replicated(made).await;
    replicated(bob.client.join(room).unwrap()).await;
    replicated(bob.client.join(channel).unwrap()).await;
    system.converged().await;

    until_seen_typing(&ann.client, room, "ann", &mut bob).await;
    until_seen_typing(&bob.client, room, "bob", &mut ann).await;
    // What was typed ends it.
    replicated(ann.client.send(room, "text/plain", "noodles?").unwrap()).await;
    bob.until("ann has typed", |event| matches!(event, Event::TypingEnded { user, .. } if user == "ann")).await;
    bob.until("the message", |event| matches!(event, Event::Message(_))).await;

    // Nobody's business: a stranger's, a reader's, a banned user's.
    eve.client.typing(room);
    refused(&system, 1, 1.0).await;
    replicated(eve.client.join(channel).unwrap()).await;
    eve.client.typing(channel);
    refused(&system, 1, 2.0).await;
    replicated(eve.client.join(room).unwrap()).await;
    replicated(ann.client.ban(room, user("eve"), "", None).unwrap()).await;
    system.converged().await;
    let again = Reader::sign_in(&system, "eve", 1).await;
    again.client.typing(room);
    refused(&system, 1, 3.0).await;

    // What reaches them afterwards shows that nothing of it did before.
    let mut seen = until_seen_typing(&ann.client, channel, "ann", &mut bob).await;
    replicated(ann.client.set_role(channel, user("bob"), Role::Member).unwrap()).await;
    seen.extend(until_seen_typing(&bob.client, channel, "bob", &mut ann).await);
    let by_eve = |event: &Event| matches!(event, Event::Typing { user, .. } if user == "eve");
    assert!(!seen.iter().any(by_eve), "{seen:?}");
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_datagrams_and_too_many_of_them_hurt_nobody() {
    let system = System::start(2, false).await;
    let mut ann = Reader::sign_in(&system, "ann", 0).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    replicated(created).await;
    let (listen, ca) = (system.cluster.sites[0].listen, &system.cluster.ca);
    let connection = raw::client(listen, ca).await.expect("a connection");
    // A stranger's.
    connection.send_datagram(Bytes::from_static(b"\x0a")).expect("the site takes datagrams");
    let mut bob = Raw::welcomed(connection, raw::hello("bob", 7, "")).await;
    let short = wire::TypingIn { room: Bytes::from_static(b"short") };
    let short = wire::ClientDatagram { datagram: Some(wire::client_datagram::Datagram::Typing(short)) };
    for malformed in [Vec::new(), vec![0xff; 40], vec![0x0a; 1_000], short.encode_to_vec()] {
        bob.connection.send_datagram(malformed.into()).expect("it is sent");
    }
    until_counted(&system, 0, "causeway_datagrams_malformed_total", 4.0).await;
    let typing = wire::TypingIn { room: room.to_wire() };
    let typing = wire::ClientDatagram { datagram: Some(wire::client_datagram::Datagram::Typing(typing)) };
    for _ in 0..100 {
        bob.connection.send_datagram(typing.encode_to_vec().into()).expect("it is sent");
    }
    // The stranger's, and what is beyond a burst of 10.
    until_counted(&system, 0, "causeway_limited_datagrams_total", 2.0).await;
    bob.ping().await;

    let member = Reader::sign_in(&system, "eve", 1).await;
    replicated(member.client.join(room).unwrap()).await;
    let seen = until_seen_typing(&member.client, room, "eve", &mut ann).await;
    let by_bob = |event: &Event| matches!(event, Event::Typing { user, .. } if user == "bob");
    assert!(!seen.iter().any(by_bob), "bob is no member: {seen:?}");
    system.cluster.stop_all().await.unwrap();
}

/// Asks a site until it says this of a user.
async fn until_there(asks: &Client, room: RoomId, name: &str, wanted: Presence) {
    let until = async {
        loop {
            let told = asks.presence(room, &[user(name)]).await.expect("an answer");
            if told == [(name.to_owned(), wanted)] {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    in_time(&format!("{name} is {wanted:?}"), until).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_crosses_sites_goes_on_when_one_is_lost_and_is_for_those_who_share_a_room() {
    let mut system = System::start(3, false).await;
    let ann = Reader::sign_in(&system, "ann", 1).await;
    let bob = Reader::sign_in(&system, "bob", 0).await;
    let eve = Reader::sign_in(&system, "eve", 2).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    replicated(created).await;
    replicated(bob.client.join(room).unwrap()).await;
    system.converged().await;
    until_there(&ann.client, room, "bob", Presence::Online).await;
    until_there(&bob.client, room, "ann", Presence::Online).await;
    let told = in_time("an answer", ann.client.presence(room, &[user("eve")])).await;
    assert_eq!(told, Ok(Vec::new()), "eve is there, and it is not ann's business");
    let told = in_time("an answer", eve.client.presence(room, &[user("ann")])).await;
    assert!(matches!(told, Err(HistoryError::Refused { code, .. }) if code == Code::NotPermitted.number()), "{told:?}");

    system.kill(0).await;
    bob.client.set_away(true);
    until_there(&ann.client, room, "bob", Presence::Away).await;
    bob.client.set_away(false);
    until_there(&ann.client, room, "bob", Presence::Online).await;
    bob.client.close().await;
    until_there(&ann.client, room, "bob", Presence::Minute).await;
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_presence_off_tells_nothing_and_serves_all_the_same() {
    let system = System::start_with(1, false, &["presence = false"]).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 0).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    in_time("stored", created.stored()).await.expect("accepted");
    in_time("stored", bob.client.join(room).unwrap().stored()).await.expect("accepted");
    ann.client.typing(room);
    let told = in_time("an answer", ann.client.presence(room, &[user("bob")])).await;
    assert!(matches!(told, Err(HistoryError::Refused { code, .. }) if code == Code::NotPermitted.number()), "{told:?}");
    let sent = ann.client.send(room, "text/plain", "hello").unwrap();
    bob.until_it_reads(sent.id(), "hello").await;
    assert_eq!(counted(&system, "causeway_datagrams_total").await, 0.0);
    system.cluster.stop_all().await.unwrap();
}
