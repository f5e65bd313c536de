use super::*;
use crate::settings::Settings;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::from_settings(&Settings::default()).unwrap();
    change(&mut limits);
    limits
}

#[test]
fn a_connection_over_its_rate_is_told_which_and_when_and_others_are_not_touched() {
    let limits = limits(|l| l.connection_requests_per_s = 2);
    let users = Arc::new(Users::default());
    let first = users.connect(&user("ann"), &limits, 0).unwrap();
    let second = users.connect(&user("ann"), &limits, 0).unwrap();
    assert_eq!([first.ask(0, 9), first.ask(0, 9)], [Ok(()), Ok(())]);
    let over = first.ask(0, 9).unwrap_err();
    assert_eq!((over.setting, over.max, over.retry_after_ms), ("connection_requests_per_s", 2, 500));
    assert_eq!(second.ask(0, 9), Ok(()));
    assert_eq!(first.ask(500, 9), Ok(()));
}

#[test]
fn the_connections_of_a_user_share_the_users_rates() {
    let limits = limits(|l| (l.user_requests_per_s, l.user_bytes_per_s) = (3, 1 << 20));
    let users = Arc::new(Users::default());
    let first = users.connect(&user("ann"), &limits, 0).unwrap();
    let second = users.connect(&user("ann"), &limits, 0).unwrap();
    let other = users.connect(&user("bob"), &limits, 0).unwrap();
    let large = 1 << 20;
    assert_eq!(first.ask(0, large), Ok(()));
    assert_eq!(second.ask(0, large).unwrap_err().setting, "user_bytes_per_s");
    assert_eq!(other.ask(0, large), Ok(()));
    assert_eq!([second.ask(1_000, 1), first.ask(1_000, 1), second.ask(1_000, 1)], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(first.ask(1_000, 1).unwrap_err().setting, "user_requests_per_s");
}

#[test]
fn calls_of_a_user_count_with_what_the_connections_ask_for() {
    let limits = limits(|l| l.user_requests_per_s = 2);
    let users = Arc::new(Users::default());
    let ann = users.connect(&user("ann"), &limits, 0).unwrap();
    assert_eq!((ann.ask(0, 1), users.call(&user("ann"), &limits, 0, 1)), (Ok(()), Ok(())));
    let over = users.call(&user("ann"), &limits, 0, 1).unwrap_err();
    assert_eq!((over.setting, over.retry_after_ms), ("user_requests_per_s", 500));
    assert_eq!(ann.ask(0, 1).unwrap_err().setting, "user_requests_per_s");
    assert_eq!(users.call(&user("bob"), &limits, 0, 1), Ok(()));
    // Without a connection a user is remembered for as long as it matters.
    drop(ann);
    assert!(users.call(&user("ann"), &limits, 0, 1).is_err());
    assert_eq!(users.call(&user("ann"), &limits, 500, 1), Ok(()));
}

#[test]
fn callers_without_a_connection_are_forgotten_and_no_more_than_so_many_are_remembered() {
    let limits = limits(|_| ());
    let users = Arc::new(Users::default());
    let there = users.connect(&user("ann"), &limits, 0).unwrap();
    for n in 0..CALLERS_MAX {
        assert_eq!(users.call(&user(&n.to_string()), &limits, 0, 1), Ok(()));
    }
    assert_eq!(users.call(&user("bob"), &limits, 1_999, 1).unwrap_err().retry_after_ms, FORGET_MS);
    assert_eq!(users.call(&user("ann"), &limits, 1_999, 1), Ok(()));
    assert_eq!(users.call(&user("bob"), &limits, 2_000, 1), Ok(()));
    assert_eq!(users.len(), 2);
    drop(there);
}

#[test]
fn what_is_refused_is_not_counted() {
    let limits = limits(|l| (l.connection_requests_per_s, l.user_requests_per_s) = (1, 2));
    let users = Arc::new(Users::default());
    let first = users.connect(&user("ann"), &limits, 0).unwrap();
    let second = users.connect(&user("ann"), &limits, 0).unwrap();
    assert_eq!(first.ask(0, 1), Ok(()));
    assert!((0..10).all(|_| first.ask(0, 1).is_err()));
    assert_eq!(second.ask(0, 1), Ok(()));
}

#[test]
fn connections_of_a_user_are_counted_and_an_entry_dies_with_the_last() {
    let limits = limits(|l| l.user_connections_max = 2);
    let users = Arc::new(Users::default());
    let ann: Vec<_> = (0..2).map(|_| users.connect(&user("ann"), &limits, 0).unwrap()).collect();
    let over = users.connect(&user("ann"), &limits, 0).unwrap_err();
    assert_eq!((over.setting, over.retry_after_ms), ("user_connections_max", 1_000));
    let bob = users.connect(&user("bob"), &limits, 0).unwrap();
    assert_eq!(users.len(), 2);
    drop((ann, bob));
    assert_eq!(users.len(), 0);
    assert!(users.connect(&user("ann"), &limits, 0).is_ok());
}

#[test]
fn datagrams_have_a_rate_of_the_connection_and_of_the_user() {
    let limits = limits(|_| {});
    let users = Arc::new(Users::default());
    let first = users.connect(&user("ann"), &limits, 0).unwrap();
    let second = users.connect(&user("ann"), &limits, 0).unwrap();
    let other = users.connect(&user("bob"), &limits, 0).unwrap();
    let taken = |visitor: &Visitor, now_ms| (0..100).filter(|_| visitor.may_send_datagram(now_ms)).count() as u64;
    assert_eq!(taken(&first, 0), DATAGRAMS_BURST);
    assert_eq!(taken(&second, 0), 0, "the user's are used up");
    assert_eq!(taken(&other, 0), DATAGRAMS_BURST);
    assert_eq!(taken(&first, 1_000), DATAGRAMS_PER_S);
}
