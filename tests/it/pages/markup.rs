//! What a page is made of: for those who see it, who have it read out, and who would put something into it.

use ckrv_tests::browser::{Browser, Page, css, text};
use scraper::{ElementRef, Html};

use super::headers::every_page;
use super::{PASSWORD, Site};

fn attributes<'a>(html: &'a Html, selector: &str, name: &str) -> Vec<&'a str> {
    html.select(&css(selector)).filter_map(|element| element.attr(name)).collect()
}

fn count(html: &Html, selector: &str) -> usize {
    html.select(&css(selector)).count()
}

/// What a control is called: by its label, or by its own text.
fn name_of(html: &Html, control: &ElementRef<'_>) -> String {
    let by_id = |id: &str| html.select(&css(&format!("[id='{id}']"))).map(|found| text(&found)).collect::<String>();
    if let Some(ids) = control.attr("aria-labelledby") {
        return ids.split(' ').map(by_id).collect::<Vec<_>>().join(" ");
    }
    let label = control.attr("id").map(|id| format!("label[for='{id}']"));
    let label = label.and_then(|label| html.select(&css(&label)).next().map(|found| text(&found)));
    label.unwrap_or_else(|| text(control))
}

fn is_well_made(name: &str, page: &Page) {
    let html = page.html();
    assert!(html.errors.is_empty(), "{name}: {:?}\n{}", html.errors, page.text);
    assert_eq!(attributes(&html, "html", "lang"), ["en"], "{name}");
    assert_eq!(attributes(&html, "meta[name=viewport]", "content"), ["width=device-width, initial-scale=1"], "{name}");
    assert_eq!((count(&html, "h1"), count(&html, "main")), (1, 1), "{name}");
    let title = page.texts("title").join("");
    assert!(title.ends_with(" · ckrv") && title.len() > " · ckrv".len(), "{name}: {title}");
    assert_eq!(count(&html, "script, style, [style], iframe, object, base"), 0, "{name}");
    let by_event =
        html.select(&css("*")).flat_map(|element| element.value().attrs()).find(|(name, _)| name.starts_with("on"));
    assert_eq!(by_event, None, "{name}");
    for control in html.select(&css("input:not([type=hidden]), select, textarea, button")) {
        assert!(!name_of(&html, &control).trim().is_empty(), "{name}: {} has no name", control.html());
    }
    let ids = attributes(&html, "[id]", "id");
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{name}: {ids:?}");
    for attribute in ["for", "aria-describedby", "aria-labelledby"] {
        for named in attributes(&html, &format!("[{attribute}]"), attribute).iter().flat_map(|ids| ids.split(' ')) {
            assert!(ids.contains(&named), "{name}: {attribute} names {named}, which is not there");
        }
    }
    for method in attributes(&html, "form", "method") {
        assert_eq!(method, "post", "{name}");
    }
}

#[tokio::test]
async fn every_page_is_good_html_has_one_heading_and_a_name_for_each_control() {
    let site = Site::new().await;
    let pages = every_page(&site).await;
    assert!(pages.len() >= 14);
    for (name, page) in pages {
        is_well_made(name, &page);
    }
}

#[tokio::test]
async fn what_went_wrong_is_announced_and_tied_to_the_field() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = Browser::new();
    let refused = site.sign_in(&mut browser, "ada", "wrong").await;
    assert_eq!(refused.texts("title"), ["Error: Sign in · ckrv"]);
    let mut browser = site.browser_of("ada").await;
    let unknown = site.question(&mut browser, "BCDF-GHJK").await;
    for (page, fields) in [(&refused, &["#login", "#password"][..]), (&unknown, &["#code"])] {
        let html = page.html();
        assert_eq!(attributes(&html, "[role=alert]", "id"), ["error"]);
        for field in fields {
            let described = attributes(&html, field, "aria-describedby").join(" ");
            assert!(described.split(' ').any(|id| id == "error"), "{field}: {described}");
            assert_eq!(attributes(&html, field, "aria-invalid"), ["true"]);
        }
    }
}

#[tokio::test]
async fn a_password_manager_knows_the_fields() {
    let site = Site::new().await;
    let page = Browser::new().open(site.url("/login")).await;
    let html = page.html();
    assert_eq!(attributes(&html, "#login", "autocomplete"), ["username"]);
    assert_eq!(attributes(&html, "#password[type=password]", "autocomplete"), ["current-password"]);
}

#[tokio::test]
async fn what_others_wrote_stays_text() {
    let site = Site::new().await;
    site.user("ada").await;
    let hostile = r#"<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;"#;
    let mut browser = site.browser_of("ada").await;
    let (code, _) = site.device(hostile).await;
    let question = site.question(&mut browser, &code).await;
    site.let_in(&mut browser, hostile).await;
    let authorize = browser.open(site.authorize_url(hostile)).await;
    let account = browser.open(site.url("/account")).await;
    for (name, page) in [("question", &question), ("authorize", &authorize), ("account", &account)] {
        assert!(page.texts("bdi").contains(&hostile.to_owned()), "{name}: {}", page.text);
        is_well_made(name, page);
        assert_eq!(count(&page.html(), "main img"), 0, "{name}");
    }
    let typed = site.sign_in(&mut Browser::new(), hostile, PASSWORD).await;
    assert_eq!(typed.form("/login").value("login"), Some(hostile));
    is_well_made("sign in", &typed);
    let filled = browser.open(site.url("/device?code=%22%3E%3Cscript%3E")).await;
    assert_eq!(filled.form("/device").value("code"), Some("\"><script>"));
    is_well_made("device", &filled);
}
