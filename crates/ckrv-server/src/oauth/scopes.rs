//! What a program asks to do (RFC 6749, section 3.3).

use ckrv_types::identity::Scope;

use super::errors::{Code, Refusal};

const UNKNOWN: Refusal = Refusal::new(Code::InvalidScope, "The scopes are read, run and manage.");
const BEYOND: Refusal = Refusal::new(Code::InvalidScope, "The login has not all of these scopes.");

/// The scopes that are asked for, each once; all, if none is named.
pub fn requested(text: Option<&str>) -> Result<Vec<Scope>, Refusal> {
    let Some(text) = text else { return Ok(Scope::ALL.into()) };
    let asked = text.split(' ').map(str::parse).collect::<Result<Vec<Scope>, _>>().map_err(|_| UNKNOWN)?;
    Ok(Scope::ALL.into_iter().filter(|scope| asked.contains(scope)).collect())
}

/// Those that are asked for out of `granted`; all of these, if none is named.
pub fn narrowed(granted: &[Scope], text: Option<&str>) -> Result<Vec<Scope>, Refusal> {
    let Some(text) = text else { return Ok(granted.into()) };
    let asked = requested(Some(text))?;
    if asked.iter().all(|scope| granted.contains(scope)) { Ok(asked) } else { Err(BEYOND) }
}

/// As they are written in requests, answers and tokens.
pub fn text(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scope_means_all_and_an_unknown_one_is_refused() {
        assert_eq!(text(&requested(None).unwrap()), "read run manage");
        assert_eq!(text(&requested(Some("run read run")).unwrap()), "read run");
        for wrong in ["admin", "read admin", "READ", " ", "read  run", "read,run"] {
            assert_eq!(requested(Some(wrong)).unwrap_err().code, Code::InvalidScope, "{wrong:?}");
        }
    }

    #[test]
    fn narrowing_never_widens() {
        let granted = [Scope::Read, Scope::Run];
        assert_eq!(text(&narrowed(&granted, None).unwrap()), "read run");
        assert_eq!(text(&narrowed(&granted, Some("read")).unwrap()), "read");
        for wrong in ["manage", "read manage", "nonsense"] {
            assert_eq!(narrowed(&granted, Some(wrong)).unwrap_err().code, Code::InvalidScope, "{wrong}");
        }
    }
}
