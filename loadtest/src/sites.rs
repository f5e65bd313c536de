//! `sites`: a cluster on loopback to try things on, until Ctrl-C.

use std::convert::Infallible;

use anyhow::{Context, Result};

use crate::site::{Cluster, ClusterConfig};

/// Starts the sites, says where they are, and keeps them until the caller stops waiting. Writes their addresses,
/// separated by commas, to `addresses` in the folder, beside the certificates.
pub async fn run(config: ClusterConfig) -> Result<Infallible> {
    let file = config.dir.join("addresses");
    let cluster = Cluster::start(config).await?;
    let addresses: Vec<String> = cluster.sites.iter().map(|site| site.advertised.to_string()).collect();
    std::fs::write(&file, addresses.join(",")).with_context(|| format!("cannot write {}", file.display()))?;
    for site in &cluster.sites {
        let pid = site.pid().map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        println!("{:<8} clients {}   status http://{}/status   kill -9 {pid}", site.name, site.advertised, site.admin);
    }
    println!("addresses in {}, authority in {}; Ctrl-C ends them all", file.display(), cluster.ca.display());
    std::future::pending().await
}
