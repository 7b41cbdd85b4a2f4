//! Who a client may become: the check behind AUTH and HELLO's AUTH.
//!
//! There is one user, `default`, whose password is `requirepass`; with none, any password will do.
//! The comparison takes as long for a wrong password as for the right one, so its time tells
//! nothing.

use std::hint::black_box;

/// The only user.
pub const DEFAULT_USER: &str = "default";

/// True when `user` may log in with `password`; `requirepass` is the directive's value, empty for
/// none.
pub fn may_log_in(requirepass: &[u8], user: &[u8], password: &[u8]) -> bool {
    let known = user == DEFAULT_USER.as_bytes();
    // Compared in any case: how long it takes shall not tell whether the user exists.
    let right = requirepass.is_empty() || eq_constant_time(password, requirepass);
    known & right
}

/// Equality in a time that depends on the length of `given` only.
fn eq_constant_time(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = given.len() ^ secret.len();
    let mut secret_bytes = secret.iter().cycle();
    for &byte in given {
        let other = secret_bytes.next().copied().unwrap_or_default();
        difference |= usize::from(black_box(byte ^ other));
    }
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_the_right_user_is_let_in() {
        assert!(may_log_in(b"secret", b"default", b"secret"));
        for (user, password) in [
            ("default", ""),
            ("default", "secre"),
            ("default", "secrets"),
            ("default", "Secret"),
            // As long as the secret repeated: no prefix or period may do.
            ("default", "secretsecret"),
            ("Default", "secret"),
            ("", "secret"),
            ("nobody", "secret"),
        ] {
            assert!(
                !may_log_in(b"secret", user.as_bytes(), password.as_bytes()),
                "{user} {password}"
            );
        }
    }

    #[test]
    fn without_a_password_any_will_do() {
        assert!(may_log_in(b"", b"default", b""));
        assert!(may_log_in(b"", b"default", b"any"));
        assert!(!may_log_in(b"", b"nobody", b"any"));
    }
}
