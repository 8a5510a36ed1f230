//! The model proxy between a client and a scripted provider, over real connections.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ckrv_tests::model::{Gate, ModelServer, Turn};
use ckrv_types::usage::{Usage, UsageSource};
use ckrv_types::{AttemptId, JobId, Secret};
use ckrv_worker::proxy::{ModelProxy, Provider, ProxyConfig};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

const REAL_KEY: &str = "sk-ant-the-real-key-of-the-runner";
const LIMIT: Duration = Duration::from_mins(1);
/// 5, 0.5, 6.25, 10 and 25 dollars a million: prompt, read from the cache, written to it for 5 minutes or an hour, output.
const MODEL: &str = "claude-opus-4-8";

struct Setup {
    model: ModelServer,
    proxy: ModelProxy,
    http: reqwest::Client,
    said: Arc<Mutex<Vec<String>>>,
}

impl Setup {
    async fn new(turns: Vec<Turn>, budget_usd: Option<f64>) -> Self {
        let model = ModelServer::start(REAL_KEY, turns).await;
        let said = Arc::<Mutex<Vec<String>>>::default();
        let proxy = proxy(model.url(), budget_usd, &said).await;
        Self { model, proxy, http: client(), said }
    }

    fn phantom(&self) -> String {
        self.proxy.env()["ANTHROPIC_API_KEY"].clone()
    }

    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.proxy.base_url()))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).header("x-api-key", self.phantom())
    }

    /// Asks for a message; `more` fields go into the body.
    fn ask(&self, more: &Value) -> RequestBuilder {
        let mut body = json!({"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.request(Method::POST, "/v1/messages?beta=true").json(&body)
    }

    async fn stream(&self) -> Response {
        let response = self.ask(&json!({"stream": true})).send().await.expect("the proxy answers");
        assert_eq!(response.status(), StatusCode::OK);
        response
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().expect("nobody panicked").clone()
    }
}

fn client() -> reqwest::Client {
    ckrv_client::install_crypto_provider();
    reqwest::Client::builder().no_proxy().timeout(LIMIT).build().expect("a client can be made")
}

async fn proxy(upstream: url::Url, budget_usd: Option<f64>, said: &Arc<Mutex<Vec<String>>>) -> ModelProxy {
    ckrv_client::install_crypto_provider();
    let said = Arc::clone(said);
    let config = ProxyConfig {
        provider: Provider::Anthropic,
        upstream: Some(upstream),
        key: Secret::new(REAL_KEY),
        attempt: AttemptId { job: JobId::new(), number: 1 },
        budget_usd,
        spent_usd: 0.0,
        say: Arc::new(move |text| said.lock().expect("nobody panicked").push(text.to_owned())),
    };
    ModelProxy::start(config).await.expect("the proxy starts")
}

/// Status and type of an error in the provider's shape.
async fn error_of(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("a refusal is JSON");
    assert_eq!(body["type"], "error", "{body}");
    assert!(body["error"]["message"].is_string(), "{body}");
    (status, body["error"]["type"].as_str().expect("a refusal has a type").to_owned())
}

/// Reads until `text` has come.
async fn read_until(response: &mut Response, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let chunk = response
            .chunk()
            .await
            .expect("the answer goes on")
            .unwrap_or_else(|| panic!("ended before {text:?}: {read}"));
        read.push_str(&String::from_utf8_lossy(&chunk));
    }
    read
}

fn dollars(usage: &Usage) -> f64 {
    usage.cost_usd.expect("the proxy knows the cost")
}

fn assert_dollars(usage: &Usage, expected: f64) {
    assert!((dollars(usage) - expected).abs() < 1e-9, "{usage:?} should have cost {expected}");
}

#[tokio::test]
async fn without_the_phantom_key_nothing_goes_anywhere() {
    let setup = Setup::new(vec![], None).await;
    let phantom = setup.phantom();
    let wrong = [String::new(), phantom[..phantom.len() - 1].to_owned(), format!("{phantom}x"), REAL_KEY.to_owned()];
    for path in ["/v1/messages", "/v1/models", "/v1/organizations", "/"] {
        let request = || setup.bare(Method::POST, path).body("{}");
        let mut tries = vec![request()];
        tries.extend(wrong.iter().map(|key| request().header("x-api-key", key)));
        tries.extend(wrong.iter().map(|key| request().bearer_auth(key)));
        tries.push(request().header("authorization", phantom.clone()));
        for request in tries {
            let response = request.send().await.unwrap();
            assert_eq!(error_of(response).await, (401, "authentication_error".to_owned()), "{path}");
        }
    }
    assert!(setup.model.asked().is_empty());
}

