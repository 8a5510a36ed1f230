//! A stream of server-sent events, cut where one event ends and the next begins (WHATWG HTML, section 9.2).
//!
//! Events leave as the very bytes they came as. Knows nothing of what is in them.

use bytes::{Bytes, BytesMut};

/// A longer event is taken for an error of the provider.
const EVENT_BYTES: usize = 32 * 1024 * 1024;

/// The provider sent an event without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {EVENT_BYTES} bytes")]
pub struct EventTooLong;

/// Chunks in, whole events out.
#[derive(Debug, Default)]
pub struct Events {
    pending: BytesMut,
    /// Bytes of `pending` in which no event ends.
    searched: usize,
}

impl Events {
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), EventTooLong> {
        self.pending.extend_from_slice(chunk);
        if self.pending.len() > EVENT_BYTES { Err(EventTooLong) } else { Ok(()) }
    }

    /// The next whole event with the empty line at its end.
    pub fn next_event(&mut self) -> Option<Bytes> {
        // The line end before what is new may be the first half of an event's end.
        let from = self.searched.saturating_sub(3);
        let Some(end) = event_end(&self.pending[from..]) else {
            self.searched = self.pending.len();
            return None;
        };
        self.searched = 0;
        Some(self.pending.split_to(from + end).freeze())
    }

    /// What is left when the stream is over: an event without its end.
    pub fn rest(&mut self) -> Bytes {
        self.searched = 0;
        self.pending.split().freeze()
    }
}

fn event_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// The event's data: its `data` lines joined by line feeds.
pub fn data(event: &[u8]) -> Option<Vec<u8>> {
    let mut data: Option<Vec<u8>> = None;
    for line in event.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(value) = line.strip_prefix(b"data:") else { continue };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => data = Some(value.to_vec()),
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> (Vec<Bytes>, Bytes) {
        let mut events = Events::default();
        let mut whole = Vec::new();
        for chunk in chunks {
            events.push(chunk).unwrap();
            whole.extend(std::iter::from_fn(|| events.next_event()));
        }
        (whole, events.rest())
    }

    #[test]
    fn events_are_cut_at_empty_lines_of_either_kind() {
        let (events, rest) = split(&[b"event: a\ndata: 1\n\ndata: 2\r\n\r\n: ping\n\nda"]);
        assert_eq!(events, ["event: a\ndata: 1\n\n", "data: 2\r\n\r\n", ": ping\n\n"]);
        assert_eq!(rest, "da");
    }

    #[test]
    fn data_lines_are_joined_and_other_fields_left() {
        assert_eq!(data(b"event: x\ndata: {\"a\":\ndata:1}\r\nid: 7\n\n").unwrap(), b"{\"a\":\n1}");
        assert_eq!(data(b": ping\n\n"), None);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        let chunk = vec![b'x'; EVENT_BYTES];
        assert_eq!(events.push(&chunk), Ok(()));
        assert_eq!(events.push(b"x"), Err(EventTooLong));
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events_and_loses_no_byte(
            bytes in proptest::collection::vec(prop_oneof![3 => Just(b'\n'), 1 => Just(b'\r'), 3 => Just(b'a')], 0..200),
            cuts in proptest::collection::vec(0_usize..200, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.insert(0, 0);
            cuts.push(bytes.len());
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (events, rest) = split(&chunks);
            let mut joined = events.concat();
            joined.extend_from_slice(&rest);
            prop_assert_eq!(&joined, &bytes);
            prop_assert_eq!((events, rest), split(&[&bytes]));
        }
    }
}
