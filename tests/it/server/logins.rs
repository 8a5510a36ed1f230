//! What logins are made of, as the database has it: what is rolled back uses up nothing, and what is over is swept.

use ckrv_server::oauth::device::{self, Looker};
use ckrv_server::oauth::{Decider, authorize};
use ckrv_server::retention;
use ckrv_tests::replica::{Installation, Loops};
use ckrv_types::{SessionId, UserId};
use serde_json::Value;
use sqlx::AssertSqlSafe;

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const REDIRECT: &str = "http://127.0.0.1:51004/callback";
// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A server and a person who has signed in.
struct Signed {
    on: Installation,
    by: Decider,
}

impl Signed {
    async fn new() -> Self {
        let on = Installation::new(Loops::Off).await;
        let by = Decider {
            user: UserId::new(),
            session: SessionId::new(),
            org: on.keys().org,
            address: "127.0.0.1".to_owned(),
        };
        let signed = Self { on, by };
        let Decider { user, org, session, .. } = &signed.by;
        signed
            .sql(&format!(
                "insert into users (id, name) values ('{user}', 'Ada');
                 insert into members (org_id, user_id, role) values ('{org}', '{user}', 'owner');
                 insert into web_sessions (id, user_id, token_hash, address, agent, expires_at)
                 values ('{session}', '{user}', sha256('s'), '', '', now() + interval '1 minute');
                 insert into sign_ins (state_hash, provider, nonce, verifier, return_to, expires_at)
                 values (sha256('s'), '', '', '', '', now() + interval '1 minute')",
                user = user.uuid(),
                org = org.uuid(),
                session = session.uuid(),
            ))
            .await;
        signed
    }

