//! A short run of `causeway-loadtest fuzz`: hostile clients and a hostile peer change nothing for anybody else. Long runs
//! are `make fuzz`'s.

use std::time::Duration;

use causeway_loadtest::fuzz::{self, FuzzConfig, RSS_MAX_BYTES};
use causeway_loadtest::site::ClusterConfig;

use crate::system::relay_bin;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_in_the_relay_goes_on_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = ClusterConfig {
        relay_bin: relay_bin(),
        dir: dir.path().to_owned(),
        sites: fuzz::SITES,
        proxied: false,
        extra: vec!["shards = 16".to_owned()],
        seed: 1,
    };
    let report = fuzz::run(FuzzConfig { cluster, length: Duration::from_secs(5), seed: 1 }).await.unwrap();
    assert!(report.broken.is_empty(), "{}", fuzz::summary(&report));
    assert!(report.stored > 0 && report.rss_peak_bytes <= RSS_MAX_BYTES, "{}", fuzz::summary(&report));
    // It did what it is for: sessions and links stood, and some of each were thrown out.
    for counts in [report.clients, report.peers] {
        assert!(counts.connections > 2 && counts.writes > 10 && counts.refused > 0, "{}", fuzz::summary(&report));
    }
}
