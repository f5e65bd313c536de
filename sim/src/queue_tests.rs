use super::Queue;

#[test]
fn events_happen_by_time_and_then_in_the_order_they_were_pushed() {
    let mut queue = Queue::default();
    queue.after(5, "late");
    queue.after(1, "first");
    queue.after(1, "second");
    let mut seen = Vec::new();
    while let Some(event) = queue.pop() {
        seen.push((queue.now(), event));
        if event == "first" {
            queue.after(0, "at once");
        }
    }
    assert_eq!(seen, [(1, "first"), (1, "second"), (1, "at once"), (5, "late")]);
}
