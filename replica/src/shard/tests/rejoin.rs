//! Rejoining: empty disks, old copies, logs that do not reach back.

use super::cluster::{A, B, C, Cluster, user};
use crate::io::Output;
use crate::view::MemView;

#[test]
fn a_site_whose_disk_is_lost_pulls_everything_back_before_it_serves() {
    let mut sites = Cluster::new(&[A, B, C]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    let words: Vec<_> = (0..50).map(|_| sites.say(A, &ann, room)).collect();
    sites.settle();
    sites.crash(A);
    sites.start(A, MemView::default(), true);
    let early = sites.say(A, &ann, room);
    assert_eq!(sites.site(A).refused(&early), Some(causeway_protocol::Code::NotReady));
    sites.settle();
    assert!(sites.site(A).shard.is_ready());
    assert!(words.iter().all(|wish| sites.sites[&A].has(wish)));
    sites.assert_converged();
}

#[test]
fn a_restored_old_copy_pulls_its_own_newer_ops_back() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    let old = sites.site(A).rows.clone();
    let words = sites.say(A, &ann, room);
    sites.settle();
    sites.crash(A);
    sites.start(A, old, true);
    sites.settle();
    assert!(sites.site(A).has(&words));
    sites.assert_converged();
}

/// Both sites accepted while they were cut off, and both dropped the log that the other needs.
#[test]
fn two_sites_below_each_others_floors_merge_and_nobody_rises_again() {
    let mut sites = Cluster::with_short_logs(&[A, B, C]);
    let (ann, bob, eve) = (user("ann"), user("bob"), user("eve"));
    let room = sites.create(A, &ann, true);
    sites.join(A, &bob, room);
    let joined_twice = sites.join(A, &eve, room);
    sites.settle();
    // C leaves the others alone, and each side goes on.
    sites.cut(A, C);
    sites.cut(B, C);
    sites.leave(A, &bob, room);
    sites.leave(A, &eve, room);
    let here: Vec<_> = (0..30).map(|_| sites.say(A, &ann, room)).collect();
    let there: Vec<_> = (0..30).map(|_| sites.say(C, &ann, room)).collect();
    let other_room = sites.create(C, &bob, true);
    sites.submit(C, &joined_twice);
    sites.settle();
    assert!(sites.sites[&A].shard.counters().truncated > 0, "A's log is cut");
    sites.heal(A, C);
    sites.heal(B, C);
    sites.settle();
    sites.settle();
    assert!(sites.sites[&C].shard.counters().snapshots_merged > 0, "C merged rows");
    for site in [A, B, C] {
        assert!(sites.site(site).shard.is_ready());
        assert!(here.iter().chain(&there).all(|wish| sites.sites[&site].has(wish)));
        assert!(!sites.site(site).is_member(room, &bob) && !sites.site(site).is_member(room, &eve));
        assert!(sites.site(site).is_member(other_room, &bob));
    }
    sites.assert_converged();
}

#[test]
fn a_crash_in_the_middle_of_a_merge_changes_nothing() {
    for crash_after in 0..12 {
        let mut sites = Cluster::new(&[A, B]);
        sites.log_bytes_max = 0;
        for site in [A, B] {
            let disk = sites.crash(site);
            sites.start(site, disk, false);
        }
        sites.settle();
        let (ann, bob) = (user("ann"), user("bob"));
        let rooms: Vec<_> = (0..3).map(|_| sites.create(A, &ann, true)).collect();
        rooms.iter().for_each(|room| {
            sites.join(A, &bob, *room);
        });
        sites.settle();
        sites.settle();
        sites.crash(B);
        sites.start(B, MemView::default(), true);
        for _ in 0..crash_after {
            sites.sync_all();
            sites.deliver();
            sites.pass_ms(1);
        }
        let disk = sites.crash(B);
        sites.start(B, disk, true);
        sites.leave(A, &bob, rooms[0]);
        sites.settle();
        sites.settle();
        assert!(!sites.site(B).is_member(rooms[0], &bob) && sites.site(B).is_member(rooms[1], &bob));
        sites.assert_converged();
    }
}

/// Sessions read what was merged from storage when the shard is ready again. A live event that came before would raise
/// their cursors over it.
#[test]
fn a_shard_delivers_nothing_live_while_it_is_not_ready() {
    let mut sites = Cluster::with_short_logs(&[A, B, C]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.cut(A, C);
    sites.cut(B, C);
    (0..30).for_each(|_| _ = sites.say(A, &ann, room));
    sites.settle();
    sites.heal(A, C);
    sites.heal(B, C);
    let before = sites.site(C).effects.len();
    let mut said = Vec::new();
    for round in 0..200 {
        if round % 2 == 0 {
            said.push(sites.say(A, &ann, room));
        }
        sites.deliver();
        [A, B].into_iter().for_each(|site| sites.sync(site));
        // C's disk is slow: when the merge is durable, A has offered more than it brought.
        if round % 40 == 0 {
            sites.sync(C);
        }
        sites.pass_ms(1);
    }
    sites.settle();
    let (mut ready, mut was_not_ready, mut live) = (true, false, 0);
    for effect in &sites.site(C).effects[before..] {
        match effect {
            Output::Ready(now) => (ready, was_not_ready) = (*now, was_not_ready || !*now),
            Output::Deliver { .. } => {
                assert!(ready, "delivered while it was not ready");
                live += 1;
            }
            _ => {}
        }
    }
    assert!(was_not_ready && ready, "C merged rows");
    assert!(live > 0, "what comes afterwards is delivered");
    assert!(said.iter().all(|wish| sites.sites[&C].has(wish)));
    sites.assert_converged();
}
