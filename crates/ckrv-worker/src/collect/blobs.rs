//! The contents of many files as objects at one go: a stream into `git fast-import`, which makes a single pack of them.
//! An object and a copy for each would be twice as many files again as the agent made.
//!
//! Here goes what git stores as it lies there. What it converts, what it might not want under that name, and what is too
//! large to hold is left for it to look at (see [`super::snapshot`]).

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use super::Job;
use super::conversions::Conversions;
use super::hostile::{Kind, Stamp};
use super::reader::Reader;
use super::snapshot::{SnapshotError, settle};
use super::walk::FoundFile;
use super::warnings::Warnings;

/// Larger files are left.
const HELD_BYTES: u64 = 1024 * 1024;
const PIPE_BUFFER: usize = 256 * 1024;

/// What became of the files. Of those in neither list the warnings tell: they stay as the head has them.
pub(super) struct Stored {
    /// Lines for `update-index --index-info`.
    pub settled: Vec<u8>,
    pub left: Vec<FoundFile>,
    pub reader: Reader,
}

/// Stores what it can of `files`.
pub(super) async fn store(
    job: &Job<'_>,
    reader: Reader,
    files: Vec<FoundFile>,
    conversions: Conversions,
    warnings: &mut Warnings,
) -> Result<Stored, SnapshotError> {
    let marks = job.output("marks");
    let (pipe, stream) = io::pipe()?;
    let mut export = std::ffi::OsString::from("--export-marks=");
    export.push(&marks);
    // Without deltas: making the bundle looks for better ones.
    let import = job.git().args(["fast-import", "--quiet", "--done", "--depth=0"]).arg(export);
    let import = import.input_file(File::from(OwnedFd::from(pipe))).run();
    let feeder = Feeder::new(reader, conversions, stream);
    let feeding = tokio::task::spawn_blocking(move || feeder.run(files));
    let (imported, fed) = tokio::join!(import, feeding);
    // When git ends early, its own words say more than the broken pipe.
    imported?;
    let mut fed = fed.map_err(io::Error::other)??;
    warnings.extend(std::mem::take(&mut fed.warnings));
    Ok(fed.settle(&fs::read_to_string(marks)?))
}

struct Feeder {
    reader: Reader,
    conversions: Conversions,
    stream: BufWriter<io::PipeWriter>,
    /// With git's mode, in the order of their marks, which begin at 1.
    sent: Vec<(&'static str, FoundFile)>,
    left: Vec<FoundFile>,
    warnings: Warnings,
    buffer: Vec<u8>,
}

struct Fed {
    reader: Reader,
    sent: Vec<(&'static str, FoundFile)>,
    left: Vec<FoundFile>,
    warnings: Warnings,
}

impl Feeder {
    fn new(reader: Reader, conversions: Conversions, stream: io::PipeWriter) -> Self {
        Self {
            reader,
            conversions,
            stream: BufWriter::with_capacity(PIPE_BUFFER, stream),
            sent: Vec::new(),
            left: Vec::new(),
            warnings: Warnings::default(),
            buffer: Vec::new(),
        }
    }

    fn run(mut self, files: Vec<FoundFile>) -> io::Result<Fed> {
        for file in files {
            match self.read(&file) {
                Ok(Some(mode)) => {
                    self.send()?;
                    self.sent.push((mode, file));
                }
                Ok(None) => self.left.push(file),
                Err(error) => self.warnings.add(format!("`{}` was left as it was: {error}", file.path.display())),
            }
        }
        self.stream.write_all(b"done\n")?;
        self.stream.flush()?;
        let Self { reader, sent, left, warnings, .. } = self;
        Ok(Fed { reader, sent, left, warnings })
    }

    /// Fills the buffer; answers git's mode, or none if the file is not for here.
    fn read(&mut self, file: &FoundFile) -> io::Result<Option<&'static str>> {
        self.buffer.clear();
        if file.stamp.size > HELD_BYTES || !is_plain(&file.path) {
            return Ok(None);
        }
        if file.kind == Kind::Link {
            self.buffer.extend_from_slice(self.reader.link(&file.path)?.as_bytes());
            return Ok(Some("120000"));
        }
        let (source, stamp) = self.reader.file(&file.path)?;
        // It may grow while it is read.
        source.take(HELD_BYTES + 1).read_to_end(&mut self.buffer)?;
        let size = self.buffer.len() as u64;
        if size > HELD_BYTES || self.conversions.may_change(&file.path, &self.buffer) {
            return Ok(None);
        }
        self.reader.has_read(size);
        Ok(Some(mode(stamp)))
    }

    /// A blob in fast-import's format: nothing of the agent's is in it but the counted bytes.
    fn send(&mut self) -> io::Result<()> {
        write!(self.stream, "blob\nmark :{}\ndata {}\n", self.sent.len() + 1, self.buffer.len())?;
        self.stream.write_all(&self.buffer)?;
        self.stream.write_all(b"\n")
    }
}

/// Of the mode git keeps the owner's right to execute.
fn mode(stamp: Stamp) -> &'static str {
    if stamp.mode & 0o100 == 0 { "100644" } else { "100755" }
}

impl Fed {
    /// `marks`: a line `:<number> <id>` for each blob.
    fn settle(self, marks: &str) -> Stored {
        let mut settled = Vec::new();
        for line in marks.lines() {
            let sent = line.strip_prefix(':').and_then(|line| line.split_once(' ')).and_then(|(mark, id)| {
                let (mode, file) = self.sent.get(mark.parse::<usize>().ok()?.checked_sub(1)?)?;
                Some((mode, id, file))
            });
            if let Some((mode, id, file)) = sent {
                settle(&mut settled, mode, id, &file.path);
            }
        }
        Stored { settled, left: self.left, reader: self.reader }
    }
}

/// Whether git surely takes the name. It refuses what could be `.git` on any system, and would refuse all lines with it.
fn is_plain(path: &Path) -> bool {
    path.components().all(|component| {
        let Component::Normal(name) = component else { return false };
        let name = name.as_bytes();
        let is_git = name.len() >= 4 && name[..4].eq_ignore_ascii_case(b".git");
        !is_git && name.is_ascii() && !name.iter().any(|byte| matches!(byte, b'\\' | b':' | b'~'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_may_refuse_are_not_plain() {
        for plain in ["a", "src/main.rs", "with space", "with\nnewline", "-x", ".hidden", "git", "a.git"] {
            assert!(is_plain(Path::new(plain)), "{plain}");
        }
        let zero_width = ".g\u{200c}it/config";
        for odd in
            [".git/x", "a/.GIT", ".git /x", ".gitmodules", "git~1/x", "a\\.git\\x", "a/.git::$INDEX/x", zero_width, ""]
        {
            assert!(!is_plain(Path::new(odd)) || odd.is_empty(), "{odd}");
        }
    }
}
