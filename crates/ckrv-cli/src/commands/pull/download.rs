//! One object of the manifest, as the manifest says it is or not at all.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};

use ckrv_client::{Client, ClientError};
use ckrv_types::{Artifact, JobId};

use crate::failure::{Failure, OrFail as _};

/// Downloads begun, when connections are cut.
const TRIES: u32 = 3;

/// Writes the object to `file`, which must be empty, and compares size and hash.
pub async fn download(client: &Client, job: JobId, artifact: &Artifact, file: &mut File) -> Result<(), Failure> {
    let name = &artifact.name;
    let Some(expected) = &artifact.sha256 else {
        return Err(Failure::failed(format!("the server does not know the hash of `{name}`")));
    };
    for remaining in (0..TRIES).rev() {
        match once(client, job, artifact, file).await? {
            Ok(hash) if hash == *expected => return Ok(()),
            Ok(_) => return Err(Failure::failed(format!("`{name}` does not have the hash that the manifest says"))),
            Err(error) if remaining == 0 || !error.is_retryable() => return Err(error.into()),
            Err(_) => {
                file.set_len(0).or_fail(|| format!("cannot write `{name}`"))?;
                file.rewind().or_fail(|| format!("cannot write `{name}`"))?;
            }
        }
    }
    unreachable!("the last try returns")
}

/// Answers the hash of what came, in hex. The outer error is of this machine, the inner one of the way.
async fn once(
    client: &Client,
    job: JobId,
    artifact: &Artifact,
    file: &mut File,
) -> Result<Result<String, ClientError>, Failure> {
    let mut chunks = match client.download(job, &artifact.name).await {
        Ok(download) => Box::pin(download.into_stream()),
        Err(error) => return Ok(Err(error)),
    };
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    while let Some(chunk) = chunks.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return Ok(Err(error)),
        };
        size += chunk.len() as u64;
        if size > artifact.size {
            break;
        }
        hash.update(&chunk);
        file.write_all(&chunk).or_fail(|| format!("cannot write `{}`", artifact.name))?;
    }
    if size != artifact.size {
        let what = format!("`{}` does not have the {} bytes that the manifest says", artifact.name, artifact.size);
        return Err(Failure::failed(what));
    }
    Ok(Ok(hex::encode(hash.finalize())))
}
