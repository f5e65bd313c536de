//! Certificates that are renewed under a running relay.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use causeway_protocol::SiteId;
use causeway_relay::certs::write_dev_certs;
use causeway_relay::{RelayHandle, Settings};
use quinn::Connection;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use support::{Client, Cluster, endpoint, soon, until};
use tokio::net::TcpStream;

fn certs(cluster: &Cluster) -> PathBuf {
    cluster.folder.path().join("certs")
}

fn on_disk(cluster: &Cluster) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(certs(cluster).join("site-1.pem")).expect("a certificate")
}

/// Replaces a file at once, as operators should.
fn replace(path: &Path, content: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).expect("written");
    fs::rename(beside, path).expect("renamed");
}

/// What a connection's server has shown.
fn shown(connection: &Connection) -> CertificateDer<'static> {
    let chain = connection.peer_identity().expect("a server shows one").downcast::<Vec<CertificateDer<'static>>>();
    chain.expect("a chain")[0].clone()
}

async fn shown_to_a_stranger(cluster: &Cluster, relay: &RelayHandle) -> CertificateDer<'static> {
    let endpoint = endpoint(&cluster.ca());
    let connecting = endpoint.connect(relay.listen_address(), "localhost").expect("a valid name");
    shown(&soon("a connection", connecting).await.expect("connects"))
}

async fn shown_by_the_api(cluster: &Cluster, address: SocketAddr) -> CertificateDer<'static> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cluster.ca()).expect("readable")).expect("a certificate");
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.expect("connects");
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, stream);
    let stream = soon("a handshake", connecting).await.expect("is let in");
    stream.get_ref().1.peer_certificates().expect("a chain")[0].clone()
}

async fn unusable(relay: &RelayHandle, number: u8) {
    let line = format!("causeway_certificates_unusable {number}\n");
    until(&line, || relay.metrics().contains(&line)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_shown_to_newcomers_and_old_connections_go_on() {
    let cluster = Cluster::new(1);
    let relay = cluster.start(1).await;
    let clients = endpoint(&cluster.ca());
    let mut anna = Client::connect(&clients, relay.listen_address(), "anna", 1).await;
    let room = anna.create_room().await;
    let old = on_disk(&cluster);
    assert_eq!(shown(&anna.connection), old);
    write_dev_certs(&certs(&cluster), &[SiteId(1)]).expect("written");
    let new = on_disk(&cluster);
    assert_ne!(old, new);
    soon("the new certificate", async { while shown_to_a_stranger(&cluster, &relay).await != new {} }).await;

    let mut ben = Client::connect(&clients, relay.listen_address(), "ben", 2).await;
    ben.join(room).await;
    ben.say(room, "hello").await;
    let (event, _) = anna.message().await;
    assert_eq!(event.user, "ben");
    assert!(
        relay.metrics().contains("causeway_certificate_expires_seconds 6"),
        "in the year 4096: {}",
        relay.metrics()
    );
    relay.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_change_nothing() {
    let cluster = Cluster::new(2);
    let relay = cluster.start_unready(cluster.settings(1)).await;
    let read = |name: &str| fs::read(certs(&cluster).join(name)).expect("readable");
    let (good, key) = (read("site-1.pem"), read("site-1.key"));
    let (other, other_key) = (read("site-2.pem"), read("site-2.key"));
    // The same site's, of an authority that is not the cluster's.
    let strange = tempfile::tempdir().expect("a folder");
    write_dev_certs(strange.path(), &[SiteId(1)]).expect("written");
    let of_strange = |name: &str| fs::read(strange.path().join(name)).expect("readable");
    let (stranger, stranger_key) = (of_strange("site-1.pem"), of_strange("site-1.key"));
    let shown = on_disk(&cluster);
    let install = |cert: &[u8], key: &[u8]| {
        replace(&certs(&cluster).join("site-1.pem"), cert);
        replace(&certs(&cluster).join("site-1.key"), key);
    };
    for (bad, bad_key) in [
        (&b"no PEM"[..], &key[..]),
        (&good, &other_key),
        (&other, &other_key),
        (&good, b""),
        (&stranger, &stranger_key),
    ] {
        install(bad, bad_key);
        unusable(&relay, 1).await;
        assert_eq!(shown_to_a_stranger(&cluster, &relay).await, shown);
        install(&good, &key);
        unusable(&relay, 0).await;
    }
    relay.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_link_anew_under_another_authority_without_a_restart_of_both() {
    let cluster = Cluster::new(2);
    let (one, two) = tokio::join!(cluster.start(1), cluster.start(2));
    until("a link", || one.links_up() == [2]).await;
    let old = cluster.ca();
    fs::remove_file(&old).expect("removed");
    fs::remove_file(certs(&cluster).join("ca.key")).expect("removed");
    write_dev_certs(&certs(&cluster), &[SiteId(1), SiteId(2)]).expect("written");
    two.shutdown().await.expect("synced");
    let two = cluster.start(2).await;
    until("a link under the new authority", || one.links_up() == [2] && two.links_up() == [1]).await;
    one.shutdown().await.expect("synced");
    two.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_shows_the_new_certificate_too() {
    let cluster = Cluster::new(1);
    let settings = Settings {
        dev: None,
        token_keys: Some(certs(&cluster).join("jwks.json")),
        token_issuer: Some("test".to_owned()),
        token_audience: Some("test".to_owned()),
        api_listen: Some("127.0.0.1:0".to_owned()),
        ..cluster.settings(1)
    };
    let relay = cluster.start_unready(settings).await;
    let address = relay.api_address().expect("an API");
    assert_eq!(shown_by_the_api(&cluster, address).await, on_disk(&cluster));
    write_dev_certs(&certs(&cluster), &[SiteId(1)]).expect("written");
    let new = on_disk(&cluster);
    soon("the new certificate", async { while shown_by_the_api(&cluster, address).await != new {} }).await;
    relay.shutdown().await.expect("synced");
}
