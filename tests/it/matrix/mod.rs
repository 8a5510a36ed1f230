//! The authorization matrix: every route of the contract, tried by every kind of stranger.
//!
//! What is expected follows from what the contract says that a route needs, which the router reads from the handler's own
//! signature: nothing is told here of a route but how to ask it. What is somebody else's is answered to the letter as what
//! does not exist, and what is refused has changed nothing. Each request is shown to be a good one by whoever may make it,
//! so that a refusal is one for want of a right.

mod answers;
mod asks;
mod contract;
mod dump;
mod expected;
mod links;
mod names;
mod scenery;
mod strangers;
mod world;

use std::collections::BTreeSet;

use futures::StreamExt as _;

use self::answers::Answer;
use self::asks::{Ask, asks};
use self::contract::{Operation, operations};
use self::expected::{Expected, expected};
use self::strangers::Stranger;
use self::world::World;

/// Requests under way at once.
const AT_ONCE: usize = 12;

/// Cells that are not as expected, as operation, stranger and reason. The list may only shrink.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

/// One stranger's try at one request.
struct Cell<'a> {
    operation: &'a Operation,
    ask: &'a Ask,
    stranger: &'a Stranger,
    expected: Expected,
}

impl Cell<'_> {
    /// What is wrong with the answer; none: it is as expected.
    async fn fault(&self, world: &World) -> Option<String> {
        let answer = world.send(self.operation, self.ask, &world.ours, self.stranger).await;
        let nobodys = match self.expected {
            Expected::NotThere => Some(world.send(self.operation, self.ask, &world.nobodys, self.stranger).await),
            _ => None,
        };
        let fault = self.expected.fault(world, self.ask, &answer, nobodys.as_ref())?;
        let (id, stranger) = (&self.operation.id, self.stranger.name);
        Some(format!("{id} by {stranger}: {fault}; the answer is {answer}"))
    }

    fn is_excepted(&self) -> bool {
        let same = |(id, stranger, _): &(&str, &str, &str)| *id == self.operation.id && *stranger == self.stranger.name;
        EXCEPTIONS.iter().any(same)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_is_let_in_anywhere() {
    let world = World::new().await;
    let operations = operations();
    let mut asked = Vec::new();
    let mut unknown = Vec::new();
    for operation in &operations {
        match asks(&operation.id) {
            Some(asks) => asked.extend(asks.into_iter().map(|ask| (operation, ask))),
            None => unknown.push(operation.id.as_str()),
        }
    }
    assert!(
        unknown.is_empty(),
        "nobody has tried to get into {unknown:?}: say in tests/it/matrix/asks.rs how each is asked, and if it names something \
         new, have tests/it/matrix/world.rs make one"
    );

    let mut cells = Vec::new();
    for (operation, ask) in &asked {
        for stranger in &world.strangers {
            if let Some(expected) = expected(operation, ask, stranger) {
                cells.push(Cell { operation, ask, stranger, expected });
            }
        }
    }
    let (routes, tried) = (operations.len(), cells.len());
    eprintln!("{routes} routes, {} requests, {} strangers: {tried} cells", asked.len(), world.strangers.len());
    let visited: BTreeSet<&str> = cells.iter().map(|cell| cell.operation.id.as_str()).collect();
    assert_eq!(visited.len(), operations.len(), "some route is tried by nobody");

    let before = world.dump().await;
    let faults: Vec<(bool, String)> = futures::stream::iter(&cells)
        .map(async |cell| cell.fault(&world).await.map(|fault| (cell.is_excepted(), fault)))
        .buffer_unordered(AT_ONCE)
        .filter_map(async |fault| fault)
        .collect()
        .await;
    let changes = dump::changes(&before, &world.dump().await, &world.theirs);
    let leaks: Vec<&String> = faults.iter().filter(|(excepted, _)| !excepted).map(|(_, fault)| fault).collect();
    assert!(leaks.is_empty(), "{} of {tried} cells leak:\n{}", leaks.len(), join(&leaks));
    assert!(changes.is_empty(), "what was refused has changed something:\n{}", join(&changes));
    let excepted = faults.len() - leaks.len();
    assert!(excepted >= EXCEPTIONS.len(), "some exception is none any more: take it from the list");

    let mut refused = Vec::new();
    asked.sort_by_key(|(operation, _)| asks::rank(&operation.method, &operation.id));
    for (operation, ask) in &asked {
        let answer: Answer = world.send_rightly(operation, ask).await;
        if !ask.is_good(&answer) {
            refused.push(format!("{} is refused to whoever may: {answer}", operation.id));
        }
    }
    assert!(refused.is_empty(), "these prove nothing of strangers:\n{}", join(&refused));
}

fn join(lines: &[impl AsRef<str>]) -> String {
    lines.iter().map(|line| format!("  {}\n", line.as_ref())).collect()
}
