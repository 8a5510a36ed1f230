//! A program asks, a person decides.

use ckrv_types::OrgId;
use reqwest::StatusCode;

use super::Site;

#[tokio::test]
async fn a_device_is_let_in_by_its_code_however_it_is_typed() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    let (code, device) = site.device("build-host").await;
    let question = site.question(&mut browser, &format!(" {} ", code.to_lowercase().replace('-', " "))).await;
    assert_eq!(question.heading(), "Let this program act for you?");
    let facts = question.texts(".facts dd");
    assert_eq!(facts[..4], ["The ckrv command line", &code, "build-host, as it says", "127.0.0.1"]);
    assert!(question.texts("main").join(" ").contains("Only continue if you started this yourself"));
    assert_eq!(question.texts("main li").len(), 3, "each scope in words");
    assert_eq!(site.poll(&device).await.1["error"], "authorization_pending", "looking is not deciding");

    let done = browser.submit(question.form("/device/decide").press("decision", "approve")).await;
    assert_eq!((done.status, done.heading().as_str()), (StatusCode::OK, "The program is let in"));
    assert_eq!(site.audited("device.approved").await, 1);
    let again = browser.submit(question.form("/device/decide").press("decision", "deny")).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "what was decided stays");
    assert!(again.alert().is_some());
}

#[tokio::test]
async fn a_device_that_is_turned_away_is_told_so() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    let (code, device) = site.device("build-host").await;
    let question = site.question(&mut browser, &code).await;
    let done = browser.submit(question.form("/device/decide").press("decision", "deny")).await;
    assert_eq!(done.heading(), "The program is turned away");
    assert_eq!(site.poll(&device).await.1["error"], "access_denied");
    assert_eq!(site.audited("device.denied").await, 1);
}

#[tokio::test]
async fn a_link_with_a_code_fills_it_in_and_does_no_more() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    let (code, device) = site.device("build-host").await;
    let page = browser.open(site.url(&format!("/device?code={code}"))).await;
    assert_eq!(page.form("/device").value("code"), Some(code.as_str()));
    assert!(page.forms().iter().all(|form| form.action().path() != "/device/decide"), "{}", page.text);
    let shown: i32 =
        sqlx::query_scalar("select shown from device_codes").fetch_one(&mut site.on.sql().await).await.unwrap();
    assert_eq!((shown, site.poll(&device).await.1["error"].as_str()), (0, Some("authorization_pending")));
}

#[tokio::test]
async fn who_guesses_codes_is_stopped() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    for number in 0..10 {
        let page = site.question(&mut browser, "BCDF-GHJK").await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "guess {number}");
    }
    let (code, _) = site.device("build-host").await;
    let page = site.question(&mut browser, &code).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.header("retry-after").parse::<u64>().unwrap() <= 61, "{:?}", page.headers);
    assert!(page.alert().unwrap().starts_with("There were too many wrong codes."));
}

#[tokio::test]
async fn a_program_gets_its_code_on_loopback_or_is_told_no() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    for (decision, member) in [("approve", "code"), ("deny", "error")] {
        let question = browser.open(site.authorize_url("laptop")).await;
        assert_eq!(question.heading(), "Let this program act for you?");
        let page = browser.submit(question.form("/oauth/authorize/decide").press("decision", decision)).await;
        let target = page.leaves_for.expect("the program waits");
        assert_eq!((target.host_str(), target.port(), target.path()), (Some("127.0.0.1"), Some(4711), "/callback"));
        let answer: std::collections::HashMap<_, _> = target.query_pairs().into_owned().collect();
        assert!(answer.contains_key(member) && answer["state"] == "of the program", "{target}");
    }
}

#[tokio::test]
async fn a_request_of_which_nobody_knows_whose_it_is_leads_nowhere() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    let good = site.authorize_url("laptop");
    for wrong in [
        good.replace("ckrv-cli", "other"),
        good.replace("127.0.0.1%3A4711", "evil.example"),
        format!("{good}&redirect_uri=http%3A%2F%2Fevil.example%2F"),
    ] {
        let page = browser.open(&wrong).await;
        assert_eq!((page.status, page.leaves_for), (StatusCode::BAD_REQUEST, None), "{wrong}");
    }
    // A form that was changed on its way is judged as the query was.
    let form = browser.open(&good).await.form("/oauth/authorize/decide").press("decision", "approve");
    let changed = form.value("request").unwrap().replace("127.0.0.1%3A4711", "evil.example");
    let page = browser.submit(form.forge("request", Some(&changed))).await;
    assert_eq!((page.status, page.leaves_for), (StatusCode::BAD_REQUEST, None));
}

#[tokio::test]
async fn who_is_not_signed_in_is_asked_after_they_have() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = ckrv_tests::browser::Browser::new();
    let page = browser.open(site.authorize_url("my laptop")).await;
    let form = page.form("/login").fill("login", "ada").fill("password", super::PASSWORD);
    let question = browser.submit(form).await;
    assert_eq!(question.texts("bdi"), ["my laptop"]);
    assert_eq!(question.url.as_str(), site.authorize_url("my laptop"), "nothing was lost on the way");
}

#[tokio::test]
async fn who_belongs_to_several_organizations_says_which_it_is_for() {
    let site = Site::new().await;
    let user = site.user("ada").await;
    let other = site.on.organization("other").await.org;
    let foreign = site.on.organization("foreign").await.org;
    let mut sql = site.on.sql().await;
    sqlx::query("insert into members (org_id, user_id, role) values ($1, $2, 'viewer')")
        .bind(other.uuid())
        .bind(user.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let mut browser = site.browser_of("ada").await;
    let (code, device) = site.device("laptop").await;
    let question = site.question(&mut browser, &code).await;
    assert_eq!(question.texts("#org option"), ["other", "tests"]);
    let form = || question.form("/device/decide").press("decision", "approve");
    for not_theirs in [foreign, OrgId::new()] {
        let page = browser.submit(form().forge("org", Some(&not_theirs.to_string()))).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(site.poll(&device).await.1["error"], "authorization_pending");
    let tests = site.on.keys().org;
    browser.submit(form().fill("org", &tests.to_string())).await;
    let chosen: sqlx::types::Uuid =
        sqlx::query_scalar("select org_id from device_codes").fetch_one(&mut sql).await.unwrap();
    assert_eq!(chosen, tests.uuid());
}

#[tokio::test]
async fn who_belongs_to_no_organization_has_nothing_to_let_a_program_do() {
    let site = Site::new().await;
    site.user("ada").await;
    sqlx::query("delete from members").execute(&mut site.on.sql().await).await.unwrap();
    let mut browser = site.browser_of("ada").await;
    let (code, _) = site.device("laptop").await;
    let page = site.question(&mut browser, &code).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.alert().unwrap().contains("belongs to no organization"));
}
