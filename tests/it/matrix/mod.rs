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

use ckrv_types::identity::Scope;
use futures::StreamExt as _;

use self::asks::{Ask, asks};
use self::contract::{Need, Operation, operations};
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

/// A route, and one way to ask it.
type Asked<'a> = (&'a Operation, Ask);

#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_is_let_in_anywhere() {
    let world = World::new().await;
    let operations = operations();
    let mut asked = all_asks(&operations);
    let cells = cells(&asked, &world.strangers);
    let tried = cells.len();
    eprintln!(
        "{} routes, {} requests, {} strangers: {tried} cells",
        operations.len(),
        asked.len(),
        world.strangers.len()
    );

    let before = world.dump().await;
    let faults: Vec<(bool, String)> = futures::stream::iter(&cells)
        .map(async |cell| cell.fault(&world).await.map(|fault| (cell.is_excepted(), fault)))
        .buffer_unordered(AT_ONCE)
        .filter_map(async |fault| fault)
        .collect()
        .await;
    let changes = dump::changes(&before, &world.dump().await, &world.theirs);
    let refused = refused_rightly(&world, &mut asked).await;

    let leaks: Vec<&String> = faults.iter().filter(|(excepted, _)| !excepted).map(|(_, fault)| fault).collect();
    assert!(
        leaks.is_empty() && changes.is_empty() && refused.is_empty(),
        "{} of {tried} cells leak:\n{}changed by what was refused:\n{}refused also to whoever may, so that it proves nothing:\n{}",
        leaks.len(),
        join(&leaks),
        join(&changes),
        join(&refused)
    );
    assert!(faults.len() >= EXCEPTIONS.len(), "some exception is none any more: take it from the list");
}

/// What the matrix expects follows from what the handlers themselves say. So that a handler which says too little is seen, what
/// anybody may ask, and what the scope `read` may change, is said here once more.
#[test]
fn a_route_needs_a_credential_and_a_change_more_than_reading_unless_it_is_known_not_to() {
    const OF_ANYBODY: [&str; 8] =
        ["alive", "authorizationServer", "authorizeDevice", "health", "jwks", "ready", "revoke", "token"];
    // Of one's own, and judged by what the person may.
    const BY_READERS: [&str; 6] =
        ["acceptInvitation", "createKey", "createOrg", "removeMember", "revokeKey", "rotateKey"];
    let mut operations = operations();
    operations.sort_by(|one, other| one.id.cmp(&other.id));
    let ids = |all: Vec<&Operation>| all.into_iter().map(|operation| operation.id.clone()).collect::<Vec<_>>();
    let public = operations.iter().filter(|operation| operation.need == Need::Nothing).collect();
    assert_eq!(ids(public), OF_ANYBODY);
    let lax = |operation: &&Operation| !operation.is_safe() && operation.need == Need::User(Scope::Read);
    assert_eq!(ids(operations.iter().filter(lax).collect()), BY_READERS);
}

/// How each route is asked; there must be a way for each.
fn all_asks(operations: &[Operation]) -> Vec<Asked<'_>> {
    let unknown: Vec<&str> =
        operations.iter().map(|operation| operation.id.as_str()).filter(|id| asks(id).is_none()).collect();
    assert!(
        unknown.is_empty(),
        "nobody has tried to get into {unknown:?}: say in tests/it/matrix/asks.rs how each is asked, and if it names something \
         new, have tests/it/matrix/scenery.rs make one"
    );
    let of = |operation: &Operation| asks(&operation.id).unwrap_or_default();
    operations.iter().flat_map(|operation| of(operation).into_iter().map(move |ask| (operation, ask))).collect()
}

/// Every stranger at every request; each route is tried by some.
fn cells<'a>(asked: &'a [Asked<'a>], strangers: &'a [Stranger]) -> Vec<Cell<'a>> {
    let mut cells = Vec::new();
    for (operation, ask) in asked {
        let before = cells.len();
        for stranger in strangers {
            if let Some(expected) = expected(operation, ask, stranger) {
                cells.push(Cell { operation, ask, stranger, expected });
            }
        }
        assert!(cells.len() > before, "{} is tried by nobody", operation.id);
    }
    cells
}

/// What is refused to those who may ask.
async fn refused_rightly(world: &World, asked: &mut [Asked<'_>]) -> Vec<String> {
    asked.sort_by_key(|(operation, _)| asks::rank(&operation.method, &operation.id));
    let mut refused = Vec::new();
    for (operation, ask) in asked {
        let answer = world.send_rightly(operation, ask).await;
        if !ask.is_good(&answer) {
            refused.push(format!("{} is answered {answer}", operation.id));
        }
    }
    refused
}

fn join(lines: &[impl AsRef<str>]) -> String {
    lines.iter().fold(String::new(), |all, line| all + "  " + line.as_ref() + "\n")
}
