use super::*;

const ANN: u64 = 7;
const ONE: SessionId = SessionId(1);
const TWO: SessionId = SessionId(2);
const PEER: SiteId = SiteId(2);

fn said(online: &[u64], away: &[u64], gone: &[u64]) -> wire::Presences {
    wire::Presences { online: online.to_vec(), away: away.to_vec(), gone: gone.to_vec() }
}

/// Everything that is said in so many ticks from a time on.
fn ticks(presence: &Presence, from_ms: u64, count: usize) -> wire::Presences {
    let mut all = wire::Presences::default();
    for at in 0..count as u64 {
        for part in presence.tick(from_ms + at * TICK_MS) {
            all.online.extend(part.online);
            all.away.extend(part.away);
            all.gone.extend(part.gone);
        }
    }
    all
}

#[test]
fn the_nearest_session_counts_and_the_last_one_to_leave_says_since_when() {
    let presence = Presence::default();
    assert_eq!(presence.seen(0, ANN), 0);
    assert!(presence.tell(0, ANN, ONE, Activity::Away));
    assert_eq!(presence.seen(0, ANN), 2);
    assert!(presence.tell(0, ANN, TWO, Activity::Online));
    assert_eq!(presence.seen(0, ANN), 1);
    presence.leave(10, ANN, TWO);
    assert_eq!(presence.seen(10, ANN), 2);
    presence.leave(1_000, ANN, ONE);
    for (after_ms, seen) in
        [(0, 3), (59_999, 3), (60_000, 4), (3_599_999, 4), (3_600_000, 5), (86_399_999, 5), (86_400_000, 0)]
    {
        assert_eq!(presence.seen(1_000 + after_ms, ANN), seen, "{after_ms} ms later");
    }
}

#[test]
fn a_peers_word_holds_for_fifty_seconds_and_its_gone_at_once() {
    let presence = Presence::default();
    assert_eq!(presence.hear(0, PEER, &said(&[ANN], &[], &[])), 0);
    assert_eq!((presence.seen(49_999, ANN), presence.seen(50_000, ANN)), (1, 3));
    assert_eq!(presence.seen(60_000, ANN), 4, "since it was heard last");
    presence.hear(60_000, PEER, &said(&[], &[ANN], &[]));
    assert_eq!(presence.seen(60_000, ANN), 2);
    presence.hear(60_001, SiteId(3), &said(&[ANN], &[], &[]));
    assert_eq!(presence.seen(60_001, ANN), 1);
    presence.hear(60_002, SiteId(3), &said(&[], &[], &[ANN]));
    assert_eq!(presence.seen(60_002, ANN), 2, "the other site has a session");
    presence.hear(60_003, PEER, &said(&[], &[], &[ANN]));
    assert_eq!(presence.seen(60_003, ANN), 3);
}

#[test]
fn a_lost_peers_word_holds_for_five_seconds_unless_it_speaks_again() {
    let presence = Presence::default();
    presence.hear(0, PEER, &said(&[ANN], &[], &[]));
    presence.hear(0, SiteId(3), &said(&[], &[ANN], &[]));
    presence.lost(1_000, PEER);
    assert_eq!((presence.seen(5_999, ANN), presence.seen(6_000, ANN)), (1, 2));
    presence.hear(6_000, PEER, &said(&[9], &[], &[]));
    assert_eq!(presence.seen(6_000, ANN), 1, "the link is back, and the word not old");
    presence.lost(7_000, PEER);
    ticks(&presence, 12_000, SLICES);
    presence.hear(12_001, PEER, &said(&[9], &[], &[]));
    assert_eq!(presence.seen(12_001, ANN), 2, "what has lapsed does not come back");
}

#[test]
fn changes_are_said_at_once_and_who_is_here_every_twenty_seconds() {
    let presence = Presence::default();
    presence.tell(0, ANN, ONE, Activity::Online);
    presence.hear(0, PEER, &said(&[9], &[], &[]));
    // The first tick has the slice of key 0.
    assert_eq!(ticks(&presence, 0, 1), said(&[ANN], &[], &[]));
    presence.tell(1, ANN, ONE, Activity::Online);
    assert_eq!(ticks(&presence, TICK_MS, 1), said(&[], &[], &[]), "that is no change");
    assert_eq!(ticks(&presence, 0, SLICES), said(&[ANN], &[], &[]), "and nothing of what a peer said");
    presence.tell(2, ANN, TWO, Activity::Away);
    presence.leave(3, ANN, ONE);
    assert_eq!(ticks(&presence, TICK_MS, 1), said(&[], &[ANN], &[]));
    presence.leave(4, ANN, TWO);
    assert_eq!(ticks(&presence, TICK_MS, 1), said(&[], &[], &[ANN]));
    assert_eq!(ticks(&presence, TICK_MS, SLICES), said(&[], &[], &[]), "who is gone is not said again");
}

#[test]
fn whom_nobody_has_seen_for_a_day_is_forgotten() {
    let presence = Presence::default();
    presence.hear(0, PEER, &said(&[1, 2, 3], &[], &[4]));
    presence.tell(0, ANN, ONE, Activity::Online);
    assert_eq!(presence.users(), 5);
    ticks(&presence, REMEMBERED_MS - SLICES as u64 * TICK_MS, SLICES);
    assert_eq!(presence.users(), 5);
    ticks(&presence, REMEMBERED_MS, SLICES);
    assert_eq!((presence.users(), presence.seen(REMEMBERED_MS, ANN)), (1, 1));
}

#[test]
fn there_is_room_for_so_many_and_those_who_left_make_room() {
    let presence = Presence::default();
    let slices = SLICES as u64;
    let max = (USERS_MAX / SLICES) as u64;
    let of_one_slice: Vec<u64> = (0..max).map(|n| n * slices).collect();
    assert_eq!(presence.hear(5_000, PEER, &said(&of_one_slice, &[], &[])), 0);
    assert_eq!(presence.hear(5_000, PEER, &said(&[max * slices], &[], &[])), 1, "one too many");
    assert!(!presence.tell(5_000, max * slices, ONE, Activity::Online));
    assert_eq!(presence.hear(5_000, PEER, &said(&[1], &[], &[0])), 0, "another slice, and one that is known");
    assert!(!presence.tell(5_500, max * slices, ONE, Activity::Online), "it was looked through just now");
    assert!(presence.tell(6_000, max * slices, ONE, Activity::Online));
    assert_eq!(presence.seen(6_000, 0), 0, "who was gone is forgotten");
}

#[test]
fn a_full_datagram_fits_and_too_many_changes_wait_for_their_turn() {
    let presence = Presence::default();
    for key in 0..2 * CHANGES_MAX as u64 {
        presence.tell(0, u64::MAX - key, SessionId(key), if key % 2 == 0 { Activity::Online } else { Activity::Away });
    }
    let parts = presence.tick(0);
    assert!(parts.len() >= CHANGES_MAX / USERS_PER_DATAGRAM);
    for part in parts {
        let datagram = Some(wire::peer_datagram::Datagram::Presences(part));
        causeway_protocol::encode_datagram(&wire::PeerDatagram { datagram });
    }
    let mut heard = ticks(&presence, 0, SLICES - 1);
    heard.online.extend(ticks(&presence, 0, 1).online);
    heard.online.sort_unstable();
    heard.online.dedup();
    assert!(heard.online.len() >= CHANGES_MAX - CHANGES_MAX / SLICES - 1, "{}", heard.online.len());
}
