//! Every limit of the API in one place. Sizes in bytes, times in seconds unless a name says otherwise.

/// Largest request body of a JSON route.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Request line and headers together.
pub const HEADER_BYTES: usize = 32 * 1024;
/// Longest time from a request to the beginning of its answer.
pub const REQUEST_SECONDS: u64 = 60;
/// Streams (logs, events) open at once by one API key, in one server.
pub const STREAMS_PER_KEY: usize = 512;
/// Largest prompt.
pub const PROMPT_BYTES: usize = 256 * 1024;
/// Largest command: number of arguments, and bytes of all together.
pub const COMMAND_ARGS: usize = 256;
pub const COMMAND_BYTES: usize = 128 * 1024;
pub const ENV_ENTRIES: usize = 128;
pub const ENV_BYTES: usize = 64 * 1024;
pub const LABELS: usize = 32;
pub const LABEL_KEY_CHARS: usize = 63;
pub const LABEL_VALUE_CHARS: usize = 255;
pub const ARTIFACT_GLOBS: usize = 32;
pub const GLOB_CHARS: usize = 512;
pub const REPO_URL_CHARS: usize = 2048;
pub const REF_CHARS: usize = 255;
pub const NAME_CHARS: usize = 63;
pub const IMAGE_CHARS: usize = 512;
/// Longest message kept with a cause or an observation.
pub const MESSAGE_CHARS: usize = 2000;
pub const IDEMPOTENCY_KEY_CHARS: usize = 255;
/// Credentials of an organization; the name or address of one's host; its secret, and what is known of its host's keys; a token,
/// password or model key. Shorter ones than the least would not be struck out of logs.
pub const CREDENTIALS: i64 = 500;
pub const CREDENTIAL_HOST_CHARS: usize = 255;
pub const CREDENTIAL_BYTES: usize = 64 * 1024;
pub const CREDENTIAL_TOKEN_BYTES: usize = 4096;
pub const CREDENTIAL_TOKEN_CHARS_MIN: usize = 8;
pub const PRIORITY_MAX: i32 = 100;
pub const MAX_ATTEMPTS: u32 = 10;

/// Default and largest page of a list.
pub const PAGE_DEFAULT: u32 = 50;
pub const PAGE_MAX: u32 = 200;

/// One log line's text; longer ones are cut and marked.
pub const LINE_BYTES: usize = 64 * 1024;
/// One append: lines, bytes on the wire (compressed), bytes decompressed.
pub const BATCH_LINES: usize = 10_000;
pub const BATCH_WIRE_BYTES: usize = 4 * 1024 * 1024;
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Log kept per job; lines past it are counted, not kept.
pub const JOB_LOG_BYTES: u64 = 1024 * 1024 * 1024;

/// Artifacts of one attempt: number, size of each.
pub const ARTIFACTS: usize = 1000;
pub const ARTIFACT_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Artifact name: a relative path with `/`.
pub const ARTIFACT_NAME_CHARS: usize = 512;

/// A worker or runner beats this often, and is lost after [`LEASE_SECONDS`] of silence: three beats may fail to arrive, and
/// what it had is ended within 30 s of the last that did.
pub const BEAT_SECONDS: u64 = 8;
pub const LEASE_SECONDS: u64 = 25;
const _: () = assert!(LEASE_SECONDS > 3 * BEAT_SECONDS && LEASE_SECONDS < 30);
/// A partial line is shown after this silence, in milliseconds.
pub const PARTIAL_LINE_MILLIS: u64 = 200;
/// A stream without events sends a comment this often; its right to read is checked again as often as said.
pub const STREAM_HEARTBEAT_SECONDS: u64 = 15;
pub const STREAM_RECHECK_SECONDS: u64 = 30;
/// A runner: attempts at once, classes, items of one heartbeat or observation.
pub const RUNNER_CAPACITY: u32 = 10_000;
pub const RUNNER_CLASSES: usize = 256;
pub const RUNNER_ITEMS: usize = 20_000;
/// Namespaces that one runner may hand in jobs of; jobs whose standing is asked for at once.
pub const RUNNER_NAMESPACES: usize = 64;
pub const STANDINGS: usize = 100;
/// Name of an object in a cluster, and of its UID.
pub const OBJECT_NAME_CHARS: usize = 253;
pub const UID_CHARS: usize = 63;
/// Longest long polls: a runner's for assignments, a worker's with its heartbeat.
pub const ASSIGNMENTS_WAIT_SECONDS: u64 = 30;
pub const HEARTBEAT_WAIT_SECONDS: u64 = 30;
pub const IDEMPOTENCY_HOURS: u64 = 24;

