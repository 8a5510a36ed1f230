//! Artifacts as files below one folder.
//!
//! The names come from the job. A path is never put together as text: every step is taken from the handle of an open
//! folder, by the system's own "beneath" look-up where it has one (cap-std; openat2 with RESOLVE_BENEATH on Linux), so that
//! neither `..` nor a link that lies there, or is put there meanwhile, leads out.

use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use ckrv_client::Client;
use ckrv_types::artifact::ArtifactStatus;
use ckrv_types::{Artifact, JobId, limits};

use super::download::download;
use crate::failure::{Failure, OrFail as _};
use crate::printer::Printer;

/// Writes every stored artifact below `folder`, which is made if need be; answers their names.
pub async fn write_all(
    client: &Client,
    job: JobId,
    artifacts: &[Artifact],
    folder: &Path,
    printer: Printer,
) -> Result<Vec<String>, Failure> {
    for artifact in artifacts {
        check_name(&artifact.name).map_err(|why| {
            Failure::failed(format!("the artifact's name `{}` is refused: {why}", artifact.name.escape_debug()))
        })?;
    }
    std::fs::create_dir_all(folder).or_fail(|| format!("cannot make {}", folder.display()))?;
    let dir =
        Dir::open_ambient_dir(folder, ambient_authority()).or_fail(|| format!("cannot open {}", folder.display()))?;
    let mut written = Vec::new();
    for artifact in artifacts {
        if artifact.status == ArtifactStatus::Stored {
            write(client, job, artifact, &dir).await?;
            written.push(artifact.name.clone());
        } else {
            let why = artifact.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            printer.warning(&format!("`{}` was not stored{why}", artifact.name));
        }
    }
    Ok(written)
}

/// Writes one artifact: under a name of ours first, so that what has the wrong hash never gets its own.
async fn write(client: &Client, job: JobId, artifact: &Artifact, dir: &Dir) -> Result<(), Failure> {
    let place = Place::make(dir, &artifact.name).or_fail(|| format!("cannot make `{}`", artifact.name))?;
    let result = match place.create() {
        Ok(mut file) => download(client, job, artifact, &mut file).await,
        Err(error) => Err(error).or_fail(|| format!("cannot make `{}`", artifact.name)),
    };
    match result {
        Ok(()) => place.finish().or_fail(|| format!("cannot make `{}`", artifact.name)),
        Err(failure) => {
            place.discard();
            Err(failure)
        }
    }
}

/// Where one file goes.
struct Place<'a> {
    folder: Dir,
    name: &'a str,
    partial: String,
}

impl<'a> Place<'a> {
    /// Makes and opens the folders on the way; `name` has passed [`check_name`].
    fn make(dir: &Dir, name: &'a str) -> std::io::Result<Self> {
        let (folder, file) = match name.rsplit_once('/') {
            Some((above, file)) => {
                dir.create_dir_all(above)?;
                (dir.open_dir(above)?, file)
            }
            None => (dir.try_clone()?, name),
        };
        Ok(Self { folder, name: file, partial: format!(".ckrv-{}.partial", std::process::id()) })
    }

    /// A new file, never one that is there: no link is followed and no device opened.
    fn create(&self) -> std::io::Result<std::fs::File> {
        // What a pull that was interrupted left behind.
        let _ = self.folder.remove_file(&self.partial);
        let file = self.folder.open_with(&self.partial, OpenOptions::new().write(true).create_new(true))?;
        Ok(file.into_std())
    }

    /// Gives the file its name, in the place of an older one. A link or device of that name is replaced, not written to.
    fn finish(&self) -> std::io::Result<()> {
        self.folder.rename(&self.partial, &self.folder, self.name).inspect_err(|_| self.discard())
    }

    fn discard(&self) {
        let _ = self.folder.remove_file(&self.partial);
    }
}

/// Whether `name` may be created below a folder, on any system.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.chars().count() > limits::ARTIFACT_NAME_CHARS {
        return Err("it is empty or too long");
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Err("it has control characters or backslashes");
    }
    name.split('/').try_for_each(check_part)
}

fn check_part(part: &str) -> Result<(), &'static str> {
    if matches!(part, "" | "." | "..") {
        return Err("it is absolute, or has an empty part or dots alone");
    }
    if is_git_folder(part) {
        return Err("git would take what is in it for its own");
    }
    if cfg!(windows) && !is_windows_name(part) {
        return Err("Windows would take it for a device or another name");
    }
    Ok(())
}

/// `.git`, also as systems spell it that ignore case or some characters, or give short names.
fn is_git_folder(part: &str) -> bool {
    let ignored = |c: &char| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let seen: String = part.chars().filter(ignored).collect();
    let seen = seen.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    seen == ".git" || seen == "git~1" || seen.starts_with(".git:")
}