#[tokio::test]
async fn agents_may_ask_without_a_key_whether_somebody_is_there() {
    let setup = Setup::new(vec![], None).await;
    let response = setup.bare(Method::HEAD, "/").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(setup.model.asked().is_empty());
}

#[tokio::test]
async fn the_provider_gets_the_real_key_and_nothing_of_the_agents_credentials() {
    let setup = Setup::new(vec![Turn::new().text("hi"), Turn::new().text("hi")], None).await;
    let with_both = setup
        .ask(&json!({}))
        .bearer_auth(setup.phantom())
        .header("cookie", setup.phantom())
        .header("proxy-authorization", setup.phantom())
        .header("x-forwarded-for", "10.0.0.1")
        .header("accept-encoding", "gzip")
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "one,two");
    let by_bearer = setup
        .bare(Method::POST, "/v1/messages")
        .bearer_auth(setup.phantom())
        .json(&json!({"model": MODEL, "max_tokens": 5, "messages": []}));
    for request in [with_both, by_bearer] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!format!("{:?}", response.headers()).contains(REAL_KEY));
        assert!(!response.text().await.unwrap().contains(REAL_KEY));
    }
    let asked = setup.model.asked();
    for asked in &asked {
        assert_eq!(asked.headers["x-api-key"], REAL_KEY);
        assert_eq!(asked.headers["accept-encoding"], "identity");
        assert!(!format!("{asked:?}").contains(&setup.phantom()), "{asked:?}");
        for name in ["authorization", "cookie", "proxy-authorization", "x-forwarded-for"] {
            assert!(!asked.headers.contains_key(name), "{name}");
        }
    }
    assert_eq!(asked[0].headers["anthropic-version"], "2023-06-01");
    assert_eq!(asked[0].headers["anthropic-beta"], "one,two");
    assert_eq!(asked[0].query.as_deref(), Some("beta=true"));
}

#[tokio::test]
async fn routes_that_are_not_the_models_lead_nowhere() {
    let setup = Setup::new(vec![], None).await;
    for (method, path) in [
        (Method::GET, "/v1/organizations/api_keys"),
        (Method::POST, "/v1/messages/batches"),
        (Method::POST, "/v1/files"),
        (Method::GET, "/v1/models/%2e%2e/organizations"),
        (Method::PUT, "/v1/messages"),
        (Method::GET, "http://169.254.169.254/latest"),
        (Method::GET, "/"),
    ] {
        let response = setup.request(method, path.trim_start_matches("http:/")).send().await.unwrap();
        assert_eq!(error_of(response).await, (404, "not_found_error".to_owned()), "{path}");
    }
    assert!(setup.model.asked().is_empty());
}

#[tokio::test]
async fn what_is_free_passes_and_costs_nothing() {
    let setup = Setup::new(vec![], Some(0.01)).await;
    let models = setup.request(Method::GET, "/v1/models?limit=5").send().await.unwrap();
    assert_eq!(models.json::<Value>().await.unwrap()["has_more"], false);
    let count = setup.request(Method::POST, "/v1/messages/count_tokens").json(&json!({"model": MODEL}));
    assert_eq!(count.send().await.unwrap().json::<Value>().await.unwrap()["input_tokens"], 10);
    assert_eq!(setup.model.asked()[0].query.as_deref(), Some("limit=5"));
    let usage = setup.proxy.shutdown().await;
    assert_eq!((usage.requests, dollars(&usage)), (0, 0.0));
}

#[tokio::test]
async fn events_arrive_before_the_provider_has_sent_the_next() {
    let gate = Gate::default();
    let setup = Setup::new(vec![Turn::new().text("first").wait(&gate).text("second")], None).await;
    let mut response = setup.stream().await;
    assert!(!read_until(&mut response, "first").await.contains("second"));
    gate.open();
    read_until(&mut response, "message_stop").await;
}