/// A project's settings: the most jobs at once that may be said; classes, and repositories, that may be named.
pub const PROJECT_CONCURRENCY: u32 = 10_000;
pub const PROJECT_LIST: usize = 64;
/// Organizations that one person may make for themselves, where people may.
pub const ORGS_PER_PERSON: i64 = 10;
/// Service accounts of an organization; API keys of a person or a service account that are good, in one organization.
pub const SERVICE_ACCOUNTS: i64 = 500;
pub const KEYS_PER_OWNER: i64 = 100;
/// Projects that a key may be limited to.
pub const KEY_PROJECTS: usize = 64;
/// How long an API key may be made for, in days: a hundred years are as good as for ever.
pub const KEY_DAYS: u32 = 36_500;
/// How long a key is still good that was rotated, in seconds: default and longest.
pub const KEY_OVERLAP_DEFAULT: u32 = 24 * 3600;
pub const KEY_OVERLAP_MAX: u32 = 30 * 24 * 3600;
/// An invitation's life, and the longest note on it.
pub const INVITATION_DAYS: i32 = 7;
pub const NOTE_CHARS: usize = 200;

/// The four limits of an attempt: default and largest, in seconds.
pub const QUEUE_DEFAULT: u64 = 24 * 3600;
pub const QUEUE_MAX: u64 = 7 * 24 * 3600;
pub const START_DEFAULT: u64 = 15 * 60;
pub const START_MAX: u64 = 2 * 3600;
pub const RUN_DEFAULT: u64 = 2 * 3600;
pub const RUN_MAX: u64 = 24 * 3600;
pub const IDLE_DEFAULT: u64 = 30 * 60;
pub const IDLE_MAX: u64 = 24 * 3600;
/// Time between SIGTERM and SIGKILL for the agent.
pub const GRACE_DEFAULT: u64 = 30;
pub const GRACE_MAX: u64 = 600;
/// Collecting and storing the work: after this long a worker that still says `finishing` is taken for stuck.
pub const FINISH_SECONDS: u64 = 3600;
/// What is granted to a worker beyond a limit that it keeps itself, before the server steps in.
pub const SLACK_SECONDS: u64 = 30;
pub const BUDGET_USD_MAX: f64 = 10_000.0;

/// What is kept how long after a job's end, in days: log and artifacts; rows.
pub const RETENTION_DAYS: i64 = 7;
pub const ROW_RETENTION_DAYS: i64 = 90;

/// A browser's session: ends after so many days without use, and after so many in any case.
pub const SESSION_IDLE_DAYS: i32 = 14;
pub const SESSION_DAYS: i32 = 90;
/// A page's form.
pub const FORM_BYTES: usize = 64 * 1024;
/// Failed sign-ins that one login name, and one address, may have at once; that many are given back over the window.
pub const SIGN_IN_FAILURES_LOGIN: u32 = 10;
pub const SIGN_IN_FAILURES_ADDRESS: u32 = 30;
pub const SIGN_IN_WINDOW_SECONDS: u64 = 600;
/// How long somebody may take at a provider, until they are back.
pub const SIGN_IN_SECONDS: u16 = 600;
