//! The file of a credential: what it gives back, and to whom it does not.

use std::path::Path;

use super::*;

const TOKEN: &str = "ck_refresh_secret-of-mine";

struct Place {
    folder: tempfile::TempDir,
    home: Home,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(&folder.path().join("home"))).unwrap();
        Self { folder, home }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        home::replace(&path, content).unwrap();
        path
    }

    fn store(&self, profile: &str, server: &str, keys: KeySources) -> Store {
        Store::new(&self.home, profile, &server.parse().unwrap(), keys)
    }

    /// A store with a key file, and a login in it.
    async fn kept(&self) -> Store {
        let key_file = Some(self.file("key", &format!("{}\n", "5a".repeat(32))));
        let store = self.store("work", "https://a.example", KeySources { key_file, ..KeySources::default() });
        keep(&store, false).await;
        store
    }
}

fn login() -> Kept {
    let expires_at = OffsetDateTime::from_unix_timestamp(2_000_000_000).unwrap();
    Kept::Login(Login { access: Secret::new("an-access-token"), refresh: Secret::new(TOKEN), expires_at })
}

async fn keep(store: &Store, insecure: bool) {
    let locker = store.locker(insecure).await.unwrap();
    let lock = store.lock().await.unwrap();
    store.write(&login(), &locker, &lock).unwrap();
}

async fn refresh_token(store: &Store) -> Result<String, CredentialError> {
    match store.read().await?.kept {
        Kept::Login(login) => Ok(login.refresh.expose().to_owned()),
        Kept::Key(_) => panic!("it is no key"),
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_login_survives_its_file_which_tells_nothing_of_it() {
    let place = Place::new();
    let store = place.kept().await;
    assert_eq!(refresh_token(&store).await.unwrap(), TOKEN);
    let text = text(store.path());
    for secret in [TOKEN, "an-access-token", "2000000000", &"5a".repeat(32)] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let (holds, place) = store.look().unwrap().unwrap();
    assert_eq!(holds, Holds::Login);
    assert!(place.ends_with("encrypted; the key is in a file of yours"), "{place}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_user_may_read_what_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let store = place.kept().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store.path()), 0o600);
    assert_eq!(mode(&store.lock), 0o600);
    assert_eq!(mode(&place.home.credentials()), 0o700);
}

#[tokio::test]
async fn a_file_opens_for_its_own_profile_and_server_alone() {
    let place = Place::new();
    let store = place.kept().await;
    let elsewhere = place.store("work", "https://b.example", store.keys.clone());
    assert!(matches!(refresh_token(&elsewhere).await, Err(CredentialError::Undecipherable { .. })));
    let other = place.store("other", "https://a.example", store.keys.clone());
    std::fs::copy(store.path(), other.path()).unwrap();
    assert!(matches!(refresh_token(&other).await, Err(CredentialError::Undecipherable { .. })));
}

#[tokio::test]
async fn a_changed_file_and_another_key_open_nothing() {
    let place = Place::new();
    let store = place.kept().await;
    let good = text(store.path());
    std::fs::write(store.path(), good.replace("login", "key")).unwrap();
    assert!(matches!(store.read().await, Err(CredentialError::Undecipherable { .. })));
    std::fs::write(store.path(), good.replace("\"version\":1", "\"version\":2")).unwrap();
    assert!(matches!(store.read().await, Err(CredentialError::Unreadable { .. })));
    // Without encryption it would be what an attacker wants it to be, and is not what the user chose.
    std::fs::write(store.path(), good.replace(r#""in":"file""#, r#""in":"none""#)).unwrap();
    assert!(matches!(store.read().await, Err(CredentialError::Undecipherable { .. })));

    std::fs::write(store.path(), &good).unwrap();
    place.file("key", &"5b".repeat(32));
    assert!(matches!(store.read().await, Err(CredentialError::Undecipherable { .. })));
    place.file("key", "too short");
    assert!(matches!(store.read().await, Err(CredentialError::KeyFile { .. })));
    let without = place.store("work", "https://a.example", KeySources::default());
    assert!(matches!(without.read().await, Err(CredentialError::NeedsKeyFile { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let store = place.kept().await;
    let path = store.keys.key_file.clone().unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(store.read().await, Err(CredentialError::OpenToOthers { .. })));
}

#[tokio::test]
async fn a_passphrase_opens_what_it_has_locked() {
    let place = Place::new();
    let passphrase_file = Some(place.file("passphrase", "correct horse\n"));
    let keys = KeySources { passphrase_file, ..KeySources::default() };
    let store = place.store("work", "https://a.example", keys);
    keep(&store, false).await;
    assert_eq!(refresh_token(&store).await.unwrap(), TOKEN);
    assert!(!text(store.path()).contains("horse"));

    // What is written again is locked the same way, and still opens.
    let opened = store.read().await.unwrap();
    let lock = store.lock().await.unwrap();
    store.write(&login(), &opened.locker, &lock).unwrap();
    assert_eq!(refresh_token(&store).await.unwrap(), TOKEN);

    place.file("passphrase", "wrong horse");
    assert!(matches!(store.read().await, Err(CredentialError::Undecipherable { .. })));
    let good = text(store.path());
    std::fs::write(store.path(), good.replace("65536", "4194304000")).unwrap();
    assert!(matches!(store.read().await, Err(CredentialError::Unreadable { .. })), "it asks for 4 TB of memory");
    place.file("passphrase", "");
    assert!(matches!(store.locker(false).await, Err(CredentialError::EmptyPassphrase)));
}

#[tokio::test]
async fn plain_text_is_kept_only_when_that_was_said() {
    let place = Place::new();
    let store = place.store("work", "https://a.example", KeySources::default());
    keep(&store, true).await;
    assert!(text(store.path()).contains(TOKEN));
    assert_eq!(refresh_token(&store).await.unwrap(), TOKEN);
    assert!(store.look().unwrap().unwrap().1.ends_with("in plain text"));
}

#[tokio::test]
async fn what_is_forgotten_is_gone_and_may_be_forgotten_again() {
    let place = Place::new();
    let store = place.kept().await;
    let lock = store.lock().await.unwrap();
    store.forget(&lock).await.unwrap();
    store.forget(&lock).await.unwrap();
    assert!(store.look().unwrap().is_none());
    assert!(matches!(store.read().await, Err(CredentialError::SignedOut { .. })));
}

#[tokio::test]
async fn only_one_at_a_time_may_change_it() {
    let place = Place::new();
    let store = place.kept().await;
    let held = store.lock().await.unwrap();
    let mut second = std::pin::pin!(store.lock());
    let waited = tokio::time::timeout(std::time::Duration::from_millis(100), &mut second).await;
    assert!(waited.is_err(), "two hold it");
    drop(held);
    second.await.unwrap();
}
