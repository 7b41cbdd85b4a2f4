//! Server CPU per request of scripts and functions, and of the libraries that scripts have.
//!
//! The loads are lists of rows like those of `collections`, which runs them. Words of a request are
//! separated by blanks, so scripts here have line feeds instead.

use anyhow::{Result, ensure};
use sha1::{Digest as _, Sha1};

use crate::Bench;
use crate::client::{Reply, numbered};
use crate::collections::{self, Load};
use crate::load::Draw;
use crate::report::Table;
use crate::server::Server;

/// What a script of one command may cost, as a part of the rival's cost.
const SHORT_LIMIT: f64 = 0.8;
/// The same for one with many.
const LOOP_LIMIT: f64 = 0.7;
/// The same for the libraries, which the rival has in C.
const LIBRARY_LIMIT: f64 = 1.0;

/// Keys that are written.
const KEYS: u64 = 100_000;
/// Bytes of the document.
const DOCUMENT_BYTES: usize = 10_240;
/// How often a script of the libraries does its work.
const TIMES: u64 = 20;

const INCR: &str = "return\nredis.call('INCR',KEYS[1])";
/// A script that releases a lock.
pub(crate) const RELEASE: &str = "if\nredis.call('get',KEYS[1])==ARGV[1]\nthen\nreturn\n\
    redis.call('del',KEYS[1])\nelse\nreturn\n0\nend";
const LIMITER: &str = "local\nn=redis.call('INCR',KEYS[1])\nif\nn==1\nthen\n\
    redis.call('EXPIRE',KEYS[1],ARGV[1])\nend\nif\nn>tonumber(ARGV[2])\nthen\nreturn\n0\nend\nreturn\n1";
const READ: &str = "return\nredis.call('GET',KEYS[1])";
const UNDECLARED: &str = "return\nredis.call('INCR',ARGV[1])";
/// A library with the function `write`.
pub(crate) const LIBRARY: &str = "#!lua name=bench\n\
    redis.register_function('write',function(keys,args)\n\
    return redis.call('HSET',keys[1],args[1],args[2])\nend)";

/// What is there before a load begins: a document of 10 KB, a lock that somebody has, the scripts, and
/// a library of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill;

impl Fill {
    /// Writes it all into an empty server.
    pub(crate) fn write(self, server: &Server) -> Result<()> {
        let mut client = server.connect()?;
        client.call(&[b"SET", b"document", document().as_bytes()])?;
        client.call(&[b"SET", b"lock", b"another"])?;
        client.fill(0..1000, 100, |out, number| {
            let key = numbered(b"str:", number);
            crate::client::encode(out, &[b"SET", &key, b"value"]);
        })?;
        for script in [RELEASE, LIMITER] {
            let found = client.call(&[b"SCRIPT", b"LOAD", script.as_bytes()])?;
            ensure!(
                found == Reply::Text(sha(script).into_bytes()),
                "{found:?} for a SHA1"
            );
        }
        let load: [&[u8]; 4] = [b"FUNCTION", b"LOAD", b"REPLACE", LIBRARY.as_bytes()];
        client.call(&load)?;
        client.expect_keys(1002)
    }
}

/// What EVALSHA calls a script.
pub(crate) fn sha(script: &str) -> String {
    let digest = Sha1::digest(script.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A list of orders in JSON, about [`DOCUMENT_BYTES`] long.
fn document() -> String {
    let mut text = String::from("[");
    let mut number: u64 = 0;
    while text.len() < DOCUMENT_BYTES - 180 {
        if number > 0 {
            text.push(',');
        }
        let price = (number * 7919 % 100_000) as f64 / 100.0;
        text += &format!(
            "{{\"id\":{},\"name\":\"order \\\"{number}\\\"\",\"price\":{price},\"paid\":{},\
             \"tags\":[\"new\",\"caf\u{e9}\",{number}],\"customer\":{{\"id\":{},\"mail\":\
             \"user{number}@example.org\",\"note\":null}}}}",
            100_000 + number,
            number.is_multiple_of(3),
            number * 31,
        );
        number += 1;
    }
    text + "]"
}

/// All tables.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for (title, loads, limit) in [
        ("Scripts of a command or two", short()?, SHORT_LIMIT),
        ("Scripts of many commands", long()?, LOOP_LIMIT),
        ("Libraries of scripts", libraries()?, LIBRARY_LIMIT),
    ] {
        tables.extend(collections::run(bench, title, &loads, limit)?);
    }
    Ok(tables)
}

fn short() -> Result<Vec<Load>> {
    let (key, token) = (Draw::below(KEYS), Draw::digits(8));
    let (read, release, limiter) = (Draw::below(1000), sha(RELEASE), sha(LIMITER));
    let load = Load::scripted;
    Ok(vec![
        load("EVAL of INCR", &[&format!("EVAL {INCR} 1 key:%0")], &[key])?,
        load(
            "EVAL of INCR of a key that it does not declare",
            &[&format!("EVAL {UNDECLARED} 0 key:%0")],
            &[key],
        )?,
        load("EVAL of GET", &[&format!("EVAL {READ} 1 str:%0")], &[read])?,
        load(
            "EVALSHA that releases a lock, and the SET before it",
            &[
                "SET key:%0 %1 PX 30000",
                &format!("EVALSHA {release} 1 key:%0 %1"),
            ],
            &[key, token],
        )?,
        load(
            "EVALSHA that leaves another's lock",
            &[&format!("EVALSHA {release} 1 lock %0")],
            &[token],
        )?,
        load(
            "EVALSHA that limits a rate",
            &[&format!("EVALSHA {limiter} 1 key:%0 60 100")],
            &[key],
        )?,
        load(
            "FCALL of HSET",
            &["FCALL write 1 hsh:%0 field value-%1"],
            &[key, token],
        )?,
    ])
}

fn long() -> Result<Vec<Load>> {
    let key = [Draw::below(KEYS)];
    let repeat = |label: &str, call: &str| {
        let script = format!("for\ni=1,10000\ndo\n{call}\nend\nreturn\n1");
        let command = format!("EVAL {script} 1 key:%0");
        anyhow::Ok(Load::scripted(label, &[&command], &key)?.pipeline(1))
    };
    Ok(vec![
        repeat("10,000 times INCR", "redis.call('INCR',KEYS[1])")?,
        repeat("10,000 times GET", "redis.call('GET','lock')")?,
        repeat(
            "10,000 times HSET",
            "redis.call('HSET','hash',bit.band(i,63),i)",
        )?,
    ])
}

fn libraries() -> Result<Vec<Load>> {
    let load = |label: &str, before: &str, work: &str| {
        let script = format!(
            "local\ntext=redis.call('GET','document')\n{before}\nlocal\nresult\n\
             for\ni=1,{TIMES}\ndo\nresult={work}\nend\nreturn\n#result"
        );
        let command = format!("EVAL {script} 0");
        let label = format!("{label} of 10 KB, {TIMES} times");
        anyhow::Ok(Load::scripted(&label, &[&command], &[])?.pipeline(1))
    };
    let (value, packed) = (
        "local\nvalue=cjson.decode(text)",
        "text=cmsgpack.pack(cjson.decode(text))",
    );
    Ok(vec![
        load("cjson.decode", "", "cjson.decode(text)")?,
        load("cjson.encode", value, "cjson.encode(value)")?,
        load("cmsgpack.unpack", packed, "cmsgpack.unpack(text)")?,
        load("cmsgpack.pack", value, "cmsgpack.pack(value)")?,
    ])
}