    async fn sql(&self, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut self.on.sql().await).await.unwrap();
    }

    async fn rows(&self, table: &str) -> i64 {
        let count = AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(count).fetch_one(&mut self.on.sql().await).await.unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let form = [form, &[("client_id", "ckrv-cli")]].concat();
        let url = self.on.replica.url().join(path).unwrap();
        let response = reqwest::Client::new().post(url).form(&form).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The form by which an approved device gets its tokens.
    async fn device_grant(&self) -> Vec<(&'static str, String)> {
        let (_, codes) = self.post("/oauth/device_authorization", &[("host", "laptop")]).await;
        let who = Looker { session: self.by.session, address: self.by.address.clone() };
        let typed = codes["user_code"].as_str().unwrap().to_lowercase();
        let asked = device::look(self.on.state(), &typed, &who).await.unwrap().unwrap();
        assert_eq!((asked.host.as_str(), asked.address.as_str()), ("laptop", "127.0.0.1"));
        assert!(device::decide(self.on.state(), &self.by, &asked.user_code, true).await.unwrap().is_ok());
        let code = codes["device_code"].as_str().unwrap().to_owned();
        vec![("grant_type", DEVICE_GRANT.to_owned()), ("device_code", code)]
    }

    /// The form by which a program gets its tokens for an authorization code.
    async fn code_grant(&self) -> Vec<(&'static str, String)> {
        let query = format!(
            "response_type=code&client_id=ckrv-cli&redirect_uri={REDIRECT}&code_challenge={CHALLENGE}&code_challenge_method=S256"
        );
        let query = authorize::AuthorizeQuery::parse(&query).unwrap();
        let request = authorize::check(&self.on.state().config.issuer(), &query).unwrap();
        let back = authorize::decide(self.on.state(), &self.by, &request, true).await.unwrap();
        let (_, code) = back.query_pairs().find(|(name, _)| name == "code").unwrap();
        vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.into_owned()),
            ("redirect_uri", REDIRECT.to_owned()),
            ("code_verifier", VERIFIER.to_owned()),
        ]
    }

    async fn exchange(&self, grant: &[(&'static str, String)]) -> (u16, Value) {
        let form: Vec<_> = grant.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.post("/oauth/token", &form).await
    }

    /// Makes everything older.
    async fn hours_pass(&self, hours: u32) {
        for (table, columns) in [
            ("device_codes", &["expires_at"][..]),
            ("authorization_codes", &["expires_at"]),
            ("sign_ins", &["expires_at"]),
            ("web_sessions", &["expires_at"]),
            ("logins", &["expires_at", "revoked_at"]),
            ("refresh_tokens", &["used_at"]),
        ] {
            let aged = columns.iter().map(|column| format!("{column} = {column} - interval '{hours} hours'"));
            self.sql(&format!("update {table} set {}", aged.collect::<Vec<_>>().join(", "))).await;
        }
    }
}

#[tokio::test]
async fn an_exchange_that_is_rolled_back_uses_up_nothing() {
    let signed = Signed::new().await;
    signed
        .sql(
            "create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$;
             create trigger refuse before insert on audit_log for each row
                 when (new.action = 'login.issued') execute function refuse();
             create trigger refuse before update on logins for each row execute function refuse();
             alter table logins disable trigger refuse",
        )
        .await;
    let mut tokens = Vec::new();
    for grant in [signed.device_grant().await, signed.code_grant().await] {
        for _ in 0..2 {
            let (status, answer) = signed.exchange(&grant).await;
            assert_eq!((status, &answer["error"]), (503, &"temporarily_unavailable".into()), "{answer}");
        }
        signed.sql("alter table audit_log disable trigger refuse").await;
        let (status, answer) = signed.exchange(&grant).await;
        assert_eq!(status, 200, "{answer}");
        tokens.push(answer);
        signed.sql("alter table audit_log enable trigger refuse").await;
    }
    assert_eq!((signed.rows("logins").await, signed.rows("refresh_tokens").await), (2, 2));
    signed.sql("alter table logins enable trigger refuse").await;
    let refresh = tokens[0]["refresh_token"].as_str().unwrap().to_owned();
    let grant = [("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh)];
    assert_eq!(signed.exchange(&grant).await.0, 503);
    assert_eq!(signed.rows("refresh_tokens where used_at is not null").await, 0);
    signed.sql("alter table logins disable trigger refuse").await;
    assert_eq!(signed.exchange(&grant).await.0, 200);
}

#[tokio::test]
async fn what_logins_were_made_of_goes_a_day_after_its_end_and_what_is_under_way_at_it() {
    let signed = Signed::new().await;
    let (device, code) = (signed.device_grant().await, signed.code_grant().await);
    let over = signed.exchange(&device).await.1;
    let living = signed.exchange(&code).await.1;
    let token = |answer: &Value| answer["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(signed.rows("refresh_tokens").await, 2);
    let url = signed.on.replica.url().join("/oauth/revoke").unwrap();
    let form = [("client_id", "ckrv-cli".to_owned()), ("token", token(&over))];
    assert_eq!(reqwest::Client::new().post(url).form(&form).send().await.unwrap().status(), 200);

    let tables = ["device_codes", "authorization_codes", "sign_ins", "web_sessions", "refresh_tokens", "logins"];
    for (hours, kept) in [(23, [1, 1, 0, 1, 2, 2]), (2, [0, 0, 0, 0, 1, 2])] {
        signed.hours_pass(hours).await;
        retention::tick(signed.on.state()).await.unwrap();
        for (table, kept) in tables.iter().zip(kept) {
            assert_eq!(signed.rows(table).await, kept, "{table}");
        }
    }
    for (refresh, status) in [(token(&over), 400), (token(&living), 200)] {
        let grant = [("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh)];
        assert_eq!(signed.exchange(&grant).await.0, status);
    }
    // The login itself is kept for as long as a login lives.
    signed.hours_pass(90 * 24).await;
    retention::tick(signed.on.state()).await.unwrap();
    assert_eq!((signed.rows("logins").await, signed.rows("logins where revoked_at is null").await), (1, 1));
}

#[tokio::test]
async fn a_session_that_was_left_unused_goes_a_day_after_that_ended_it() {
    let signed = Signed::new().await;
    for (days, kept) in [(14, 1), (2, 0)] {
        signed.sql(&format!("update web_sessions set seen_at = seen_at - interval '{days} days'")).await;
        retention::tick(signed.on.state()).await.unwrap();
        assert_eq!(signed.rows("web_sessions").await, kept, "{days} days");
    }
}
