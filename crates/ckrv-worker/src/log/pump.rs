//! The agent's streams on their way into the log.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use ckrv_types::limits::PARTIAL_LINE_MILLIS;
use ckrv_types::log::Stream;
use ckrv_types::usage::Usage;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Log;
use super::lines::Lines;
use super::spool::SpoolError;
use crate::agents::{OutputFormat, OutputParser, Progress};

const PARTIAL_LINE: Duration = Duration::from_millis(PARTIAL_LINE_MILLIS);

/// A piece of the agent's output, as it came.
#[derive(Debug)]
pub struct Output {
    pub stream: Stream,
    pub bytes: Bytes,
}

/// Reads the agent's two streams: standard output in the agent's own format, the other as text.
pub struct Pumps<F> {
    stdout: Pump,
    stderr: Pump,
    used: F,
}

impl<F: FnMut(Usage) + Send> Pumps<F> {
    /// `used` is told what the agent says of its model calls.
    pub fn new(log: &Log, format: OutputFormat, used: F) -> Self {
        let stdout = Pump::new(log, Stream::Stdout, format);
        Self { stdout, stderr: Pump::new(log, Stream::Stderr, OutputFormat::Text), used }
    }

    /// Where to see what the agent is doing, if its format tells.
    pub fn progress(&self) -> Option<watch::Receiver<Progress>> {
        self.stdout.parser.progress()
    }

    /// Takes output until the queue is closed. No more is taken while the spool is full.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Output>) -> Result<(), SpoolError> {
        loop {
            let due = self.stdout.due.into_iter().chain(self.stderr.due).min();
            // What was written already goes first: a line whose rest waits in the queue is not left unfinished.
            let output = tokio::select! {
                biased;
                output = queue.recv() => match output {
                    Some(output) => Some(output),
                    None => break,
                },
                () = at(due) => None,
            };
            let began = Instant::now();
            match output {
                Some(Output { stream: Stream::Stderr, bytes }) => self.stderr.push(&bytes).await?,
                Some(Output { bytes, .. }) => {
                    self.stdout.push(&bytes).await?;
                    if let Some(usage) = self.stdout.parser.usage() {
                        (self.used)(usage);
                    }
                }
                None => {
                    self.stdout.flush_if_due().await?;
                    self.stderr.flush_if_due().await?;
                }
            }
            // Waiting for room in the spool is no silence of the agent's.
            let waited = began.elapsed();
            self.stdout.due = self.stdout.due.map(|due| due + waited);
            self.stderr.due = self.stderr.due.map(|due| due + waited);
        }
        self.stdout.end().await?;
        if let Some(usage) = self.stdout.parser.usage() {
            (self.used)(usage);
        }
        self.stderr.end().await
    }
}

struct Pump {
    log: Log,
    stream: Stream,
    parser: Box<dyn OutputParser>,
    lines: Lines,
    /// When an unfinished line is to be shown.
    due: Option<Instant>,
}

impl Pump {
    fn new(log: &Log, stream: Stream, format: OutputFormat) -> Self {
        Self { log: log.clone(), stream, parser: format.parser(&log.redactor), lines: log.lines(), due: None }
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.log.activity.touch();
        self.parser.push(bytes, &mut self.lines);
        self.due = self.parser.is_partial().then(|| Instant::now() + PARTIAL_LINE);
        self.append().await
    }

    async fn flush_if_due(&mut self) -> Result<(), SpoolError> {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.due = None;
            self.parser.flush(&mut self.lines);
            self.append().await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), SpoolError> {
        self.parser.end(&mut self.lines);
        self.append().await
    }

