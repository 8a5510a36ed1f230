//! Who let which program in, and who ended it, stands in the audit log.

use ckrv_types::LoginId;

use super::*;

/// What the log has of this action: by whom, from where, to what.
async fn entry(authority: &Authority, action: &str) -> Value {
    let query = format!("select jsonb_agg(to_jsonb(a)) from audit_log a where action = '{action}'");
    let found = authority.value(&query).await;
    let found: Vec<Value> = serde_json::from_str(&found).unwrap_or_default();
    let [entry] = &found[..] else {
        let all = authority.value("select string_agg(action, ' ') from audit_log").await;
        panic!("{} entries `{action}` of {all}", found.len())
    };
    entry.clone()
}

async fn is_by_ada(authority: &Authority, action: &str) -> Value {
    let entry = entry(authority, action).await;
    assert_eq!((&entry["actor_kind"], &entry["actor_id"]), (&"user".into(), &authority.ada.uuid().to_string().into()));
    assert_eq!(entry["org_id"], authority.on.keys().org.uuid().to_string(), "{entry}");
    assert_eq!(entry["address"], "127.0.0.1", "{entry}");
    entry
}

#[tokio::test]
async fn the_approval_of_a_device_and_its_login_are_in_the_audit_log() {
    let authority = Authority::start().await;
    authority.login().await;
    is_by_ada(&authority, "device.approved").await;
    let issued = entry(&authority, "login.issued").await;
    let login = LoginId::from_uuid(authority.value("select id from logins").await.parse().unwrap());
    assert_eq!(issued["subject"], login.to_string(), "{issued}");
}

#[tokio::test]
async fn the_denial_of_a_device_is_in_the_audit_log() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.deny(&mut authority.browser().await, &device).await;
    is_by_ada(&authority, "device.denied").await;
}

#[tokio::test]
async fn both_answers_to_an_authorization_request_are_in_the_audit_log() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    let request = authority.authorize_url(&Pkce::new().request());
    people::consents(&mut browser, &request, "approve").await;
    people::consents(&mut browser, &request, "deny").await;
    is_by_ada(&authority, "code.approved").await;
    is_by_ada(&authority, "code.denied").await;
}

#[tokio::test]
async fn the_reuse_of_a_refresh_token_is_in_the_audit_log() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    authority.refresh(&first).await.good();
    authority.time_passes("11 seconds").await;
    authority.refresh(&first).await.is_refused("invalid_grant");
    authority.refresh(&first).await.is_refused("invalid_grant");
    let entry = entry(&authority, "login.revoked").await;
    assert_eq!((&entry["detail"]["for"], &entry["address"]), (&"reuse".into(), &"127.0.0.1".into()), "{entry}");
    assert_eq!(entry["org_id"], authority.on.keys().org.uuid().to_string(), "{entry}");
}

#[tokio::test]
async fn the_replay_of_a_code_is_in_the_audit_log() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    authority.exchange(&code, &pkce.verifier).await.good();
    authority.exchange(&code, &pkce.verifier).await.is_refused("invalid_grant");
    assert_eq!(entry(&authority, "login.revoked").await["detail"]["for"], "code-reuse");
}

#[tokio::test]
async fn a_programs_own_revocation_is_in_the_audit_log_once() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    for token in [&tokens.refresh, &tokens.access, &tokens.refresh] {
        authority.revoke(token).await.good();
    }
    assert_eq!(entry(&authority, "login.revoked").await["detail"]["for"], "client");
}
