//! The least HTTP that reads a relay's admin pages on loopback: one GET, one answer, connection closed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer's largest size, bytes: a status page of thousands of shards is smaller.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// An admin server on loopback that takes longer is not there.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or it broke.
    #[error("{addr}: {source}")]
    Io {
        /// Whom we asked.
        addr: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("{addr}{path}: no answer within {} s", PATIENCE.as_secs())]
    Slow {
        /// Whom we asked.
        addr: SocketAddr,
        /// What for.
        path: String,
    },
    /// Not HTTP as we know it.
    #[error("{addr}{path}: {reason}")]
    Malformed {
        /// Whom we asked.
        addr: SocketAddr,
        /// What for.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks for a path.
pub async fn get(addr: SocketAddr, path: &str) -> Result<Answer, HttpError> {
    match tokio::time::timeout(PATIENCE, exchange(addr, path)).await {
        Ok(Ok(raw)) => parse(&raw).map_err(|reason| HttpError::Malformed { addr, path: path.to_owned(), reason }),
        Ok(Err(source)) => Err(HttpError::Io { addr, source }),
        Err(_) => Err(HttpError::Slow { addr, path: path.to_owned() }),
    }
}

async fn exchange(addr: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut raw = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut raw).await?;
    Ok(raw)
}

fn parse(raw: &[u8]) -> Result<Answer, &'static str> {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").ok_or("the header has no end")?;
    let head = std::str::from_utf8(&raw[..end]).map_err(|_| "the header is not text")?;
    let mut lines = head.split("\r\n");
    let code = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|c| c.parse().ok()).ok_or("no status code")?;
    let body = &raw[end + 4..];
    let field = |line: &str, name: &str| {
        line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned())
    };
    let mut want = None;
    for line in lines {
        if field(line, "transfer-encoding").is_some() {
            return Err("a transfer encoding, which this client does not read");
        }
        if let Some(length) = field(line, "content-length") {
            want = Some(length.parse::<usize>().map_err(|_| "the content length is no number")?);
        }
    }
    match want {
        Some(want) if want != body.len() => Err("the body is shorter or longer than it says"),
        _ => Ok(Answer { code, body: body.to_vec() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let raw = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(parse(raw), Ok(Answer { code: 503, body: b"no".to_vec() }));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\nrest").map(|a| a.body.len()), Ok(4));
    }

    #[test]
    fn what_is_no_answer_says_why() {
        for (raw, want) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], "no end"),
            (b"nonsense\r\n\r\n", "no status code"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "shorter"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "no number"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer encoding"),
            (b"HTTP/1.1 200 \xff\r\n\r\n", "not text"),
        ] {
            assert!(parse(raw).unwrap_err().contains(want), "{want}");
        }
    }

    #[tokio::test]
    async fn a_page_is_fetched_and_a_closed_port_is_an_error() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut asked = vec![0; 1024];
            let n = stream.read(&mut asked).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            String::from_utf8_lossy(&asked[..n]).into_owned()
        });
        assert_eq!(get(addr, "/livez").await.unwrap(), Answer { code: 200, body: b"ok".to_vec() });
        assert!(task.await.unwrap().starts_with("GET /livez HTTP/1.1\r\n"));
        assert!(matches!(get(addr, "/livez").await, Err(HttpError::Io { .. })));
    }
}
