//! Real listeners at every address that a job's pod must not reach: what nobody listens at cannot be shown to be closed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use ckrv_tests::relay::Relay;
use ckrv_tests::wait::wait_for;
use k8s_openapi::api::core::v1::{Endpoints, Node, Service};
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Jobs, SOON};
use crate::release::{Release, images, own_address};

/// Where clouds answer their virtual machines, credentials included.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// An address of the internet as far as a cluster is concerned (RFC 5737).
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const POD_PORT: u16 = 8000;

/// A name, and where it is.
pub type Door = (&'static str, SocketAddr);

/// Everything that stands. It goes when it is dropped.
pub struct Decoys {
    /// A namespace that is not the jobs'.
    pub elsewhere: Jobs,
    doors: Vec<Door>,
    /// Why some are not there.
    pub missing: Vec<String>,
    relays: Vec<Relay>,
    own_addresses: Vec<OwnAddress>,
}

impl Decoys {
    pub async fn stand(client: &kube::Client) -> Self {
        let elsewhere = Jobs::new(client).await;
        let node = node_address(client).await;
        let mut doors = vec![
            ("kubelet", SocketAddr::new(node, 10250)),
            ("api-server", service(client, "default", "kubernetes").await),
            ("api-server-itself", endpoint(client).await),
        ];
        doors.extend(pod_and_service(&elsewhere, node).await);
        let mut decoys = Self { elsewhere, doors, missing: Vec::new(), relays: Vec::new(), own_addresses: Vec::new() };
        decoys.relay("a-port-of-the-tests", own_address().await, decoys.doors[1].1).await;
        for (name, address) in [("metadata", METADATA), ("outside", OUTSIDE)] {
            match OwnAddress::take(address, node) {
                Ok(own) => {
                    decoys.relay(name, address.into(), decoys.doors[1].1).await;
                    decoys.own_addresses.push(own);
                }
                Err(reason) => decoys.missing.push(format!("{name}: {reason}")),
            }
        }
        decoys
    }

    /// Whoever connects there comes to `to`.
    async fn relay(&mut self, name: &'static str, at: IpAddr, to: SocketAddr) {
        let relay = Relay::start(at, to).await;
        self.doors.push((name, relay.address()));
        self.relays.push(relay);
    }

    /// The database of a release, as if pods were in its network.
    pub async fn database(&mut self, release: &Release) {
        let url: url::Url = release.stack.superuser_url().expose().parse().expect("a URL");
        let host = url.host_str().and_then(|host| host.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let to = SocketAddr::new(host, url.port().unwrap_or(5432));
        self.relay("postgres", own_address().await, to).await;
    }

    /// The operator's own pod.
    pub async fn operator(&mut self, release: &Release) {
        let pods = release.operators().await;
        let ip = pods.iter().find_map(|pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok());
        self.doors.push(("operator", SocketAddr::new(ip.expect("the operator has an address"), 8081)));
    }

    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// The cluster's own addresses, as an admin would close them: its pods' range, and the others that stand here one by
    /// one. The metadata address needs no mention.
    pub fn of_the_cluster(&self) -> Vec<String> {
        let range = |(name, at): &Door| match at.ip() {
            IpAddr::V4(ip) if *name == "another-pod" => {
                let [first, second, ..] = ip.octets();
                format!("{first}.{second}.0.0/16")
            }
            ip => format!("{ip}/32"),
        };
        let inside = self.doors.iter().filter(|(_, at)| at.ip() != OUTSIDE && at.ip() != METADATA);
        inside.map(range).collect()
    }

    /// Runs a script in the pod elsewhere.
    pub async fn in_pod(&self, release: &Release, script: &str) -> String {
        let exec = ["--namespace", &self.elsewhere.namespace, "exec", "decoy", "--", "bash", "-c", script];
        release.kubectl(&exec).await.exits(0).out
    }
}

/// An address that this machine has for a while.
struct OwnAddress(Ipv4Addr);

impl OwnAddress {
    /// Only where the node is this very machine do pods find it here.
    fn take(address: Ipv4Addr, node: IpAddr) -> Result<Self, String> {
        if TcpListener::bind((node, 0)).is_err() {
            return Err("the node is another machine".to_owned());
        }
        // It may be there still of a run that was killed.
        ip("replace", address)?;
        Ok(Self(address))
    }
}

impl Drop for OwnAddress {
    fn drop(&mut self) {
        if let Err(error) = ip("del", self.0) {
            tell(&error);
        }
    }
}

/// For whoever reads the test's output.
#[expect(clippy::print_stderr, reason = "a test has no other way to say what it left out")]
pub fn tell(text: &str) {
    eprintln!("{text}");
}

fn ip(verb: &str, address: Ipv4Addr) -> Result<(), String> {
    let output = Command::new("ip").args(["address", verb, &format!("{address}/32"), "dev", "lo"]).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    let told = || format!("ip address {verb} {address}: {}", String::from_utf8_lossy(&output.stderr).trim());
    output.status.success().then_some(()).ok_or_else(told)
}

async fn node_address(client: &kube::Client) -> IpAddr {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.expect("nodes can be listed");
    let addresses = nodes.items.iter().flat_map(|node| node.status.iter().flat_map(|status| &status.addresses));
    let mut internal = addresses.flatten().filter(|address| address.type_ == "InternalIP");
    internal.next().and_then(|address| address.address.parse().ok()).expect("a node has an address")
}

/// A service's address, at its first port.
async fn service(client: &kube::Client, namespace: &str, name: &str) -> SocketAddr {
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    let spec = api.get(name).await.expect("the service is there").spec.expect("a service has a specification");
    let port = spec.ports.expect("it has ports")[0].port;
    let address = spec.cluster_ip.and_then(|ip| ip.parse().ok()).expect("it has an address");
    SocketAddr::new(address, port.try_into().expect("a port"))
}

/// The API server behind its service.
async fn endpoint(client: &kube::Client) -> SocketAddr {
    let api: Api<Endpoints> = Api::namespaced(client.clone(), "default");
    let subsets = api.get("kubernetes").await.expect("the endpoints are there").subsets.expect("there are some");
    let address = subsets[0].addresses.as_ref().expect("with addresses")[0].ip.parse().expect("that are addresses");
    let port = subsets[0].ports.as_ref().expect("and ports")[0].port;
    SocketAddr::new(address, port.try_into().expect("a port"))
}

/// A pod that answers everybody: itself, its service, and its port on the node.
async fn pod_and_service(jobs: &Jobs, node: IpAddr) -> [Door; 3] {
    let pods = jobs.pods();
    pods.create(&PostParams::default(), &made(pod())).await.expect("the cluster takes the pod");
    let services: Api<Service> = Api::namespaced(jobs.client.clone(), &jobs.namespace);
    let wanted = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "decoy" },
        "spec": { "type": "NodePort", "selector": { "app": "decoy" }, "ports": [{ "port": POD_PORT }] },
    });
    let service_made =
        services.create(&PostParams::default(), &made(wanted)).await.expect("the cluster takes the service");
    let node_port = service_made.spec.and_then(|spec| spec.ports?.first()?.node_port).expect("it has a port on nodes");
    let ip = wait_for("the decoy answers", SOON, async || {
        let status = pods.get("decoy").await.ok()?.status?;
        let is_ready = status.conditions.iter().flatten().any(|told| told.type_ == "Ready" && told.status == "True");
        status.pod_ip.filter(|_| is_ready)?.parse().ok()
    })
    .await;
    [
        ("another-pod", SocketAddr::new(ip, POD_PORT)),
        ("a-service", service(&jobs.client, &jobs.namespace, "decoy").await),
        ("a-node-port", SocketAddr::new(node, node_port.try_into().expect("a port"))),
    ]
}

fn pod() -> Value {
    let image = images();
    let name = |value: &Value| value.as_str().expect("a text").to_owned();
    let image = format!("{}/ckrv-agent-claude:{}", name(&image["registry"]), name(&image["tag"]));
    let visits = "visitor => visitor.on('error', () => {}).end()";
    let answering = format!("require('net').createServer({visits}).listen({POD_PORT})");
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "decoy", "labels": { "app": "decoy" } },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "decoy", "image": image, "command": ["node", "-e", answering],
                "readinessProbe": { "tcpSocket": { "port": POD_PORT }, "periodSeconds": 1 },
                "resources": { "requests": { "cpu": "5m", "memory": "16Mi" } },
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    })
}

fn made<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("an object of this kind")
}
