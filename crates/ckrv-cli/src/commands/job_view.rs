//! A job in full, for people.

use comfy_table::Cell;
use time::OffsetDateTime;

use ckrv_types::{Attempt, Job, State};

use crate::commands::ending::{change, hint};
use crate::duration::{moment, show};
use crate::format::{Show, View, short, state};

/// Wide enough for a message, narrow enough for a page.
const WIDTH: usize = 400;

impl Show for Job {
    fn table(&self, view: View) -> String {
        let spec = &self.spec;
        let text = |text: &str| Some(short(text, WIDTH));
        let mut out = view.fields([
            ("job", Some(Cell::new(self.id))),
            ("state", Some(state(self.state))),
            ("cause", self.cause.map(Cell::new)),
            ("message", self.message.as_deref().and_then(text)),
            ("hint", self.cause.and_then(|cause| text(&hint(cause, self.id)))),
            ("repo", text(&spec.repo)),
            ("branch", spec.branch.as_deref().and_then(text)),
            ("agent", text(&spec.agent)),
            ("task", text(spec.prompt.as_deref().unwrap_or(&spec.command.join(" ")))),
            ("retry of", self.retry_of.map(Cell::new)),
            ("created", Some(Cell::new(moment(self.created_at)))),
            ("finished", self.finished_at.map(|at| Cell::new(moment(at)))),
            ("took", self.finished_at.map(|at| Cell::new(show(at - self.created_at)))),
            ("result", self.result.as_ref().map(|result| short(&came_of(result), WIDTH))),
            ("usage", usage(self).map(|usage| short(&usage, WIDTH))),
        ]);
        if !self.attempts.is_empty() {
            out.push_str("\n\n");
            out.push_str(&attempts(self, view));
        }
        out
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }
}

fn came_of(result: &ckrv_types::job::JobResult) -> String {
    if result.base_commit == result.head_commit {
        return "no change".to_owned();
    }
    let change = change(u64::from(result.files_changed), result.insertions, result.deletions);
    format!("{} ({change})", result.branch)
}

fn usage(job: &Job) -> Option<String> {
    let used = job.attempts.iter().rev().find_map(|attempt| attempt.usage.as_ref())?;
    let cost = used.cost_usd.map(|usd| format!(", {usd:.4} USD")).unwrap_or_default();
    let model = used.model.as_deref().unwrap_or("model");
    Some(format!("{model}: {} tokens in, {} out{cost}", used.input_tokens, used.output_tokens))
}

/// One line for each attempt: what each phase took.
fn attempts(job: &Job, view: View) -> String {
    let rows = job.attempts.iter().map(|attempt| {
        [
            Cell::new(attempt.number),
            state(attempt.state),
            phase(attempt, Some(attempt.queued_at), attempt.assigned_at),
            phase(attempt, attempt.assigned_at, attempt.running_at),
            phase(attempt, attempt.running_at, attempt.finishing_at),
            phase(attempt, attempt.finishing_at, attempt.finished_at),
            short(attempt.node.as_deref().unwrap_or_default(), 32),
            Cell::new(attempt.log.map(|log| log.last_seq.to_string()).unwrap_or_default()),
            short(attempt.message.as_deref().unwrap_or_default(), 80),
        ]
    });
    view.columns(["ATTEMPT", "STATE", "QUEUED", "STARTED", "RAN", "COLLECTED", "NODE", "LINES", "MESSAGE"], rows)
}

/// From `begin` to the next phase, or to the attempt's end if it never came there; still growing ones are marked.
fn phase(attempt: &Attempt, begin: Option<OffsetDateTime>, next: Option<OffsetDateTime>) -> Cell {
    let Some(begin) = begin else { return Cell::new("") };
    Cell::new(match next.or(attempt.finished_at) {
        Some(end) => show(end - begin),
        None if attempt.state == State::Queued
            && attempt.not_before.is_some_and(|at| at > OffsetDateTime::now_utc()) =>
        {
            "backing off".to_owned()
        }
        None => format!("{}…", show(OffsetDateTime::now_utc() - begin)),
    })
}
