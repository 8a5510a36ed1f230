//! What tokens cost: `worker/config/prices.yaml`, looked up and applied.
//!
//! Errs on the dear side: what is not known is priced as the most expensive that is.

use std::collections::BTreeMap;

use serde::Deserialize;

const EMBEDDED: &str = include_str!("../../../../worker/config/prices.yaml");
const PER: f64 = 1e6;

/// The price list of one provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    us_only: f64,
    web_search: f64,
    models: BTreeMap<String, Row>,
}

/// US dollars per million tokens, and factors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    input: f64,
    cache_write_5m: f64,
    cache_write_1h: f64,
    cache_read: f64,
    output: f64,
    #[serde(default)]
    fast: Option<f64>,
    #[serde(default)]
    long_prompt: Option<LongPrompt>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct LongPrompt {
    over: u64,
    input: f64,
    output: f64,
}

/// What is billed of one model's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens of the prompt that were neither read from the cache nor written to it.
    pub input: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    pub cache_read: u64,
    pub output: u64,
    pub web_searches: u64,
    /// Served in the provider's fast mode.
    pub fast: bool,
    /// Inference was kept in the USA.
    pub us_only: bool,
}

impl Prices {
    /// The list of the provider of this name.
    ///
    /// # Panics
    /// When the list that is compiled in has none for it.
    pub fn of(provider: &str) -> Self {
        let mut lists: BTreeMap<String, Self> =
            serde_saphyr::from_str(EMBEDDED).expect("a unit test reads the embedded price list");
        lists.remove(provider).expect("every provider has a price list: a unit test looks")
    }

    pub fn knows(&self, model: &str) -> bool {
        self.models.contains_key(without_date(model))
    }

    /// US dollars for `counts` of `model`.
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
    pub fn cost(&self, model: &str, counts: &Counts) -> f64 {
        let row = self.row(model);
        let prompt = counts.input + counts.cache_read + counts.cache_write_5m + counts.cache_write_1h;
        let (long_input, long_output) =
            row.long_prompt.filter(|long| prompt > long.over).map_or((1.0, 1.0), |long| (long.input, long.output));
        let input = counts.input as f64 * row.input
            + counts.cache_write_5m as f64 * row.cache_write_5m
            + counts.cache_write_1h as f64 * row.cache_write_1h
            + counts.cache_read as f64 * row.cache_read;
        let tokens = input * long_input + counts.output as f64 * row.output * long_output;
        tokens / PER * self.factor(row, counts.fast, counts.us_only) + counts.web_searches as f64 * self.web_search
    }

    /// The most that one token of output of `model` can cost, in US dollars.
    pub fn dearest_output(&self, model: &str, fast: bool) -> f64 {
        let row = self.row(model);
        let long = row.long_prompt.map_or(1.0, |long| long.output);
        row.output * long / PER * self.factor(row, fast, true)
    }

    fn factor(&self, row: &Row, fast: bool, us_only: bool) -> f64 {
        let fast = match (fast, row.fast) {
            (false, _) => 1.0,
            (true, Some(factor)) => factor,
            (true, None) => self.models.values().filter_map(|row| row.fast).fold(1.0, f64::max),
        };
        fast * if us_only { self.us_only } else { 1.0 }
    }

    fn row(&self, model: &str) -> &Row {
        self.models.get(without_date(model)).unwrap_or_else(|| {
            let dearest = self.models.values().max_by(|a, b| a.output.total_cmp(&b.output));
            dearest.expect("a price list has models: a unit test looks")
        })
    }
}

/// `claude-opus-4-5-20251101` → `claude-opus-4-5`; also without a mark of the context's size such as `[1m]`.
fn without_date(model: &str) -> &str {
    let model = model.split('[').next().unwrap_or(model);
    match model.rsplit_once(['-', '@']) {
        Some((name, date)) if date == "latest" || (date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit())) => name,
        _ => model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn every_provider_has_a_list_and_every_price_is_sane() {
        for provider in super::super::Provider::ALL {
            let prices = Prices::of(provider.name());
            assert!(!prices.models.is_empty());
            for (name, row) in &prices.models {
                assert!(row.input > 0.0 && row.output >= row.input && row.cache_read < row.input, "{name}");
                assert!(row.cache_write_5m >= row.input && row.cache_write_1h >= row.cache_write_5m, "{name}");
                assert_eq!(without_date(name), name, "would never be found");
            }
        }
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let counts = Counts {
            input: 200,
            output: 40,
            cache_read: 10,
            cache_write_5m: 14,
            cache_write_1h: 1,
            web_searches: 2,
            ..Counts::default()
        };
        let expected = (200.0 * 5.0 + 40.0 * 25.0 + 10.0 * 0.5 + 14.0 * 6.25 + 10.0) / 1e6 + 0.02;
        let cost = Prices::of("anthropic").cost("claude-opus-4-8", &counts);
        assert!(close(cost, expected), "{cost}");
    }

    #[test]
    fn dates_and_context_marks_do_not_hide_a_model() {
        let prices = Prices::of("anthropic");
        for model in
            ["claude-opus-4-5-20251101", "claude-opus-4-8[1m]", "claude-sonnet-4@20250514", "claude-3-5-haiku-latest"]
        {
            assert!(prices.knows(model), "{model}");
        }
        assert!(!prices.knows("claude-opus-4-99"));
    }

    #[test]
    fn an_unknown_model_costs_as_much_as_the_dearest() {
        let prices = Prices::of("anthropic");
        let counts = Counts { input: 1000, output: 1000, ..Counts::default() };
        let dearest = prices.models.keys().map(|model| prices.cost(model, &counts)).fold(0.0, f64::max);
        assert!(close(prices.cost("gpt-who", &counts), dearest));
    }

    #[test]
    fn factors_for_fast_long_and_domestic_answers_multiply() {
        let prices = Prices::of("anthropic");
        let output = Counts { output: 1_000_000, ..Counts::default() };
        assert!(close(prices.cost("claude-opus-4-8", &Counts { fast: true, us_only: true, ..output }), 55.0));
        let long = Counts { input: 200_001, output: 1_000_000, ..Counts::default() };
        assert!(close(prices.cost("claude-sonnet-4-5", &long), 200_001.0 * 6.0 / 1e6 + 22.5));
        assert!(close(prices.dearest_output("claude-sonnet-4-5", false), 22.5 * 1.1 / 1e6));
    }
}
