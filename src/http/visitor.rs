//! Who looks at the console, and what he asks of the server.
//!
//! A visitor is a user of the ACL: named by HTTP's Basic authentication, else the user that every connection
//! begins as, if that needs no password. What he sees comes of commands that he may run himself, through the
//! same path as everybody's.
//!
//! The rules of `protected-mode` hold as for connections: who comes from elsewhere is sent away while the default
//! user has no password. And without a password of his own nothing but the address tells a friend from a
//! stranger, so the page must have been asked for by an address, or as `localhost`: a page of another site whose
//! name has been made to lead here (DNS rebinding) has that name in its requests.
//!
//! Invariant: only commands run that change nothing, whatever `rename-command` has made of their names.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};

use crate::acl;
use crate::client::{ClientId, Endpoint};
use crate::commands::denied;
use crate::commands::table::{Found, Registered};
use crate::exec::Flow;
use crate::exec::session::Session;
use crate::resp::parse::{Argv, Span};
use crate::resp::read::Reply;
use crate::spec::Flags;
use crate::util::base64;

use super::router::{self, Answer, Desk};

/// How long somebody with a wrong password has to wait for the answer, at least. Nobody else does.
const WRONG_PASSWORD_DELAY: Duration = Duration::from_millis(500);
/// Longest user name and password together that are looked at, bytes.
const CREDENTIALS_BYTES_MAX: usize = 4096;

const NEEDS_PASSWORD: &str = "The console needs a user of the ACL and the password.\n";
const WRONG_PASSWORD: &str = "Wrong user or password.\n";
const PROTECTED: &str = "Protected mode: while the default user has no password the console is \
                         shown on this machine only.\n";
const FOREIGN_HOST: &str = "Without a password the console is shown only by an address or as \
                            localhost, not by a name.\n";

/// See the module's text.
pub(super) struct Visitor {
    session: Session,
}

/// Why something is not shown.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Refusal {
        let text = text.into();
        Refusal { status, text }
    }
}

/// The parts of a request that span its bytes.
fn spans(request: &[&[u8]]) -> (Vec<u8>, Vec<Span>) {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for arg in request {
        let (start, len) = (bytes.len() as u32, arg.len() as u32);
        spans.push(Span { start, len });
        bytes.extend_from_slice(arg);
    }
    (bytes, spans)
}

/// Refuses those who have shown no password, if they are elsewhere and could not connect to the server, or were
/// led here by a name that a page of another site may have.
fn refuse_stranger(desk: &Desk, is_local: bool, headers: &HeaderMap) -> Option<Answer> {
    let server = &desk.server;
    let is_open = server.acl.default_user().rights().nopass;
    let why = match headers.get(header::HOST).is_none_or(is_own_host) {
        _ if server.config().protected_mode && is_open && !is_local => PROTECTED,
        true => return None,
        false => FOREIGN_HOST,
    };
    Some(router::text(StatusCode::FORBIDDEN, why))
}

impl Visitor {
    /// Lets somebody in, or answers why not.
    pub(super) async fn enter(
        desk: &Desk,
        peer: SocketAddr,
        headers: &HeaderMap,
    ) -> Result<Visitor, Answer> {
        let given = headers.get(header::AUTHORIZATION);
        let is_local = peer.ip().to_canonical().is_loopback();
        if given.is_none() {
            if desk.server.acl.must_log_in() {
                return Err(challenge(NEEDS_PASSWORD));
            }
            return match refuse_stranger(desk, is_local, headers) {
                Some(refusal) => Err(refusal),
                None => Ok(Visitor::connect(desk, peer, is_local)),
            };
        }
        let mut delay = WRONG_PASSWORD_DELAY;
        if let Some((user, password)) = given.and_then(credentials) {
            let mut visitor = Visitor::connect(desk, peer, is_local);
            let user = match user.is_empty() {
                true => acl::DEFAULT_USER.as_bytes(),
                false => &user[..],
            };
            let (reply, flow) = visitor.session.call(&[b"AUTH", user, &password]);
            if reply == b"+OK\r\n" {
                // Any password is right for him: none has been shown.
                let is_shown = !visitor.session.client().login.rights().nopass;
                return match refuse_stranger(desk, is_local, headers) {
                    Some(refusal) if !is_shown => Err(refusal),
                    _ => Ok(visitor),
                };
            }
            if let Flow::Delay(longer) = flow {
                delay = delay.max(longer);
            }
        }
        tokio::time::sleep(delay).await;
        Err(challenge(WRONG_PASSWORD))
    }

    fn connect(desk: &Desk, peer: SocketAddr, is_local: bool) -> Visitor {
        let endpoint = Endpoint {
            local: is_local,
            ..Endpoint::local(&peer.to_string())
        };
        let (server, table) = (desk.server.clone(), desk.table.clone());
        let mut session = Session::counted_by(desk.worker(), server, table, endpoint);
        // To look at a key is not to use it.
        session.client_mut().set_no_touch(true);
        Visitor { session }
    }