/// A name that Windows keeps as it is: no stream, no device, nothing that it trims.
fn is_windows_name(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered = |prefix: &str| stem.strip_prefix(prefix).is_some_and(|n| n.chars().count() == 1);
    let device = matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$");
    !(device
        || numbered("com")
        || numbered("lpt")
        || part.ends_with(['.', ' '])
        || part.contains([':', '*', '?', '"', '<', '>', '|']))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use ckrv_client::{ClientConfig, Retry};
    use ckrv_types::Secret;
    use sha2::{Digest as _, Sha256};

    use crate::printer::Color;

    use super::*;

    /// A client of a peer that answers every request with `reply`, whatever it is worth.
    fn client_of(reply: &'static [u8]) -> Client {
        ckrv_client::install_crypto_provider();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // One read is enough: the request is small, and what it says does not matter.
                let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
                let _ = stream.write_all(reply);
            }
        });
        let config = ClientConfig::new(url, Secret::new("ck_live_x"), "test");
        Client::new(ClientConfig { retry: Retry::NEVER, ..config }).unwrap()
    }

    fn artifact(name: &str, content: &[u8]) -> Artifact {
        Artifact {
            name: name.to_owned(),
            attempt: 1,
            status: ArtifactStatus::Stored,
            size: content.len() as u64,
            sha256: Some(hex::encode(Sha256::digest(content))),
            content_type: "text/plain".to_owned(),
            message: None,
        }
    }

    async fn write_one(client: &Client, artifact: Artifact, folder: &Path) -> Result<Vec<String>, Failure> {
        write_all(client, JobId::new(), &[artifact], folder, Printer::new(Color::Never)).await
    }

    #[tokio::test]
    async fn an_object_becomes_a_file_if_it_is_what_the_manifest_says() {
        let client = client_of(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        for _ in 0..2 {
            let names = write_one(&client, artifact("files/a/b.txt", b"hello"), &out).await.unwrap();
            assert_eq!(names, ["files/a/b.txt"]);
            assert_eq!(std::fs::read(out.join("files/a/b.txt")).unwrap(), b"hello");
        }
        assert_eq!(std::fs::read_dir(out.join("files/a")).unwrap().count(), 1, "something else is left");
    }

    #[tokio::test]
    async fn an_object_of_another_hash_or_size_or_a_cut_one_leaves_no_file() {
        let client = client_of(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
        let cut = client_of(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhel");
        let folder = tempfile::tempdir().unwrap();
        for (client, content) in
            [(&client, b"hallo".as_slice()), (&client, b"hell"), (&client, b"hello!"), (&cut, b"hello")]
        {
            assert!(write_one(client, artifact("x", content), folder.path()).await.is_err());
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn one_name_that_is_refused_refuses_all_before_anything_is_written() {
        let client = client_of(b"");
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let all = [artifact("good", b""), artifact("../bad", b"")];
        assert!(write_all(&client, JobId::new(), &all, &out, Printer::new(Color::Never)).await.is_err());
        assert!(!out.exists());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            ".",
            "a//b",
            "a/",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            "\x1b[2J",
            ".git/hooks/post-checkout",
            "files/.GIT/config",
            "files/git~1/config",
            "files/.g\u{200c}it/config",
            ".git./x",
            ".git::$INDEX_ALLOCATION/x",
        ] {
            assert!(check_name(name).is_err(), "{name:?} was accepted");
        }
        assert!(check_name(&"x".repeat(600)).is_err());
    }

    #[test]
    fn plain_names_are_taken() {
        for name in ["result.bundle", "files/a b/c.txt", "files/..x", "files/.gitignore", "files/größe", "files/con"]
        {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn windows_names_of_devices_and_streams_are_known() {
        for name in ["con", "NUL.txt", "aux .x", "COM1", "lpt9.log", "a:b", "x.", "x "] {
            assert!(!is_windows_name(name), "{name}");
        }
        assert!(is_windows_name("console") && is_windows_name("com") && is_windows_name(".x"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_folder_is_not_followed() {
        use std::os::unix::fs::symlink;
        let (outside, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("kept"), "kept").unwrap();
        symlink(outside.path(), folder.path().join("files")).unwrap();
        symlink(outside.path().join("kept"), folder.path().join("patch")).unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();

        assert!(Place::make(&dir, "files/x").is_err(), "a folder that is a link out was entered");
        let place = Place::make(&dir, "patch").unwrap();
        place.create().unwrap().write_all(b"new").unwrap();
        place.finish().unwrap();
        assert_eq!(std::fs::read_to_string(outside.path().join("kept")).unwrap(), "kept");
        assert_eq!(std::fs::read_to_string(folder.path().join("patch")).unwrap(), "new");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_the_way_is_replaced_and_never_opened() {
        let folder = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&folder.path().join("patch"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let place = Place::make(&dir, "patch").unwrap();
        place.create().unwrap().write_all(b"new").unwrap();
        place.finish().unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("patch")).unwrap(), "new");
    }
}
