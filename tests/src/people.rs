//! People, and what they do in a browser to let programs act for them: sign in, type a code, agree or not.

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use ckrv_types::identity::Role;
use ckrv_types::{OrgId, UserId};
use reqwest::StatusCode;
use sqlx::PgConnection;
use url::Url;

use crate::browser::{Browser, Page};

/// Everybody's.
pub const PASSWORD: &str = "of nobody in particular";

/// Makes a person with a local account who is a member of `org`.
pub async fn add(sql: &mut PgConnection, org: OrgId, login: &str, role: Role) -> UserId {
    let user = UserId::new();
    sqlx::query(
        "with u as (insert into users (id, name) values ($1, initcap($2)) returning id),
              a as (insert into local_accounts (login, user_id, password_hash) select $2, id, $3 from u)
         insert into members (org_id, user_id, role) select $4, id, $5 from u",
    )
    .bind(user.uuid())
    .bind(login)
    .bind(password_hash())
    .bind(org.uuid())
    .bind(role.as_str())
    .execute(sql)
    .await
    .expect("the person can be made");
    user
}

/// Makes a person a member of one more organization.
pub async fn join(sql: &mut PgConnection, org: OrgId, user: UserId, role: Role) {
    sqlx::query("insert into members (org_id, user_id, role) values ($1, $2, $3)")
        .bind(org.uuid())
        .bind(user.uuid())
        .bind(role.as_str())
        .execute(sql)
        .await
        .expect("the member can be added");
}

/// Argon2id with the least of work: a test signs in often.
fn password_hash() -> String {
    let params = Params::new(Params::MIN_M_COST, 1, 1, None).expect("the least is enough");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt: [u8; 16] = rand::random();
    let hashed: PasswordHash =
        argon2.hash_password_with_salt(PASSWORD.as_bytes(), &salt).expect("a password can be hashed");
    hashed.to_string()
}

/// A browser in which this person has just signed in.
pub async fn sign_in(server: &Url, login: &str) -> Browser {
    let mut browser = Browser::new();
    let page = browser.open(at(server, "/login")).await;
    let form = page.form("/login").fill("login", login).fill("password", PASSWORD);
    let page = browser.submit(form).await;
    assert!(page.status.is_success() && page.alert().is_none(), "{login} cannot sign in: {}", page.text);
    browser
}

/// What the browser shows of somebody's having typed a code: the question whether to let the device in, or that there is none.
pub async fn types(browser: &mut Browser, server: &Url, code: &str) -> Page {
    let page = browser.open(at(server, "/device")).await;
    let form = page.form("/device").fill("code", code);
    browser.submit(form).await
}

/// Whether a page asks for a decision on a device.
pub fn asks(page: &Page) -> bool {
    page.forms().iter().any(|form| form.action().path() == "/device/decide")
}

/// Types the code, and lets the device in.
pub async fn approve(browser: &mut Browser, server: &Url, code: &str) {
    decides(browser, server, code, "approve").await;
}

/// Types the code, and does not let the device in.
pub async fn deny(browser: &mut Browser, server: &Url, code: &str) {
    decides(browser, server, code, "deny").await;
}

async fn decides(browser: &mut Browser, server: &Url, code: &str, decision: &str) {
    let page = types(browser, server, code).await;
    let form = page.form("/device/decide").press("decision", decision);
    let page = browser.submit(form).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.alert().is_none(), "{}", page.text);
}

/// Opens an authorization request and agrees; where the browser is sent with the code.
pub async fn authorize(browser: &mut Browser, request: &Url) -> Url {
    consents(browser, request, "approve").await
}

/// Opens an authorization request and answers it with this decision; where the browser is sent.
pub async fn consents(browser: &mut Browser, request: &Url, decision: &str) -> Url {
    let page = browser.open(request).await;
    let form = page.form("/oauth/authorize/decide").press("decision", decision);
    let page = browser.submit(form).await;
    page.leaves_for.unwrap_or_else(|| panic!("the browser stays at {}: {}", page.url, page.text))
}

fn at(server: &Url, path: &str) -> Url {
    server.join(path).expect("a path follows an address")
}
