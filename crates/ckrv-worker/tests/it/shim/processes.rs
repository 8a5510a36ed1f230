//! This machine's processes, as tests look for them.

use std::fs;
use std::path::PathBuf;

pub fn processes() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().parse::<u32>().is_ok()).collect()
}

/// Live processes whose command line holds the text.
pub fn alive(marker: &str) -> usize {
    let holds = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(marker)
    };
    processes().iter().filter(|path| holds(path)).count()
}

/// A number of seconds that no other test sleeps.
pub fn marker() -> String {
    format!("{}.{}", 40_000_000 + std::process::id(), rand::random::<u32>())
}

pub fn parent_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}
