//! A site returns with an old copy of its disk, or with none.

use std::path::Path;

use crate::system::{System, texts};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_and_an_empty_disk_pull_back_what_they_lack() {
    let mut system = System::start(3, false).await;
    let ann = system.person("ann", 1).await;
    let room = ann.create_room().await;
    let mut sent = ann.say_all(room, texts(0..10)).await;
    system.converged().await;
    let data = system.cluster.sites[0].data_dir.clone();
    let backup = system.dir().join("backup");
    system.cluster.stop(0).await.unwrap();
    copy(&data, &backup);
    system.start_again(0).await;
    // What the site itself accepts now is not in the copy.
    let bob = system.person("bob", 0).await;
    bob.join(room).await;
    sent.extend(bob.say_all(room, texts(10..20)).await);
    bob.outbox_empty().await;
    sent.extend(ann.say_all(room, texts(20..30)).await);
    ann.outbox_empty().await;
    system.kill(0).await;
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    system.start_again(0).await;
    system.converged().await;
    system.assert_history("bob", room, &sent).await;

    system.kill(0).await;
    std::fs::remove_dir_all(&data).unwrap();
    system.start_again(0).await;
    sent.extend(bob.say_all(room, texts(30..40)).await);
    bob.outbox_empty().await;
    system.converged().await;
    system.assert_history("ann", room, &sent).await;
}
