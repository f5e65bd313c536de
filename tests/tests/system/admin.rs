//! The admin server: for whoever is on the machine, or for who has an operator's certificate; what they do is logged.

use std::path::Path;

use causeway_client::Connector;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::api_client::{Caller, CallerIdentity};
use crate::no_leaks::{addresses, start};
use crate::system::in_time;
use crate::token_site::certs;

fn identity(certs: &str, name: &str) -> Option<CallerIdentity> {
    let file = |kind: &str| Path::new(certs).join(format!("{name}.{kind}"));
    let chain = CertificateDer::pem_file_iter(file("pem")).unwrap().collect::<Result<_, _>>().unwrap();
    Some((chain, PrivateKeyDer::from_pem_file(file("key")).unwrap()))
}

/// Waits for the line of an act; who it names.
async fn who_did(log: &Path, what: &str) -> String {
    let told = async {
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let mut fields = lines.filter_map(|line| line.get("fields").cloned());
            if let Some(act) = fields.find(|fields| fields["what"] == what) {
                return act["who"].as_str().expect("who").to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    in_time("the act is logged", told).await
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_show_a_certificate_of_their_authority_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (certs, log) = (certs(dir.path()), dir.path().join("relay.log"));
    let _process = start(dir.path(), &certs, &log, &format!("admin_ca = \"{certs}/admin-ca.pem\"\n"));
    let (_, admin) = addresses(&log).await;
    let roots = Connector::roots_of_pem(&std::fs::read(format!("{certs}/ca.pem")).unwrap()).unwrap();
    let operator = Caller::tls_as(admin, roots.clone(), identity(&certs, "admin"));
    assert_eq!(operator.get("/livez").await.status, 200);
    assert_eq!(operator.get("/metrics").await.status, 200);
    // Neither nobody, nor a client of the cluster, nor a site is an operator.
    for stranger in [None, identity(&certs, "client"), identity(&certs, "site-1")] {
        assert!(!Caller::tls_as(admin, roots.clone(), stranger).is_answered("/livez").await);
    }
    assert!(operator.is_answered("/livez").await, "strangers are no trouble");
    assert_eq!(operator.send("POST", "/force-ready", b"").await.status, 202);
    let who = who_did(&log, "force-ready").await;
    assert!(who.starts_with("admin (certificate "), "{who}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_an_act_is_logged_with_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let (certs, log) = (certs(dir.path()), dir.path().join("relay.log"));
    let _process = start(dir.path(), &certs, &log, "");
    let (_, admin) = addresses(&log).await;
    assert_eq!(Caller::plain(admin, "nobody").send("POST", "/force-ready", b"").await.status, 202);
    let who = who_did(&log, "force-ready").await;
    assert!(who.starts_with("somebody on this machine, 127.0.0.1:"), "{who}");
}
