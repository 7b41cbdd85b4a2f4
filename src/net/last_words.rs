//! What is said to those who are not served, before their connection is closed.

/// What a client is told that comes from a trusted proxy's address, without a header.
pub(super) const BROKEN_HEADER: &[u8] =
    b"-ERR Protocol error: a PROXY protocol header is expected from this address, see \
proxy-protocol-trusted\r\n";
/// What a client is told when there are as many as may be.
pub(super) const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
/// What a protected server tells strangers.
pub(super) const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no \
password is set for the default user. In this mode connections are only accepted from the loopback interface. \
If you want to connect from external computers to Redis you may adopt one of the following solutions: \
1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by \
connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible \
from internet if you do so. Use CONFIG REWRITE to make this change permanent. \
2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the \
protected mode option to 'no', and then restarting the server. \
3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. \
4) Setup a an authentication password for the default user. \
NOTE: You only need to do one of the above things in order for the server to start accepting connections from the \
outside.\r\n";
/// What a browser is told, or whoever else speaks HTTP.
pub(super) const NOT_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 62\r\n\
Connection: close\r\n\r\nThis is not an HTTP server: it speaks RESP, Redis's protocol.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_http_has_the_length_that_it_says() {
        let text = std::str::from_utf8(NOT_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
    }
}
