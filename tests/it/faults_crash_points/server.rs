//! The server dies at one place, is started again, and what was begun comes to its end.

use ckrv_types::Cause;
use ckrv_types::identity::UpdateRunner;
use ckrv_types::runner::{HandIn, Origin};
use ckrv_types::spec::Limits;

use super::*;

/// What passes by a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// A job, from its submission to its end.
    Job,
    /// A job that a runner hands in for an object of its cluster.
    HandIn,
    /// The cancellation of a job.
    Cancel,
    /// Jobs that nobody takes.
    QueueLimit,
    /// The log of a job that is over.
    Archive,
    /// A job whose retention time is over.
    Retention,
}

pub const VISITS: &[(&str, Passing)] = &[
    ("server.submit.committed", Passing::Job),
    ("server.hand-in.committed", Passing::HandIn),
    ("server.admission.committed", Passing::Job),
    ("server.observation.committed", Passing::Job),
    ("server.start.bound", Passing::Job),
    ("server.start.committed", Passing::Job),
    ("server.append.before-commit", Passing::Job),
    ("server.append.committed", Passing::Job),
    ("server.finish.before-commit", Passing::Job),
    ("server.finish.committed", Passing::Job),
    ("server.cancel.committed", Passing::Cancel),
    ("server.sweeper.between", Passing::QueueLimit),
    ("server.archive.put", Passing::Archive),
    ("server.archive.verified", Passing::Archive),
    ("server.archive.recorded", Passing::Archive),
    ("server.retention.marked", Passing::Retention),
    ("server.retention.objects-deleted", Passing::Retention),
];

#[tokio::test]
async fn a_server_that_dies_anywhere_on_a_jobs_way_loses_and_repeats_nothing() {
    visit(&[Passing::Job, Passing::HandIn, Passing::Cancel]).await;
}

#[tokio::test]
async fn a_server_that_dies_while_it_clears_up_goes_on_where_it_was() {
    visit(&[Passing::QueueLimit, Passing::Archive, Passing::Retention]).await;
}

async fn visit(passings: &[Passing]) {
    let mut scene = Scene { stack: Stack::start().await, repo: Repo::new(), accepted: Vec::new() };
    for (point, passing) in VISITS.iter().filter(|(_, passing)| passings.contains(passing)) {
        match passing {
            Passing::Job => scene.job(point).await,
            Passing::HandIn => scene.hand_in(point).await,
            Passing::Cancel => scene.cancel(point).await,
            Passing::QueueLimit => scene.queue_limit(point).await,
            Passing::Archive => scene.archive(point).await,
            Passing::Retention => scene.retention(point).await,
        }
        scene.stack.holds(&scene.accepted).await;
    }
}

struct Scene {
    stack: Stack,
    repo: Repo,
    accepted: Vec<JobId>,
}

impl Scene {
    /// Starts the server anew so that it dies at `point`; perhaps at once.
    async fn arm(&mut self, point: &str) {
        self.stack.kill_server().await;
        self.stack.set_server("CKRV_CRASH_POINTS", format!("{point}=return"));
        self.stack.launch_server();
    }

    /// Waits for its death, and starts it as usual.
    async fn dies_and_returns(&mut self, point: &str) {
        aborted(self.stack.server_died(JOB).await, point);
        self.stack.set_server("CKRV_CRASH_POINTS", "");
        self.stack.start_server().await;
    }

    /// One job, submitted to an armed server by a client that does not give up.
    async fn submit_to_the_dying(&mut self, point: &str, spec: JobSpec) -> JobId {
        self.arm(point).await;
        let client = self.stack.patient_client(PATIENCE);
        let submitting = tokio::spawn(async move { submit(&client, spec).await });
        self.dies_and_returns(point).await;
        let job = submitting.await.expect("the client does not give up");
        self.accepted.push(job);
        job
    }

    async fn succeeds(&self, point: &str, job: JobId) {
        let job = ended(&self.stack, job).await;
        assert_eq!((job.state, job.attempt), (State::Succeeded, 1), "{point}: {:?}", job.message);
        assert_eq!(self.stack.logs(job.id).await.out, "begun\ndone\n", "{point}");
    }

    async fn job(&mut self, point: &str) {
        let job = self.submit_to_the_dying(point, spec(&self.repo)).await;
        self.succeeds(point, job).await;
    }

