//! What the attempt's model calls have used, and whether there is money for another. What is used is the attempt's own; the
//! budget is the job's, and what earlier attempts have spent is gone from it.
//!
//! How the budget is kept:
//! 1. Before a request is sent, the most that its output can cost is set aside. What fits whole is sent as it is.
//! 2. What does not fit waits while other requests are under way; alone, it is sent with fewer tokens of output allowed.
//! 3. What would have no room at all is refused: from then on [`Meter::exceeded`] is set and nothing is sent any more.
//! 4. While an answer streams, its cost so far is counted with each event; it is cut when the budget is reached.
//!
//! What a prompt costs is known only when its answer begins: the budget can be passed by the prompts of the requests that
//! were under way, and by what the provider's own tools add, never by output.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ckrv_types::usage::{Usage, UsageSource};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Say;
use super::prices::Prices;
use super::provider::{Answer, Ask};
use crate::human::dollars;

pub(super) struct Meter {
    prices: Prices,
    /// US dollars.
    budget: Option<f64>,
    ledger: Mutex<Ledger>,
    usage: watch::Sender<Usage>,
    exceeded: CancellationToken,
    say: Say,
}

#[derive(Default)]
struct Ledger {
    /// US dollars that earlier attempts have spent.
    before: f64,
    settled: Tally,
    flights: BTreeMap<u64, Flight>,
    next: u64,
    /// Models that were said to have no price.
    unpriced: BTreeSet<String>,
}

/// A request under way.
#[derive(Default)]
struct Flight {
    tally: Tally,
    /// US dollars for its output.
    set_aside: f64,
}

#[derive(Clone, Default)]
struct Tally {
    usage: Usage,
    cost: f64,
}

/// The budget is reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct UsedUp {
    pub budget: f64,
    pub spent: f64,
}

/// The right to send a request; what it used is settled when this is dropped.
pub(super) struct Ticket {
    meter: Arc<Meter>,
    flight: u64,
    /// Tokens of output that it may ask for.
    pub max_output: u64,
}

enum Admission {
    Granted { flight: u64, max_output: u64 },
    Wait,
    UsedUp(UsedUp),
}

impl Meter {
    pub fn new(prices: Prices, budget: Option<f64>, before: f64, say: Say) -> Self {
        let usage = Usage { source: UsageSource::Proxy, cost_usd: Some(0.0), ..Usage::default() };
        Self {
            prices,
            budget,
            ledger: Mutex::new(Ledger { before, ..Ledger::default() }),
            usage: watch::Sender::new(usage),
            exceeded: CancellationToken::new(),
            say,
        }
    }

    pub fn usage(&self) -> watch::Receiver<Usage> {
        self.usage.subscribe()
    }

    /// Cancelled once a request was refused or cut for lack of money.
    pub const fn exceeded(&self) -> &CancellationToken {
        &self.exceeded
    }

    /// How far the budget is used up, once it is.
    pub fn used_up(&self) -> Option<UsedUp> {
        let budget = self.budget.filter(|_| self.exceeded.is_cancelled())?;
        Some(UsedUp { budget, spent: self.ledger().spent() })
    }

    /// Waits until there is money for `ask`, or is known to be none.
    pub async fn admit(self: &Arc<Self>, ask: &Ask) -> Result<Ticket, UsedUp> {
        let mut changes = self.usage.subscribe();
        loop {
            changes.mark_unchanged();
            match self.try_admit(ask) {
                Admission::Granted { flight, max_output } => {
                    return Ok(Ticket { meter: Arc::clone(self), flight, max_output });
                }
                Admission::UsedUp(used_up) => return Err(self.exceed(used_up)),
                // The sender lives as long as `self`.
                Admission::Wait => changes.changed().await.unwrap_or(()),
            }
        }
    }

