//! Keys, read on a thread of their own: the terminal can only be waited for.

use std::io;
use std::time::Duration;

use crossterm::event::{Event, KeyEvent, KeyEventKind};
use tokio::sync::mpsc;

/// How long the thread waits before it looks whether the chat has ended.
const WAIT: Duration = Duration::from_millis(100);
/// Keys typed ahead of the screen.
const KEYS_MAX: usize = 256;

/// Starts the thread. It ends with the receiver, or with an error, which comes last.
pub fn keys() -> mpsc::Receiver<io::Result<KeyEvent>> {
    let (send, receive) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while !send.is_closed() {
            let read = || match crossterm::event::poll(WAIT)? {
                true => crossterm::event::read().map(Some),
                false => Ok(None),
            };
            let sent = match read() {
                Ok(Some(Event::Key(key))) if key.kind == KeyEventKind::Press => send.blocking_send(Ok(key)),
                Ok(_) => Ok(()),
                Err(e) => {
                    // Reading will not get better: the chat ends with the reason.
                    let _ = send.blocking_send(Err(e));
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    receive
}
