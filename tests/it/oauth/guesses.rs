//! RFC 8628, section 5.1: 34 bits are few, so guessing is bounded by session, by address and by code.

use super::*;

/// A code that no device was given.
fn wrong() -> String {
    let letters = b"BCDFGHJKLMNPQRSTVWXZ";
    (0..8).map(|_| char::from(letters[rand::random_range(0..letters.len())])).collect()
}

async fn guesses(authority: &Authority, browser: &mut Browser, times: u32) {
    for _ in 0..times {
        assert!(!authority.is_asked(browser, &wrong()).await);
    }
}

#[tokio::test]
async fn who_has_typed_ten_wrong_codes_in_a_session_is_not_told_even_the_right_one() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    guesses(&authority, &mut browser, 9).await;
    assert!(authority.is_asked(&mut browser, &device.user_code).await, "nine are borne");
    guesses(&authority, &mut browser, 1).await;
    let page = authority.types(&mut browser, &device.user_code).await;
    assert_eq!(page.status, 429, "{}", page.text);
    assert!(!people::asks(&page) && page.header("retry-after").parse::<u64>().is_ok_and(|wait| wait <= 600));
    let mut other = authority.browser().await;
    assert!(authority.is_asked(&mut other, &device.user_code).await, "another session has its own allowance");
    authority.time_passes("10 minutes").await;
    let device = authority.device().await;
    assert!(authority.is_asked(&mut browser, &device.user_code).await, "it is for ten minutes");
}

#[tokio::test]
async fn thirty_wrong_codes_from_an_address_are_enough_whatever_the_session() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    for _ in 0..3 {
        guesses(&authority, &mut authority.browser().await, 10).await;
    }
    let page = authority.types(&mut authority.browser().await, &device.user_code).await;
    assert!(page.status == 429 && !people::asks(&page), "{} {}", page.status, page.text);
}

#[tokio::test]
async fn an_addresss_wrong_codes_are_held_against_no_other_address() {
    let authority = Authority::with(&["--trusted-proxies", "1"]).await;
    let device = authority.device().await;
    // The tests' browser comes by no proxy: it is known by its connection's address.
    for _ in 0..3 {
        guesses(&authority, &mut authority.browser().await, 10).await;
    }
    let mut browser = authority.browser().await;
    let form = browser.open(authority.url("/device")).await.form("/device");
    let cookie = format!("ckrv-session={}", browser.cookie("ckrv-session").expect("signed in"));
    let fields = [("csrf", form.value("csrf").unwrap_or_default()), ("code", &device.user_code)];
    let send = async |from: &str| {
        let request = authority.http.post(authority.url("/device")).form(&fields).header("cookie", &cookie);
        let response = request.header("x-forwarded-for", from).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap().contains("/device/decide"))
    };
    assert_eq!(send("127.0.0.1").await, (429, false));
    assert_eq!(send("192.0.2.7").await, (200, true));
}

#[tokio::test]
async fn a_code_that_was_looked_at_ten_times_is_dead() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    for _ in 0..5 {
        let mut browser = authority.browser().await;
        for _ in 0..2 {
            assert!(authority.is_asked(&mut browser, &device.user_code).await);
        }
    }
    assert!(!authority.is_asked(&mut authority.browser().await, &device.user_code).await);
    let answer = authority.poll(&device).await;
    assert!(matches!(answer.text("error"), "expired_token" | "access_denied" | "authorization_pending"), "{answer:?}");
}

#[tokio::test]
async fn parallel_guesses_are_counted_each() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    let form = browser.open(authority.url("/device")).await.form("/device");
    let cookie = format!("ckrv-session={}", browser.cookie("ckrv-session").expect("signed in"));
    let csrf = form.value("csrf").unwrap_or_default().to_owned();
    let guesses = (0..20).map(|_| async {
        let fields = [("csrf", csrf.clone()), ("code", wrong())];
        let request = authority.http.post(authority.url("/device")).form(&fields).header("cookie", &cookie);
        request.send().await.unwrap().status().as_u16()
    });
    let statuses = futures::future::join_all(guesses).await;
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused >= 10, "{statuses:?}");
    assert!(!authority.is_asked(&mut browser, &device.user_code).await);
}

#[tokio::test]
async fn whose_guesses_are_used_up_is_told_so_also_when_they_decide() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    let form = authority.types(&mut browser, &device.user_code).await.form("/device/decide");
    for _ in 0..3 {
        guesses(&authority, &mut authority.browser().await, 10).await;
    }
    let page = browser.submit(form.press("decision", "approve")).await;
    assert_eq!(page.status, 429, "{}", page.text);
    assert!(page.header("retry-after").parse::<u64>().is_ok_and(|wait| wait <= 601));
    authority.poll(&device).await.is_refused("authorization_pending");
}