    fn try_admit(&self, ask: &Ask) -> Admission {
        let mut ledger = self.ledger();
        let Some(budget) = self.budget else {
            return Admission::Granted { flight: ledger.begin(0.0), max_output: ask.max_output };
        };
        let spent = ledger.spent();
        let used_up = Admission::UsedUp(UsedUp { budget, spent });
        if self.exceeded.is_cancelled() || spent >= budget {
            return used_up;
        }
        let price = self.prices.dearest_output(&ask.model, ask.fast);
        let set_aside = ledger.set_aside();
        let affordable = whole_tokens((budget - spent - set_aside) / price);
        let max_output = ask.max_output.min(affordable);
        if max_output < ask.max_output && set_aside > 0.0 {
            return Admission::Wait;
        }
        if max_output < ask.least_output.min(ask.max_output) {
            return used_up;
        }
        let set_aside = cost_of(max_output, price);
        Admission::Granted { flight: ledger.begin(set_aside), max_output }
    }

    fn exceed(&self, used_up: UsedUp) -> UsedUp {
        if !self.exceeded.is_cancelled() {
            self.exceeded.cancel();
            let UsedUp { budget, spent } = used_up;
            let (budget, spent) = (dollars(budget), dollars(spent));
            (self.say)(&format!("The model budget of {budget} is used up: {spent} spent. The agent is stopped."));
        }
        used_up
    }

    fn tally(&self, answer: &Answer) -> Tally {
        let mut usage = Usage { model: answer.model.clone(), requests: 1, ..Usage::default() };
        let mut cost = 0.0;
        for part in &answer.parts {
            let counts = &part.counts;
            usage.input_tokens += counts.input;
            usage.output_tokens += counts.output;
            usage.cache_read_tokens += counts.cache_read;
            usage.cache_write_tokens += counts.cache_write_5m + counts.cache_write_1h;
            let model = part.model.as_deref().or(answer.model.as_deref()).unwrap_or_default();
            cost += self.prices.cost(model, counts);
        }
        Tally { usage, cost }
    }

    /// Says once of each model without a price how it is priced.
    fn say_unpriced(&self, answer: &Answer) {
        for model in answer.parts.iter().filter_map(|part| part.model.as_ref().or(answer.model.as_ref())) {
            if !self.prices.knows(model) && self.ledger().unpriced.insert(model.clone()) {
                (self.say)(&format!(
                    "ckrv has no price for the model {model}: it is counted as the most expensive one."
                ));
            }
        }
    }

