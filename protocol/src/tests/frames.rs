//! Streams of frames, whole and broken.

use bytes::BytesMut;
use proptest::prelude::*;

use crate::{FrameDecoder, FrameError, encode_frame, encode_frame_into, limits, wire};

fn ping(token: u64) -> wire::Ping {
    wire::Ping { token }
}

#[test]
fn a_frame_is_its_length_and_its_message() {
    assert_eq!(encode_frame(&ping(300))[..], [0, 0, 0, 3, 0x08, 0xac, 0x02]);
    assert_eq!(encode_frame(&ping(0))[..], [0, 0, 0, 0]);
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_prefix_alone() {
    let limit = limits::FRAME_BYTES_MAX as u32;
    for (len, fits) in [(limit, true), (limit + 1, false), (u32::MAX, false)] {
        let mut decoder = FrameDecoder::default();
        decoder.push(&len.to_be_bytes());
        let next = decoder.next_payload();
        match fits {
            true => assert_eq!(next, Ok(None)),
            false => assert_eq!(next, Err(FrameError::TooLong { got: len as usize, max: limits::FRAME_BYTES_MAX })),
        }
    }
}

#[test]
fn a_frame_of_exactly_the_limit_passes() {
    let mut decoder = FrameDecoder::default();
    decoder.push(&(limits::FRAME_BYTES_MAX as u32).to_be_bytes());
    decoder.push(&vec![7; limits::FRAME_BYTES_MAX]);
    assert_eq!(decoder.next_payload().unwrap().map(|payload| payload.len()), Some(limits::FRAME_BYTES_MAX));
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
#[should_panic(expected = "is over the limit")]
fn our_own_frame_over_the_limit_is_a_bug() {
    let request = vec![0; limits::FRAME_BYTES_MAX].into();
    encode_frame(&wire::Submit { request, body: None, nonce: 0 });
}

#[test]
fn a_stream_that_ends_within_a_frame_says_so() {
    let frame = encode_frame(&ping(300));
    let cut = |len: usize| {
        let mut decoder = FrameDecoder::default();
        decoder.push(&frame[..len]);
        assert_eq!(decoder.next::<wire::Ping>("ping"), if len == 7 { Ok(Some(ping(300))) } else { Ok(None) });
        decoder.finish()
    };
    assert_eq!(cut(0), Ok(()));
    for len in 1..4 {
        assert_eq!(cut(len), Err(FrameError::Truncated { got: len, want: 4 }));
    }
    for len in 4..7 {
        assert_eq!(cut(len), Err(FrameError::Truncated { got: len, want: 7 }));
    }
    assert_eq!(cut(7), Ok(()));
}

#[test]
fn a_payload_of_another_kind_is_named() {
    let mut decoder = FrameDecoder::default();
    decoder.push(&[0, 0, 0, 1, 0xff]);
    let error = decoder.next::<wire::Ping>("ping").unwrap_err();
    assert!(matches!(&error, FrameError::Malformed { kind: "ping", .. }), "{error}");
    assert!(error.to_string().contains("ping"));
}

proptest! {
    /// However the network cuts the stream, the frames come out as they went in.
    #[test]
    fn frames_survive_any_cutting(tokens in prop::collection::vec(any::<u64>(), 0..20), cuts in prop::collection::vec(1usize..9, 1..40)) {
        let mut stream = BytesMut::new();
        for token in &tokens {
            encode_frame_into(&ping(*token), &mut stream);
        }
        let (mut decoder, mut got, mut cuts) = (FrameDecoder::default(), Vec::new(), cuts.into_iter().cycle());
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            decoder.push(chunk);
            rest = later;
            while let Some(frame) = decoder.next::<wire::Ping>("ping").unwrap() {
                got.push(frame.token);
            }
        }
        prop_assert_eq!(got, tokens);
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn arbitrary_streams_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let mut decoder = FrameDecoder::default();
        for chunk in &chunks {
            decoder.push(chunk);
            // A broken stream ends at its first error, as a connection does.
            loop {
                match decoder.next::<wire::ClientFrame>("client frame") {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
        }
        let _ = decoder.finish();
    }
}
