//! Where a reader begins, and what comes next for it, given what the database says. Decides only; does no IO.

use ckrv_types::log::{Cursor, Gap};

use crate::db::logs::View;

/// What comes next behind a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Lines that are stored.
    Lines,
    /// Lines that were counted and not kept.
    Gap(Gap),
    /// This attempt's log has been read; another attempt follows.
    FurtherAttempt,
    /// Everything has been read.
    End,
    /// Nothing yet.
    Wait,
}

/// `only`: the reader wants this attempt's log and no other.
pub fn next(view: &View, at: Cursor, only: Option<u32>) -> Next {
    let over = view.job.state.is_terminal();
    let Some(attempt) = &view.attempt else { return if over { Next::End } else { Next::Wait } };
    if at.seq < attempt.kept {
        return Next::Lines;
    }
    if attempt.sealed_seq.is_none() {
        return Next::Wait;
    }
    // A gap is told once its end is fixed, so that it reads the same now and later.
    match attempt.gap {
        Some((first, last)) if at.seq < last => {
            Next::Gap(Gap { attempt: at.attempt, first_seq: first.max(at.seq + 1), last_seq: last })
        }
        _ if only.is_some() || at.attempt >= view.latest => Next::End,
        _ => Next::FurtherAttempt,
    }
}

/// The place so many kept lines before the end. `kept`: the attempts with their last kept lines, the latest first.
pub fn tail(kept: &[(u32, u64)], only: Option<u32>, lines: u64) -> Cursor {
    let mut left = lines;
    let mut place = Cursor { attempt: only.unwrap_or(1), seq: 0 };
    for &(attempt, kept) in kept.iter().filter(|(attempt, _)| only.is_none_or(|only| only == *attempt)) {
        if left <= kept {
            return Cursor { attempt, seq: kept - left };
        }
        left -= kept;
        place = Cursor { attempt, seq: 0 };
    }
    place
}

/// The latest of the places to begin at.
pub fn begin(resume: Option<Cursor>, tail: Option<Cursor>, only: Option<u32>) -> Cursor {
    let first = Cursor { attempt: only.unwrap_or(1), seq: 0 };
    first.max(resume.unwrap_or_default()).max(tail.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use ckrv_types::State;
    use time::OffsetDateTime;

    use super::*;
    use crate::db::logs::{AttemptView, Standing};

    fn standing(state: State) -> Standing {
        Standing { state, cause: None, message: None, at: OffsetDateTime::UNIX_EPOCH }
    }

    fn view(job: State, latest: u32, kept: u64, sealed_seq: Option<u64>) -> View {
        let attempt = AttemptView { standing: standing(job), kept, gap: None, sealed_seq, archived: false };
        View { job: standing(job), latest, purged: false, attempt: Some(attempt) }
    }

    const fn at(attempt: u32, seq: u64) -> Cursor {
        Cursor { attempt, seq }
    }

    #[test]
    fn a_live_log_is_read_and_waited_for() {
        let live = view(State::Running, 1, 5, None);
        assert_eq!(next(&live, at(1, 0), None), Next::Lines);
        assert_eq!(next(&live, at(1, 5), None), Next::Wait);
        assert_eq!(next(&live, at(1, 99), None), Next::Wait);
        assert_eq!(next(&View { attempt: None, ..live }, at(7, 0), None), Next::Wait);
    }

    #[test]
    fn a_sealed_log_leads_to_the_next_attempt_or_to_the_end() {
        let first_of_two = view(State::Queued, 2, 5, Some(5));
        assert_eq!(next(&first_of_two, at(1, 4), None), Next::Lines);
        assert_eq!(next(&first_of_two, at(1, 5), None), Next::FurtherAttempt);
        assert_eq!(next(&first_of_two, at(1, 5), Some(1)), Next::End);
        let last = view(State::Failed, 2, 0, Some(0));
        assert_eq!(next(&last, at(2, 0), None), Next::End);
        assert_eq!(next(&View { attempt: None, ..last }, at(9, 9), None), Next::End);
    }

    #[test]
    fn a_gap_is_told_from_the_readers_place_on_once_the_log_is_sealed() {
        let mut view = view(State::Succeeded, 1, 5, Some(20));
        view.attempt.as_mut().unwrap().gap = Some((6, 20));
        let gap = |first_seq| Next::Gap(Gap { attempt: 1, first_seq, last_seq: 20 });
        assert_eq!(next(&view, at(1, 5), None), gap(6));
        assert_eq!(next(&view, at(1, 10), None), gap(11));
        assert_eq!(next(&view, at(1, 20), None), Next::End);
        view.attempt.as_mut().unwrap().sealed_seq = None;
        assert_eq!(next(&view, at(1, 5), None), Next::Wait);
    }

    #[test]
    fn a_tail_runs_over_the_attempts() {
        let kept = [(3, 0), (2, 10), (1, 4)];
        for (lines, place) in [(0, at(3, 0)), (3, at(2, 7)), (10, at(2, 0)), (12, at(1, 2)), (99, at(1, 0))] {
            assert_eq!(tail(&kept, None, lines), place, "{lines} lines");
        }
        assert_eq!(tail(&kept, Some(1), 3), at(1, 1));
        assert_eq!(tail(&kept, Some(1), 9), at(1, 0));
    }

    #[test]
    fn the_latest_place_counts() {
        assert_eq!(begin(None, None, None), at(1, 0));
        assert_eq!(begin(Some(at(0, 9)), None, None), at(1, 0));
        assert_eq!(begin(Some(at(1, 9)), Some(at(1, 5)), None), at(1, 9));
        assert_eq!(begin(Some(at(1, 9)), None, Some(2)), at(2, 0));
    }
}
