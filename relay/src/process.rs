//! What the operating system says of this process.

use std::fs;

/// Ticks a second of `/proc/self/stat`: 100 on every Linux that Rust supports.
const TICKS_PER_S: f64 = 100.0;

/// CPU time and memory of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct ProcessUsage {
    /// CPU seconds in user mode, all threads.
    pub cpu_user_s: f64,
    /// CPU seconds in the kernel, all threads.
    pub cpu_system_s: f64,
    /// Resident memory now, bytes.
    pub memory_bytes: u64,
    /// The most that was ever resident, bytes.
    pub memory_peak_bytes: u64,
}

impl ProcessUsage {
    /// Reads `/proc`; zeros where there is none.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field, the command's name in parentheses, may hold spaces: count from behind it.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = |index: usize| {
            after_name.split_whitespace().nth(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0)
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
            line.trim_start_matches(':')
                .split_whitespace()
                .next()
                .and_then(|field| field.parse::<u64>().ok())
                .unwrap_or(0)
        };
        Self {
            cpu_user_s: ticks(11) / TICKS_PER_S,
            cpu_system_s: ticks(12) / TICKS_PER_S,
            memory_bytes: kilobytes("VmRSS") * 1024,
            memory_peak_bytes: kilobytes("VmHWM") * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory() {
        let usage = ProcessUsage::read();
        assert!(usage.memory_bytes > 0 && usage.memory_peak_bytes >= usage.memory_bytes);
    }
}
