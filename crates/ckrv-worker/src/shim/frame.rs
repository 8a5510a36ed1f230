//! Frames on the socket: a 4-byte big-endian length of the payload, one byte of kind, the payload.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Largest payload of raw bytes.
pub(super) const RAW_BYTES: usize = 64 * 1024;
/// Largest control message: a `Run` with a long command and environment, in JSON.
const CONTROL_BYTES: usize = 4 * 1024 * 1024;
const HEADER_BYTES: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON, see [`super::message`].
    Control,
    Stdout,
    Stderr,
    /// A piece of a bundle.
    Bundle,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Control, Self::Stdout, Self::Stderr, Self::Bundle];

    fn limit(self) -> usize {
        if self == Self::Control { CONTROL_BYTES } else { RAW_BYTES }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub kind: Kind,
    pub payload: Bytes,
}

impl Frame {
    pub fn control<M: DeserializeOwned>(&self) -> io::Result<M> {
        serde_json::from_slice(&self.payload).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// A frame's bytes on the wire.
pub(super) fn encode(kind: Kind, payload: &[u8]) -> Bytes {
    let length = u32::try_from(payload.len()).expect("payloads are at most a few MiB");
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    bytes.put_u32(length);
    bytes.put_u8(kind as u8);
    bytes.put_slice(payload);
    bytes.freeze()
}

pub(super) fn encode_control(message: &impl Serialize) -> io::Result<Bytes> {
    let json = serde_json::to_vec(message).map_err(io::Error::other)?;
    if json.len() > CONTROL_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "command and environment are larger than 4 MiB"));
    }
    Ok(encode(Kind::Control, &json))
}

/// Takes frames off a stream.
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(2 * RAW_BYTES) }
    }

    /// The next frame; `None` when the other end closed between two frames. Cancel-safe: what was read stays.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<Frame>> {
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidData, text);
        let Some((mut header, _)) = self.buffer.split_at_checked(HEADER_BYTES) else { return Ok(None) };
        let length = header.get_u32() as usize;
        let kind = *Kind::ALL.get(usize::from(header.get_u8())).ok_or_else(|| invalid("a frame of unknown kind"))?;
        if length > kind.limit() {
            return Err(invalid("a frame over its limit"));
        }
        if self.buffer.len() < HEADER_BYTES + length {
            self.buffer.reserve(HEADER_BYTES + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        Ok(Some(Frame { kind, payload: self.buffer.split_to(length).freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Option<Frame>> {
        FrameReader::new(bytes).next().await
    }

    #[tokio::test]
    async fn frames_survive_the_wire_however_they_are_cut() {
        let mut wire = Vec::new();
        wire.extend(encode(Kind::Stdout, b"one"));
        wire.extend(encode(Kind::Bundle, &vec![7; RAW_BYTES]));
        wire.extend(encode(Kind::Stderr, b""));
        let (ours, mut theirs) = tokio::io::duplex(3);
        let writer = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut theirs, &wire).await });
        let mut frames = FrameReader::new(ours);
        let mut seen = Vec::new();
        while let Some(frame) = frames.next().await.unwrap() {
            seen.push((frame.kind, frame.payload.len()));
        }
        assert_eq!(seen, [(Kind::Stdout, 3), (Kind::Bundle, RAW_BYTES), (Kind::Stderr, 0)]);
        writer.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error_before_it_costs_memory() {
        assert!(read(&[0, 0, 0, 1, 9, 0]).await.is_err(), "unknown kind");
        assert!(read(&[0xff, 0xff, 0xff, 0xff, 1]).await.is_err(), "too long");
        assert!(read(&[0, 0, 0, 9, 1, 0]).await.is_err(), "cut");
        assert!(read(&[]).await.unwrap().is_none());
    }
}
