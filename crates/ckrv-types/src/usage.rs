//! What an agent's model calls used.

use serde::{Deserialize, Serialize};

/// Tokens, turns and cost of an attempt. Counted by the model proxy from the provider's own answers where it ran,
/// otherwise as the agent reports it (`source` says which).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    #[serde(default)]
    pub source: UsageSource,
    /// The model that answered last, as the provider names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default)]
    pub input_tokens: u64,
    #[serde(default)]
    pub output_tokens: u64,
    #[serde(default)]
    pub cache_read_tokens: u64,
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// Requests that the provider answered.
    #[serde(default)]
    pub requests: u64,
    /// The agent's turns, where it tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// US dollars, by the price table in force when it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

impl Usage {
    /// One record of two about the same attempt, `newer` the later: what the proxy counted wins over what the agent says,
    /// and the agent's turns are kept.
    #[must_use]
    pub fn joined(self, newer: Self) -> Self {
        let turns = newer.turns.or(self.turns);
        let is_worse = self.source == UsageSource::Proxy && newer.source == UsageSource::Agent;
        Self { turns, ..if is_worse { self } else { newer } }
    }
}

/// Who counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The agent's own report: shown, never billed.
    #[default]
    Agent,
    /// The model proxy, from the provider's answers.
    Proxy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxys_count_wins_and_the_agents_turns_stay() {
        let told = Usage { turns: Some(3), input_tokens: 1, ..Usage::default() };
        let counted = Usage { source: UsageSource::Proxy, input_tokens: 100, ..Usage::default() };
        let both = Usage { turns: Some(3), ..counted.clone() };
        assert_eq!(told.clone().joined(counted.clone()), both);
        assert_eq!(counted.joined(told.clone()), both);
        let later = Usage { turns: Some(4), input_tokens: 2, ..told.clone() };
        assert_eq!(told.joined(later.clone()), later);
    }
}
