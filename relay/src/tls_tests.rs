use std::path::Path;
use std::time::Duration;

use super::*;
use crate::certs::write_dev_certs;

fn load(folder: &Path, site: u16, cert: &str) -> Result<Identity, TlsError> {
    let (ca, cert, key) =
        (folder.join("ca.pem"), folder.join(format!("{cert}.pem")), folder.join(format!("{cert}.key")));
    Identity::load(SiteId(site), &ca, &cert, &key)
}

fn first_certificate(path: &Path) -> CertificateDer<'static> {
    certificates("cert", path).expect("readable").remove(0)
}

#[test]
fn a_site_certificate_names_its_site_and_the_client_certificate_names_none() {
    let folder = tempfile::tempdir().expect("a folder");
    write_dev_certs(folder.path(), &[SiteId(1), SiteId(40_000)]).expect("written");
    let site_of = |stem: &str| site_of_certificate(&first_certificate(&folder.path().join(format!("{stem}.pem"))));
    assert_eq!(site_of("site-1"), Some(SiteId(1)));
    assert_eq!(site_of("site-40000"), Some(SiteId(40_000)));
    assert_eq!(site_of("client"), None);
    assert_eq!(site_of("ca"), None);
    assert_eq!(site_of_certificate(b"no certificate"), None);
}

#[test]
fn only_the_one_spelling_of_a_site_counts() {
    assert_eq!(site_of_dns_name("site-7.causeway.internal"), Some(SiteId(7)));
    for name in ["site-07.causeway.internal", "site-+7.causeway.internal", "site-0.causeway.internal", "site-7", "7"] {
        assert_eq!(site_of_dns_name(name), None, "{name}");
    }
}

#[test]
fn another_sites_certificate_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    write_dev_certs(folder.path(), &[SiteId(1), SiteId(2)]).expect("written");
    assert!(load(folder.path(), 1, "site-1").is_ok());
    let error = load(folder.path(), 1, "site-2").err().expect("refused").to_string();
    assert!(error.contains("`cert`") && error.contains("`site` is 1"), "{error}");
}

#[test]
fn a_certificate_of_another_authority_is_refused_at_the_start() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    for folder in [&folder, &other] {
        write_dev_certs(folder.path(), &[SiteId(1)]).expect("written");
    }
    std::fs::copy(other.path().join("ca.pem"), folder.path().join("ca.pem")).expect("copied");
    let error = load(folder.path(), 1, "site-1").err().expect("refused").to_string();
    assert!(error.starts_with("`cert` = ") && error.contains("`ca` has not signed it"), "{error}");
}

#[test]
fn a_certificate_has_its_time() {
    let folder = tempfile::tempdir().expect("a folder");
    write_dev_certs(folder.path(), &[SiteId(1)]).expect("written");
    let chain = certificates("cert", &folder.path().join("site-1.pem")).expect("readable");
    let roots = Arc::new(roots("ca", &folder.path().join("ca.pem")).expect("readable"));
    let at = |s: u64| check_signed(&chain, &roots, SiteId(1), UnixTime::since_unix_epoch(Duration::from_secs(s)));
    assert_eq!(at(1_800_000_000), Ok(()));
    assert!(at(1).expect_err("1970").contains("not valid yet"));
    // Development certificates end in the year 4096.
    assert!(at(68_000_000_000).expect_err("4124").contains("expired"));
}

#[test]
fn a_missing_file_is_named_with_its_setting() {
    let folder = tempfile::tempdir().expect("a folder");
    write_dev_certs(folder.path(), &[SiteId(1)]).expect("written");
    std::fs::remove_file(folder.path().join("ca.pem")).expect("removed");
    let error = load(folder.path(), 1, "site-1").err().expect("refused").to_string();
    assert!(error.starts_with("`ca` = ") && error.contains("ca.pem"), "{error}");
}

#[test]
fn a_site_added_later_is_signed_by_the_same_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    write_dev_certs(folder.path(), &[SiteId(1)]).expect("written");
    let ca = std::fs::read(folder.path().join("ca.pem")).expect("readable");
    write_dev_certs(folder.path(), &[SiteId(2)]).expect("written");
    assert_eq!(std::fs::read(folder.path().join("ca.pem")).expect("readable"), ca);
    let identity = load(folder.path(), 2, "site-2").expect("loads");
    assert!(identity.server().is_ok() && identity.peer_client().is_ok());
}

#[test]
fn a_key_of_another_certificate_is_named_with_both_files() {
    let folder = tempfile::tempdir().expect("a folder");
    write_dev_certs(folder.path(), &[SiteId(1)]).expect("written");
    std::fs::copy(folder.path().join("client.key"), folder.path().join("site-1.key")).expect("copied");
    let error = load(folder.path(), 1, "site-1").err().expect("refused").to_string();
    assert!(error.contains("site-1.key does not belong to") && error.contains("site-1.pem"), "{error}");
}
