//! The contract's routes and what it says that each needs.

use ckrv_server::http;
use ckrv_types::identity::Scope;
use reqwest::Method;
use serde_json::Value;

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Nothing,
    User(Scope),
    Runner,
    Worker,
}

pub struct Operation {
    pub id: String,
    pub method: Method,
    /// With `{…}` for its parameters.
    pub path: String,
    pub need: Need,
}

impl Operation {
    pub fn is_safe(&self) -> bool {
        self.method == Method::GET
    }
}

/// Of the server that is tested.
pub fn operations() -> Vec<Operation> {
    let contract = serde_json::to_value(http::document()).expect("the document is JSON");
    let paths = contract["paths"].as_object().expect("the document has paths");
    let routes = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("a path has methods");
        methods.iter().map(|(method, operation)| read(path, method, operation))
    });
    routes.collect()
}

fn read(path: &str, method: &str, operation: &Value) -> Operation {
    let id = operation["operationId"].as_str().expect("an operation has an id").to_owned();
    let [requirement] = &operation["security"].as_array().expect("an operation says who may come in")[..] else {
        panic!("{id} can be entered in several ways");
    };
    let scheme = requirement.as_object().and_then(|schemes| schemes.keys().next()).map(String::as_str);
    let need = match scheme {
        None => Need::Nothing,
        Some("user") => {
            let scope = operation[http::needs::SCOPE].as_str().and_then(|scope| scope.parse().ok());
            Need::User(scope.unwrap_or_else(|| panic!("{id} does not say which scope it needs")))
        }
        Some("runner") => Need::Runner,
        Some("worker") => Need::Worker,
        Some(other) => panic!("{id} is entered by `{other}`: have tests/it/matrix know strangers to that"),
    };
    let method = method.to_uppercase().parse().expect("it is a method");
    Operation { id, method, path: path.to_owned(), need }
}
