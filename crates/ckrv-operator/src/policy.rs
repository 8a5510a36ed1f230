//! What a job's pod may connect to: one NetworkPolicy a class, selecting its pods by their label. Nothing may connect to them.
//!
//! A policy has no host names: what is open is open for agent and orchestrator alike, since containers of a pod share its
//! network. The control plane and the object store are open and refuse the agent for lack of credentials.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::config::NetworkConfig;
use crate::names;

/// Always closed: link-local addresses, at which clouds answer metadata with credentials.
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Where connections may go: addresses or pods, and a port of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    to: To,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    Cidr(String),
    Pods { namespace: String, label: String, value: String },
}

/// A text that names no [`Peer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ADDRESS/LENGTH:PORT or NAMESPACE/LABEL=VALUE:PORT is expected")]
pub struct InvalidPeer;

impl FromStr for Peer {
    type Err = InvalidPeer;

    fn from_str(text: &str) -> Result<Self, InvalidPeer> {
        let (to, port) = text.rsplit_once(':').ok_or(InvalidPeer)?;
        let port = port.parse().map_err(|_| InvalidPeer)?;
        let to = if let Some((pods, value)) = to.split_once('=') {
            let (namespace, label) = pods.split_once('/').ok_or(InvalidPeer)?;
            if namespace.is_empty() || label.is_empty() {
                return Err(InvalidPeer);
            }
            To::Pods { namespace: namespace.to_owned(), label: label.to_owned(), value: value.to_owned() }
        } else {
            Range::from_str(to).ok_or(InvalidPeer)?;
            To::Cidr(to.to_owned())
        };
        Ok(Self { to, port })
    }
}

/// The policy's name; a class's name may have 63 characters, a policy's 253.
pub fn name(class: &str) -> String {
    format!("ckrv-class-{class}")
}

/// The policy of a class. `owner`: with which it goes.
pub fn of_class(class: &str, cidrs: &[String], config: &NetworkConfig, owner: &OwnerReference) -> NetworkPolicy {
    let selected = BTreeMap::from([
        (names::NAME.to_owned(), names::JOB_APP.to_owned()),
        (names::CLASS.to_owned(), class.to_owned()),
    ]);
    let mut egress: Vec<_> = config.dns_egress.iter().map(|peer| rule(peer, &["UDP", "TCP"])).collect();
    egress.extend(config.server_egress.iter().chain(&config.s3_egress).map(|peer| rule(peer, &["TCP"])));
    egress.extend(cidrs.iter().filter_map(|cidr| open(cidr, &config.closed_cidrs)));
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name(class)),
            labels: Some([(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned())].into()),
            owner_references: Some(vec![owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(selected), ..LabelSelector::default() }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: None,
            egress: Some(egress),
        }),
    }
}

fn rule(peer: &Peer, protocols: &[&str]) -> NetworkPolicyEgressRule {
    let labels = |key: &str, value: &str| {
        Some(LabelSelector {
            match_labels: Some([(key.to_owned(), value.to_owned())].into()),
            ..LabelSelector::default()
        })
    };
    let to = match &peer.to {
        To::Cidr(cidr) => block(cidr.clone(), Vec::new()),
        To::Pods { namespace, label, value } => NetworkPolicyPeer {
            ip_block: None,
            namespace_selector: labels(NAMESPACE_NAME, namespace),
            pod_selector: labels(label, value),
        },
    };
    let port = |protocol: &&str| NetworkPolicyPort {
        end_port: None,
        port: Some(IntOrString::Int(peer.port.into())),
        protocol: Some((*protocol).to_owned()),
    };
    NetworkPolicyEgressRule { to: Some(vec![to]), ports: Some(protocols.iter().map(port).collect()) }
}

/// A class's range without what is closed within it; none where all of it is closed.
fn open(cidr: &str, closed: &[String]) -> Option<NetworkPolicyEgressRule> {
    let range = Range::from_str(cidr)?;
    let closed = || LINK_LOCAL.iter().copied().chain(closed.iter().map(String::as_str));
    if closed().filter_map(Range::from_str).any(|shut| shut.contains(range)) {
        return None;
    }
    let except = closed().filter(|shut| Range::from_str(shut).is_some_and(|shut| range.contains(shut)));
    let to = block(cidr.to_owned(), except.map(str::to_owned).collect());
    Some(NetworkPolicyEgressRule { to: Some(vec![to]), ports: None })
}

fn block(cidr: String, except: Vec<String>) -> NetworkPolicyPeer {
    let except = (!except.is_empty()).then_some(except);
    NetworkPolicyPeer { ip_block: Some(IPBlock { cidr, except }), namespace_selector: None, pod_selector: None }
}

/// Addresses with a common prefix.
#[derive(Clone, Copy)]
struct Range {
    address: IpAddr,
    length: u8,
}

impl Range {
    fn from_str(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (length <= longest).then_some(Self { address, length })
    }

    fn contains(self, other: Self) -> bool {
        let prefix = |bits: u128, width: u32| bits.checked_shr(width - u32::from(self.length)).unwrap_or(0);
        let same = match (self.address, other.address) {
            (IpAddr::V4(one), IpAddr::V4(two)) => prefix(one.to_bits().into(), 32) == prefix(two.to_bits().into(), 32),
            (IpAddr::V6(one), IpAddr::V6(two)) => prefix(one.to_bits(), 128) == prefix(two.to_bits(), 128),
            _ => false,
        };
        same && self.length <= other.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NetworkConfig {
        NetworkConfig {
            server_egress: vec!["ckrv/app.kubernetes.io/name=ckrv-server:8080".parse().unwrap()],
            s3_egress: vec!["192.0.2.7/32:9000".parse().unwrap()],
            dns_egress: vec!["kube-system/k8s-app=kube-dns:53".parse().unwrap()],
            closed_cidrs: vec!["10.0.0.0/8".to_owned()],
        }
    }

    fn owner() -> OwnerReference {
        OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ServiceAccount".to_owned(),
            name: "ckrv-job".to_owned(),
            uid: "6c0d9a4e-6f0e-4a53-8a2c-1e5d6a0b7c3d".to_owned(),
            ..OwnerReference::default()
        }
    }

    #[test]
    fn a_peer_is_a_range_or_pods_with_a_port() {
        for text in ["10.0.0.1/32:443", "2001:db8::/32:443", "ns/app=x:1", "kube-system/k8s-app=kube-dns:53"] {
            assert!(text.parse::<Peer>().is_ok(), "{text}");
        }
        for text in ["", "10.0.0.1", "10.0.0.1:443", "10.0.0.1/33:443", "ns/app:1", "app=x:1", "/a=b:1", "ns/a=b:99999"]
        {
            assert_eq!(text.parse::<Peer>(), Err(InvalidPeer), "{text}");
        }
    }

    #[test]
    fn only_dns_the_server_the_store_and_the_classs_ranges_are_open() {
        insta::assert_yaml_snapshot!(of_class(
            "gpu",
            &["203.0.113.0/24".to_owned(), "0.0.0.0/0".to_owned()],
            &config(),
            &owner()
        ));
    }

    #[test]
    fn no_class_opens_what_is_closed() {
        for cidr in ["169.254.169.254/32", "10.1.2.0/24", "10.0.0.0/8", "fe80::1/128", "not-a-range"] {
            assert!(open(cidr, &config().closed_cidrs).is_none(), "{cidr} was opened");
        }
    }
}
