use causeway_protocol::SiteId;

use super::Pipes;
use crate::network::{Network, Place, Weather};
use crate::rng::Rng;

const A: Place = Place::Site(SiteId(1));
const B: Place = Place::Site(SiteId(2));

#[test]
fn items_arrive_in_order_whatever_the_weather() {
    let mut net = Network::new(Rng::new(1), 2, 0);
    net.weather = Weather { loss_ppm: 300_000, jitter: 50_000, ..Weather::default() };
    let mut pipes = Pipes::default();
    let pipe = pipes.open(A, B, 0);
    let delays: Vec<_> = (0..50).map(|item| pipes.send(pipe, item, 10, 0, &mut net).unwrap()).collect();
    assert!(delays.is_sorted());
    assert_eq!(pipes.bytes(pipe), 500);
    let arrived: Vec<_> = (0..50).filter_map(|_| pipes.arrive(pipe, &net)).collect();
    assert_eq!(arrived, (0..50).collect::<Vec<_>>());
    assert_eq!(pipes.bytes(pipe), 0);
}

#[test]
fn a_cut_holds_everything_up_until_it_is_mended() {
    let mut net = Network::new(Rng::new(1), 2, 0);
    let mut pipes = Pipes::default();
    let pipe = pipes.open(A, B, 0);
    net.cut(A, B);
    pipes.send(pipe, "one", 1, 0, &mut net);
    pipes.send(pipe, "two", 1, 0, &mut net);
    assert!(pipes.arrive(pipe, &net).is_none() && pipes.arrive(pipe, &net).is_none());
    assert!(pipes.mended(5, &mut net).is_empty());
    net.mend(A, B);
    assert_eq!(pipes.mended(5, &mut net).len(), 2);
    assert_eq!(pipes.arrive(pipe, &net), Some("one"));
    assert_eq!(pipes.arrive(pipe, &net), Some("two"));
}
