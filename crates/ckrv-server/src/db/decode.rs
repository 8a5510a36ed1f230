//! Reading our closed lists and numbers back from columns. What does not fit was not written by us: a decoding error.

use std::error::Error;
use std::str::FromStr;

use ckrv_types::identity::Scope;

/// A text column as the type it stands for.
pub fn text<T>(column: &str, value: &str) -> Result<T, sqlx::Error>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    value.parse().map_err(|error| unexpected(column, error))
}

/// The same for a column that may be NULL.
pub fn optional<T>(column: &str, value: Option<&str>) -> Result<Option<T>, sqlx::Error>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    value.map(|value| text(column, value)).transpose()
}

/// A number column as an unsigned or narrower type.
pub fn number<N, T>(column: &str, value: N) -> Result<T, sqlx::Error>
where
    T: TryFrom<N, Error: Error + Send + Sync + 'static>,
{
    T::try_from(value).map_err(|error| unexpected(column, error))
}

/// A column of scopes. One that a later release knew is none of this one's.
pub fn scopes(values: &[String]) -> Vec<Scope> {
    values.iter().filter_map(|value| value.parse().ok()).collect()
}

/// Scopes as such a column holds them.
pub fn scope_names(scopes: &[Scope]) -> Vec<&'static str> {
    scopes.iter().map(|scope| scope.as_str()).collect()
}

fn unexpected(column: &str, source: impl Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) }
}
