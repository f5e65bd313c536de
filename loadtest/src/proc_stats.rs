//! What the kernel says of a process and of a folder: CPU time, memory, disk. Zeros where there is no such process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Ticks a second of `/proc`: 100 on every Linux that Rust supports.
const TICKS_PER_S: f64 = 100.0;
/// Bytes of a block as `stat` counts them.
const BLOCK_BYTES: u64 = 512;
/// Folders below the one measured.
const FOLDERS_MAX: usize = 100_000;

/// User and system CPU seconds of a process, all its threads.
pub fn cpu_s(pid: u32) -> f64 {
    cpu_of(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default())
}

fn cpu_of(stat: &str) -> f64 {
    // The second field, the command's name in parentheses, may hold spaces: count from behind it.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = |i| after.split_whitespace().nth(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_S
}

/// A field of `/proc/PID/status` that is given in kB, such as `VmRSS` or `VmHWM`.
pub fn memory_kb(pid: u32, field: &str) -> u64 {
    memory_of(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), field)
}

fn memory_of(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Busy CPU seconds of the whole machine since it started.
pub fn machine_busy_s() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<f64> =
        stat.lines().next().unwrap_or("").split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    (ticks.iter().take(8).sum::<f64>() - idle) / TICKS_PER_S
}

/// Bytes that the files below a folder occupy on disk.
pub fn disk_bytes(folder: &Path) -> u64 {
    let mut folders = vec![folder.to_owned()];
    let mut bytes = 0;
    let mut visited = 0;
    while let Some(next) = folders.pop() {
        visited += 1;
        if visited > FOLDERS_MAX {
            break;
        }
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(m) if m.is_dir() => folders.push(entry.path()),
                Ok(m) if m.is_file() => bytes += m.blocks() * BLOCK_BYTES,
                _ => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_spaces() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14";
        assert!((cpu_of(stat) - 3.0).abs() < 1e-9);
        assert!(cpu_of("").abs() < 1e-9);
        assert_eq!(memory_of("VmHWM:\t  1234 kB\nVmRSS:\t 5 kB", "VmRSS"), 5);
        assert_eq!(memory_of("VmHWMx:\t  1234 kB", "VmHWM"), 0);
    }

    #[test]
    fn this_process_and_a_folder_are_measured() {
        assert!(memory_kb(std::process::id(), "VmRSS") > 0);
        assert!(machine_busy_s() > 0.0);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/file"), vec![1; 10_000]).unwrap();
        assert!(disk_bytes(dir.path()) >= 8_192);
        assert_eq!(disk_bytes(&dir.path().join("none")), 0);
    }
}