#[tokio::test]
async fn tokens_and_cost_are_counted_from_streams_and_whole_answers_alike() {
    let prompt = json!({"input_tokens": 100, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}});
    let turn = || Turn::new().text("hello").prompt_usage(prompt.clone()).output_tokens(40);
    let setup = Setup::new(vec![turn(), turn()], None).await;
    let each = (100.0 * 5.0 + 50.0 * 0.5 + 10.0 * 6.25 + 20.0 * 10.0 + 40.0 * 25.0) / 1e6;
    assert!(setup.stream().await.text().await.unwrap().contains("hello"));
    assert_dollars(&setup.proxy.usage(), each);
    let whole: Value = setup.ask(&json!({})).send().await.unwrap().json().await.unwrap();
    assert_eq!(whole["content"][0]["text"], "hello");
    let usage = setup.proxy.shutdown().await;
    assert_dollars(&usage, 2.0 * each);
    let expected = Usage {
        source: UsageSource::Proxy,
        model: Some(MODEL.to_owned()),
        input_tokens: 200,
        output_tokens: 80,
        cache_read_tokens: 100,
        cache_write_tokens: 60,
        requests: 2,
        turns: None,
        cost_usd: usage.cost_usd,
    };
    assert_eq!(usage, expected);
}

#[tokio::test]
async fn a_model_without_a_price_is_counted_as_the_dearest_and_said_once() {
    let turn = || Turn::new().model("claude-tomorrow").prompt_usage(json!({"input_tokens": 1000})).output_tokens(1000);
    let setup = Setup::new(vec![turn(), turn()], None).await;
    for _ in 0..2 {
        setup.stream().await.text().await.unwrap();
    }
    assert_dollars(&setup.proxy.usage(), 2.0 * (15.0 + 75.0) / 1000.0);
    assert_eq!(
        setup.said(),
        ["ckrv has no price for the model claude-tomorrow: it is counted as the most expensive one."]
    );
}

#[tokio::test]
async fn a_stream_is_cut_when_the_budget_is_reached_and_nothing_is_sent_any_more() {
    let never = Gate::default();
    let prompt = json!({"input_tokens": 2000});
    // The prompt costs a cent, and each word of the model 4000 estimated tokens: ten cents.
    let word = "w".repeat(16_000);
    let turn = Turn::new().prompt_usage(prompt).text("begun").text(&word).text("not for the agent").wait(&never);
    let setup = Setup::new(vec![turn, Turn::new()], Some(0.1)).await;
    let answer = setup.stream().await.text().await.unwrap();
    assert!(answer.contains("begun") && !answer.contains("not for the agent"), "{answer}");
    let (_, last) = answer.trim_end().rsplit_once("\n\n").unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
    assert_eq!(error["error"]["type"], "billing_error");
    assert_eq!(error["error"]["message"], "the job's model budget of $0.1000 is used up ($0.1100 spent)");
    tokio::time::timeout(LIMIT, setup.proxy.budget_exceeded()).await.unwrap();
    setup.model.wait_until_left(1).await;

    for request in [setup.ask(&json!({})), setup.request(Method::GET, "/v1/models")] {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-should-retry"], "false");
        assert_eq!(error_of(response).await, (402, "billing_error".to_owned()));
    }
    assert_eq!(setup.model.asked().len(), 1);
    assert_eq!(setup.said(), ["The model budget of $0.1000 is used up: $0.1100 spent. The agent is stopped."]);
    let usage = setup.proxy.shutdown().await;
    assert!(dollars(&usage) > 0.1 && usage.input_tokens == 2000 && usage.output_tokens > 4000, "{usage:?}");
}

#[tokio::test]
async fn an_answer_may_not_become_longer_than_what_is_left_pays_for() {
    let turn = || Turn::new().prompt_usage(json!({"input_tokens": 1000})).output_tokens(1000);
    let setup = Setup::new(vec![turn(), turn(), turn()], Some(0.1)).await;
    for wish in [1000, 64_000] {
        assert!(setup.ask(&json!({"max_tokens": wish})).send().await.unwrap().status().is_success());
    }
    let thinking = json!({"max_tokens": 64_000, "thinking": {"type": "enabled", "budget_tokens": 32_000}});
    assert_eq!(error_of(setup.ask(&thinking).send().await.unwrap()).await, (402, "billing_error".to_owned()));
    let asked = setup.model.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body["max_tokens"], 1000);
    // Three cents are spent. A token of output can cost 25 dollars a million, and 10 % more in the USA.
    assert_eq!(asked[1].body["max_tokens"], 2545);
    assert_eq!(asked[1].body["messages"][0]["content"], "hi");
}

