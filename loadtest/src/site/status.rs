//! What a relay says of itself on its admin pages, as far as a load tester needs it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::http::{self, HttpError};

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Another code than 200.
    #[error("{addr}{path}: answered {code}")]
    Code {
        /// Whom we asked.
        addr: SocketAddr,
        /// What for.
        path: &'static str,
        /// The code.
        code: u16,
    },
    /// Not the page that we know.
    #[error("{addr}/status: {reason}")]
    Malformed {
        /// Whom we asked.
        addr: SocketAddr,
        /// What is wrong.
        reason: String,
    },
}

/// A site's `/status`: what each shard holds fsynced, and the hash over it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteStatus {
    /// By shard: the durable vector as JSON, and the hash.
    shards: BTreeMap<u64, (Value, Value)>,
}

impl SiteStatus {
    /// Asks a relay.
    pub async fn read(admin: SocketAddr) -> Result<Self, StatusError> {
        let path = "/status";
        let answer = http::get(admin, path).await?;
        if answer.code != 200 {
            return Err(StatusError::Code { addr: admin, path, code: answer.code });
        }
        Self::parse(&answer.body).map_err(|reason| StatusError::Malformed { addr: admin, reason })
    }

    fn parse(body: &[u8]) -> Result<Self, String> {
        let page: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let list = page.get("shards").and_then(Value::as_array).ok_or("\"shards\" is not a list")?;
        let mut shards = BTreeMap::new();
        for entry in list {
            let field = |name: &str| entry.get(name).cloned().ok_or(format!("a shard has no \"{name}\""));
            let number = field("shard")?.as_u64().ok_or("a shard's number is not one")?;
            shards.insert(number, (field("durable")?, field("hash")?));
        }
        Ok(Self { shards })
    }

    /// How many shards it has.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }
}

/// Whether all sites hold the same: equal vectors with equal hashes in every shard. A site that did not answer holds
/// nothing that we know of.
pub fn converged(sites: &[Option<SiteStatus>]) -> bool {
    let Some(Some(first)) = sites.first() else { return false };
    first.shard_count() > 0 && sites.iter().all(|s| s.as_ref() == Some(first))
}

/// How many shards differ, and in what, for those who wait and wonder.
pub fn difference(sites: &[Option<SiteStatus>]) -> String {
    let Some(Some(first)) = sites.first() else { return "a site does not answer".to_owned() };
    let Some(others) = sites.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
        return "a site does not answer".to_owned();
    };
    let differs = |pick: fn(&(Value, Value)) -> &Value| {
        let mine =
            |shard: &u64| others.iter().all(|o| o.shards.get(shard).map(pick) == first.shards.get(shard).map(pick));
        first.shards.keys().filter(|shard| !mine(shard)).count()
    };
    format!("{} shards with unequal vectors, {} with unequal hashes", differs(|s| &s.0), differs(|s| &s.1))
}

/// A site's `/metrics`: values by name, those with labels left out.
pub async fn metrics(admin: SocketAddr) -> Result<BTreeMap<String, f64>, StatusError> {
    let path = "/metrics";
    let answer = http::get(admin, path).await?;
    if answer.code != 200 {
        return Err(StatusError::Code { addr: admin, path, code: answer.code });
    }
    Ok(parse_metrics(&String::from_utf8_lossy(&answer.body)))
}

fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let plain = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        let is_plain = !name.starts_with('#') && !name.contains('{');
        is_plain.then(|| Some((name.to_owned(), value.trim().parse().ok()?)))?
    };
    text.lines().filter_map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(hash: &str, seq: u64) -> SiteStatus {
        let page = serde_json::json!({"shards": [
            {"shard": 0, "durable": {"s1": seq}, "hash": hash, "ready": true},
            {"shard": 1, "durable": {}, "hash": "00", "ready": true},
        ]});
        SiteStatus::parse(page.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn sites_have_converged_when_vectors_and_hashes_are_equal() {
        assert!(converged(&[Some(status("aa", 5)), Some(status("aa", 5))]));
        assert!(!converged(&[Some(status("aa", 5)), Some(status("ab", 5))]));
        assert!(!converged(&[Some(status("aa", 5)), Some(status("aa", 6))]));
        assert!(!converged(&[Some(status("aa", 5)), None]));
        assert!(!converged(&[None]));
        assert!(!converged(&[]));
        assert!(!converged(&[Some(SiteStatus::default())]), "no shard is no agreement");
    }

    #[test]
    fn a_difference_is_told() {
        let text = difference(&[Some(status("aa", 5)), Some(status("ab", 6)), Some(status("aa", 5))]);
        assert_eq!(text, "1 shards with unequal vectors, 1 with unequal hashes");
        assert_eq!(difference(&[Some(status("aa", 5)), None]), "a site does not answer");
    }

    #[test]
    fn a_page_that_is_another_is_refused() {
        for (body, want) in [
            ("{", "EOF"),
            ("{}", "\"shards\""),
            (r#"{"shards":[{"durable":{},"hash":""}]}"#, "\"shard\""),
            (r#"{"shards":[{"shard":0,"hash":""}]}"#, "\"durable\""),
        ] {
            let error = SiteStatus::parse(body.as_bytes()).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn metrics_without_labels_are_read() {
        let text = "# HELP x y\n# TYPE x gauge\nx 1.5\nx_bucket{le=\"1\"} 3\nz NaN?\n";
        assert_eq!(parse_metrics(text), [("x".to_owned(), 1.5)].into());
    }
}
