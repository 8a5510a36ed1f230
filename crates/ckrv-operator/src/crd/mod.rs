//! The kinds that ckrv adds to a cluster. Their schemas are what `kubectl explain` shows, so each field's text is for admins.

mod agent_job;
mod job_class;
mod limits;
mod status;

pub use agent_job::{AgentJob, AgentJobSpec};
pub use job_class::{JobClass, JobClassSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
pub use limits::{JobLimits, JobRetries};
pub use status::{AgentJobStatus, JobPhase, JobWork};

/// Of both kinds, and of every label and annotation of ours.
pub const GROUP: &str = "ckrv.dev";
pub const VERSION: &str = "v1alpha1";

/// Every definition with the name of its file below `charts/ckrv/crds/`.
pub fn all() -> [(&'static str, CustomResourceDefinition); 2] {
    [("agentjobs.yaml", AgentJob::crd()), ("jobclasses.yaml", JobClass::crd())]
}

/// As YAML with a line that says where it comes from.
pub fn print(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    Ok(format!(
        "# Printed by `ckrv-operator crds`; a test fails where it differs.\n{}",
        serde_saphyr::to_string(definition)?
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_chart_has_the_definitions_that_this_program_prints() {
        for (name, definition) in all() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/ckrv/crds").join(name);
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == print(&definition).unwrap(), "{name} differs: run scripts/contracts");
        }
    }

    /// Helm does not say what the API server drops.
    #[test]
    fn the_charts_values_know_every_field_of_a_class_and_no_other() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/ckrv/values.schema.json");
        let values: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let class = &values["properties"]["classes"]["additionalProperties"]["propertyNames"]["enum"];
        let known: Vec<&str> = class.as_array().unwrap().iter().filter_map(serde_json::Value::as_str).collect();
        let schema = serde_json::to_value(&JobClass::crd().spec.versions[0].schema).unwrap();
        let fields = schema["openAPIV3Schema"]["properties"]["spec"]["properties"].as_object().unwrap();
        let mut fields: Vec<&str> = fields.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(known, fields);
    }

    #[test]
    fn every_field_has_a_description_for_kubectl_explain() {
        for (name, definition) in all() {
            let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
            // Fields of Kubernetes' own types bring their texts along.
            let root = &schema["openAPIV3Schema"]["properties"];
            for part in ["spec", "status"] {
                for (field, schema) in root[part]["properties"].as_object().into_iter().flatten() {
                    assert!(schema["description"].is_string(), "{name}: {part}.{field} has no description");
                }
            }
        }
    }
}
