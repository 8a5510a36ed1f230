//! What is given out is kept as hashes: whoever reads the database can use none of it.

use super::*;
use crate::sign_in::entry;
use crate::sign_in::scripted::Scripted;

/// Every row of every table as text.
async fn dump(authority: &Authority) -> String {
    let tables = authority
        .value("select string_agg(table_name, ' ' order by table_name) from information_schema.tables where table_schema = 'public'")
        .await;
    let mut dump = String::new();
    for table in tables.split(' ') {
        dump += &authority.value(&format!("select string_agg(row::text, chr(10)) from {table} as row")).await;
        dump.push('\n');
    }
    dump
}

/// A secret as it might lie about.
fn forms(secret: &str) -> [String; 4] {
    let bytes = secret.as_bytes();
    let standard = base64::engine::general_purpose::STANDARD_NO_PAD;
    [
        secret.to_lowercase(),
        hex::encode(bytes),
        standard.encode(bytes).to_lowercase(),
        URL_SAFE_NO_PAD.encode(bytes).to_lowercase(),
    ]
}

#[tokio::test]
async fn no_secret_that_was_given_out_is_anywhere_in_the_database() {
    let acme = Scripted::start().await;
    let settings = tempfile::tempdir().unwrap();
    let file = settings.path().join("providers.yaml");
    std::fs::write(&file, format!("providers:\n{}", entry("acme", &acme, "invited"))).unwrap();
    let authority = Authority::with(&["--sign-in-providers", file.to_str().unwrap()]).await;
    let mut browser = authority.browser().await;
    // Somebody is at a provider, and came by the link of an invitation.
    let invitation = "ab12".repeat(16);
    let link = format!("/login/acme?return_to=/invitations/ck_invite_x_{invitation}");
    let asked = Browser::new().open(authority.url(&link)).await.leaves_for.expect("they are led to the provider");
    let [state, nonce] = ["state", "nonce"].map(|name| parameter(&asked, name).unwrap());
    let pending = authority.device().await;
    let device = authority.device().await;
    authority.approve(&mut browser, &device).await;
    let by_device = authority.poll(&device).await.tokens();
    let refreshed = authority.refresh(&by_device.refresh).await.tokens();
    let pkce = Pkce::new();
    let waiting = authority.code(&Pkce::new()).await;
    let code = authority.code(&pkce).await;
    let by_code = authority.exchange(&code, &pkce.verifier).await.tokens();
    let cookie = browser.cookie("ckrv-session").expect("signed in").to_owned();

    let mut secrets = vec![people::PASSWORD.to_owned(), cookie, waiting, code, pkce.verifier, invitation, state, nonce];
    for Device { code, user_code } in [pending, device] {
        secrets.extend([code, user_code.replace('-', ""), user_code]);
    }
    for Tokens { access, refresh } in [by_device, refreshed, by_code] {
        let signature = access.rsplit('.').next().unwrap().to_owned();
        let (_, secret) = refresh.rsplit_once('_').unwrap();
        secrets.extend([secret.to_owned(), access, signature, refresh]);
    }
    let dump = dump(&authority).await.to_lowercase();
    // The search finds what is there.
    assert!(dump.contains(ADA) && dump.contains(CLIENT), "{} bytes", dump.len());
    for secret in secrets {
        for form in forms(&secret) {
            assert!(!dump.contains(&form), "{secret} is in the database as {form}");
        }
    }
}

#[tokio::test]
async fn a_user_code_is_kept_by_a_keyed_hash() {
    let authority = Authority::start().await;
    let code = authority.device().await.user_code;
    // 34 bits are computed through in seconds: a hash that anybody can compute would be no better than the code.
    for spelling in [code.clone(), code.replace('-', ""), code.to_lowercase()] {
        let hash = hex::encode(Sha256::digest(spelling.as_bytes()));
        assert!(!dump(&authority).await.contains(&hash), "{spelling} is found by its SHA-256");
    }
}
