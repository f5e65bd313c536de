use super::*;

/// Everything here is loopback and answers at once; this only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// An upstream that sends everything back, a proxy in front of it, and a peer.
struct Rig {
    proxy: UdpProxy,
    peer: UdpSocket,
    echo: JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.echo.abort();
    }
}

async fn rig() -> Rig {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = upstream.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (n, from) = upstream.recv_from(&mut buffer).await.unwrap();
            upstream.send_to(&buffer[..n], from).await.unwrap();
        }
    });
    let proxy = UdpProxy::start(addr, 1).await.unwrap();
    let peer = peer_of(&proxy).await;
    Rig { proxy, peer, echo }
}

async fn peer_of(proxy: &UdpProxy) -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    peer.connect(proxy.addr()).await.unwrap();
    peer
}

async fn receive(peer: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let n = tokio::time::timeout(PATIENCE, peer.recv(&mut buffer)).await.expect("an answer").unwrap();
    buffer[..n].to_vec()
}

/// Waits until the proxy has dealt with this many datagrams.
async fn settled(proxy: &UdpProxy, total: u64) -> ProxyCounts {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counts = proxy.counts();
        if counts.passed + counts.dropped >= total {
            return counts;
        }
        assert!(Instant::now() < deadline, "{counts:?}, not {total}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until the proxy has dropped this many.
async fn dropped(proxy: &UdpProxy, total: u64) {
    let deadline = Instant::now() + PATIENCE;
    while proxy.counts().dropped < total {
        assert!(Instant::now() < deadline, "{:?}, not {total}", proxy.counts());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn datagrams_pass_both_ways_and_peers_are_told_apart() {
    let rig = rig().await;
    let other = peer_of(&rig.proxy).await;
    rig.peer.send(b"one").await.unwrap();
    other.send(b"two").await.unwrap();
    assert_eq!(receive(&rig.peer).await, b"one");
    assert_eq!(receive(&other).await, b"two");
    assert_eq!(rig.proxy.counts(), ProxyCounts { passed: 4, ..ProxyCounts::default() });
}

#[tokio::test]
async fn silence_drops_without_an_error_and_healing_ends_it() {
    let rig = rig().await;
    rig.proxy.silence();
    rig.peer.send(b"lost").await.unwrap();
    assert_eq!(settled(&rig.proxy, 1).await.dropped, 1);
    // A closed port would make this send fail.
    rig.peer.send(b"lost too").await.unwrap();
    assert_eq!(settled(&rig.proxy, 2).await.dropped, 2);
    rig.proxy.heal();
    rig.peer.send(b"heard").await.unwrap();
    assert_eq!(receive(&rig.peer).await, b"heard");
}

#[tokio::test]
async fn a_one_way_cut_lets_the_other_way_pass() {
    let rig = rig().await;
    rig.proxy.set_faults(Direction::ToPeer, Faults { cut: true, ..Faults::default() });
    rig.peer.send(b"there").await.unwrap();
    let counts = settled(&rig.proxy, 2).await;
    assert_eq!((counts.passed, counts.dropped), (1, 1));
}

#[tokio::test]
async fn one_peer_falls_silent_and_others_do_not() {
    let rig = rig().await;
    let other = peer_of(&rig.proxy).await;
    rig.proxy.silence_peer(rig.peer.local_addr().unwrap());
    rig.peer.send(b"lost").await.unwrap();
    other.send(b"heard").await.unwrap();
    assert_eq!(receive(&other).await, b"heard");
    assert_eq!(settled(&rig.proxy, 3).await.dropped, 1);
}

#[tokio::test]
async fn everything_is_doubled_or_lost_when_told_so() {
    let rig = rig().await;
    rig.proxy.set_faults(Direction::ToUpstream, Faults { duplicate: 1.0, ..Faults::default() });
    rig.peer.send(b"x").await.unwrap();
    assert_eq!((receive(&rig.peer).await, receive(&rig.peer).await), (b"x".to_vec(), b"x".to_vec()));
    assert_eq!(rig.proxy.counts().duplicated, 1);
    rig.proxy.set_faults(Direction::ToUpstream, Faults { loss: 1.0, ..Faults::default() });
    rig.peer.send(b"y").await.unwrap();
    assert_eq!(settled(&rig.proxy, 5).await.dropped, 1);
}

#[tokio::test]
async fn about_as_many_are_lost_as_asked_for() {
    let rig = rig().await;
    rig.proxy.set_faults(Direction::ToUpstream, Faults { loss: 0.3, ..Faults::default() });
    rig.proxy.set_faults(Direction::ToPeer, Faults { cut: true, ..Faults::default() });
    for sent in 1..=1000u64 {
        rig.peer.send(b"x").await.unwrap();
        // Whether it was lost going or its answer was cut: one drop.
        dropped(&rig.proxy, sent).await;
    }
    let lost = 1000 - rig.proxy.counts().passed;
    assert!((230..370).contains(&lost), "{lost}");
}

#[tokio::test]
async fn what_is_held_back_is_overtaken() {
    let rig = rig().await;
    let slow = Faults { reorder: 1.0, reorder_by: Duration::from_millis(200), ..Faults::default() };
    rig.proxy.set_faults(Direction::ToUpstream, slow);
    rig.peer.send(b"first").await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while rig.proxy.counts().reordered == 0 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rig.proxy.heal();
    rig.peer.send(b"second").await.unwrap();
    assert_eq!(receive(&rig.peer).await, b"second");
    assert_eq!(receive(&rig.peer).await, b"first");
}

#[tokio::test]
async fn delay_holds_back_for_at_least_that_long() {
    let rig = rig().await;
    let delay = Duration::from_millis(40);
    rig.proxy.set_both(Faults { delay, jitter: Duration::from_millis(5), ..Faults::default() });
    let start = Instant::now();
    rig.peer.send(b"x").await.unwrap();
    assert_eq!(receive(&rig.peer).await, b"x");
    assert!(start.elapsed() >= 2 * delay, "{:?}", start.elapsed());
}
