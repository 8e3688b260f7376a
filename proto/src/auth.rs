//! Who may come in: the bearer token that clients and workers show, and which addresses may do without.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Shortest token that is accepted, in bytes.
pub const SHORTEST: usize = 16;

/// Longest token that is accepted, in bytes.
pub const LONGEST: usize = 4096;

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read token file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The token has a length that is refused.
    #[error(
        "token in {path} has {length} bytes: write {SHORTEST} to {LONGEST} random bytes as text, without spaces"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// The token's length.
        length: usize,
    },
    /// The token does not fit in an HTTP header.
    #[error("token in {path} has a character that is not printable ASCII: write letters and digits only")]
    Character {
        /// The file.
        path: PathBuf,
    },
}

/// Refuses to be reachable from elsewhere without a token, unless that is asked for.
///
/// # Errors
/// What is wrong and what would be right.
pub fn check_exposure(address: SocketAddr, has_token: bool, insecure: bool) -> Result<(), String> {
    if address.ip().is_loopback() || has_token || insecure {
        return Ok(());
    }
    Err(format!(
        "{address} can be reached from other hosts: set token_file, or insecure = true if the network is trusted"
    ))
}

/// A secret shared by the processes of a cluster.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads a token from a file, without the white space around it.
    ///
    /// # Errors
    /// If the file cannot be read or its content is not fit for a token.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let path_buf = || path.to_path_buf();
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path_buf(), source })?;
        let token = text.trim();
        if !(SHORTEST..=LONGEST).contains(&token.len()) {
            return Err(Error::Length { path: path_buf(), length: token.len() });
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Character { path: path_buf() });
        }
        Ok(Self(token.to_owned()))
    }

    /// Whether an `authorization` header shows this token; takes the same time wherever they differ.
    #[must_use]
    pub fn admits(&self, header: Option<&[u8]>) -> bool {
        let shown = header.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        // Digests have one length and compare in constant time.
        blake3::hash(shown) == blake3::hash(self.0.as_bytes())
    }

    /// The `authorization` header that shows this token.
    #[must_use]
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Result<Token, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, text).unwrap();
        Token::from_file(&path)
    }

    #[test]
    fn a_token_admits_its_own_header_and_no_other() {
        let token = token("0123456789abcdef\n").unwrap();
        assert!(token.admits(Some(token.header().as_bytes())));
        assert!(!token.admits(None));
        assert!(!token.admits(Some(b"Bearer 0123456789abcdeF")));
        assert!(!token.admits(Some(b"0123456789abcdef")));
        assert!(!token.admits(Some(b"Bearer ")));
    }

    #[test]
    fn a_token_never_shows_in_debug_output() {
        assert_eq!(format!("{:?}", token("0123456789abcdef").unwrap()), "Token(hidden)");
    }

    #[test]
    fn short_and_unprintable_tokens_are_refused() {
        assert!(matches!(token("short"), Err(Error::Length { length: 5, .. })));
        assert!(matches!(token("0123456789 abcdef"), Err(Error::Character { .. })));
    }
}
