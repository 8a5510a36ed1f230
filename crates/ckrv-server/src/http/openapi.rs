//! The contracts that the server prints: `cloud-api.yaml`, the OpenAPI document, and `events.yaml`, the JSON Schemas of what
//! its streams say. Both come from the types and routes themselves; a test holds the committed files to them.

use std::collections::BTreeMap;

use ckrv_types::job::JobEvent;
use ckrv_types::log::{End, Gap, JobLine, Status};
use serde_json::{Value, json};
use utoipa::openapi::path::Parameter;
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, OpenApiVersion, RefOr, Tag,
};
use utoipa::{IntoResponses as _, PartialSchema, ToSchema};

use super::needs::operations;
use super::problems::{self, Everywhere};
use super::streams::SseEvent;

const DESCRIPTION: &str = "ckrv runs coding-agent jobs away from the developer's machine.\n\n\
    Every error is a problem (RFC 9457) with a `code` from a closed list. Every answer has `X-Request-Id`, and \
    `RateLimit` and `RateLimit-Policy` where a limit applies. Ids sort by the time of their making. \
    `POST`s that make something take an `Idempotency-Key`. What a user's credential must be good for, each operation \
    says as `x-ckrv-scope`.";

/// What a document starts from, before the routes add theirs.
pub(super) fn base() -> OpenApi {
    let bearer = |description: &str| {
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build())
    };
    let components = ComponentsBuilder::new()
        .security_scheme(
            "user",
            bearer("An API key, `ck_live_…` or `ck_test_…`, or an access token of a person's program."),
        )
        .security_scheme("runner", bearer("A runner's token, `ck_runner_…`."))
        .security_scheme(
            "worker",
            bearer("An attempt's token, `ck_attempt_…`; at `start` its bootstrap token, `ck_boot_…`."),
        )
        .schemas_from_iter(problems::schemas())
        .schemas_from_iter(stream_items())
        .responses_from_iter(problems::components())
        .build();
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("ckrv")
        .version("v1")
        .description(Some(DESCRIPTION))
        .license(Some(license))
        .contact(Some(ContactBuilder::new().name(Some("ckrv")).build()))
        .build();
    OpenApiBuilder::new()
        .openapi(OpenApiVersion::Version32)
        .info(info)
        .components(Some(components))
        .tags(Some(tags()))
        .build()
}

/// The routes that stream name the schemas of their items, which does not collect them.
fn stream_items() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = Vec::new();
    define::<SseEvent>(&mut schemas);
    define::<JobLine>(&mut schemas);
    schemas
}

fn tags() -> Vec<Tag> {
    let tag = |(name, description): (&str, &str)| TagBuilder::new().name(name).description(Some(description)).build();
    [
        ("jobs", "Jobs: submit, look at, cancel, retry."),
        ("logs", "What a job printed."),
        ("artifacts", "What a job left behind."),
        ("audit", "Who did what."),
        ("identity", "Who is asking; API keys and runners."),
        ("usage", "What an organization may use, and what it has used."),
        ("teams", "Organizations: their members, who is asked to join, service accounts, projects."),
        ("credentials", "Git credentials and model keys that the organization lends to its jobs."),
        ("oauth", "The authorization server: how a person's program gets its tokens. Errors are those of RFC 6749."),
        ("runner", "The protocol of runners, which execute attempts."),
        ("worker", "The protocol of the worker of one attempt."),
        ("health", "For machines that watch the server. Without a credential."),
    ]
    .map(tag)
    .into()
}

/// Completes what the routes have declared.
pub(super) fn completed(mut api: OpenApi) -> OpenApi {
    // The router marks a parameter that takes the rest of the path; OpenAPI has no such mark.
    let paths = std::mem::take(&mut api.paths.paths);
    api.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for operation in api.paths.paths.values_mut().flat_map(operations) {
        for (status, response) in Everywhere::responses() {
            operation.responses.responses.entry(status).or_insert(response);
        }
        operation.parameters.iter_mut().flatten().for_each(without_null);
    }
    api
}

/// A header or query parameter may be left out; it cannot be null.
fn without_null(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(Parameter { schema: Some(RefOr::T(Schema::Object(schema))), .. }) = parameter
        && let SchemaType::Array(types) = &schema.schema_type
        && let [only] = types.iter().filter(|kind| **kind != Type::Null).collect::<Vec<_>>()[..]
    {
        schema.schema_type = SchemaType::Type(only.clone());
    }
}

