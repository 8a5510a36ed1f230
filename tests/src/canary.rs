//! Secrets that a test has planted, and the search for them in all that a system leaves behind: files, rows, processes.
//!
//! Found is a secret as it is, in hex, in base64 at each alignment and in both alphabets, and percent-encoded; one of several
//! lines, such as a key file, by its lines; all of that inside of zstd, too. What is encrypted is not found, and is not meant
//! to be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::stack::START;
use crate::wait::wait_for;

/// Shorter pieces of a secret stand everywhere by chance.
const LEAST: usize = 10;
/// The first bytes of a frame of zstd (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What was planted.
#[derive(Clone)]
pub struct Canaries {
    finder: AhoCorasick,
    /// By the number of a form: the secret's name, and which form it is.
    forms: Vec<(String, &'static str)>,
}

impl Canaries {
    /// `planted`: names, and the secrets themselves.
    pub fn new(planted: &[(&str, &str)]) -> Self {
        let (mut texts, mut forms) = (Vec::new(), Vec::new());
        for (name, secret) in planted {
            let lines = secret.lines().filter(|line| !line.starts_with("-----") && line.len() >= LEAST);
            let before = texts.len();
            for line in lines {
                for (form, text) in forms_of(line.trim()) {
                    texts.push(text);
                    forms.push(((*name).to_owned(), form));
                }
            }
            assert!(texts.len() > before, "`{name}` is too short to be looked for");
        }
        Self { finder: AhoCorasick::new(&texts).expect("some hundreds of texts fit an automaton"), forms }
    }

    /// What is found in some bytes, as `name (form) in place`.
    pub fn in_bytes(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let mut found: Vec<String> = self
            .finder
            .find_overlapping_iter(bytes)
            .map(|hit| &self.forms[hit.pattern().as_usize()])
            .map(|(name, form)| format!("{name} ({form}) in {place}"))
            .collect();
        if bytes.starts_with(&ZSTD)
            && let Ok(plain) = zstd::decode_all(bytes)
        {
            found.extend(self.in_bytes(&format!("{place} (zstd)"), &plain));
        }
        found.sort();
        found.dedup();
        found
    }

    /// In the names and contents of all files below a folder but those in `except`, which must be there.
    pub fn in_folder(&self, folder: &Path, except: &[PathBuf]) -> Vec<String> {
        let mut found = Vec::new();
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in entries.filter(|path| !except.contains(path)) {
            let place = path.display().to_string();
            found.extend(self.in_bytes("a path", place.as_bytes()));
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                found.extend(self.in_folder(&path, except));
            } else if path.is_file() {
                // What goes meanwhile holds nothing.
                found.extend(self.in_bytes(&place, &fs::read(&path).unwrap_or_default()));
            }
        }
        found
    }

    /// In every column of every table.
    pub async fn in_database(&self, sql: &mut PgConnection) -> Vec<String> {
        let columns: Vec<(String, String, bool)> = sqlx::query_as(
            "select c.oid::regclass::text, quote_ident(a.attname), a.atttypid = 'bytea'::regtype
             from pg_class c join pg_attribute a on a.attrelid = c.oid
             where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped",
        )
        .fetch_all(&mut *sql)
        .await
        .expect("the catalogue can be read");
        assert!(columns.len() > 50, "this is not our database");
        let mut found = Vec::new();
        for (table, column, is_bytes) in columns {
            // Whatever is no bytes shows itself as text.
            let value = if is_bytes { column.clone() } else { format!("convert_to({column}::text, 'UTF8')") };
            let query = format!("select {value} from {table} where {column} is not null");
            let values: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(query))
                .fetch_all(&mut *sql)
                .await
                .unwrap_or_else(|error| panic!("{table}.{column}: {error}"));
            for value in values {
                found.extend(self.in_bytes(&format!("{table}.{column}"), &value));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// In the arguments and environment of every process of this machine but this one and those that `except` names by
    /// their program.
    pub fn in_processes(&self, except: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for pid in pids() {
            // Between two looks at it a process may become another program, with another environment: what was read is a
            // program's own only if it was that before and is it still. The kernel names it before it shows what it was given.
            while let Some(program) = program_of(pid).filter(|program| !except.contains(&program.as_str())) {
                let mut hits = Vec::new();
                for file in ["cmdline", "environ"] {
                    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                    hits.extend(self.in_bytes(&format!("{file} of {program}"), &bytes));
                }
                if hits.is_empty() || program_of(pid).is_none_or(|now| now == program) {
                    found.extend(hits);
                    break;
                }
            }
        }
        found
    }

    /// Looks at all processes, again and again, until it is told to end.
    pub fn watch_processes(&self, except: &'static [&'static str]) -> Watch {
        let (canaries, over, rounds) = (self.clone(), Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let thread = std::thread::spawn({
            let (over, rounds) = (Arc::clone(&over), Arc::clone(&rounds));
            move || {
                let mut seen = Seen::default();
                while !over.load(Ordering::Relaxed) {
                    for program in pids().filter_map(program_of) {
                        *seen.programs.entry(program).or_default() += 1;
                    }
                    seen.found.extend(canaries.in_processes(except));
                    rounds.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                seen
            }
        });
        Watch { over, rounds, thread }
    }
}

/// A look at the processes that goes on.
pub struct Watch {
    over: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Seen>,
}

/// What such a look has seen.
#[derive(Default)]
pub struct Seen {
    pub found: Vec<String>,
    /// How often each program was there.
    pub programs: BTreeMap<String, u64>,
}

impl Watch {
    /// Waits until all that runs at this moment has been looked at.
    pub async fn look(&self) {
        let now = self.rounds.load(Ordering::Relaxed);
        // The round that is under way may have passed over it.
        wait_for("all processes are looked at", START, async || {
            (self.rounds.load(Ordering::Relaxed) >= now + 2).then_some(())
        })
        .await;
    }

    pub fn end(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the look at processes does not panic")
    }
}

/// The ids of all processes but this one.
fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("this system has /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid != std::process::id())
}

/// What a process runs, unless it is gone.
fn program_of(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// A text in each form that it may lie about in.
fn forms_of(text: &str) -> Vec<(&'static str, String)> {
    let mut forms = vec![
        ("as it is", text.to_owned()),
        ("hex", hex::encode(text)),
        ("hex", hex::encode_upper(text)),
        ("percent-encoded", percent(text)),
    ];
    for offset in 0..3_usize {
        let shifted = [&vec![0; offset][..], text.as_bytes()].concat();
        // Those characters that no byte before or behind has a part in.
        let (first, last) = ((offset * 8).div_ceil(6), shifted.len() * 8 / 6);
        for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            forms.push(("base64", encoded[first..last].to_owned()));
        }
    }
    forms.sort();
    forms.dedup_by(|a, b| a.1 == b.1);
    forms
}

fn percent(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}
