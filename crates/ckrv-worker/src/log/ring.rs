//! A bounded queue of bytes in a file without a name: what is behind it is forgotten when the process ends, however it ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes `start..end` of everything ever written lie in the file; a place in it is the byte's number modulo `capacity`.
#[derive(Debug)]
pub struct Ring {
    file: File,
    capacity: u64,
    /// What the byte numbers are counted from: moved up when the ring is empty, so that a slow stream keeps to the file's
    /// first pages instead of filling the disk (and its cache) with all of it.
    origin: u64,
    start: u64,
    end: u64,
}

impl Ring {
    /// In `dir`; takes disk space only as it fills.
    pub fn create(dir: &Path, capacity: u64) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(dir)?, capacity, origin: 0, start: 0, end: 0 })
    }

    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    pub const fn free(&self) -> u64 {
        self.capacity - self.len()
    }

    /// Appends `bytes`, for which there must be room.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(bytes.len() as u64 <= self.free());
        let (place, edge) = self.place(self.end, bytes.len());
        let (front, back) = bytes.split_at(edge);
        self.file.write_all_at(front, place)?;
        self.file.write_all_at(back, 0)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Replaces `out` by the first bytes, at most `max`.
    pub fn read(&self, max: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let length = usize::try_from(self.len()).unwrap_or(max).min(max);
        let (place, edge) = self.place(self.start, length);
        out.resize(length, 0);
        let (front, back) = out.split_at_mut(edge);
        self.file.read_exact_at(front, place)?;
        self.file.read_exact_at(back, 0)
    }

    /// Forgets the first `length` bytes.
    pub fn consume(&mut self, length: u64) {
        self.start += length.min(self.len());
        if self.start == self.end {
            self.origin = self.end;
        }
    }

    /// Where byte number `at` lies, and how many of `length` bytes from there fit before the file's end.
    fn place(&self, at: u64, length: usize) -> (u64, usize) {
        let place = (at - self.origin) % self.capacity;
        let edge = usize::try_from(self.capacity - place).unwrap_or(length).min(length);
        (place, edge)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ring_gives_back_what_it_took_in_order(steps in proptest::collection::vec((0_usize..60, 0_usize..60), 1..80)) {
            let dir = tempfile::tempdir().unwrap();
            let mut ring = Ring::create(dir.path(), 100).unwrap();
            let mut model = std::collections::VecDeque::new();
            let mut next = 0_u8;
            let mut out = Vec::new();
            for (write, read) in steps {
                let bytes: Vec<u8> = (0..write.min(usize::try_from(ring.free()).unwrap())).map(|_| { next = next.wrapping_add(1); next }).collect();
                ring.write(&bytes).unwrap();
                model.extend(bytes);
                ring.read(read, &mut out).unwrap();
                let expected: Vec<u8> = model.iter().take(read).copied().collect();
                prop_assert_eq!(&out, &expected);
                ring.consume(out.len() as u64);
                model.drain(..out.len());
                prop_assert_eq!(ring.len(), model.len() as u64);
            }
        }
    }

    #[test]
    fn nothing_is_seen_of_it_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let mut ring = Ring::create(dir.path(), 100).unwrap();
        ring.write(b"lines").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
