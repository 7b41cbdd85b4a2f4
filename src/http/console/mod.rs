//! The console: a page for browsers that shows the server, and what the page asks for.
//!
//! One page, without a build step and without anything from elsewhere: its style and its script stand in
//! files of their own and are put into it here. The browser is told to load nothing else and to run nothing
//! but that script (`Content-Security-Policy`, by hashes).
//!
//! What the page asks for is JSON below `/console/api`, each piece read with the rights of the visitor
//! (`visitor`). To add one: a function in `api`, its arm here.

use std::net::SocketAddr;
use std::sync::LazyLock;

use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use sha2::{Digest, Sha256};

use crate::util::base64;

use super::router::{self, Answer, Desk};
use super::visitor::Visitor;

mod api;
mod keys;

const IS_OFF: &str = "The console is off; console-enabled yes switches it on.\n";

/// The page, and what a browser may do with it.
struct Page {
    text: String,
    policy: HeaderValue,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let (style, script) = (include_str!("page.css"), include_str!("page.js"));
    let text = include_str!("page.html")
        .replace("/*style*/", style)
        .replace("/*script*/", script);
    let hash = |text: &str| base64::encode(&Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(style),
        hash(script),
    );
    let policy = HeaderValue::from_str(&policy);
    Page {
        text,
        policy: policy.unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")),
    }
});

/// Answers a request for `/console` and what is below it.
pub(super) async fn answer<B>(
    desk: &Desk,
    peer: SocketAddr,
    path: &str,
    request: &Request<B>,
) -> Answer {
    if !desk.server.config().console_enabled {
        return router::text(StatusCode::NOT_FOUND, IS_OFF);
    }
    let mut visitor = match Visitor::enter(desk, peer, request.headers()).await {
        Ok(visitor) => visitor,
        Err(answer) => return answer,
    };
    let query = request.uri().query().unwrap_or_default();
    let found = match path {
        "" | "/" => return page(),
        "/api/overview" => api::overview(desk, visitor),
        "/api/clients" => api::clients(desk, &mut visitor),
        "/api/slowlog" => api::slowlog(desk, &mut visitor),
        "/api/keys" => keys::keys(desk, &mut visitor, query),
        _ => return router::text(StatusCode::NOT_FOUND, "There is no such page.\n"),
    };
    match found {
        Ok(json) => router::content(StatusCode::OK, router::JSON, json),
        Err(refusal) => router::text(refusal.status, refusal.text),
    }
}

fn page() -> Answer {
    const HTML: &str = "text/html; charset=utf-8";
    let mut answer = router::content(StatusCode::OK, HTML, PAGE.text.as_str());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
}
