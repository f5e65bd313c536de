//! The admin server, as probes, Prometheus and operators see it.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use support::{Client, Cluster, PATIENCE, endpoint, soon};

/// Status code and body.
async fn http(address: SocketAddr, method: &'static str, path: &'static str) -> (u16, String) {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in UTF-8");
        let code = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        (code, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
    })
    .await
    .expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_metrics_and_status_answer() {
    let cluster = Cluster::new(1);
    let relay = cluster.start(1).await;
    let endpoint = endpoint(&cluster.ca());
    let mut anna = Client::connect(&endpoint, relay.listen_address(), "anna", 1).await;
    anna.create_room().await;
    let admin = relay.admin_address();
    assert_eq!(http(admin, "GET", "/livez").await, (200, "live\n".to_owned()));
    assert_eq!(http(admin, "GET", "/readyz").await, (200, "ready\n".to_owned()));
    let (code, metrics) = http(admin, "GET", "/metrics").await;
    assert_eq!(code, 200);
    assert!(metrics.contains("causeway_accepted_total 1") && metrics.contains("causeway_ops_accepted 1"), "{metrics}");
    let (code, status) = http(admin, "GET", "/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(
        (code, &status["site"], &status["ready"], &status["hashes_equal"]),
        (200, &1.into(), &true.into(), &true.into())
    );
    assert_eq!(status["sessions"], 1);
    assert!(status["process"]["memory_peak_bytes"].as_u64().expect("a number") > 0);
    let shards = status["shards"].as_array().expect("shards");
    assert_eq!(shards.len(), usize::from(support::SHARDS));
    let ops: u64 = shards
        .iter()
        .flat_map(|shard| shard["durable"].as_object().expect("a map").values())
        .filter_map(|seq| seq.as_u64())
        .sum();
    assert_eq!(ops, 1);
    relay.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_site_without_peers_is_not_ready_until_an_operator_says_so() {
    let cluster = Cluster::new(2);
    let relay = cluster.start_unready(cluster.settings(1)).await;
    let admin = relay.admin_address();
    let (code, reason) = http(admin, "GET", "/readyz").await;
    assert_eq!((code, reason.as_str()), (503, "0 of 8 shards serve\n"));
    assert_eq!(http(admin, "GET", "/livez").await.0, 200);
    assert_eq!(http(admin, "POST", "/force-ready").await.0, 202);
    soon("ready", relay.ready()).await;
    assert_eq!(http(admin, "GET", "/readyz").await.0, 200);
    relay.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_histories_show_equal_hashes_at_all_sites() {
    let cluster = Cluster::new(2);
    let (one, two) = tokio::join!(cluster.start(1), cluster.start(2));
    let endpoint = endpoint(&cluster.ca());
    let mut anna = Client::connect(&endpoint, one.listen_address(), "anna", 1).await;
    let mut ben = Client::connect(&endpoint, two.listen_address(), "ben", 2).await;
    let (here, there) = (anna.create_room().await, ben.create_room().await);
    let (a, b) = (anna.say(here, "a").await, ben.say(there, "b").await);
    anna.stored(a).await;
    ben.stored(b).await;
    let shards = async |relay: &causeway_relay::RelayHandle| -> Vec<(serde_json::Value, serde_json::Value)> {
        let (_, body) = http(relay.admin_address(), "GET", "/status").await;
        let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let shards = status["shards"].as_array().expect("shards");
        shards.iter().map(|shard| (shard["durable"].clone(), shard["hash"].clone())).collect()
    };
    soon("the sites agree", async {
        while shards(&one).await != shards(&two).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let seqs = |shards: &[(serde_json::Value, serde_json::Value)]| -> u64 {
        shards
            .iter()
            .flat_map(|(durable, _)| durable.as_object().expect("a map").values())
            .filter_map(|seq| seq.as_u64())
            .sum()
    };
    assert_eq!(seqs(&shards(&one).await), 4, "all four requests are at both sites");
    for relay in [one, two] {
        relay.shutdown().await.expect("synced");
    }
}