#[tokio::test]
async fn an_answer_that_ends_within_the_budget_is_not_the_end_of_the_agent() {
    let turn = Turn::new().text("done").prompt_usage(json!({"input_tokens": 1})).output_tokens(4000);
    let setup = Setup::new(vec![turn], Some(0.1)).await;
    assert!(setup.stream().await.text().await.unwrap().contains("message_stop"));
    assert!(dollars(&setup.proxy.usage()) > 0.1);
    assert!(setup.said().is_empty());
    assert_eq!(error_of(setup.ask(&json!({})).send().await.unwrap()).await.0, 402);
    tokio::time::timeout(LIMIT, setup.proxy.budget_exceeded()).await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_before_it_goes_anywhere() {
    let setup = Setup::new(vec![], None).await;
    let large = vec![b' '; 33 * 1024 * 1024];
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter(
        large.chunks(1024 * 1024).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
    ));
    for body in [reqwest::Body::from(large.clone()), chunked] {
        // The refusal comes while the body is still being sent: a client may see the connection end instead.
        match setup.request(Method::POST, "/v1/messages").body(body).send().await {
            Ok(response) => assert_eq!(error_of(response).await, (413, "request_too_large".to_owned())),
            Err(error) => assert!(error.is_request() || error.is_body(), "{error}"),
        }
    }
    assert!(setup.model.asked().is_empty());
}

#[tokio::test]
async fn a_request_whose_cost_cannot_be_known_is_refused() {
    let setup = Setup::new(vec![], None).await;
    let response = setup.ask(&json!({"max_tokens": "64000"})).send().await.unwrap();
    assert_eq!(error_of(response).await, (400, "invalid_request_error".to_owned()));
    assert!(setup.model.asked().is_empty());
}

#[tokio::test]
async fn errors_of_the_provider_pass_and_cost_nothing() {
    let setup = Setup::new(vec![Turn::refuse(529, "overloaded_error")], Some(1.0)).await;
    let response = setup.ask(&json!({"stream": true})).send().await.unwrap();
    assert!(!response.headers().contains_key("x-should-retry"));
    assert_eq!(error_of(response).await, (529, "overloaded_error".to_owned()));
    let usage = setup.proxy.usage();
    assert_eq!((usage.requests, dollars(&usage)), (0, 0.0));
}

#[tokio::test]
async fn a_provider_that_is_away_or_sends_elsewhere_is_an_error_that_names_it() {
    let said = Arc::default();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = proxy(format!("http://{nobody}").parse().unwrap(), None, &said).await;
    let body = json!({"model": MODEL, "max_tokens": 5, "messages": []});
    let request = client()
        .post(format!("{}/v1/messages", proxy.base_url()))
        .header("x-api-key", &proxy.env()["ANTHROPIC_API_KEY"])
        .json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let text = response.text().await.unwrap();
    assert!(text.contains("api_error") && text.contains("127.0.0.1") && text.contains("refused"), "{text}");

    let setup = Setup::new(vec![Turn::refuse(307, "elsewhere")], None).await;
    assert_eq!(error_of(setup.ask(&json!({})).send().await.unwrap()).await, (502, "api_error".to_owned()));
}

#[tokio::test]
async fn a_stream_that_the_provider_breaks_off_is_counted_as_far_as_it_came() {
    let turn = Turn::new().prompt_usage(json!({"input_tokens": 1000})).text(&"w".repeat(400)).cut();
    let setup = Setup::new(vec![turn], None).await;
    assert!(setup.stream().await.text().await.is_err());
    let usage = setup.proxy.shutdown().await;
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.requests), (1000, 100, 1));
}

#[tokio::test]
async fn when_the_agent_leaves_so_does_the_proxy() {
    let never = Gate::default();
    let setup = Setup::new(vec![Turn::new().text("first").wait(&never)], None).await;
    let mut response = setup.stream().await;
    read_until(&mut response, "first").await;
    drop(response);
    setup.model.wait_until_left(1).await;
}

#[tokio::test]
async fn shutdown_breaks_off_what_is_under_way() {
    let never = Gate::default();
    let setup = Setup::new(vec![Turn::new().text("first").wait(&never)], None).await;
    let mut response = setup.stream().await;
    read_until(&mut response, "first").await;
    let usage = tokio::time::timeout(LIMIT, setup.proxy.shutdown()).await.unwrap();
    assert_eq!(usage.requests, 1);
    assert!(response.text().await.is_err());
    setup.model.wait_until_left(1).await;
}
