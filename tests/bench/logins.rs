//! What signing in costs everybody else: submissions of many organizations while a crowd polls and logs in, without and with one
//! more organization that submits as quickly as it can; and what it takes to know who asks, over a request that nobody is
//! asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ckrv_server::auth::tokens;
use ckrv_tests::stack::{Options, Stack};
use ckrv_types::job::SubmitJob;
use ckrv_types::token::TokenKind;
use ckrv_types::{JobSpec, KeyId, OrgId, ProjectId};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::crowd::Crowd;
use crate::statistics::{count, percentile};

const USERS: usize = 1000;
const ORGS: usize = 100;
/// Of all of them.
const TIER: &str = "team";
/// Of each organization.
const PAUSE: Duration = Duration::from_secs(1);
const PHASE: Duration = Duration::from_secs(20);
const NOISY_CONNECTIONS: usize = 64;
/// Of each kind of request, by so many clients.
const ASKED: usize = 750;
const ASKING: usize = 4;

pub async fn measure() {
    let stack = with_limits("6000").await;
    let keys = organizations(&stack, ORGS + 1, TIER).await;
    let (noisy, others) = keys.split_first().unwrap();
    let crowd = Crowd::gather(&stack, USERS).await;
    let (mut quiet, mut loud, mut noise) = (Vec::new(), Vec::new(), Noise::default());
    let begun = Instant::now();
    for _ in 0..2 {
        quiet.extend(submissions(&stack, others).await);
        let (latencies, made) = tokio::join!(submissions(&stack, others), make_noise(&stack, noisy));
        loud.extend(latencies);
        noise.accepted += made.accepted;
        noise.refused += made.refused;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let each_second = |counter: &std::sync::atomic::AtomicU64| count(counter.load(Ordering::Relaxed)) / seconds;
    let (polls, logins) = (each_second(&crowd.counted.polls), each_second(&crowd.counted.logins));
    crowd.leave().await;
    println!(
        "  {USERS} users: {polls:.0} polls/s, {logins:.0} logins/s; {ORGS} organizations: one submission a second each"
    );
    let during = 2.0 * PHASE.as_secs_f64();
    let (accepted, refused) = (count(noise.accepted) / during, count(noise.refused) / during);
    println!(
        "  one more, on {NOISY_CONNECTIONS} connections: {accepted:.0} submissions/s taken, {refused:.0}/s refused"
    );
    let (before, with) = (percentile(&mut quiet, 0.95), percentile(&mut loud, 0.95));
    println!(
        "  the others' submissions, p50: {:.1} ms, {:.1} ms with it",
        percentile(&mut quiet, 0.5),
        percentile(&mut loud, 0.5)
    );
    println!("  the others' submissions, p95: {before:.1} ms, {with:.1} ms with it: {:.2} x (bar: 2)", with / before);
    drop(stack);
    authentication().await;
}

/// A stack whose keys have this rate, behind what takes itself for its proxy and tells the addresses of the crowd.
async fn with_limits(per_key: &str) -> Stack {
    let server = vec![
        ("CKRV_RATE_PER_ADDRESS", "0".to_owned()),
        ("CKRV_TRUSTED_PROXIES", "1".to_owned()),
        ("CKRV_RATE_PER_KEY", per_key.to_owned()),
        ("CKRV_LOG", "error".to_owned()),
    ];
    Stack::with(Options { slots: 0, server, own_postgres: true, durable: true, ..Options::default() }).await
}

/// So many organizations of this tier, each with a key; the keys.
async fn organizations(stack: &Stack, number: usize, tier: &str) -> Vec<String> {
    let mut sql = PgConnection::connect(stack.superuser_url().expose()).await.unwrap();
    let mut keys = Vec::new();
    for at in 0..number {
        let (org, project, key) = (OrgId::new(), ProjectId::new(), KeyId::new());
        let text = tokens::random(TokenKind::Live, key);
        sqlx::query(
            "with o as (insert into orgs (id, name, tier) values ($1, $2, $6) returning id),
                  p as (insert into projects (id, org_id, name) select $3, id, 'default' from o),
                  s as (insert into service_accounts (id, org_id, name, role)
                        select gen_random_uuid(), id, 'bench', 'owner' from o returning id, org_id)
             insert into api_keys (id, org_id, service_account_id, name, token_hash) select $4, org_id, id, 'bench', $5 from s",
        )
        .bind(org.uuid())
        .bind(format!("org-{at}"))
        .bind(project.uuid())
        .bind(key.uuid())
        .bind(&tokens::hash(text.expose())[..])
        .bind(tier)
        .execute(&mut sql)
        .await
        .unwrap();
        keys.push(text.expose().to_owned());
    }
    keys
}

fn body() -> SubmitJob {
    let spec = JobSpec { command: vec!["true".into()], ..JobSpec::new("https://example.com/team/app.git") };
    SubmitJob { spec, project: None }
}

/// Milliseconds that each submission took, of all organizations at their pace for one phase.
async fn submissions(stack: &Stack, keys: &[String]) -> Vec<f64> {
    let (http, url, body) = (reqwest::Client::new(), format!("{}/v1/jobs", stack.server_url()), Arc::new(body()));
    let mut all = JoinSet::new();
    for (at, key) in keys.iter().enumerate() {
        let (http, url, key, body) = (http.clone(), url.clone(), key.clone(), Arc::clone(&body));
        let offset = PAUSE.mul_f64(count(at as u64) / count(keys.len() as u64));
        all.spawn(async move {
            let mut latencies = Vec::new();
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + offset, PAUSE);
            let until = Instant::now() + PHASE;
            while Instant::now() < until {
                // Late ticks come at once, and how late they were counts.
                let due = ticks.tick().await;
                let answer = http.post(&url).bearer_auth(&key).json(&*body).send().await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
                latencies.push(due.elapsed().as_secs_f64() * 1e3);
            }
            latencies
        });
    }
    all.join_all().await.concat()
}

