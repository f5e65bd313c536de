use super::*;

/// RFC 9562's own example of a UUIDv7 has the same form.
const KEY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn hex(hash: Hash16) -> String {
    format!("{:032x}", u128::from_be_bytes(hash))
}

/// Made by a script of its own, with another implementation of BLAKE3. Sites of all versions must agree on them.
#[test]
fn ids_and_salts_follow_from_key_and_user() {
    let key = Key::parse(KEY).unwrap();
    assert_eq!(key.ms(), 1_688_096_058_518);
    assert_eq!(key.stamp().0 & 0xffff, 0x74bf);
    let cases = [
        ("ann", "01890a5dac9674bf4f46a9c08d52414b", "7245b712f90fe46599770f220707b402"),
        ("박", "01890a5dac9674bfef609f025c4f32a5", "a72e3bc0dc56f2e6ffc295d4d6132300"),
    ];
    for (name, id, salt) in cases {
        assert_eq!(key.request_id(&user(name)).to_string(), id, "{name}");
        assert_eq!(hex(key.salt(&user(name))), salt, "{name}");
    }
}

#[test]
fn the_nonce_that_the_device_comes_of_is_the_keys_hash() {
    let key = Key::parse(KEY).unwrap();
    let hash = hash16("causeway/idempotency", &[&key.0.to_be_bytes()]);
    let nonce = u64::from_be_bytes(hash[..8].try_into().unwrap());
    assert_eq!(key.request_id(&user("ann")).device, DeviceId::derive(&user("ann"), nonce));
}

#[test]
fn a_key_is_read_as_it_is_written() {
    let key = Key::parse(KEY).unwrap();
    assert_eq!(key.to_string(), KEY);
    assert_eq!(Key::parse(&format!("\"{KEY}\"")), Ok(key));
    assert_eq!(Key::parse(&KEY.to_uppercase()), Ok(key));
}

#[test]
fn what_is_no_uuid_of_version_7_is_refused() {
    let no_uuid = [
        "",
        "\"",
        "\"\"",
        "01890a5dac96774bbcceb302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a805",
        "가890a5d-ac96-774b-bcce-b302099a805",
    ];
    for text in
        no_uuid.into_iter().chain(["+1890a5d-ac96-774b-bcce-b302099a8057", "01890a5dXac96-774b-bcce-b302099a8057"])
    {
        assert!(Key::parse(text).unwrap_err().contains("such as"), "{text}");
    }
    for other in ["01890a5d-ac96-474b-bcce-b302099a8057", "01890a5d-ac96-774b-ccce-b302099a8057"] {
        assert!(Key::parse(other).unwrap_err().contains("version 7"), "{other}");
    }
}

#[test]
fn a_key_of_the_sites_own_making_has_its_stamp() {
    for stamp in [Stamp(0), Stamp(1), Stamp(0xffff), Stamp(0x0189_0a5d_ac96_74bf), Stamp(u64::MAX)] {
        for random in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
            let key = Key::new(stamp, random);
            assert_eq!(key.stamp(), stamp);
            assert_eq!(Key::parse(&key.to_string()), Ok(key), "a UUIDv7");
        }
    }
    assert_ne!(Key::new(Stamp(1), 1 << 6), Key::new(Stamp(1), 2 << 6));
}
