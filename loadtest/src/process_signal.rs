//! Signals to the relays that this process started.
#![allow(unsafe_code, reason = "the standard library can only kill")]

/// What a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ends at once, without a word: a power cut as a process sees it.
    Kill,
    /// Asks to end in order.
    Terminate,
    /// Stands still, sockets open.
    Stop,
    /// Goes on.
    Continue,
}

/// Sends a signal to a process that the caller started and has not yet waited for (its id cannot be another's then).
pub fn send(pid: u32, signal: Signal) -> std::io::Result<()> {
    let number = match signal {
        Signal::Kill => libc::SIGKILL,
        Signal::Terminate => libc::SIGTERM,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    // 0 and below would name groups of processes.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(std::io::ErrorKind::InvalidInput)?;
    // SAFETY: kill takes two integers and touches no memory of ours.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
