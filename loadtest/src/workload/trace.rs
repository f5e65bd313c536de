//! Reads a chat trace: newline-delimited JSON, plain or compressed with zstd, one event a line. It is streamed: a trace
//! may be larger than memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// A line's longest, bytes: the largest message the wire carries, escaped, with room to spare.
pub const TRACE_LINE_BYTES_MAX: usize = 1 << 20;

/// The first bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a trace says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceKind {
    /// A message.
    Message,
    /// IRC's `/me`.
    Action,
    /// Somebody came.
    Join,
    /// Somebody went.
    Leave,
    /// The room was named.
    Topic,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// Milliseconds since the trace's start.
    pub t: u64,
    /// The room.
    pub room: Box<str>,
    /// Who.
    pub user: Box<str>,
    /// What.
    pub kind: TraceKind,
    /// The text; empty for `join` and `leave`.
    pub body: Box<str>,
}

/// Why a trace cannot be read. Names the line, counted from 1, and the field.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be opened or read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Not a JSON object.
    #[error("line {line}: not a JSON object: {reason}")]
    Json {
        /// The line.
        line: u64,
        /// The parser's words.
        reason: String,
    },
    /// A field is not there.
    #[error("line {line}: field \"{field}\" is missing")]
    Missing {
        /// The line.
        line: u64,
        /// The field.
        field: &'static str,
    },
    /// A field has the wrong type or value.
    #[error("line {line}: field \"{field}\" must be {want}, not {got}")]
    Field {
        /// The line.
        line: u64,
        /// The field.
        field: &'static str,
        /// What it must be.
        want: &'static str,
        /// What it is.
        got: String,
    },
    /// Time goes back.
    #[error("line {line}: field \"t\" falls from {before} to {got}: a trace is sorted by time")]
    Order {
        /// The line.
        line: u64,
        /// The line before's.
        before: u64,
        /// This line's.
        got: u64,
    },
    /// No trace has such lines.
    #[error("line {line}: longer than {TRACE_LINE_BYTES_MAX} bytes")]
    TooLong {
        /// The line.
        line: u64,
    },
}

/// Reads events one after another; stops at the first error.
pub struct TraceReader {
    input: Box<dyn BufRead + Send>,
    path: PathBuf,
    line: u64,
    before: u64,
    buffer: Vec<u8>,
    ended: bool,
}

impl TraceReader {
    /// Opens a file; whether it is compressed its first bytes tell, not its name.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let wrong = |source| TraceError::Io { path: path.to_owned(), source };
        let mut plain = BufReader::with_capacity(1 << 16, File::open(path).map_err(wrong)?);
        let compressed = plain.fill_buf().map_err(wrong)?.starts_with(&ZSTD_MAGIC);
        let input: Box<dyn BufRead + Send> = if compressed {
            Box::new(BufReader::with_capacity(1 << 16, zstd::Decoder::with_buffer(plain).map_err(wrong)?))
        } else {
            Box::new(plain)
        };
        Ok(Self::new(input, path.to_owned()))
    }

    /// Of lines that are at hand; `path` is for messages.
    pub fn new(input: Box<dyn BufRead + Send>, path: PathBuf) -> Self {
        Self { input, path, line: 0, before: 0, buffer: Vec::new(), ended: false }
    }

    fn read(&mut self) -> Result<Option<TraceEvent>, TraceError> {
        loop {
            self.buffer.clear();
            let mut limited = (&mut self.input).take(TRACE_LINE_BYTES_MAX as u64 + 1);
            let read = limited.read_until(b'\n', &mut self.buffer);
            let n = read.map_err(|source| TraceError::Io { path: self.path.clone(), source })?;
            if n == 0 {
                return Ok(None);
            }
            self.line += 1;
            if n > TRACE_LINE_BYTES_MAX {
                return Err(TraceError::TooLong { line: self.line });
            }
            if self.buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let event = parse(&self.buffer, self.line)?;
            if event.t < self.before {
                return Err(TraceError::Order { line: self.line, before: self.before, got: event.t });
            }
            self.before = event.t;
            return Ok(Some(event));
        }
    }
}

impl Iterator for TraceReader {
    type Item = Result<TraceEvent, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.read().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

fn parse(text: &[u8], line: u64) -> Result<TraceEvent, TraceError> {
    let object: Map<String, Value> =
        serde_json::from_slice(text).map_err(|e| TraceError::Json { line, reason: e.to_string() })?;
    let get = |field| object.get(field).ok_or(TraceError::Missing { line, field });
    let wrong = |field, want, got: &Value| TraceError::Field { line, field, want, got: brief(got) };
    let text = |field| -> Result<Box<str>, TraceError> {
        let value = get(field)?;
        value.as_str().map(Into::into).ok_or_else(|| wrong(field, "a string", value))
    };
    let named = |field| match text(field) {
        Ok(text) if text.is_empty() => Err(wrong(field, "a string that is not empty", &Value::from(""))),
        other => other,
    };
    let t = get("t")?;
    let t = t.as_u64().ok_or_else(|| wrong("t", "a whole number of milliseconds", t))?;
    let kind = match &*text("kind")? {
        "message" => TraceKind::Message,
        "action" => TraceKind::Action,
        "join" => TraceKind::Join,
        "leave" => TraceKind::Leave,
        "topic" => TraceKind::Topic,
        other => return Err(wrong("kind", "message, action, join, leave or topic", &Value::from(other))),
    };
    let body = match kind {
        TraceKind::Join | TraceKind::Leave => text("body")?,
        TraceKind::Message | TraceKind::Action | TraceKind::Topic => named("body")?,
    };
    Ok(TraceEvent { t, room: named("room")?, user: named("user")?, kind, body })
}

/// A value's beginning, for an error message.
fn brief(value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
