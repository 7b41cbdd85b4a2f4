//! Users, their rights and their passwords, without a server.

use std::sync::Arc;

use super::*;

#[test]
fn only_the_right_password_of_the_right_user_is_let_in() {
    let acl = Acl::default();
    acl.set_default_password(b"secret");
    assert!(acl.must_log_in());
    assert!(acl.log_in(b"default", b"secret").is_some());
    for (user, password) in [
        ("default", ""),
        ("default", "secre"),
        ("default", "secrets"),
        ("default", "Secret"),
        ("Default", "secret"),
        ("", "secret"),
        ("nobody", "secret"),
    ] {
        let user = acl.log_in(user.as_bytes(), password.as_bytes());
        assert!(user.is_none(), "{password}");
    }
}

#[test]
fn without_a_password_any_will_do() {
    let acl = Acl::default();
    assert!(!acl.must_log_in());
    assert!(acl.log_in(b"default", b"").is_some());
    assert!(acl.log_in(b"default", b"any").is_some());
    assert!(acl.log_in(b"nobody", b"any").is_none());
}

#[test]
fn a_login_follows_its_user() {
    let user = Arc::new(User::new(b"anna", Rights::unrestricted()));
    let mut login = Login::new(user.clone());
    let catalog = Catalog::default();
    let world = World {
        catalog: &catalog,
        databases: 16,
        all_channels: false,
    };
    user.set_rights(Rights::new_user(world));
    assert!(login.rights().is_unrestricted());
    login.renew();
    assert!(!login.rights().is_unrestricted());
}
