//! Certificates of a development cluster: an authority, a certificate a site, one for a client.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use causeway_protocol::SiteId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::dev_tokens::write_dev_keys;
use crate::tls::site_dns_name;

const CA_NAME: &str = "Causeway development CA";
const ADMIN_CA_NAME: &str = "Causeway development operators";

/// Writes `ca.pem`, `ca.key`, and for each site `site-N.pem` and `site-N.key`, and `client.pem` and `client.key`; for
/// operators an authority of their own, `admin-ca.pem` and `admin-ca.key`, and `admin.pem` and `admin.key`;
/// also `token.key`, which signs development tokens, and `jwks.json`, which checks them.
/// An authority that is there already is used again, so that a site can be added later; certificates that are
/// there already are replaced.
pub fn write_dev_certs(out: &Path, sites: &[SiteId]) -> Result<()> {
    if sites.is_empty() {
        bail!("`--sites` is empty: name at least one site, such as --sites 1,2,3");
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let ca = authority(out, "ca", CA_NAME)?;
    for site in sites {
        let names = vec![site_dns_name(*site), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        write_signed(out, &format!("site-{site}"), names, usages, &ca)?;
    }
    let names = vec!["client.causeway.internal".to_owned()];
    write_signed(out, "client", names, vec![ExtendedKeyUsagePurpose::ClientAuth], &ca)?;
    let operators = authority(out, "admin-ca", ADMIN_CA_NAME)?;
    let names = vec!["admin.causeway.internal".to_owned()];
    write_signed(out, "admin", names, vec![ExtendedKeyUsagePurpose::ClientAuth], &operators)?;
    write_dev_keys(out)
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The authority on disk, or a new one. Its certificate is made from fixed parameters, so the key is enough to
/// sign in its name again.
fn authority(out: &Path, stem: &str, name: &str) -> Result<Issuer<'static, KeyPair>> {
    let (cert, key) = (out.join(format!("{stem}.pem")), out.join(format!("{stem}.key")));
    if cert.exists() && key.exists() {
        let pem = fs::read_to_string(&key).with_context(|| format!("cannot read {}", key.display()))?;
        let pair = KeyPair::from_pem(&pem).with_context(|| format!("{} holds no private key", key.display()))?;
        return Ok(Issuer::new(ca_params(name), pair));
    }
    let pair = KeyPair::generate().context("cannot make the authority's key")?;
    let signed = ca_params(name).self_signed(&pair).context("cannot sign the authority's certificate")?;
    write(&cert, &signed.pem(), 0o644)?;
    write(&key, &pair.serialize_pem(), 0o600)?;
    Ok(Issuer::new(ca_params(name), pair))
}

fn write_signed(
    out: &Path,
    stem: &str,
    names: Vec<String>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    ca: &Issuer<'_, KeyPair>,
) -> Result<()> {
    let pair = KeyPair::generate().context("cannot make a key")?;
    let mut params = CertificateParams::new(names).context("cannot name the certificate")?;
    params.distinguished_name.push(DnType::CommonName, stem);
    params.extended_key_usages = usages;
    params.use_authority_key_identifier_extension = true;
    let signed = params.signed_by(&pair, ca).context("cannot sign the certificate")?;
    write(&out.join(format!("{stem}.pem")), &signed.pem(), 0o644)?;
    write(&out.join(format!("{stem}.key")), &pair.serialize_pem(), 0o600)
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)
}