/// The OpenAPI document as YAML.
pub fn api_yaml() -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&super::document()).map(|yaml| registered_formats(&yaml))
}

/// utoipa spells its unsigned formats `u-int64`; the OpenAPI format registry knows `uint64`.
fn registered_formats(yaml: &str) -> String {
    yaml.replace("format: u-int", "format: uint")
}

/// The schemas of the streams' events as YAML.
pub fn events_yaml() -> Result<String, serde_saphyr::ser::Error> {
    let mut schemas = Vec::new();
    define::<JobLine>(&mut schemas);
    define::<Status>(&mut schemas);
    define::<Gap>(&mut schemas);
    define::<End>(&mut schemas);
    define::<JobEvent>(&mut schemas);
    let definitions: BTreeMap<String, RefOr<Schema>> = schemas.into_iter().collect();
    let mut document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The data of the events that ckrv's streams send, by stream and event name.",
        "streams": {
            "/v1/jobs/{id}/logs": {
                "log": { "id": "<attempt>.<seq>", "data": { "$ref": "#/$defs/JobLine" } },
                "status": { "data": { "$ref": "#/$defs/Status" } },
                "gap": { "id": "<attempt>.<last_seq>", "data": { "$ref": "#/$defs/Gap" } },
                "end": { "id": "<attempt>.<seq>", "data": { "$ref": "#/$defs/End" } },
            },
            "/v1/jobs/{id}/events": {
                "event": { "id": "<id>", "data": { "$ref": "#/$defs/JobEvent" } },
            },
        },
        "$defs": definitions,
    });
    point_to_definitions(&mut document);
    serde_saphyr::to_string(&document).map(|yaml| registered_formats(&yaml))
}

fn define<T: ToSchema + PartialSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(schemas);
    schemas.push((T::name().into_owned(), T::schema()));
}

/// The schemas are written for an OpenAPI document, which keeps them elsewhere.
fn point_to_definitions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref") {
                *target = target.replace("#/components/schemas/", "#/$defs/");
            }
            fields.values_mut().for_each(point_to_definitions);
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_definitions),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::super::needs;
    use super::*;

    #[test]
    fn the_committed_contracts_are_what_this_server_prints() {
        let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts");
        for (file, printed) in [("cloud-api.yaml", api_yaml()), ("events.yaml", events_yaml())] {
            let committed = std::fs::read_to_string(contracts.join(file)).unwrap_or_default();
            assert!(
                printed.unwrap() == committed,
                "contracts/{file} is out of date: run `make contracts` and look at the difference"
            );
        }
    }

    #[test]
    fn every_operation_has_an_id_of_its_own_a_tag_and_words() {
        let mut api = crate::http::document();
        let known: HashSet<String> = tags().into_iter().map(|tag| tag.name).collect();
        let mut ids = HashSet::new();
        for operation in api.paths.paths.values_mut().flat_map(operations) {
            let id = operation.operation_id.clone().unwrap_or_default();
            assert!(id.chars().all(|c| c.is_ascii_alphanumeric()) && !id.is_empty(), "operation id `{id}`");
            assert!(operation.summary.is_some(), "{id} has no summary");
            let tags = operation.tags.clone().unwrap_or_default();
            assert!(tags.len() == 1 && known.contains(&tags[0]), "{id} is tagged {tags:?}");
            assert!(ids.insert(id.clone()), "{id} is used twice");
        }
    }

    #[test]
    fn every_operation_says_who_may_come_in_and_of_users_by_which_scope() {
        let mut api = crate::http::document();
        for operation in api.paths.paths.values_mut().flat_map(operations) {
            let id = operation.operation_id.clone().unwrap_or_default();
            let told = format!("{id}: route it by `crate::http::needs::routes!`, which reads that from its signature");
            let security = serde_json::to_value(operation.security.as_ref().expect(&told)).unwrap();
            let scope = operation.extensions.as_ref().and_then(|extensions| extensions.get(needs::SCOPE));
            assert_eq!(security == json!([{ "user": [] }]), scope.is_some(), "{told}");
        }
    }

    #[test]
    fn every_reference_points_to_something() {
        for document in [serde_json::to_value(crate::http::document()).unwrap()] {
            let mut references = Vec::new();
            collect(&document, &mut references);
            assert!(references.len() > 20);
            for reference in references {
                let found = document.pointer(reference.trim_start_matches('#'));
                assert!(found.is_some(), "{reference} points nowhere");
            }
        }
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| collect(value, references));
            }
            Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
            _ => {}
        }
    }
}
