use bytes::Bytes;
use causeway_replica::io::Ticket;
use causeway_replica::view::{Batch, Cf, View};

use super::{Disk, Mark};

fn row(key: &'static str) -> Batch {
    let mut batch = Batch::default();
    batch.put(Cf::Meta, Bytes::from_static(key.as_bytes()), Bytes::from_static(b"1"));
    batch
}

fn holds(view: &impl View, key: &str) -> bool {
    view.get(Cf::Meta, key.as_bytes()).unwrap().is_some()
}

#[test]
fn a_power_failure_takes_a_suffix_of_what_was_not_synced() {
    let mut disk = Disk::default();
    for (number, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        disk.write(Ticket(number as u64), row(key));
    }
    disk.synced_up_to(Ticket(0));
    assert!(holds(disk.visible(), "d") && holds(disk.synced(), "a") && !holds(disk.synced(), "b"));
    disk.crash(1);
    assert!(holds(disk.visible(), "a") && holds(disk.visible(), "b"));
    assert!(!holds(disk.visible(), "c") && !holds(disk.visible(), "d"));
}

#[test]
fn a_lost_disk_is_empty_and_a_restored_one_is_old() {
    let mut disk = Disk::default();
    disk.write(Ticket(1), row("a"));
    disk.synced_up_to(Ticket(1));
    disk.set_intact();
    disk.take_backup();
    disk.write(Ticket(2), row("b"));
    disk.synced_up_to(Ticket(2));
    disk.destroy();
    assert!(!holds(disk.visible(), "a") && disk.mark() == Mark::New);
    disk.restore_backup(true);
    assert!(holds(disk.synced(), "a") && !holds(disk.visible(), "b") && disk.mark() == Mark::Restored);
}
