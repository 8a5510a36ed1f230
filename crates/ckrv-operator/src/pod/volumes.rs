//! Where the containers of a pod find what: one table of volumes, and which container sees which.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Blueprint, PASSWD_CONFIG_MAP};

/// The clone and the agent's work tree; both containers write.
pub const WORK: &str = "/ckrv/work";
/// The shim's socket.
pub const SOCKET: &str = "/ckrv/socket";
/// The shim's program in the agent's container.
pub const BIN: &str = "/ckrv/bin";
/// The same volume while the shim is copied, where it does not hide the copied program itself.
pub const INSTALL: &str = "/ckrv/install";
/// The worker's own; never seen by the agent.
pub const PRIVATE: &str = "/run/ckrv/private";
/// Its folder for the logins that git is given: in memory, so that none of them is ever on the node's disk.
pub const GIT: &str = "/run/ckrv/private/git";
pub const TOKEN: &str = "/run/ckrv/token";
pub const SECRETS: &str = "/run/ckrv/secrets";
pub const HOME: &str = "/home/ckrv";

/// Key of the bootstrap token in its Secret, and so its file's name.
pub const TOKEN_KEY: &str = "bootstrap-token";
/// Key that a class's Secret has its list under.
pub const SECRETS_KEY: &str = "secrets.yaml";

/// A socket and nothing else.
const SOCKET_SIZE: &str = "1Mi";
/// A key, known hosts, a login. It counts as the worker's memory, and a list of known hosts may have 1 MiB.
const GIT_SIZE: &str = "4Mi";
/// The worker's program.
const BIN_SIZE: &str = "256Mi";
/// Readable by its owner and the pod's group, as the kubelet makes it for an fsGroup in any case.
const SECRET_MODE: i32 = 0o440;

pub fn all(of: &Blueprint) -> Vec<Volume> {
    let config = of.config;
    let work = work_size(of);
    let scratch = &config.scratch_volume_size;
    let mut volumes = vec![
        empty("work", work, None),
        empty("socket", &Quantity(SOCKET_SIZE.to_owned()), Some("Memory")),
        empty("private", &config.private_volume_size, None),
        empty("git", &Quantity(GIT_SIZE.to_owned()), Some("Memory")),
        secret("token", &of.attempt.to_string(), false),
        Volume {
            config_map: Some(ConfigMapVolumeSource { name: PASSWD_CONFIG_MAP.to_owned(), ..Default::default() }),
            ..volume("passwd")
        },
    ];
    for owner in ["orchestrator", "agent"] {
        volumes.extend([empty(&format!("{owner}-tmp"), scratch, None), empty(&format!("{owner}-home"), scratch, None)]);
    }
    // One that is missing does not hold the pod up: the worker says which secret it lacks, if it needs one of it.
    volumes.extend(of.class.secrets.iter().enumerate().map(|(at, name)| secret(&secret_volume(at), name, true)));
    if !of.carries_shim() {
        volumes.push(empty("bin", &Quantity(BIN_SIZE.to_owned()), None));
    }
    volumes
}

fn work_size<'a>(of: &'a Blueprint) -> &'a Quantity {
    of.class.work_volume_size.as_ref().unwrap_or(&of.config.work_volume_size)
}

/// Bytes that the agent may fill: less than its volume has, so that it is told before the cluster evicts the pod.
pub fn disk_quota(of: &Blueprint) -> Option<u64> {
    Some(bytes(work_size(of))? / 10 * 9)
}

/// Whole numbers with the suffixes of sizes (Kubernetes API reference, "Quantity"); none for anything stranger.
fn bytes(quantity: &Quantity) -> Option<u64> {
    let digits = quantity.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(quantity.0.len());
    let (number, suffix) = quantity.0.split_at(digits);
    let factor = match suffix {
        "" => 1,
        "k" => 1000,
        "M" => 1000_u64.pow(2),
        "G" => 1000_u64.pow(3),
        "T" => 1000_u64.pow(4),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub fn of_orchestrator(of: &Blueprint) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount("work", WORK),
        mount("socket", SOCKET),
        mount("private", PRIVATE),
        mount("git", GIT),
        read_only(mount("token", TOKEN)),
        mount("orchestrator-tmp", "/tmp"),
        mount("orchestrator-home", HOME),
        passwd(),
    ];
    let secrets = of.class.secrets.iter().enumerate();
    mounts.extend(secrets.map(|(at, name)| read_only(mount(&secret_volume(at), &format!("{SECRETS}/{name}")))));
    mounts
}

pub fn of_agent(of: &Blueprint) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount("work", WORK),
        mount("socket", SOCKET),
        mount("agent-tmp", "/tmp"),
        mount("agent-home", HOME),
        passwd(),
    ];
    if !of.carries_shim() {
        mounts.push(read_only(mount("bin", BIN)));
    }
    mounts
}

pub fn of_install() -> Vec<VolumeMount> {
    vec![mount("bin", INSTALL)]
}

/// The lists of secrets as the worker finds them.
pub fn secret_files(of: &Blueprint) -> Vec<String> {
    of.class.secrets.iter().map(|name| format!("{SECRETS}/{name}/{SECRETS_KEY}")).collect()
}

/// A volume's name is shorter than a Secret's may be.
fn secret_volume(at: usize) -> String {
    format!("secrets-{at}")
}

fn volume(name: &str) -> Volume {
    Volume { name: name.to_owned(), ..Volume::default() }
}

fn empty(name: &str, size: &Quantity, medium: Option<&str>) -> Volume {
    let source = EmptyDirVolumeSource { medium: medium.map(str::to_owned), size_limit: Some(size.clone()) };
    Volume { empty_dir: Some(source), ..volume(name) }
}

/// All keys of a Secret as files: a list of secrets may name others, such as a deploy key.
fn secret(name: &str, secret: &str, is_optional: bool) -> Volume {
    let source = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        items: None,
        default_mode: Some(SECRET_MODE),
        optional: is_optional.then_some(true),
    };
    Volume { secret: Some(source), ..volume(name) }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn read_only(mount: VolumeMount) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount }
}

fn passwd() -> VolumeMount {
    VolumeMount { sub_path: Some("passwd".to_owned()), ..read_only(mount("passwd", "/etc/passwd")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        for (text, expected) in
            [("20Gi", Some(20 << 30)), ("5M", Some(5_000_000)), ("7", Some(7)), ("1e3", None), ("0.5Gi", None)]
        {
            assert_eq!(bytes(&Quantity(text.to_owned())), expected, "{text}");
        }
    }
}
