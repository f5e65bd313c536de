//! Three sites: one is lost, the others go on, and what reached one survivor reaches all.

use super::cluster::{A, B, C, Cluster, user};

#[test]
fn ops_of_a_dead_site_that_reached_one_survivor_reach_the_other() {
    let mut sites = Cluster::new(&[A, B, C]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.cut(A, C);
    let last_words = sites.say(A, &ann, room);
    sites.sync(A);
    sites.deliver();
    sites.sync(B);
    sites.crash(A);
    assert!(!sites.site(C).has(&last_words));
    sites.settle();
    assert!(sites.site(C).has(&last_words));
    sites.assert_converged();
}

#[test]
fn an_op_waits_for_what_its_site_had_applied() {
    let mut sites = Cluster::new(&[A, B, C]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, true);
    sites.join(A, &bob, room);
    sites.settle();
    sites.cut(A, C);
    let question = sites.say(A, &ann, room);
    sites.sync(A);
    sites.deliver();
    sites.sync(B);
    let answer = sites.say(B, &bob, room);
    sites.sync(B);
    sites.deliver();
    assert!(!sites.site(C).has(&answer), "C has not seen the question");
    assert!(sites.site(C).shard.counters().gated > 0);
    sites.settle();
    assert!(sites.site(C).has(&question) && sites.site(C).has(&answer));
    sites.assert_converged();
}

#[test]
fn survivors_still_replicate_after_a_loss_and_the_dead_site_catches_up() {
    let mut sites = Cluster::new(&[A, B, C]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    let disk = sites.crash(A);
    let words: Vec<_> = (0..20).map(|_| sites.say(B, &ann, room)).collect();
    sites.settle();
    let (dot, _) = sites.site(B).acked(&words[19]).unwrap();
    assert!(sites.site(B).frontier().covers(&dot), "B and C are two sites");
    sites.start(A, disk, false);
    sites.settle();
    assert!(words.iter().all(|wish| sites.sites[&A].has(wish)));
    sites.assert_converged();
}

#[test]
fn one_site_alone_accepts_and_says_stored_only() {
    let mut sites = Cluster::new(&[A, B, C]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.crash(B);
    sites.crash(C);
    let words = sites.say(A, &ann, room);
    sites.settle();
    let (dot, replicated) = sites.site(A).acked(&words).unwrap();
    assert!(!replicated && !sites.site(A).frontier().covers(&dot));
}
