//! What is asked of a room costs no more rows where the room is larger.

use super::*;

/// Times that each act is done.
const TIMES: usize = 3;

#[test]
fn no_act_costs_more_rows_in_a_larger_room() {
    let fill = |members, messages| LargeRoom::fill(Memory::default(), Size { members, messages });
    let (mut small, mut large) = (fill(100, 1_000), fill(1_000, 10_000));
    for (in_small, in_large) in acts().iter().zip(&acts()) {
        let (small, large) = (measure(&mut small, in_small, TIMES), measure(&mut large, in_large, TIMES));
        assert!(small.read > 0, "{} reads nothing", in_small.name);
        let is_more = large.read > small.read || large.written > small.written;
        assert!(!is_more, "{}: {small:?} in the small room, {large:?} in the large one", in_small.name);
    }
}
