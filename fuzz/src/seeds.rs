//! Inputs to start from: the protocol's golden samples for the decoders, short walks for the state machines.

use crate::files;

/// A line a sample: the record, its bytes in hexadecimal digits.
const GOLDEN: &str = include_str!("../../protocol/src/tests/golden.txt");
/// Walks of one target, and their length.
const WALKS: u64 = 24;
const WALK_BYTES: usize = 600;

/// The targets, each with its inputs.
pub fn all() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let of = |records: &[&str]| -> Vec<Vec<u8>> { GOLDEN.lines().filter_map(|line| sample(line, records)).collect() };
    let led = |records: &[(&str, u8)]| -> Vec<Vec<u8>> {
        let with = |(record, lead): &(&str, u8)| {
            of(&[record]).into_iter().map(move |bytes| [&[*lead][..], &bytes].concat()).collect::<Vec<_>>()
        };
        records.iter().flat_map(with).collect()
    };
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for step in [1, 5, 200] {
        let stream = of(&["ClientFrame", "Vector"])
            .into_iter()
            .flat_map(|bytes| [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat());
        frames.push([step].into_iter().chain(stream).collect());
    }
    vec![
        ("client_frame", of(&["ClientFrame"])),
        ("server_frame", of(&["ServerFrame"])),
        ("event_frame", of(&["EventFrame"])),
        ("queries", of(&["Query", "HistoryPage", "MembersPage", "ReadersPage", "PresencePage"])),
        ("peer_frame", of(&["PeerFrame"])),
        ("datagrams", of(&["ClientDatagram", "ServerDatagram", "PeerDatagram"])),
        ("shard_frame", of(&["ShardFrame"])),
        ("request", of(&["Request", "Body"]).into_iter().chain(led(&[("Request", 80)])).collect()),
        ("op", of(&["Header", "Op"])),
        ("vectors", of(&["Vector", "Dot", "Origin", "RequestId"])),
        ("rows", led(&ROWS)),
        ("keys", keys()),
        ("frames", frames),
        ("shard", walks(1)),
        ("session", walks(2)),
        ("client_machine", walks(3)),
        ("client_store", stores()),
        ("config", configs()),
        ("jwks", key_files()),
        ("token", tokens()),
        ("pem", pems()),
    ]
}

fn configs() -> Vec<Vec<u8>> {
    let least = "site = 1\ncluster = \"c\"\ndata_dir = \"/d\"\nlisten = \"127.0.0.1:7400\"\nadmin_listen = \"127.0.0.1:7480\"\n\
                 ca = \"ca.pem\"\ncert = \"1.pem\"\nkey = \"1.key\"\n";
    let with_tokens = "token_keys = \"jwks.json\"\ntoken_issuer = \"i\"\ntoken_audience = \"a\"\ntoken_leeway_s = 9\n\
                       api_listen = \"[::]:7490\"\napi_wait_ms = 5\nadvertise = [\"a.example:7400\"]\nlog_format = \"json\"\n";
    let peers = "dev = true\nshards = 16\nthreads = 2\nsessions_max = 10\nlog_bytes_max = 65536\npresence = false\n\
                 [[peers]]\nsite = 2\nname = \"busan\"\naddresses = [\"b.example:7400\"]\nadvertise = [\"b:1\"]\n";
    [with_tokens, peers].map(|more| format!("{least}{more}").into_bytes()).into()
}