#[derive(Default)]
struct Noise {
    accepted: u64,
    refused: u64,
}

/// Submits as quickly as it is answered for one phase, whatever it is told.
async fn make_noise(stack: &Stack, key: &str) -> Noise {
    let (http, url, body) = (reqwest::Client::new(), format!("{}/v1/jobs", stack.server_url()), Arc::new(body()));
    let mut all = JoinSet::new();
    for _ in 0..NOISY_CONNECTIONS {
        let (http, url, key, body) = (http.clone(), url.clone(), key.to_owned(), Arc::clone(&body));
        all.spawn(async move {
            let (mut noise, until) = (Noise::default(), Instant::now() + PHASE);
            while Instant::now() < until {
                let answer = http.post(&url).bearer_auth(&key).json(&*body).send().await.unwrap();
                let counter = if answer.status().is_success() { &mut noise.accepted } else { &mut noise.refused };
                *counter += 1;
            }
            noise
        });
    }
    all.join_all().await.into_iter().fold(Noise::default(), |sum, each| Noise {
        accepted: sum.accepted + each.accepted,
        refused: sum.refused + each.refused,
    })
}

/// Who asks is found before a request's form is looked at, so requests of a wrong form cost that and nothing else; without a
/// credential they are refused before. The limit by caller is off: it is no part of knowing who it is.
async fn authentication() {
    let stack = with_limits("0").await;
    let key = organizations(&stack, 1, "enterprise").await.remove(0);
    let crowd = Crowd::gather(&stack, USERS).await;
    let tokens = crowd.tokens.clone();
    crowd.leave().await;
    let (mut nobody, mut by_key, mut by_token) = (Vec::new(), Vec::new(), Vec::new());
    let (http, url) = (reqwest::Client::new(), format!("{}/v1/jobs", stack.server_url()));
    let asks = async |credential: Option<&str>| {
        let request = http.post(&url).header("content-type", "text/plain").body("x");
        let request = if let Some(credential) = credential { request.bearer_auth(credential) } else { request };
        let begun = Instant::now();
        let answer = request.send().await.unwrap();
        let took = begun.elapsed().as_secs_f64() * 1e3;
        let wanted = if credential.is_some() { 415 } else { 401 };
        assert_eq!(answer.status().as_u16(), wanted);
        answer.bytes().await.unwrap();
        took
    };
    for round in 0..ASKED {
        // In turn, so that whatever else the machine does falls on all of them.
        for client in 0..ASKING {
            nobody.push(asks(None).await);
            by_key.push(asks(Some(&key)).await);
            by_token.push(asks(Some(&tokens[(round * ASKING + client) % tokens.len()])).await);
        }
    }
    let floor = percentile(&mut nobody, 0.95);
    println!("  a request without a credential, p95: {floor:.2} ms");
    for (what, values) in [("an API key", &mut by_key), ("access tokens of 1,000 users in turn", &mut by_token)] {
        println!("  {what} adds {:.2} ms at p95 (bar: 1 ms)", percentile(values, 0.95) - floor);
    }
}
