//! Users told again as rules: the lines of ACL LIST, of the file of users, and of the configuration.

use super::{PasswordHash, Rights};

/// The hash of a password in hexadecimal digits.
pub fn password_text(hash: &PasswordHash) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| DIGITS[usize::from(digit)]).collect()
}

/// The rules that make a new user what this one is.
pub fn describe_user(rights: &Rights) -> Vec<u8> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    words.push(if rights.is_enabled {
        b"on".to_vec()
    } else {
        b"off".to_vec()
    });
    if rights.nopass {
        words.push(b"nopass".to_vec());
    }
    for hash in &rights.passwords {
        words.push([b"#", &password_text(hash)[..]].concat());
    }
    words.push(rights.root().describe());
    for selector in rights.selectors() {
        words.push([b"(", &selector.describe()[..], b")"].concat());
    }
    words.join(&b' ')
}
