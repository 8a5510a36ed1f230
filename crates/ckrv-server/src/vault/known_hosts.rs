//! Lines as in known_hosts (sshd(8)): the keys that a host may show. Checked so that a mistake is told when it is made, not
//! by every job.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ckrv_types::credential::GitHost;

use super::ssh_key::kind_of;

/// What is wrong with the text; none: ssh will know the host by it.
pub fn check(text: &str, host: &GitHost) -> Result<(), String> {
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\r' && c != '\t') {
        return Err("lines as in known_hosts are expected".to_owned());
    }
    let mut fits = false;
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let names = names(line).ok_or_else(|| {
            format!("line {}: `HOST KIND KEY` is expected, as `ssh-keyscan {}` prints it", at + 1, host.name())
        })?;
        fits |= names.split(',').any(|name| may_be(name, host));
    }
    if fits {
        return Ok(());
    }
    let known = host.known_as().unwrap_or_else(|| host.name().to_owned());
    Err(format!(
        "no line is for {known}; `ssh-keyscan {}` prints its keys: compare them with what the host publishes",
        host.name()
    ))
}

/// The field with the hosts of a line that has a key.
fn names(line: &str) -> Option<&str> {
    let mut fields = line.split_ascii_whitespace();
    let first = fields.next()?;
    let names = if first.starts_with('@') { fields.next()? } else { first };
    let (kind, key) = (fields.next()?, fields.next()?);
    let key = STANDARD.decode(key).ok()?;
    (kind_of(&key)? == kind).then_some(names)
}

/// Hashed names, and patterns, are ssh's to compare.
fn may_be(name: &str, host: &GitHost) -> bool {
    if name.starts_with('|') || name.contains(['*', '?']) {
        return true;
    }
    let name = name.to_ascii_lowercase();
    if let Some(known) = host.known_as() {
        return name == known;
    }
    let bare = name.strip_prefix('[').and_then(|rest| rest.split_once("]:")).map_or(name.as_str(), |(bare, _)| bare);
    bare == host.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's, as it publishes it.
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    fn is_good(text: &str, host: &str) -> bool {
        check(text, &GitHost::parse(host).unwrap()).is_ok()
    }

    #[test]
    fn a_line_for_the_host_is_wanted_in_the_form_that_ssh_looks_for() {
        for (names, host) in [
            ("github.com", "github.com"),
            ("GitHub.com", "github.com:22"),
            ("other.example,github.com", "github.com"),
            ("[git.example.com]:2222", "git.example.com:2222"),
            ("[git.example.com]:2222", "git.example.com"),
            ("*.example.com", "git.example.com"),
            ("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=", "git.example.com"),
            ("@cert-authority *.example.com", "git.example.com"),
        ] {
            assert!(is_good(&format!("# comment\n\n{names} {KEY} comment\n"), host), "{names} {host}");
        }
        for (names, host) in [
            ("github.com", "github.com:2222"),
            ("[github.com]:2222", "github.com:22"),
            ("github.com.evil.example", "github.com"),
            ("gitlab.com", "github.com"),
        ] {
            assert!(!is_good(&format!("{names} {KEY}\n"), host), "{names} {host}");
        }
    }

    #[test]
    fn what_is_no_line_of_known_hosts_is_told_by_its_number() {
        for text in ["github.com", KEY, "github.com ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==", "github.com ssh-ed25519 %%"]
        {
            let error = check(&format!("\n{text}"), &GitHost::parse("github.com").unwrap()).unwrap_err();
            assert!(error.starts_with("line 2: "), "{error}");
        }
        assert!(!is_good("", "github.com"));
        assert!(!is_good(&format!("github.com {KEY}\u{1b}[31m"), "github.com"));
    }
}