    /// The stack's runner, whose token this is too, runs the job as any other.
    async fn hand_in(&mut self, point: &str) {
        let keys = &self.stack.keys;
        let allow = [("builds".to_owned(), keys.project)].into();
        self.stack.client().update_runner(keys.runner, &UpdateRunner { allow }).await.expect("it can be allowed");
        let instance = self.stack.client().runners().await.expect("they are told").items.remove(0).instance;
        let origin = Origin { namespace: "builds".into(), name: "fix".into(), uid: "uid-1".into() };
        let wish = HandIn { instance: instance.expect("it has registered"), origin, spec: spec(&self.repo) };
        self.arm(point).await;
        let client = self.stack.runner_client().with_retry(PATIENCE);
        let handing = tokio::spawn({
            let (client, wish) = (client.clone(), wish.clone());
            async move { client.hand_in(&wish).await }
        });
        self.dies_and_returns(point).await;
        let job = handing.await.expect("no panic").expect("the client does not give up").job;
        self.accepted.push(job);
        self.succeeds(point, job).await;
        assert_eq!(client.hand_in(&wish).await.expect("it is known").state, State::Succeeded);
        let made: i64 = sqlx::query_scalar("select count(*) from jobs where origin is not null")
            .fetch_one(&mut self.stack.sql().await)
            .await
            .expect("the database answers");
        assert_eq!(made, 1, "{point}");
    }

    async fn cancel(&mut self, point: &str) {
        let gate = Gate::new();
        let command = vec!["sh".to_owned(), "-c".to_owned(), gate.stop("run")];
        let job = submit(&self.stack.client(), JobSpec { command, ..JobSpec::new(self.repo.url()) }).await;
        self.accepted.push(job);
        gate.reached("run").await;
        self.arm(point).await;
        let client = self.stack.patient_client(PATIENCE);
        let cancelling = tokio::spawn(async move { client.cancel(job).await });
        self.dies_and_returns(point).await;
        cancelling.await.expect("no panic").expect("the client does not give up");
        let job = ended(&self.stack, job).await;
        assert_eq!((job.state, job.attempt), (State::Cancelled, 1), "{point}: {:?}", job.message);
    }

    async fn queue_limit(&mut self, point: &str) {
        let limits = Limits { queue: 1, ..Limits::default() };
        let class = Some("of-nobody".to_owned());
        let unwanted = JobSpec { class, limits, ..spec(&self.repo) };
        // More than one, so that the place is between two.
        let jobs = [submit(&self.stack.client(), unwanted.clone()).await, submit(&self.stack.client(), unwanted).await];
        self.accepted.extend(jobs);
        self.arm(point).await;
        self.dies_and_returns(point).await;
        for job in jobs {
            let job = ended(&self.stack, job).await;
            assert_eq!((job.state, job.cause), (State::TimedOut, Some(Cause::QueueLimit)), "{point}");
        }
    }

    async fn archive(&mut self, point: &str) {
        let job = self.submit_to_the_dying(point, spec(&self.repo)).await;
        ended(&self.stack, job).await;
        self.until_none("select count(*) from log_heads where archived_at is null and job_id = $1", job).await;
        self.succeeds(point, job).await;
    }

    async fn retention(&mut self, point: &str) {
        let job = submit(&self.stack.client(), spec(&self.repo)).await;
        self.accepted.push(job);
        ended(&self.stack, job).await;
        self.until_none("select count(*) from log_heads where archived_at is null and job_id = $1", job).await;
        let keys: Vec<String> = sqlx::query_scalar(
            "select object_key from artifacts where job_id = $1 and object_key is not null
             union all select archive ->> 'key' from log_heads where job_id = $1",
        )
        .bind(job.uuid())
        .fetch_all(&mut self.stack.sql().await)
        .await
        .expect("the keys can be read");
        assert!(keys.len() > 3, "{keys:?}");
        sqlx::query("update jobs set finished_at = finished_at - interval '8 days' where id = $1")
            .bind(job.uuid())
            .execute(&mut self.stack.sql().await)
            .await
            .expect("the job can be made older");

        self.arm(point).await;
        self.dies_and_returns(point).await;
        self.until_none("select count(*) from artifacts where job_id = $1", job).await;
        let s3 = self.stack.judged(&[]).s3;
        for key in keys {
            assert_eq!(s3.head(&key).await.expect("the store answers"), None, "{point}: {key} is still there");
        }
        self.stack.says(&["logs", &job.to_string()]).await.exits(6).tells(&["retention time is over"]);
    }

    async fn until_none(&self, count: &'static str, job: JobId) {
        wait_for(count, START, async || {
            let left: i64 = sqlx::query_scalar(count)
                .bind(job.uuid())
                .fetch_one(&mut self.stack.sql().await)
                .await
                .expect("the database answers");
            (left == 0).then_some(())
        })
        .await;
    }
}
