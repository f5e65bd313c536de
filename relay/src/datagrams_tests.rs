use causeway_protocol::Message;

use super::*;
use crate::limits::Limits;
use crate::rates::Users;
use crate::settings::Settings;

const ROOM: RoomId = RoomId([5; 16]);

fn seat() -> Seat {
    let limits = Limits::from_settings(&Settings::default()).unwrap();
    let user = UserId::new("ann").unwrap();
    let visitor = Arc::new(Arc::new(Users::default()).connect(&user, &limits, 0).unwrap());
    Seat { session: SessionId(1), user, visitor }
}

fn bytes(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

#[test]
fn a_client_types_as_whom_its_session_authenticated() {
    use wire::client_datagram::Datagram;
    let of = |datagram| bytes(&wire::ClientDatagram { datagram });
    let said = |datagram: Bytes| format!("{:?}", said_by_client(&seat(), &datagram));
    let typing = said(of(Some(Datagram::Typing(wire::TypingIn { room: ROOM.to_wire() }))));
    assert_eq!(typing, format!("Ok(Some(Typing({:?})))", Typing { room: ROOM, user: seat().user, by: None }));
    let away = said(of(Some(Datagram::Activity(wire::Activity { away: true }))));
    assert_eq!(away, "Ok(Some(Activity(Away)))");
    // A user in the datagram is a field that nobody knows: the same bytes as a site's word are a client's own typing.
    let as_bob = wire::Typing { room: ROOM.to_wire(), user: "bob".into() };
    let forged = wire::PeerDatagram { datagram: Some(wire::peer_datagram::Datagram::Typing(as_bob)) };
    assert_eq!(said(bytes(&forged)), typing);
    let short = of(Some(Datagram::Typing(wire::TypingIn { room: Bytes::from_static(b"short") })));
    for malformed in [short, Bytes::new(), Bytes::from_static(&[0xff; 8]), Bytes::from(vec![0; 513])] {
        assert!(said(malformed.clone()).starts_with("Err"), "{malformed:?}");
    }
    // A later version's kind.
    assert_eq!(said(Bytes::from_static(&[0x78, 1])), "Ok(None)");
}

#[test]
fn a_peer_is_the_site_of_its_link_and_what_makes_no_sense_is_malformed() {
    use wire::peer_datagram::Datagram;
    let said = |datagram| said_by_peer(SiteId(2), &bytes(&wire::PeerDatagram { datagram }));
    let typing = |room: Bytes, user: &str| Some(Datagram::Typing(wire::Typing { room, user: user.into() }));
    let Ok(Some(FromPeer::Typing(good))) = said(typing(ROOM.to_wire(), "bob")) else { panic!("it is good") };
    assert_eq!((good.room, good.user.as_str(), good.by), (ROOM, "bob", Some(SiteId(2))));
    for malformed in [typing(ROOM.to_wire(), ""), typing(Bytes::from_static(b"short"), "bob"), None] {
        let is_empty = malformed.is_none();
        let outcome = said(malformed);
        assert!(outcome.is_err(), "{is_empty}: {outcome:?}");
    }
    assert!(matches!(said_by_peer(SiteId(2), &Bytes::from_static(&[0x78, 1])), Ok(None)));
}

#[test]
fn a_room_passes_on_so_much_typing_and_no_other_room_suffers() {
    let mut rates = RoomRates::new(0);
    let taken = |rates: &mut RoomRates, now_ms, room| (0..100).filter(|_| rates.take(now_ms, room)).count() as u64;
    assert_eq!(taken(&mut rates, 0, ROOM), ROOM_TYPING_BURST);
    assert_eq!(taken(&mut rates, 0, RoomId([6; 16])), ROOM_TYPING_BURST);
    assert_eq!(taken(&mut rates, 1_000, ROOM), ROOM_TYPING_PER_S);
}

#[test]
fn rooms_beyond_the_bound_share_one_bucket_until_others_are_forgotten() {
    let mut rates = RoomRates::new(0);
    let room = |n: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        RoomId(id)
    };
    let beyond = ROOMS_MAX as u32;
    assert_eq!((0..beyond).filter(|n| rates.take(10, room(*n))).count(), ROOMS_MAX);
    let shared = (beyond..2 * beyond).filter(|n| rates.take(10, room(*n))).count() as u64;
    assert_eq!((shared, rates.rooms.len()), (ROOM_TYPING_BURST, ROOMS_MAX));
    assert!(rates.take(10_000, room(beyond)));
    assert_eq!(rates.rooms.len(), 1);
}