    /// Whether he may run this, without leaving a trace if he may not.
    fn has_right(&self, command: &Registered, argv: Argv<'_>) -> Result<(), Refusal> {
        let client = self.session.client();
        let request = denied::request(command, argv, client.db);
        client.login.rights().check(&request).map_err(|_| {
            let name = String::from_utf8_lossy(argv.get(0).unwrap_or_default());
            let text = format!("This user may not run {name}.");
            Refusal::new(StatusCode::FORBIDDEN, text)
        })
    }

    /// The same of a command that is not run.
    pub(super) fn allowed(&self, desk: &Desk, request: &[&[u8]]) -> Result<(), Refusal> {
        let (bytes, spans) = spans(request);
        let argv = Argv::new(&bytes, &spans);
        self.has_right(found(desk, argv)?, argv)
    }

    /// Runs a command that changes nothing. If he may not run it, the refusal's status is FORBIDDEN.
    pub(super) fn call(&mut self, desk: &Desk, request: &[&[u8]]) -> Result<Reply, Refusal> {
        let (bytes, spans) = spans(request);
        let argv = Argv::new(&bytes, &spans);
        let command = found(desk, argv)?;
        let flags = command.row.flags;
        if [Flags::WRITE, Flags::RUNS_SCRIPT, Flags::BLOCKING]
            .iter()
            .any(|&flag| flags.has(flag))
        {
            let name = String::from_utf8_lossy(request[0]);
            let text = format!("{name} is the name of another command here.");
            return Err(Refusal::new(StatusCode::NOT_FOUND, text));
        }
        self.has_right(command, argv)?;
        let busy = || {
            let text = "The keyspace is busy; try again.";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        };
        if desk.server.keyspace.gate.is_closed() {
            return Err(busy());
        }
        let (reply, flow) = self.session.call(request);
        if flow != Flow::Done {
            return Err(busy());
        }
        match Reply::parse(&reply) {
            Ok(Some((Reply::Error(text), _))) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))
            }
            Ok(Some((reply, _))) => Ok(reply),
            _ => Err(busy()),
        }
    }

    /// His number among the clients.
    pub(super) fn id(&self) -> ClientId {
        self.session.client().shared.id
    }

    /// The name of the user that he is.
    pub(super) fn user(&self) -> &[u8] {
        &self.session.client().login.user.name
    }
}

/// The command that a request names.
fn found<'d>(desk: &'d Desk, argv: Argv<'_>) -> Result<&'d Registered, Refusal> {
    match desk.table.find(argv) {
        Found::Command(command) => Ok(command),
        Found::Unknown | Found::UnknownSubcommand => {
            let name = String::from_utf8_lossy(argv.get(0).unwrap_or_default());
            let text = format!("The server has no command {name}.");
            Err(Refusal::new(StatusCode::NOT_FOUND, text))
        }
    }
}

fn challenge(text: &'static str) -> Answer {
    let mut answer = router::text(StatusCode::UNAUTHORIZED, text);
    let scheme = HeaderValue::from_static("Basic realm=\"Kivi\", charset=\"UTF-8\"");
    answer
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, scheme);
    answer
}

/// User and password of a header.
fn credentials(given: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let given = given.as_bytes();
    let (scheme, text) = given.split_at_checked(6)?;
    let is_basic = scheme.eq_ignore_ascii_case(b"Basic ");
    if !is_basic || text.len() > CREDENTIALS_BYTES_MAX {
        return None;
    }
    let pair = base64::decode(text.trim_ascii())?;
    let colon = memchr::memchr(b':', &pair)?;
    Some((pair[..colon].to_vec(), pair[colon + 1..].to_vec()))
}

/// An address, or a name that always is this machine's.
fn is_own_host(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else {
        return false;
    };
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let is_address = address.is_some_and(|address| address.parse::<IpAddr>().is_ok());
    is_address || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_user_and_password() {
        let read = |text: &str| credentials(&HeaderValue::from_str(text).unwrap());
        let pair = |user: &str, password: &str| Some((user.into(), password.into()));
        assert_eq!(read("Basic dXNlcjpwYXNz"), pair("user", "pass"));
        assert_eq!(read("basic OnBhOnNz"), pair("", "pa:ss"));
        for wrong in [
            "",
            "Basic",
            "Basic !",
            "Bearer dXNlcjpwYXNz",
            "Basic dXNlcg==",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        let long = "A".repeat(CREDENTIALS_BYTES_MAX + 4);
        assert_eq!(read(&format!("Basic {long}")), None);
    }

    #[test]
    fn only_addresses_and_localhost_are_this_machine() {
        let is_own = |host: &str| is_own_host(&HeaderValue::from_str(host).unwrap());
        for host in [
            "127.0.0.1:9121",
            "10.0.0.1",
            "[::1]:80",
            "[::1]",
            "localhost",
            "LocalHost:1",
        ] {
            assert!(is_own(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9121",
            "localhost.evil.example",
            "",
            "1.2.3.4.evil",
        ] {
            assert!(!is_own(host), "{host}");
        }
    }
}
