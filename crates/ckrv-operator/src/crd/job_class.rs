//! `JobClass`: what an admin lets a job's pod be.

#![allow(clippy::duplicated_attributes, reason = "every column has a type, and several have the same")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What pods of this class are. Users name a class; nothing else of a pod is theirs to say.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ckrv.dev",
    version = "v1alpha1",
    kind = "JobClass",
    plural = "jobclasses",
    shortname = "jc",
    category = "ckrv",
    derive = "PartialEq",
    doc = "A kind of pod that jobs may run in. Users choose a class by name (`ckrv run --class NAME`); admins say what it is.",
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(name = "Runtime", type_ = "string", json_path = ".spec.runtimeClassName"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".spec.resources.limits.memory"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9-]+$')")
        .message("a class's name is 1 to 63 of a-z 0-9 -")
)]
#[serde(rename_all = "camelCase")]
pub struct JobClassSpec {
    /// The agent's image for jobs that name none. Absent: the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// The images that jobs may name, as patterns in which `*` stands for any characters, such as
    /// `registry.example.com/agents/*`. Absent: any. The class's own image is always allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)))]
    pub allowed_images: Option<Vec<String>>,

    /// Names of pull secrets in the job namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub image_pull_secrets: Vec<String>,

    /// Resources of the agent's container: what is reserved (requests) and the ceilings (limits).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Resources of the orchestrator's container, which clones, streams and uploads. Absent: the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestrator_resources: Option<ResourceRequirements>,

    /// Room for the work tree, such as `20Gi`. A pod that fills it is evicted. Absent: the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_volume_size: Option<Quantity>,

    /// The container runtime's class, such as `gvisor` or `kata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,

    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,

    /// Where agents may connect to besides DNS, ckrv's server and its object store, such as `203.0.113.0/24`. What the
    /// operator was told to keep closed stays closed within a wider range.
    #[serde(rename = "egressCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 9, max = 43)))]
    #[x_kube(validation = Rule::new("self.all(range, isCIDR(range))").message("addresses with a prefix length are expected, such as 203.0.113.0/24"))]
    pub egress_cidrs: Vec<String>,

    /// Names of Secrets in the job namespace with git credentials and model keys. They are mounted into the
    /// orchestrator's container only, which reads the key `secrets.yaml` of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub secrets: Vec<String>,

    /// Whether the agent's root file system is read-only. The work tree, /tmp and its home always can be written.
    #[serde(default)]
    pub read_only_root: bool,
}