    async fn append(&mut self) -> Result<(), SpoolError> {
        if !self.lines.is_empty() {
            self.log.spool.append(self.stream, &self.lines, &self.log.activity).await?;
            self.lines.clear();
        }
        Ok(())
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use ckrv_types::Secret;
    use ckrv_types::log::Line;

    use super::super::redact::Redactor;
    use super::super::spool::Peek;
    use super::*;

    fn output(stream: Stream, text: &str) -> Output {
        Output { stream, bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn shown(log: &Log) -> Vec<(Stream, String)> {
        let mut bytes = Vec::new();
        let Peek::Batch(_) = log.spool.peek(&mut bytes).unwrap() else { return Vec::new() };
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| serde_json::from_slice::<Line>(line).unwrap()).map(|line| (line.stream, line.text)).collect()
    }

    fn start(secret: &str) -> (Log, mpsc::Sender<Output>, tokio::task::JoinHandle<Result<(), SpoolError>>) {
        let log = Log::create(Redactor::new([&Secret::new(secret)]), &std::env::temp_dir(), 0, 1).unwrap();
        let (sender, queue) = mpsc::channel(1);
        let running = tokio::spawn(Pumps::new(&log, OutputFormat::Text, |_| ()).run(queue));
        (log, sender, running)
    }

    #[tokio::test]
    async fn a_secret_is_redacted_however_it_is_cut_into_pieces() {
        let (log, sender, running) = start("topsecret");
        for piece in ["key: t", "opse", "cret\nke", "y: topsecret"] {
            sender.send(output(Stream::Stdout, piece)).await.unwrap();
        }
        drop(sender);
        running.await.unwrap().unwrap();
        assert_eq!(
            shown(&log),
            [(Stream::Stdout, "key: [redacted]".into()), (Stream::Stdout, "key: [redacted]".into())]
        );
    }

    /// One log in which a line was begun when the spool became full, and ended in what waited meanwhile.
    async fn lines_around_a_full_spool() -> Vec<String> {
        let (log, sender, mut running) = start("topsecret");
        let piece = format!("gin\n{}\nbe", "-".repeat(60_000));
        // Until it waits for longer than an unfinished line is held back.
        while let Ok(sent) = tokio::time::timeout(4 * PARTIAL_LINE, sender.send(output(Stream::Stdout, &piece))).await {
            sent.unwrap();
        }
        drop(sender);
        let (mut texts, mut bytes) = (Vec::new(), Vec::new());
        loop {
            match log.spool.peek(&mut bytes).unwrap() {
                Peek::Batch(batch) => {
                    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
                    texts.extend(lines.map(|line| serde_json::from_slice::<Line>(line).unwrap().text));
                    log.spool.acknowledge(batch, &bytes, batch.first_seq + batch.count).unwrap();
                }
                Peek::Empty => tokio::select! {
                    () = log.spool.readable() => (),
                    ended = &mut running => {
                        ended.unwrap().unwrap();
                        log.spool.close();
                    }
                },
                Peek::End => return texts,
            }
        }
    }

    #[tokio::test]
    async fn a_line_whose_rest_waited_for_room_in_the_spool_stays_one_line() {
        // Side by side, since whether it breaks would be a matter of luck.
        for mut texts in futures::future::join_all((0..8).map(|_| lines_around_a_full_spool())).await {
            assert_eq!((texts.remove(0), texts.pop().unwrap()), ("gin".to_owned(), "be".to_owned()));
            let broken: Vec<_> = texts.iter().filter(|text| *text != "begin" && text.len() != 60_000).collect();
            assert!(broken.is_empty(), "{broken:?} of {} lines", texts.len());
        }
    }

    #[tokio::test]
    async fn an_unfinished_line_is_shown_after_silence_and_the_streams_do_not_mix() {
        let (log, sender, running) = start("topsecret");
        sender.send(output(Stream::Stdout, "proceed? topsec")).await.unwrap();
        sender.send(output(Stream::Stderr, "warning\nhalf")).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), async {
            while log.spool.last_seq() < 3 {
                log.spool.readable().await;
            }
        })
        .await
        .expect("the unfinished lines were not shown");
        sender.send(output(Stream::Stdout, "ret yes\n")).await.unwrap();
        drop(sender);
        running.await.unwrap().unwrap();
        let mut shown = shown(&log);
        // Which of the two falls silent first is the clock's to say.
        shown[1..3].sort_by_key(|(stream, _)| *stream == Stream::Stderr);
        let expected = [
            (Stream::Stderr, "warning"),
            (Stream::Stdout, "proceed? "),
            (Stream::Stderr, "half"),
            (Stream::Stdout, "[redacted] yes"),
        ];
        assert_eq!(shown, expected.map(|(stream, text)| (stream, text.to_owned())));
    }
}
