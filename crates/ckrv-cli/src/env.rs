//! Every environment variable that `ckrv` reads. Each flag has one, named `CKRV_` and then the command and the flag; a flag
//! on the command line goes before its variable. Switches take `1`, `true`, `yes`, `on` and their opposites. Of what may be
//! repeated, names and states are separated by commas; the rest, whose values may hold commas, is given once.
//!
//! Besides these: `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and `TERM` decide on colours, `HTTPS_PROXY`, `HTTP_PROXY`,
//! `NO_PROXY` on the way to servers that are not this machine, `XDG_DATA_HOME` (on Windows the Known Folders) on where
//! files are, `PATH` on where programs are, `SSH_CONNECTION`, `SSH_TTY`, `DISPLAY` and `WAYLAND_DISPLAY` on whether a browser
//! can be opened, `DBUS_SESSION_BUS_ADDRESS` on where the keyring is, and `git` reads its own.

macro_rules! variables {
    ($($(#[$doc:meta])+ $name:ident;)+) => {
        $($(#[$doc])+ pub const $name: &str = concat!("CKRV_", stringify!($name));)+

        /// All of them.
        #[cfg(test)]
        pub const ALL: &[&str] = &[$($name,)+];
    };
}

variables! {
    /// Folder of all files of ckrv, the embedded control plane's state included.
    HOME;
    /// URL of the control plane.
    SERVER;
    /// API key. With `CKRV_SERVER` it is all that is needed: no login, no file.
    TOKEN;
    /// File with the API key, instead of `CKRV_TOKEN`.
    TOKEN_FILE;
    /// Name of the profile to use.
    PROFILE;
    /// Organization that commands are about, by name or id.
    ORG;
    /// File with the key that logins are encrypted with (64 hex digits, mode 0600), where there is no keyring.
    KEY_FILE;
    /// File with the passphrase that logins are encrypted with (mode 0600), instead.
    PASSPHRASE_FILE;
    /// `table`, `json`, `yaml` or `name`.
    FORMAT;
    /// `auto`, `always` or `never`.
    COLOR;
    /// Asks nothing before doing what cannot be undone.
    YES;
    /// Allows `http://` to other machines.
    ALLOW_PLAIN_HTTP;
    /// How long requests are repeated while the server cannot be reached.
    RETRY_LIMIT;

    /// `ckrv cloud login --web`.
    LOGIN_WEB;
    /// `ckrv cloud login --with-token`.
    LOGIN_WITH_TOKEN;
    /// `ckrv cloud login --name`.
    LOGIN_NAME;
    /// `ckrv cloud login --no-browser`.
    LOGIN_NO_BROWSER;
    /// `ckrv cloud login --insecure-storage`.
    LOGIN_INSECURE_STORAGE;

    /// `ckrv profile set --insecure-storage`.
    PROFILE_INSECURE_STORAGE;
    /// `ckrv profile org --unset`.
    PROFILE_ORG_UNSET;
    /// `ckrv profile project --unset`.
    PROFILE_PROJECT_UNSET;

    /// `ckrv dev --detach`.
    DEV_DETACH;
    /// `ckrv dev --port`.
    DEV_PORT;

    /// `ckrv run --spec`.
    RUN_SPEC;
    /// `ckrv run --repo`.
    RUN_REPO;
    /// `ckrv run --branch`.
    RUN_BRANCH;
    /// `ckrv run --agent`.
    RUN_AGENT;
    /// `ckrv run --prompt`.
    RUN_PROMPT;
    /// `ckrv run --image`.
    RUN_IMAGE;
    /// `ckrv run --class`.
    RUN_CLASS;
    /// `ckrv run --env`, for the job.
    RUN_ENV;
    /// `ckrv run --secret`.
    RUN_SECRET;
    /// `ckrv run --artifact`.
    RUN_ARTIFACT;
    /// `ckrv run --label`.
    RUN_LABEL;
    /// `ckrv run --priority`.
    RUN_PRIORITY;
    /// `ckrv run --queue-limit`.
    RUN_QUEUE_LIMIT;
    /// `ckrv run --start-limit`.
    RUN_START_LIMIT;
    /// `ckrv run --run-limit`.
    RUN_RUN_LIMIT;
    /// `ckrv run --idle-limit`.
    RUN_IDLE_LIMIT;
    /// `ckrv run --grace`.
    RUN_GRACE;
    /// `ckrv run --max-attempts`.
    RUN_MAX_ATTEMPTS;
    /// `ckrv run --retry-oom`.
    RUN_RETRY_OOM;
    /// `ckrv run --budget`.
    RUN_BUDGET;
    /// `ckrv run --project`.
    RUN_PROJECT;
    /// `ckrv run --follow`.
    RUN_FOLLOW;
    /// `ckrv run --wait`.
    RUN_WAIT;
    /// `ckrv run --timeout`.
    RUN_TIMEOUT;
    /// `ckrv run --pull`.
    RUN_PULL;

    /// `ckrv list --state`.
    LIST_STATE;
    /// `ckrv list --label`.
    LIST_LABEL;
    /// `ckrv list --repo`.
    LIST_REPO;
    /// `ckrv list --project`.
    LIST_PROJECT;
    /// `ckrv list --limit`.
    LIST_LIMIT;

    /// `ckrv status --watch`.
    STATUS_WATCH;

    /// `ckrv logs --follow`.
    LOGS_FOLLOW;
    /// `ckrv logs --tail`.
    LOGS_TAIL;
    /// `ckrv logs --since`.
    LOGS_SINCE;
    /// `ckrv logs --timestamps`.
    LOGS_TIMESTAMPS;
    /// `ckrv logs --attempt`.
    LOGS_ATTEMPT;
    /// `ckrv logs --raw`.
    LOGS_RAW;

    /// `ckrv pull --output`.
    PULL_OUTPUT;
    /// `ckrv pull --apply`.
    PULL_APPLY;
    /// `ckrv pull --force`.
    PULL_FORCE;

    /// `ckrv org invite --role`.
    ORG_INVITE_ROLE;

    /// `ckrv project set --concurrency`.
    PROJECT_CONCURRENCY;
    /// `ckrv project set --class`.
    PROJECT_CLASS;
    /// `ckrv project set --allow-class`.
    PROJECT_ALLOW_CLASS;
    /// `ckrv project set --max-run`.
    PROJECT_MAX_RUN;
    /// `ckrv project set --repository`.
    PROJECT_REPOSITORY;
    /// `ckrv project set --unset`.
    PROJECT_UNSET;

    /// `ckrv key create --scope`.
    KEY_SCOPE;
    /// `ckrv key create --project`.
    KEY_PROJECT;
    /// `ckrv key create --service-account`.
    KEY_SERVICE_ACCOUNT;
    /// `ckrv key create --expires-in-days`.
    KEY_EXPIRES_IN_DAYS;
    /// `ckrv key rotate --overlap`.
    KEY_ROTATE_OVERLAP;
    /// `ckrv key rotate --expires-in-days`.
    KEY_ROTATE_EXPIRES_IN_DAYS;

    /// `ckrv service-account create --role`.
    SERVICE_ACCOUNT_ROLE;

    /// `ckrv cloud credentials add --kind`.
    CREDENTIALS_KIND;
    /// `ckrv cloud credentials add --host`.
    CREDENTIALS_HOST;
    /// `ckrv cloud credentials add --username`.
    CREDENTIALS_USERNAME;
    /// `ckrv cloud credentials add --project`.
    CREDENTIALS_PROJECT;
    /// `ckrv cloud credentials add --known-hosts`.
    CREDENTIALS_KNOWN_HOSTS;

    /// `ckrv usage --month`.
    USAGE_MONTH;
    /// `ckrv usage --by`.
    USAGE_BY;

    /// `ckrv audit --since`.
    AUDIT_SINCE;
    /// `ckrv audit --until`.
    AUDIT_UNTIL;
    /// `ckrv audit --action`.
    AUDIT_ACTION;
    /// `ckrv audit --actor`.
    AUDIT_ACTOR;
    /// `ckrv audit --subject`.
    AUDIT_SUBJECT;
    /// `ckrv audit list --limit`.
    AUDIT_LIMIT;
    /// `ckrv audit export --after`.
    AUDIT_AFTER;

    /// `ckrv runner create --allow`.
    RUNNER_ALLOW;

    /// `ckrv man --dir`.
    MAN_DIR;
}
