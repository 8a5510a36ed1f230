//! A request body that another task fills as it goes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Exactly `size` bytes are to come through the channel.
pub struct ChannelBody {
    size: u64,
    parts: mpsc::Receiver<Bytes>,
}

impl ChannelBody {
    /// The body and the end to fill it by; a sender dropped early makes the upload fail.
    pub fn new(size: u64) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, parts) = mpsc::channel(2);
        (sender, Self { size, parts })
    }
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.parts.poll_recv(cx).map(|part| match part {
            Some(bytes) => {
                self.size = self.size.saturating_sub(bytes.len() as u64);
                Some(Ok(Frame::data(bytes)))
            }
            None if self.size > 0 => Some(Err(std::io::ErrorKind::UnexpectedEof.into())),
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size)
    }
}
