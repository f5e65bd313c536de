use std::io::{Cursor, Write};

use super::*;

const GOOD: &str = r#"{"t":5,"room":"i2p/dev-ko","user":"u07012","kind":"message","body":"안녕하세요\n모두들."}"#;

fn read(text: &str) -> Result<Vec<TraceEvent>, TraceError> {
    TraceReader::new(Box::new(Cursor::new(text.to_owned())), "x".into()).collect()
}

#[test]
fn a_line_is_read_as_it_is_meant() {
    let events = read(&format!("{GOOD}\n\n")).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].t, &*events[0].room, &*events[0].user), (5, "i2p/dev-ko", "u07012"));
    assert_eq!((events[0].kind, &*events[0].body), (TraceKind::Message, "안녕하세요\n모두들."));
}

#[test]
fn errors_name_the_line_and_the_field() {
    let second = |line: &str| read(&format!("{GOOD}\n{line}\n")).unwrap_err().to_string();
    let cases = [
        ("{", "line 2: not a JSON object"),
        ("[1]", "line 2: not a JSON object"),
        (r#"{"room":"r","user":"u","kind":"join","body":""}"#, r#"line 2: field "t" is missing"#),
        (r#"{"t":-1,"room":"r","user":"u","kind":"join","body":""}"#, r#"line 2: field "t" must be a whole number"#),
        (r#"{"t":9.5,"room":"r","user":"u","kind":"join","body":""}"#, r#"line 2: field "t" must be a whole number"#),
        (r#"{"t":9,"user":"u","kind":"join","body":""}"#, r#"line 2: field "room" is missing"#),
        (r#"{"t":9,"room":7,"user":"u","kind":"join","body":""}"#, r#"line 2: field "room" must be a string, not 7"#),
        (r#"{"t":9,"room":"r","user":"","kind":"join","body":""}"#, r#"line 2: field "user" must be a string that"#),
        (
            r#"{"t":9,"room":"r","user":"u","kind":"shout","body":""}"#,
            r#"line 2: field "kind" must be message, action"#,
        ),
        (
            r#"{"t":9,"room":"r","user":"u","kind":"message","body":""}"#,
            r#"line 2: field "body" must be a string that"#,
        ),
        (r#"{"t":4,"room":"r","user":"u","kind":"join","body":""}"#, r#"line 2: field "t" falls from 5 to 4"#),
    ];
    for (line, want) in cases {
        let got = second(line);
        assert!(got.starts_with(want), "{line}: {got}");
    }
    let long = format!("{}\n", "x".repeat(TRACE_LINE_BYTES_MAX + 1));
    assert_eq!(read(&long).unwrap_err().to_string(), "line 1: longer than 1048576 bytes");
}

#[test]
fn a_reader_stops_at_the_first_error() {
    let mut reader = TraceReader::new(Box::new(Cursor::new(format!("[]\n{GOOD}\n"))), "x".into());
    assert!(matches!(reader.next(), Some(Err(TraceError::Json { line: 1, .. }))));
    assert!(reader.next().is_none());
}

#[test]
fn compressed_and_plain_files_read_alike() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, packed) = (dir.path().join("t.ndjson"), dir.path().join("t.ndjson.zst"));
    std::fs::write(&plain, format!("{GOOD}\n{GOOD}")).unwrap();
    let mut encoder = zstd::Encoder::new(std::fs::File::create(&packed).unwrap(), 1).unwrap();
    encoder.write_all(format!("{GOOD}\n{GOOD}").as_bytes()).unwrap();
    encoder.finish().unwrap();
    let all = |path| TraceReader::open(path).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(all(&plain), all(&packed));
    assert_eq!(all(&plain).len(), 2);
    let missing = TraceReader::open(&dir.path().join("none")).err().unwrap().to_string();
    assert!(missing.contains("none"), "{missing}");
}
