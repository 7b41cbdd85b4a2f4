//! Which path is what, and the headers that every response has.
//!
//! Nothing here waits: figures are read where they lie, and what the console asks of the keyspace is
//! refused while somebody has that for himself.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::commands::CommandTable;
use crate::db::Census;
use crate::server::Server;
use crate::stats;

use super::figures::Figures;
use super::{console, health, metrics};

/// A response: the whole of it is there before anything is sent.
pub(super) type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
/// Of Prometheus's text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(super) const JSON: &str = "application/json";

const INDEX: &str = "Kivi\n\n\
                     /metrics  figures for Prometheus\n\
                     /healthz  whether the process answers\n\
                     /readyz   whether clients are served, and why not\n\
                     /console  a page for browsers (console-enabled yes)\n";

/// What the connections of the thread share.
pub(super) struct Desk {
    /// The server that is looked at.
    pub(super) server: Arc<Server>,
    /// All commands.
    pub(super) table: Arc<CommandTable>,
    /// Counts the commands that the console runs; made when there is a first one.
    worker: RefCell<Option<Arc<stats::Worker>>>,
    /// The last look at all shards, and when that was, Unix ms.
    pub(super) census: RefCell<(Rc<Census>, u64)>,
}

impl Desk {
    pub(super) fn new(server: Arc<Server>, table: Arc<CommandTable>) -> Desk {
        let census = RefCell::new((Rc::default(), server.clock.unix_ms()));
        Desk {
            server,
            table,
            worker: RefCell::default(),
            census,
        }
    }

    /// Who counts the commands that the console runs.
    pub(super) fn worker(&self) -> Arc<stats::Worker> {
        let mut worker = self.worker.borrow_mut();
        let add = || self.server.stats.add_worker();
        worker.get_or_insert_with(add).clone()
    }
}

/// Answers a request.
pub(super) async fn answer<B>(desk: &Desk, peer: SocketAddr, request: &Request<B>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET and HEAD: nothing can be changed here.\n",
        );
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(header::ALLOW, allowed);
        return answer;
    }
    let path = request.uri().path();
    match path {
        "/" => text(StatusCode::OK, INDEX),
        "/metrics" => {
            let figures = Figures::gather(desk, false);
            content(StatusCode::OK, METRICS, metrics::write(&figures))
        }
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match health::obstacles(&desk.server) {
            none if none.is_empty() => text(StatusCode::OK, "ready\n"),
            obstacles => text(StatusCode::SERVICE_UNAVAILABLE, obstacles),
        },
        _ => match path.strip_prefix("/console") {
            Some(path) if path.is_empty() || path.starts_with('/') => {
                console::answer(desk, peer, path, request).await
            }
            _ => text(StatusCode::NOT_FOUND, "There is no such page; see /\n"),
        },
    }
}

/// A response in words.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    content(status, TEXT, text)
}

/// A response of this type.
pub(super) fn content(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