fn key_files() -> Vec<Vec<u8>> {
    let p256 = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"b","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let rsa = r#"{"keys":[{"kty":"RSA","alg":"RS256","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}]}"#;
    vec![files::own_jwks().into_bytes(), p256.into(), rsa.into()]
}

fn tokens() -> Vec<Vec<u8>> {
    let claims = br#"{"sub":"ann","iss":"https://login.example","aud":"causeway","exp":1800000000}"#;
    let service = br#"{"sub":"a","iss":"https://login.example","aud":["x","causeway"],"exp":1.8e9,"nbf":1,"causeway_service":true}"#;
    let ended = br#"{"sub":"ann","iss":"https://login.example","aud":"causeway","exp":1600000000}"#;
    vec![
        [&[0][..], files::signed(files::HEADER, claims).as_bytes()].concat(),
        [&[1][..], claims].concat(),
        [&[1][..], service].concat(),
        [&[1][..], ended].concat(),
        [&[2][..], files::HEADER, &[0], claims].concat(),
    ]
}

fn pems() -> Vec<Vec<u8>> {
    let (cert, key) = files::site_pair();
    let of = |which: u8, content: &[u8]| [&[which][..], content].concat();
    vec![of(0, cert.as_bytes()), of(1, cert.as_bytes()), of(2, key.as_bytes()), of(3, &files::site_der())]
}

const ROWS: [(&str, u8); 15] = [
    ("RequestRow", 0),
    ("ElementRow", 1),
    ("RegisterRow", 2),
    ("LogRow", 3),
    ("OrderRow", 4),
    ("HeadRow", 5),
    ("ShardRow", 6),
    ("OriginRow", 7),
    ("BucketRow", 8),
    ("ReadRow", 9),
    ("IdentityRow", 10),
    ("Merge", 11),
    ("Grant", 12),
    ("Revocation", 13),
    ("Lift", 14),
];

fn sample(line: &str, records: &[&str]) -> Option<Vec<u8>> {
    let (record, hex) = line.split_once(' ').unwrap_or((line, ""));
    records.contains(&record).then(|| {
        hex.as_bytes()
            .chunks(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect()
    })
}

fn keys() -> Vec<Vec<u8>> {
    let room = [7; 16];
    let id = [3; 16];
    let tagged = |tag: u8, rest: &[u8]| [&[4][..], &room, &[tag], rest].concat();
    let mut keys = vec![
        tagged(1, b"ann"),
        tagged(2, b"ann"),
        tagged(3, &[1]),
        tagged(4, &[&id[..], b"+\0ann"].concat()),
        tagged(5, &[&id[..], &id, b"ann"].concat()),
        tagged(6, &[&id[..], b"ann"].concat()),
        [&[0][..], &room, &[0; 20]].concat(),
        [&[1][..], &room, &id].concat(),
        [&[2][..], &[0; 22]].concat(),
        [&[3][..], &[0; 10]].concat(),
        [&[6][..], &room, b"ann"].concat(),
        [&[8, 3, 0, 0, 2][..], &room].concat(),
    ];
    keys.extend([vec![5, 1], vec![8, 1], vec![7, 0, 0, 1], vec![7, 0, 0, 2, 0, 1]]);
    keys.push([&[7, 0, 0, 3][..], &[1; 12]].concat());
    keys.push([&[7, 0, 0, 4][..], &room, &id, b"ann"].concat());
    keys
}

fn stores() -> Vec<Vec<u8>> {
    let added = [&[1][..], &[0; 7], &[1], &[0; 8], &[2; 16], &[3; 16], &[0, 0, 0, 2], b"re", &[1], b"body"].concat();
    let dot = [&[3][..], &[3; 16], &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], &[0; 7], &[1], &[2; 16]].concat();
    let page = [&[4][..], &[3; 16], &[2; 16]].concat();
    let vector = [&[5][..], &[3; 16], &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], &[0; 7], &[9]].concat();
    let removed = [&[2][..], &[0; 7], &[1]].concat();
    let record = |payload: &Vec<u8>| [&[payload.len() as u8][..], payload].concat();
    let all: Vec<u8> = [&added, &dot, &page, &vector, &removed].into_iter().flat_map(record).collect();
    vec![[&[1][..], &all].concat(), [&[1][..], &record(&added)].concat(), b"\0cwaystr1".to_vec(), vec![0]]
}

/// Numbers that look random and are the same everywhere: SplitMix64.
fn walks(seed: u64) -> Vec<Vec<u8>> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    (0..WALKS).map(|_| (0..WALK_BYTES).map(|_| (next() >> 56) as u8).collect()).collect()
}