    fn publish(&self, ledger: &Ledger) {
        let mut sum = ledger.settled.clone();
        ledger.flights.values().for_each(|flight| sum.add(&flight.tally));
        self.usage.send_replace(Usage { source: UsageSource::Proxy, cost_usd: Some(sum.cost), ..sum.usage });
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Takes note of what the answer has used so far, in place of what was noted before.
    pub fn count(&self, answer: &Answer) -> Result<(), UsedUp> {
        self.meter.say_unpriced(answer);
        let tally = self.meter.tally(answer);
        let spent = {
            let mut ledger = self.meter.ledger();
            let flight = ledger.flights.entry(self.flight).or_default();
            flight.tally = tally;
            if answer.is_final {
                flight.set_aside = 0.0;
            }
            self.meter.publish(&ledger);
            ledger.spent()
        };
        match self.meter.budget {
            // What is complete was paid for: nothing is saved by keeping it from the agent.
            Some(budget) if spent >= budget && !answer.is_final => Err(self.meter.exceed(UsedUp { budget, spent })),
            _ => Ok(()),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut ledger = self.meter.ledger();
        if let Some(flight) = ledger.flights.remove(&self.flight) {
            ledger.settled.add(&flight.tally);
        }
        self.meter.publish(&ledger);
    }
}

impl Ledger {
    fn begin(&mut self, set_aside: f64) -> u64 {
        self.next += 1;
        self.flights.insert(self.next, Flight { set_aside, ..Flight::default() });
        self.next
    }

    fn spent(&self) -> f64 {
        self.before + self.settled.cost + self.flights.values().map(|flight| flight.tally.cost).sum::<f64>()
    }

    fn set_aside(&self) -> f64 {
        self.flights.values().map(|flight| flight.set_aside).sum()
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        let (sum, more) = (&mut self.usage, &other.usage);
        sum.input_tokens += more.input_tokens;
        sum.output_tokens += more.output_tokens;
        sum.cache_read_tokens += more.cache_read_tokens;
        sum.cache_write_tokens += more.cache_write_tokens;
        sum.requests += more.requests;
        if more.model.is_some() {
            sum.model.clone_from(&more.model);
        }
        self.cost += other.cost;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float too large or below zero saturates"
)]
fn whole_tokens(tokens: f64) -> u64 {
    tokens.floor() as u64
}

#[expect(clippy::cast_precision_loss, reason = "numbers of tokens are far below 2^52")]
fn cost_of(tokens: u64, price: f64) -> f64 {
    tokens as f64 * price
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::super::prices::Counts;
    use super::super::provider::Part;
    use super::*;

    /// Its output costs 25 dollars a million, and 10 % more in the USA.
    const MODEL: &str = "claude-opus-4-8";

    fn meter(budget: f64) -> Arc<Meter> {
        meter_after(0.0, budget)
    }

    fn meter_after(spent: f64, budget: f64) -> Arc<Meter> {
        Arc::new(Meter::new(Prices::of("anthropic"), Some(budget), spent, Arc::new(|_| ())))
    }

    fn ask(max_output: u64) -> Ask {
        let fields = BTreeMap::new();
        Ask {
            model: MODEL.to_owned(),
            fast: false,
            max_output,
            least_output: 1,
            fields,
            max_output_field: "max_tokens",
        }
    }

    fn answer(output: u64, is_final: bool) -> Answer {
        let counts = Counts { output, ..Counts::default() };
        Answer { model: Some(MODEL.to_owned()), parts: vec![Part { model: None, counts }], is_final }
    }

    #[tokio::test]
    async fn what_does_not_fit_beside_others_waits_and_gets_what_they_leave() {
        let meter = meter(0.1);
        let first = meter.admit(&ask(2000)).await.unwrap();
        let beside = meter.admit(&ask(1000)).await.unwrap();
        assert_eq!((first.max_output, beside.max_output), (2000, 1000));
        let last = ask(2000);
        let mut waiting = Box::pin(meter.admit(&last));
        assert!(poll!(&mut waiting).is_pending());
        first.count(&answer(1000, false)).unwrap();
        assert!(poll!(&mut waiting).is_pending(), "what is under way may still use all that was set aside for it");
        first.count(&answer(1000, true)).unwrap();
        assert!(poll!(&mut waiting).is_pending());
        drop(beside);
        // 10 cents less 2.5, at 27.50 dollars a million.
        assert_eq!(waiting.await.unwrap().max_output, 2000);
        let rest = meter.admit(&ask(64_000)).await.unwrap();
        assert_eq!(rest.max_output, 2727);
    }

    #[tokio::test]
    async fn who_waits_when_the_budget_is_reached_is_refused_too() {
        let meter = meter(0.1);
        let first = meter.admit(&ask(3000)).await.unwrap();
        let last = ask(3000);
        let mut waiting = Box::pin(meter.admit(&last));
        assert!(poll!(&mut waiting).is_pending());
        assert_eq!(first.count(&answer(4000, false)), Err(UsedUp { budget: 0.1, spent: 0.1 }));
        drop(first);
        assert!(waiting.await.is_err());
        assert!(meter.exceeded().is_cancelled());
    }

    #[tokio::test]
    async fn what_earlier_attempts_have_spent_is_gone_from_the_budget_and_is_not_this_ones_usage() {
        let meter = meter_after(0.075, 0.1);
        let ticket = meter.admit(&ask(64_000)).await.unwrap();
        // Two cents and a half, at 27.50 dollars a million.
        assert_eq!(ticket.max_output, 909);
        assert_eq!(ticket.count(&answer(1000, false)), Err(UsedUp { budget: 0.1, spent: 0.1 }));
        assert_eq!(meter.usage().borrow().cost_usd, Some(0.025));
        assert!(meter_after(0.1, 0.1).admit(&ask(1)).await.is_err());
    }

    #[tokio::test]
    async fn without_a_budget_nothing_waits_and_nothing_is_cut() {
        let meter = Arc::new(Meter::new(Prices::of("anthropic"), None, 1.0, Arc::new(|_| ())));
        let tickets = [meter.admit(&ask(u64::MAX)).await.unwrap(), meter.admit(&ask(u64::MAX)).await.unwrap()];
        for ticket in &tickets {
            assert_eq!(ticket.max_output, u64::MAX);
            ticket.count(&answer(u64::from(u32::MAX), false)).unwrap();
        }
    }
}
