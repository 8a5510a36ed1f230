//! `ckrv logs`: a job's log, each line once, while it runs and long after.

use futures::StreamExt as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use ckrv_client::{Client, LogQuery};
use ckrv_types::JobId;
use ckrv_types::log::{End, Gap, JobLine, LogEvent, Status, Stream};

use crate::commands::ending::{GIVE_UP, of_job};
use crate::context::{Context, job_id};
use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::format::Format;
use crate::printer::Printer;
use crate::{duration, env};

/// Events that are printed with one write, when they are there already.
const AT_ONCE: usize = 1024;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The text of the lines goes to stdout as it is, what ckrv says about the job to stderr. On a terminal, control \
sequences other than colours are removed; --raw keeps them.\n\n\
Examples:\n  ckrv logs -f JOB\n  ckrv logs --tail 50 JOB\n  ckrv logs --since 10m --timestamps JOB\n  ckrv logs -o json JOB | jq -r .text"
)]
pub struct Args {
    /// The job
    job: String,
    /// Go on to the job's end
    #[arg(short, long, env = env::LOGS_FOLLOW)]
    follow: bool,
    /// Begin with the last N lines
    #[arg(long, env = env::LOGS_TAIL, value_name = "N")]
    tail: Option<u64>,
    /// Begin at a time: how long ago (10m), or RFC 3339
    #[arg(long, env = env::LOGS_SINCE, value_name = "TIME", value_parser = duration::parse_since)]
    since: Option<OffsetDateTime>,
    /// Print each line's time before it
    #[arg(short, long, env = env::LOGS_TIMESTAMPS)]
    timestamps: bool,
    /// Only this attempt
    #[arg(long, env = env::LOGS_ATTEMPT, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// On a terminal, keep every control sequence
    #[arg(long, env = env::LOGS_RAW)]
    raw: bool,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let job = job_id(&args.job)?;
    let client = context.client()?;
    if args.follow {
        context.watch(job);
    }
    let query = LogQuery {
        follow: args.follow,
        tail: args.tail,
        since: args.since,
        attempt: args.attempt,
        give_up: GIVE_UP,
        ..LogQuery::default()
    };
    let look = Look { timestamps: args.timestamps, raw: args.raw, format: context.format() };
    print(&client, job, query, look, context.printer).await?;
    Ok(ExitStatus::Done)
}

/// How lines are printed.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub timestamps: bool,
    pub raw: bool,
    /// JSON: each line as an object, NDJSON. The other forms print text.
    pub format: Format,
}

/// Prints the log as it comes; answers how the job ended, if the log's end was told.
pub async fn print(
    client: &Client,
    job: JobId,
    query: LogQuery,
    look: Look,
    printer: Printer,
) -> Result<Option<End>, Failure> {
    let mut end = None;
    let mut events = std::pin::pin!(client.logs(job, query).ready_chunks(AT_ONCE));
    let mut page = Page { look, printer, out: Vec::new() };
    while let Some(chunk) = events.next().await {
        for event in chunk {
            match event.map_err(of_job(job)) {
                Ok(LogEvent::Log(line)) => page.line(&line)?,
                Ok(LogEvent::Status(status)) => page.remark(&told(&status))?,
                Ok(LogEvent::Gap(gap)) => page.remark(&missing(&gap))?,
                Ok(LogEvent::End(told)) => end = Some(told),
                Err(failure) => {
                    page.flush()?;
                    return Err(failure);
                }
            }
        }
        page.flush()?;
    }
    if end.as_ref().is_some_and(|end| !end.complete) {
        printer.warning("the log is not whole: the worker was lost before it could send all of it");
    }
    Ok(end)
}

/// Collects what goes to stdout, so that many lines are one write, and keeps its order with stderr.
struct Page {
    look: Look,
    printer: Printer,
    out: Vec<u8>,
}

impl Page {
    fn line(&mut self, line: &JobLine) -> Result<(), Failure> {
        if self.look.format == Format::Json {
            serde_json::to_writer(&mut self.out, line).or_fail(|| "cannot write a line as JSON".into())?;
            self.out.push(b'\n');
            return Ok(());
        }
        let time = if self.look.timestamps { stamp(line.line.ts) } else { String::new() };
        if line.line.stream == Stream::System {
            return self.remark(&format!("{time}{}", line.line.text));
        }
        self.out.extend_from_slice(time.as_bytes());
        let text = &line.line.text;
        if self.look.raw {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            self.out.extend_from_slice(self.printer.stdout().shown(text).as_bytes());
        }
        self.out.push(b'\n');
        Ok(())
    }

    fn remark(&mut self, text: &str) -> Result<(), Failure> {
        self.flush()?;
        self.printer.note(&format!("ckrv: {text}"));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if !self.out.is_empty() {
            self.printer.bytes(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

fn stamp(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).map(|text| format!("{text} ")).unwrap_or_default()
}

fn told(status: &Status) -> String {
    let why = match (status.cause, &status.message) {
        (Some(cause), Some(message)) => format!(" ({cause}: {message})"),
        (Some(cause), None) => format!(" ({cause})"),
        (None, Some(message)) => format!(" ({message})"),
        (None, None) => String::new(),
    };
    format!("attempt {}: {}{why}", status.attempt, status.state)
}

fn missing(gap: &Gap) -> String {
    format!(
        "lines {} to {} of attempt {} were not kept: the log is over its limit",
        gap.first_seq, gap.last_seq, gap.attempt
    )
}

/// For a command that follows a job it has just handed in.
pub fn following() -> LogQuery {
    LogQuery { follow: true, give_up: GIVE_UP, ..LogQuery::default() }
}
