//! Invitations as sites tell them.

use causeway_protocol::{Bytes, DeviceId, Stamp};

use super::*;

fn told(n: u64, room: u8) -> wire::Invitation {
    let id = RequestId { stamp: Stamp(n), device: DeviceId(1) };
    wire::Invitation {
        room: Bytes::copy_from_slice(&[room; 16]),
        name: "lunch".into(),
        channel: true,
        by: "ann".into(),
        id: Some(id.to_wire()),
    }
}

fn list(invitations: Vec<wire::Invitation>) -> wire::Invitations {
    wire::Invitations { invitations }
}

#[test]
fn the_newest_comes_first() {
    let all = of_wire(&list(vec![told(5, 1), told(9, 2), told(7, 3)])).unwrap();
    assert_eq!(all.iter().map(|invitation| invitation.room.0[0]).collect::<Vec<_>>(), [2, 3, 1]);
    assert_eq!((all[0].name.as_str(), all[0].by.as_str(), all[0].channel), ("lunch", "ann", true));
}

#[test]
fn what_does_not_fit_is_refused_by_its_field() {
    let without_id = wire::Invitation { id: None, ..told(1, 1) };
    assert_eq!(of_wire(&list(vec![without_id])), Err(DecodeError::Missing { field: "invitation.id" }));
    let bad_room = wire::Invitation { room: Bytes::from_static(b"short"), ..told(1, 1) };
    assert!(of_wire(&list(vec![bad_room])).is_err());
    let max = 2 * limits::INVITATIONS_PER_USER_MAX;
    assert_eq!(of_wire(&list(vec![told(1, 1); max])).unwrap().len(), max);
    let got = max + 1;
    let refused = of_wire(&list(vec![told(1, 1); got]));
    assert_eq!(refused, Err(DecodeError::TooLong { field: "invitations", max, got }));
}
