//! A model file as a stream of bytes for the protobuf decoder, hashed as it passes.
//!
//! The decoder copies what it keeps, so the file itself need not be in memory; and what it wants much of is read to where
//! it wants it.

use prost::bytes::{Buf, TryGetError};
use std::fs::File;
use std::io::{Error, Read};
use std::path::Path;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// The bytes of a file, from the beginning to the end.
pub(super) struct FileBytes {
    file: File,
    /// Bytes of the file that are not in the buffer yet.
    left: u64,
    buffer: Vec<u8>,
    at: usize,
    hasher: blake3::Hasher,
    error: Option<Error>,
}

impl FileBytes {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut bytes = Self {
            file,
            left: metadata.len(),
            buffer: Vec::new(),
            at: 0,
            hasher: blake3::Hasher::new(),
            error: None,
        };
        if metadata.is_file() {
            bytes.fill();
        } else {
            // A pipe has no length before its end.
            bytes.left = 0;
            bytes.file.read_to_end(&mut bytes.buffer)?;
            bytes.hasher.update(&bytes.buffer);
        }
        Ok(bytes)
    }

    /// The hash of all bytes, also of those that were not taken, hexadecimal.
    pub(super) fn finish(mut self) -> Result<String, Error> {
        while self.error.is_none() && self.has_remaining() {
            self.advance(self.buffer.len() - self.at);
        }
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.hasher.finalize().to_hex().to_string()),
        }
    }

    /// Reads the next chunk; after an error there is none.
    fn fill(&mut self) {
        let next = (CHUNK as u64).min(self.left) as usize;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(next, 0);
        self.read(&mut buffer);
        if self.error.is_none() {
            self.buffer = buffer;
        }
        self.at = 0;
    }

    /// Reads the next bytes of the file, which has as many.
    fn read(&mut self, to: &mut [u8]) {
        match self.file.read_exact(to) {
            Ok(()) => {
                self.left -= to.len() as u64;
                self.hasher.update(to);
            }
            Err(error) => {
                self.error = Some(error);
                self.left = 0;
            }
        }
    }
}

impl Buf for FileBytes {
    fn remaining(&self) -> usize {
        self.buffer.len() - self.at + usize::try_from(self.left).unwrap_or(usize::MAX / 2)
    }

    fn chunk(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let step = count.min(self.buffer.len() - self.at);
            self.at += step;
            count -= step;
            if self.at == self.buffer.len() {
                if self.left == 0 {
                    return;
                }
                self.fill();
            }
        }
    }

    /// Whole chunks go past the buffer. What an error leaves out stays as it is: [`FileBytes::finish`] tells.
    fn try_copy_to_slice(&mut self, mut to: &mut [u8]) -> Result<(), TryGetError> {
        if self.remaining() < to.len() {
            return Err(TryGetError {
                requested: to.len(),
                available: self.remaining(),
            });
        }
        while !to.is_empty() && self.error.is_none() {
            let buffered = &self.buffer[self.at..];
            let count = if !buffered.is_empty() {
                let count = buffered.len().min(to.len());
                to[..count].copy_from_slice(&buffered[..count]);
                self.at += count;
                count
            } else if to.len() >= CHUNK {
                self.read(&mut to[..CHUNK]);
                CHUNK
            } else {
                self.fill();
                0
            };
            to = &mut to[count..];
        }
        if self.at == self.buffer.len() && self.left > 0 {
            self.fill();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_several_chunks_passes_whole() {
        let bytes: Vec<u8> = (0..2 * CHUNK + 7).map(|i| (i % 251) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, &bytes).unwrap();
        let mut stream = FileBytes::open(&path).unwrap();
        assert_eq!(stream.get_u8(), bytes[0]);
        // What is in the buffer, a chunk past it, and some of the next.
        let mut taken = vec![0; 2 * CHUNK + 3];
        stream.copy_to_slice(&mut taken);
        assert_eq!(taken, bytes[1..2 * CHUNK + 4]);
        assert_eq!(stream.remaining(), 3);
        assert!(stream.try_copy_to_slice(&mut taken).is_err());
        assert_eq!(stream.get_u8(), bytes[2 * CHUNK + 4]);
        assert_eq!(
            stream.finish().unwrap(),
            blake3::hash(&bytes).to_hex().to_string()
        );
    }

    #[test]
    fn a_folder_is_no_file() {
        assert!(FileBytes::open(Path::new(".")).is_err());
    }
}
